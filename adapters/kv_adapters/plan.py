"""What an evaluation consists of: units, each one model on one task or group.

A unit's digest covers everything that decides its results. It is written into them, so a
second run repeats nothing that is finished and never mixes results of changed inputs.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from kv_adapters.backends import BackendName
from kv_adapters.task_names import single_protocol
from kv_tasks.errors import RunError, UsageError
from kv_tasks.files import sha256_file
from kv_tasks.model_arguments import TooLong
from kv_train.adapter import CONFIG, WEIGHTS
from kv_train.models import base_checksum

ChatTemplate = Literal["auto", "on", "off"]
RECORD = "kv_adapters"


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        base: folder, hub name or short name of the base model.
        adapters: adapter folders.
        tasks: task or group names of the harness.
        out: folder that gets one folder a model.
        limit: documents a task, None for all.
        backend: who computes.
        chat_template: ``auto`` follows the protocols: on for this project's tasks where the
            tokenizer has a template, off for the harness's own.
        max_length: context in tokens, None for the model's own.
        too_long: whether a prompt that does not fit is an error, or left out and counted; tasks
            of the harness's own know only the error.
        seed: of engine and few-shot sampling.
    """

    base: str
    adapters: Sequence[Path]
    tasks: Sequence[str]
    out: Path
    limit: int | None = None
    backend: BackendName = "vllm"
    chat_template: ChatTemplate = "auto"
    max_length: int | None = None
    too_long: TooLong = "error"
    seed: int = 1234


@dataclass(frozen=True)
class Unit:
    """One model on one task; equal digests mean equal inputs."""

    label: str
    task: str
    base_sha256: str
    adapter: Path | None
    adapter_sha256: str | None
    limit: int | None
    backend: str
    chat_template: ChatTemplate
    max_length: int | None
    too_long: TooLong
    seed: int
    versions: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Identify the unit's inputs; the adapter counts by its weights, not by its path."""
        inputs = {key: value for key, value in asdict(self).items() if key != "adapter"}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def journal(self, out: Path) -> Path:
        """Return where the unit's answers are kept until it is finished."""
        return out / self.label / f".answers_{self.task}_{self.digest[:16]}.jsonl"


def plan(request: Request, base: Path, adapters: Sequence[Path]) -> list[Unit]:
    """Return the units model by model, base first, so that adapters switch seldom."""
    labels = [adapter.name for adapter in adapters]
    if len(set(labels)) < len(labels) or "base" in labels:
        raise UsageError(
            f"--adapter: folder names label the results and must differ, none may be 'base'; "
            f"found {', '.join(labels)}"
        )
    versions = tuple(f"{name} {version(name)}" for name in ("kv-tasks", "lm_eval"))
    base_sha256 = base_checksum(base)
    return [
        Unit(
            label=adapter.name if adapter else "base",
            task=task,
            base_sha256=base_sha256,
            adapter=adapter,
            adapter_sha256=adapter_checksum(adapter) if adapter else None,
            limit=request.limit,
            backend=request.backend,
            chat_template=request.chat_template,
            max_length=request.max_length,
            too_long=request.too_long,
            seed=request.seed,
            versions=versions,
        )
        for adapter in [None, *adapters]
        for task in single_protocol(request.tasks)
    ]


def adapter_checksum(adapter: Path) -> str:
    """Return one SHA-256 for what an adapter does: its weights and its configuration."""
    parts = sha256_file(adapter / WEIGHTS) + sha256_file(adapter / CONFIG)
    return hashlib.sha256(parts.encode()).hexdigest()


def finished(out: Path, unit: Unit) -> dict[str, Any] | None:
    """Return a unit's results if they were written before, else None.

    Raises:
        RunError: a results file cannot be read.
    """
    for file in (out / unit.label).glob("results_*.json"):
        try:
            results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{file}: not JSON ({error}); delete it and run again") from error
        if results.get(RECORD, {}).get("digest") == unit.digest:
            return results
    return None
