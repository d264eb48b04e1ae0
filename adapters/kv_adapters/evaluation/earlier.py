"""Results of earlier runs: found by their inputs, and made the ones that count again.

A results file carries the digest of what decided it. Comparing and reporting read the newest
results of each task, so those that are reused must be the newest.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kv_adapters.evaluation.plan import RECORD, Unit
from kv_tasks import console
from kv_tasks.errors import RunError


def finished(out: Path, unit: Unit) -> dict[str, Any] | None:
    """Return a unit's results if they were written before, else None.

    Raises:
        RunError: a results file cannot be read.
    """
    for _, results in _newest_first(out / unit.label):
        if _digest(results) == unit.digest:
            return results
    return None


def renew(out: Path, units: Sequence[Unit]) -> None:
    """Give the results of finished units a date of now where a task of theirs has newer ones.

    Those of a shorter trial in between, say, or of other weights under the same name, would be
    compared in their place. What several units of one command share is nobody's to supersede.

    Raises:
        RunError: a results file cannot be read.
    """
    for label in dict.fromkeys(unit.label for unit in units):
        digests = {unit.digest for unit in units if unit.label == label}
        written = dict(_newest_first(out / label))
        newest: dict[str, Path] = {}
        for file, results in written.items():
            for task in _tasks(results):
                newest.setdefault(task, file)
        for file, results in written.items():
            others = {newest[task] for task in _tasks(results)} - {file}
            if _digest(results) in digests and any(
                _digest(written[other]) not in digests for other in others
            ):
                _date_anew(file, _tasks(results))
                console.note(f"{label}: {file.name} counts again, instead of newer results")


def _newest_first(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield files and their results; who looks for one reads no more than need be."""
    for file in sorted(folder.glob("results_*.json"), reverse=True):
        try:
            yield file, json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{file}: not JSON ({error}); delete it and run again") from error


def _digest(results: Mapping[str, Any]) -> str | None:
    digest: str | None = results.get(RECORD, {}).get("digest")
    return digest


def _tasks(results: Mapping[str, Any]) -> list[str]:
    return list(results.get("configs", {}))


def _date_anew(file: Path, tasks: Sequence[str]) -> None:
    """Rename results and samples as the harness would name them now; results are last to come.

    Samples have both names until then, so that a kill in between leaves results with theirs.
    """
    old = file.stem.removeprefix("results_")
    new = datetime.now().isoformat().replace(":", "-")
    samples = {
        sample: sample.with_name(f"samples_{task}_{new}.jsonl")
        for task in tasks
        if (sample := file.with_name(f"samples_{task}_{old}.jsonl")).is_file()
    }
    for sample, renamed in samples.items():
        try:
            os.link(sample, renamed)
        except OSError:  # not every file system has two names for a file
            shutil.copyfile(sample, renamed)
    file.rename(file.with_name(f"results_{new}.json"))
    for sample in samples:
        sample.unlink()
