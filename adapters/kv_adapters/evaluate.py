"""Evaluate a base model and its adapters on the same tasks, in one engine.

A task that fails does not lose the others: its outcome says why, and the next unit runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kv_adapters.backends import Settings, open_backend
from kv_adapters.plan import RECORD, Request, Unit, finished, plan
from kv_adapters.units import run_unit
from kv_adapters.verify import refuse_broken
from kv_tasks import console, registration
from kv_tasks.errors import KVError, UsageError
from kv_tasks.paths import task_configs
from kv_train.models import resolve_model

Status = Literal["done", "reused", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        label, task: the unit's.
        status: ``reused`` where it was finished before.
        results: the harness's results, None where it failed.
        reason: why it failed.
    """

    label: str
    task: str
    status: Status
    results: dict[str, Any] | None = None
    reason: str = ""

    @property
    def headline(self) -> tuple[str, float] | None:
        """The unit's first metric and its value."""
        found = self.results or {}
        scores = found.get("groups", {}).get(self.task) or found.get("results", {}).get(self.task)
        for key, value in (scores or {}).items():
            metric, comma, _ = key.partition(",")
            if comma and isinstance(value, float) and not metric.endswith("_stderr"):
                return metric, value
        return None

    @property
    def record(self) -> dict[str, Any]:
        """What this package wrote into the results: seconds, tokens, inputs."""
        return dict((self.results or {}).get(RECORD, {}))


def evaluate(request: Request) -> list[Outcome]:
    """Evaluate all units that are not finished; return what became of each.

    Raises:
        UsageError, ModelError, AdapterError: before anything is loaded.
        RunError: earlier results cannot be read.
    """
    if not request.tasks:
        raise UsageError("--tasks: names no task; give one or more, such as kv_simple,mdqa_pos")
    base = resolve_model(request.base)
    adapters = [adapter.resolve() for adapter in request.adapters]
    for adapter in adapters:
        refuse_broken(adapter, base)
    units = plan(request, base, adapters)
    before = {unit: results for unit in units if (results := finished(request.out, unit))}
    for unit in before:
        console.note(f"{unit.label} · {unit.task}: finished before, reused")
    made = _run([unit for unit in units if unit not in before], base, adapters, request)
    return [
        Outcome(unit.label, unit.task, "reused", before[unit]) if unit in before else made[unit]
        for unit in units
    ]


def _run(
    units: Sequence[Unit], base: Path, adapters: Sequence[Path], request: Request
) -> dict[Unit, Outcome]:
    """Run units one after another in one backend."""
    if not units:
        return {}
    tasks = task_manager(base, request)
    _check_names(tasks, request.tasks)
    console.note(f"starting {request.backend} once, for the base and {len(adapters)} adapter(s)")
    settings = Settings(base, adapters, max_length=request.max_length, seed=request.seed)
    backend = open_backend(request.backend, settings)
    return {unit: outcome_of(unit, backend, tasks, request) for unit in units}


def outcome_of(unit: Unit, backend: Any, tasks: Any, request: Request) -> Outcome:
    """Run a unit; an exception is its outcome, not the end of the others."""
    try:
        results = run_unit(unit, backend, tasks, request)
    except KVError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - a task's code may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    else:
        made = Outcome(unit.label, unit.task, "done", results)
        if made.headline:
            console.note(f"{unit.label} · {unit.task}: {made.headline[0]} {made.headline[1]:.3f}")
        return made
    console.warn(f"{unit.label} · {unit.task}: failed: {reason}")
    return Outcome(unit.label, unit.task, "failed", reason=reason)


def task_manager(base: Path, request: Request) -> Any:
    """Return the harness's task manager, told what the harness passes on from model arguments."""
    from lm_eval.tasks import TaskManager

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
