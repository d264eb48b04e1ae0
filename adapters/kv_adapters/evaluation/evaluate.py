"""Evaluate a base model and its adapters on the same tasks, in one engine or several.

A task that fails does not lose the others: its outcome says why, and the next unit runs.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from kv_adapters.backends import OPTIONS, TRAITS
from kv_adapters.engine_settings import refuse_decided
from kv_adapters.evaluation.earlier import finished, renew
from kv_adapters.evaluation.models import Models, find_models
from kv_adapters.evaluation.plan import Request, Unit, plan
from kv_adapters.evaluation.worker import Outcome, Worker, task_manager
from kv_tasks import console
from kv_tasks.errors import KVError, RunError, UsageError, reason_of


def evaluate(request: Request) -> list[Outcome]:
    """Evaluate all units that are not finished; return what became of each.

    Raises:
        UsageError, ModelError, AdapterError: before anything is loaded.
        RunError: earlier results cannot be read, or a model cannot be loaded.
    """
    _refuse_unread(request)
    if request.chat_template_args and request.backend == "openai":
        raise UsageError("--chat-template-args: a chat service calls its template itself")
    if request.backend == "server" and request.too_long == "skip" and not request.max_length:
        # What is left out goes by the context, and a server may be started anew with another.
        raise UsageError("--too-long skip: say the server's context as well, with --max-length")
    refuse_decided(request.vllm_args or {})
    if not request.tasks:
        raise UsageError("--tasks: names no task; give one or more, such as kv_simple,mdqa_pos")
    models = find_models(request.base, request.adapters, request.backend)
    units = plan(request, models)
    before = {unit: results for unit in units if (results := finished(request.out, unit))}
    renew(request.out, list(before))
    for unit in before:
        console.note(f"{unit.label} · {unit.task}: finished before, reused")
    made = _run([unit for unit in units if unit not in before], models, request)
    return [
        Outcome(unit.label, unit.task, "reused", before[unit]) if unit in before else made[unit]
        for unit in units
    ]


def _refuse_unread(request: Request) -> None:
    """Refuse an option that the backend would take without a word and not read."""
    usual = {field.name: field.default for field in fields(Request)}
    for option, why in OPTIONS.items():
        given = getattr(request, option)
        if given != usual[option] and option not in TRAITS[request.backend].options:
            flag = f"--{option.replace('_', '-')} {given}"
            raise UsageError(f"{flag}: --backend {request.backend} {why}")


def _run(units: Sequence[Unit], models: Models, request: Request) -> dict[Unit, Outcome]:
    if not units:
        return {}
    tasks = task_manager(models.base, request)
    _check_names(request, tasks)
    engines = f"{request.workers} workers, each" if request.workers > 1 else "once,"
    if TRAITS[request.backend].packages:
        # Not before: torch takes seconds to import.
        from kv_train.precision import warn_of_idle_gpu

        warn_of_idle_gpu()
    count = len(models.adapters)
    console.note(f"starting {request.backend} {engines} for the base and {count} adapter(s)")
    if request.workers > 1:
        with console.requires("ray"):
            from kv_adapters.evaluation.fleet import run_fleet

            return run_fleet(units, models, request)
    try:
        worker = Worker(request, models, tasks)
    except KVError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {reason_of(error)}"
        raise RunError(f"--backend {request.backend}: cannot start: {reason}") from error
    return {unit: worker.run(unit) for unit in units}


def _check_names(request: Request, tasks: Any) -> None:
    unknown = [name for name in request.tasks if name not in tasks.all_tasks]
    if unknown:
        raise UsageError(
            f"--tasks: the harness knows no task or group {', '.join(unknown)}; "
            "list them with: lm_eval ls tasks"
        )
