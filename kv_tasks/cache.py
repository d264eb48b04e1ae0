"""Documents that take a while to build, kept on disk by all that decides their bytes."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import jsonlines

from kv_tasks._version import __version__
from kv_tasks.errors import DataError
from kv_tasks.files import write_jsonl
from kv_tasks.paths import cache_folder
from kv_tasks.windows import Window

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Raised whenever a generator gives other bytes for the same arguments.
DATA_VERSION = 2
_ROWS = "rows before this line"


def cached_rows(
    key: Mapping[str, Any], window: Window, build: Callable[[], Iterable[Mapping[str, Any]]]
) -> datasets.Dataset:
    """Return the rows of ``build``, from the cache when they were built before.

    Args:
        key: the arguments of the generator; JSON values.
        window: whose tokenizer, length and reserve are part of the key too.
        build: called when there is no cached copy.
    """
    parts = {
        **key,
        "version": f"{__version__}/{DATA_VERSION}",
        "tokens": window.tokens,
        "answer_tokens": window.answer_tokens,
        "tokenizer": tokenizer_digest(window.tokenizer),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    file = cache_folder() / "documents" / f"{digest[:32]}.jsonl"
    rows = _whole(file)
    if rows is None:
        made = list(build())
        write_jsonl(file, [*made, {_ROWS: len(made)}])
        rows = _whole(file)
    if rows is None:
        raise DataError(f"{file}: was not written whole; is the disk full?")
    return datasets.Dataset.from_list(rows)


def _whole(file: Path) -> list[Any] | None:
    """Return the rows of a file whose last line says how many there are; None of any other.

    A machine that goes down can leave a file that is empty or cut, whatever was renamed.
    """
    try:
        with jsonlines.open(file) as reader:
            rows = list(reader)
    except (FileNotFoundError, jsonlines.InvalidLineError, UnicodeDecodeError):
        return None
    return rows[:-1] if rows and rows[-1] == {_ROWS: len(rows) - 1} else None


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the SHA-256 of what a tokenizer does: its vocabulary, rules and chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend else tokenizer.get_vocab()
    # What the last caller asked for, no property of the tokenizer.
    settings = {"truncation", "padding"} if backend else set()
    rules = {name: value for name, value in rules.items() if name not in settings}
    text = json.dumps([rules, tokenizer.chat_template], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
