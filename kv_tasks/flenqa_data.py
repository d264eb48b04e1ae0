"""FLenQA's rows in the published form: read from the user's folder or fetched, and checked."""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonlines

from kv_tasks.datafiles import FLENQA, published, remedy
from kv_tasks.errors import DataError

# In the user's folder, in place of the zip file that holds it.
PLAIN = "flenqa/FLenQA.jsonl"
DEPTHS: dict[str, float | None] = {"first": 0.0, "middle": 0.5, "last": 1.0, "random": None}
# The published names of the three sets, and those of their metrics.
SETS = {"MonoRel": "monorel", "PIR": "pir", "Simplified RuleTaker": "ruletaker"}


def rows() -> Iterator[dict[str, Any]]:
    """Yield the published rows: $KV_TASKS_DATA/flenqa/FLenQA.jsonl, or the zip file with it.

    Raises:
        DataError: when neither can be had, or naming the line that is not of the form.
    """
    chosen = os.environ.get("KV_TASKS_DATA")
    plain = Path(chosen) / PLAIN if chosen else None
    path = plain if plain and plain.is_file() else published(FLENQA)
    try:
        content = path.read_bytes() if path == plain else _unzipped(path)
        for line, row in enumerate(jsonlines.Reader(io.BytesIO(content)).iter(type=dict), start=1):
            _check(row, f"{path}, line {line}")
            yield row
    except jsonlines.InvalidLineError as error:
        raise DataError(
            f"{path}, line {error.lineno}: not a JSON object; {remedy(path)}"
        ) from error


def _unzipped(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            # Under whatever name: what the source calls its member is not documented.
            names = [name for name in archive.namelist() if not name.endswith("/")]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            names = [name for name in names if name.endswith((".json", ".jsonl"))] or names
            if len(names) != 1:
                raise DataError(
                    f"{path}: holds {archive.namelist()}, expected one file of JSON lines; "
                    f"{remedy(path)}"
                )
            return archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a whole zip file ({error}); {remedy(path)}") from error


def _check(row: Mapping[str, Any], where: str) -> None:
    """Raise DataError when a row is not of the published form."""
    for field in ("mixin", "assertion/question", "padding_type"):
        if not row.get(field) or not isinstance(row[field], str):
            raise DataError(f"{where}: {field} is {row.get(field)!r}, expected text")
    choices: dict[str, tuple[str, ...]] = {
        "dataset": tuple(SETS),
        "dispersion": tuple(DEPTHS),
        "label": ("True", "False"),
    }
    for field, allowed in choices.items():
        if str(row.get(field)) not in allowed:
            found = row.get(field)
            raise DataError(f"{where}: {field} is {found!r}, expected one of {', '.join(allowed)}")
    for field in ("global_sample_id", "ctx_size"):
        if not str(row.get(field)).isdecimal():
            raise DataError(f"{where}: {field} is {row.get(field)!r}, expected a number")
    facts = row.get(facts_field(row))
    if not isinstance(facts, list) or not facts or not all(isinstance(f, str) for f in facts):
        raise DataError(f"{where}: {facts_field(row)} is {facts!r}, expected a list of texts")
    # RuleTaker's rule stands nowhere else in the prompt; without it there is nothing to derive.
    if facts_field(row) == "statement" and not row.get("rule"):
        raise DataError(f"{where}: rule is {row.get('rule')!r}, expected text or a list of texts")


def facts_field(row: Mapping[str, Any]) -> str:
    """Return the field of a row's key facts."""
    return "statement" if row["dataset"] == "Simplified RuleTaker" else "facts"
