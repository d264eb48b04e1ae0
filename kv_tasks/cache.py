"""Documents that take a while to build, kept on disk by all that decides their bytes."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import datasets
import jsonlines

from kv_tasks._version import __version__
from kv_tasks.files import write_jsonl
from kv_tasks.paths import cache_folder
from kv_tasks.windows import Window

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Raised whenever a generator gives other bytes for the same arguments.
DATA_VERSION = 2


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
    if not file.is_file():
        write_jsonl(file, build())
    with jsonlines.open(file) as rows:
        return datasets.Dataset.from_list(list(rows))


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the SHA-256 of what a tokenizer does: its vocabulary, rules and chat template."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = json.loads(backend.to_str()) if backend else tokenizer.get_vocab()
    # What the last caller asked for, no property of the tokenizer.
    settings = {"truncation", "padding"} if backend else set()
    rules = {name: value for name, value in rules.items() if name not in settings}
    text = json.dumps([rules, tokenizer.chat_template], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
