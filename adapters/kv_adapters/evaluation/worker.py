"""One engine and what it does with units; in this process, or as a Ray actor in another."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kv_adapters.backends import Backend, Settings, open_backend
from kv_adapters.chat_template import arguments_of
from kv_adapters.evaluation.earlier import finished
from kv_adapters.evaluation.models import Models
from kv_adapters.evaluation.plan import RECORD, Request, Unit
from kv_adapters.evaluation.task_names import is_own
from kv_adapters.evaluation.units import run_unit
from kv_tasks import console, registration
from kv_tasks.errors import KVError, reason_of
from kv_tasks.paths import task_configs

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


class Worker:
    """Holds base model, adapters and task manager for as long as it lives."""

    def __init__(self, request: Request, models: Models, tasks: Any = None) -> None:
        """Load everything once; ``tasks`` is the task manager, where there is one already."""
        self._request = request
        self._settings = settings_of(request, models)
        self._backend: Backend | None = open_backend(request.backend, self._settings)
        # A server's context may be shorter than its model's; tasks go by what fits.
        context = getattr(self._backend, "context", request.max_length)
        if tasks is None or context != request.max_length:
            tasks = task_manager(models.base, replace(request, max_length=context))
        self._tasks = tasks

    def run(self, unit: Unit) -> Outcome:
        """Evaluate a unit; an exception is its outcome, not the end of the others."""
        try:
            # An engine that died with the last unit takes no other with it.
            self._backend = self._backend or open_backend(self._request.backend, self._settings)
            run_unit(unit, self._backend, self._tasks, self._request)
        except KVError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a task's code may raise anything
            reason = f"{type(error).__name__}: {reason_of(error)}"
            if type(error).__name__ == "EngineDeadError":
                self._backend = None
        else:
            # What was written, as any other process would read it.
            made = Outcome(unit.label, unit.task, "done", finished(self._request.out, unit))
            if made.headline:
                name, value = made.headline
                console.note(f"{unit.label} · {unit.task}: {name} {value:.3f}")
            return made
        console.warn(f"{unit.label} · {unit.task}: failed: {reason}")
        return Outcome(unit.label, unit.task, "failed", reason=reason)


def settings_of(request: Request, models: Models) -> Settings:
    """Return what a backend loads."""
    return Settings(
        base=models.base,
        adapters=list(models.adapters),
        base_name=request.base,
        max_length=request.max_length,
        batch_size=request.batch_size,
        seed=request.seed,
        url=request.url,
        tensor_parallel=request.tensor_parallel,
        gpu_memory_utilization=request.gpu_memory_utilization,
        chat_template_args=arguments_of(list(models.adapters), request.chat_template_args),
        vllm_args=request.vllm_args or {},
    )


def task_manager(base: Path, request: Request) -> Any:
    """Return the harness's task manager, told what the harness passes on from model arguments."""
    from lm_eval.tasks import TaskManager

    metadata: dict[str, Any] = {"too_long": request.too_long}
    if request.backend != "openai":
        metadata["pretrained"] = str(base)
    if request.max_length is not None:
        metadata["max_length"] = request.max_length
    if request.tokenizer:
        metadata["tokenizer"] = request.tokenizer
    if all(map(is_own, request.tasks)):
        # Reading the headers of the harness's thousands of files takes seconds.
        return TaskManager(
            include_path=str(task_configs()), include_defaults=False, metadata=metadata
        )
    # A current registration is found without; naming it twice makes the harness warn of each task.
    registered = registration.status().state == "current"
    include = [] if registered else [str(task_configs())]
    if request.include_path:
        include.append(str(request.include_path))
    return TaskManager(include_path=include or None, metadata=metadata)
