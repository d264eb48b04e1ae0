"""The models of an evaluation, and what each is known by: content, where there is any to hash."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kv_adapters.backends.openai import checksum, fine_tuned_model
from kv_adapters.checks.files import refuse_broken
from kv_tasks.errors import UsageError
from kv_train.adapter import adapter_checksum
from kv_train.models import base_checksum, resolve_model, tokenizer_checksum


@dataclass(frozen=True)
class Models:
    """A base and its adapters.

    Attributes:
        base: folder; for a model behind an interface its name.
        base_sha256: see :func:`kv_train.models.base_checksum`.
        tokenizer_sha256: see :func:`kv_train.models.tokenizer_checksum`; None behind an interface.
        adapters: folder of each adapter to its checksum.
    """

    base: Path
    base_sha256: str
    tokenizer_sha256: str | None
    adapters: dict[Path, str]


def find_models(base: str, adapters: Sequence[Path], backend: str) -> Models:
    """Return the models that an evaluation names, adapters checked against their base.

    Raises:
        ModelError, AdapterError: a model is not there or is not what it says.
        UsageError: two models would have one label.
    """
    _check_labels(adapters)
    folders = [adapter.resolve() for adapter in adapters]
    if backend == "openai":
        names = {folder: checksum(fine_tuned_model(folder)) for folder in folders}
        return Models(Path(base), checksum(base), None, names)
    folder = resolve_model(base)
    for adapter in folders:
        refuse_broken(adapter, folder)
    sums = {adapter: adapter_checksum(adapter) for adapter in folders}
    return Models(folder, base_checksum(folder), tokenizer_checksum(folder), sums)


def _check_labels(adapters: Sequence[Path]) -> None:
    labels = [adapter.resolve().name for adapter in adapters]
    if len(set(labels)) < len(labels) or "base" in labels:
        raise UsageError(
            "--adapter: folder names label the results and must differ, none may be 'base'; "
            f"found {', '.join(labels)}"
        )
