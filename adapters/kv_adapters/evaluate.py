"""Evaluate a base model and its adapters on the same tasks, in one engine.

A unit is one model on one task or group, and leaves the harness's own files in one folder a
model: ``samples_<task>_<date>.jsonl`` and, last, ``results_<date>.json``. The results file
carries a digest of everything that went into the unit, so a second run repeats nothing that
is finished and never mixes results of changed inputs.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from kv_adapters.backends import Backend, BackendName, Settings, open_backend
from kv_adapters.task_names import single_protocol
from kv_adapters.verify import refuse_broken
from kv_tasks import console, registration
from kv_tasks.errors import RunError, UsageError
from kv_tasks.files import sha256_file
from kv_tasks.model_arguments import TooLong
from kv_tasks.paths import task_configs
from kv_train.adapter import CONFIG, WEIGHTS
from kv_train.models import base_checksum, resolve_model

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


def evaluate(request: Request) -> list[Path]:
    """Evaluate all units that are not finished; return the models' result folders.

    Raises:
        UsageError, ModelError, AdapterError: before anything is loaded.
        PromptTooLongError: a prompt does not fit; finished units stay.
        RunError: results could not be written whole.
    """
    if not request.tasks:
        raise UsageError("--tasks: names no task; give one or more, such as kv_simple,mdqa_pos")
    base = resolve_model(request.base)
    adapters = [adapter.resolve() for adapter in request.adapters]
    for adapter in adapters:
        refuse_broken(adapter, base)
    units = plan(request, base, adapters)
    open_units = [unit for unit in units if not _finished(request.out, unit)]
    for unit in units:
        if unit not in open_units:
            console.note(f"{unit.label} · {unit.task}: finished before, reused")
    if open_units:
        tasks = _task_manager(base, request)
        _check_names(tasks, request.tasks)
        console.note(
            f"starting {request.backend} once, for the base and {len(adapters)} adapter(s)"
        )
        settings = Settings(base, adapters, max_length=request.max_length, seed=request.seed)
        backend = open_backend(request.backend, settings)
        for unit in open_units:
            _run_unit(unit, backend, tasks, request)
    return [request.out / label for label in dict.fromkeys(unit.label for unit in units)]


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


def _finished(out: Path, unit: Unit) -> bool:
    for file in (out / unit.label).glob("results_*.json"):
        try:
            record = json.loads(file.read_text(encoding="utf-8")).get(RECORD, {})
        except ValueError as error:
            raise RunError(f"{file}: not JSON ({error}); delete it and run again") from error
        if record.get("digest") == unit.digest:
            return True
    return False


def _task_manager(base: Path, request: Request) -> Any:
    from lm_eval.tasks import TaskManager

    # What the harness itself would pass on from the model arguments.
    metadata: dict[str, Any] = {"pretrained": str(base), "too_long": request.too_long}
    if request.max_length is not None:
        metadata["max_length"] = request.max_length
    # A current registration is found without; naming it twice makes the harness warn of each task.
    registered = registration.status().state == "current"
    include = None if registered else str(task_configs())
    return TaskManager(include_path=include, metadata=metadata)


def _check_names(tasks: Any, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in tasks.all_tasks]
    if unknown:
        raise UsageError(
            f"--tasks: the harness knows no task or group {', '.join(unknown)}; "
            "list them with: lm_eval ls tasks"
        )


def _run_unit(unit: Unit, backend: Backend, tasks: Any, request: Request) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    started = time.monotonic()
    console.note(f"{unit.label} · {unit.task}: evaluating")
    loaded = tasks.load([unit.task])
    chat = _use_chat_template(unit, loaded["tasks"].values(), backend.lm)
    backend.select(unit.adapter)
    arguments = {**backend.describe(), "adapter": unit.adapter and str(unit.adapter)}
    with tempfile.TemporaryDirectory() as scratch:
        tracker = EvaluationTracker(output_path=scratch)
        results = simple_evaluate(
            model=backend.lm,
            model_args=arguments,
            tasks=[*_top_level(loaded, unit.task)],
            task_manager=tasks,
            limit=unit.limit,
            apply_chat_template=chat,
            evaluation_tracker=tracker,
            fewshot_random_seed=unit.seed,
            log_samples=True,
            bootstrap_iters=0,
        )
        samples = results.pop("samples")
        results["config"]["model"] = request.base
        results[RECORD] = {
            "digest": unit.digest,
            "seconds": round(time.monotonic() - started, 1),
            "apply_chat_template": chat,
            **{key: str(value) for key, value in asdict(unit).items() if value is not None},
        }
        tracker.save_results_aggregated(results=results, samples=samples)
        for task, rows in samples.items():
            tracker.save_results_samples(task_name=task, samples=rows)
        _publish(Path(scratch), {task: len(rows) for task, rows in samples.items()}, request, unit)
    console.note(f"{unit.label} · {unit.task}: {_headline(results, unit.task)}")


def _top_level(loaded: Any, name: str) -> list[Any]:
    """Return what was loaded under ``name``, so that its documents are not built twice."""
    if name in loaded.get("groups", {}):
        return [loaded["groups"][name]]
    return list(loaded["tasks"].values())


def _use_chat_template(unit: Unit, tasks: Any, lm: Any) -> bool:
    """Decide by the protocols, unless the user did."""
    has_template = bool(getattr(lm.tokenizer, "chat_template", None))
    if unit.chat_template == "off":
        return False
    if unit.chat_template == "on":
        if not has_template:
            raise UsageError("--chat-template on: the base model's tokenizer has no chat template")
        return True
    modules = {getattr(task.config.custom_dataset, "__module__", "") for task in tasks}
    return has_template and all(module.startswith("kv_tasks.") for module in modules)


def _publish(scratch: Path, rows: dict[str, int], request: Request, unit: Unit) -> None:
    """Move the harness's files to their place, results last.

    The harness logs a failed write and goes on, so what it wrote is counted here.
    """
    results = next(scratch.rglob("results_*.json"), None)
    if results is None:
        raise RunError(f"{scratch}: the harness could not write its results; is the disk full?")
    target = request.out / unit.label
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for task, expected in rows.items():
        file = next(scratch.rglob(f"samples_{task}_*.jsonl"), None)
        found = sum(1 for _ in file.open(encoding="utf-8")) if file else 0
        if file is None or found != expected:
            raise RunError(
                f"{unit.label} · {task}: {found} of {expected} samples written; is the disk full?"
            )
        files.append(file)
    for file in [*files, results]:
        _move(file, target / file.name)


def _move(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, draft)
    draft.replace(target)


def _headline(results: dict[str, Any], task: str) -> str:
    """Return the unit's first metric and its time, for the progress line."""
    scores = results.get("groups", {}).get(task) or results["results"].get(task, {})
    for key, value in scores.items():
        metric, comma, _ = key.partition(",")
        if comma and isinstance(value, float) and not metric.endswith("_stderr"):
            return f"{metric} {value:.3f} in {results[RECORD]['seconds']} s"
    return f"done in {results[RECORD]['seconds']} s"
