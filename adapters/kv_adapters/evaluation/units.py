"""Run one unit: one model on one task or group, into the harness's own files.

A model's folder gets ``samples_<task>_<date>.jsonl`` and, last, ``results_<date>.json``.
"""

import copy
import random
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kv_adapters.backends import Backend
from kv_adapters.evaluation.plan import RECORD, Request, Unit
from kv_adapters.evaluation.record import computed, fitted, surroundings
from kv_adapters.evaluation.task_names import fixed_shots, is_own
from kv_adapters.evaluation.usage import Usage
from kv_tasks import console
from kv_tasks.errors import AdapterError, RunError, UsageError
from kv_tasks.general import local_data
from kv_tasks.journal import Journal
from kv_train.adapter import WEIGHTS, adapter_checksum


def run_unit(unit: Unit, backend: Backend, tasks: Any, request: Request) -> None:
    """Evaluate a unit and write its files.

    Args:
        unit: what to evaluate.
        backend: holds base model and adapters.
        tasks: the harness's task manager.
        request: which the unit is part of.

    Raises:
        AdapterError: the adapter is not the one that was planned.
        PromptTooLongError: before anything is generated.
        RunError: results could not be written whole.
    """
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    started = time.monotonic()
    console.note(f"{unit.label} · {unit.task}: evaluating")
    # A task of the user's own may have the name of one whose data this package knows.
    asked = unit.task if unit.include_sha256 else _with_local_data(tasks, unit.task)
    # The harness seeds before it loads tasks: gpqa, for one, shuffles its choices as it is loaded.
    random.seed(0)
    np.random.seed(1234)
    loaded = tasks.load([asked])
    _refuse_ignored_shots(unit, loaded["tasks"])
    chat = _use_chat_template(unit, backend)
    _refuse_changed(unit)
    backend.select(unit.adapter)
    arguments = {**backend.describe(), "adapter": unit.adapter and str(unit.adapter)}
    journal = backend.lm.journal = Journal(unit.journal(request.out))
    backend.lm.fit = None
    kept, before = len(journal), copy.copy(getattr(backend.lm, "usage", None)) or Usage()
    with tempfile.TemporaryDirectory() as scratch:
        tracker = EvaluationTracker(output_path=scratch)
        results: dict[str, Any] = simple_evaluate(
            model=backend.lm,
            model_args=arguments,
            tasks=[*_top_level(loaded, unit.task)],
            task_manager=tasks,
            num_fewshot=unit.num_fewshot,
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
            "answers_kept": kept,
            **computed(backend.lm, before),
            **fitted(backend.lm.fit, samples),
            "command": request.command,
            **surroundings(),
            **{key: str(value) for key, value in asdict(unit).items() if value is not None},
        }
        tracker.save_results_aggregated(results=results, samples=samples)
        for task, rows in samples.items():
            tracker.save_results_samples(task_name=task, samples=rows)
        rows_of = {task: len(rows) for task, rows in samples.items()}
        _publish(Path(scratch), rows_of, request.out / unit.label, unit)
    journal.discard()


def _with_local_data(tasks: Any, name: str) -> Any:
    """Return a task's name, or the task built to read its data from a folder of the user's."""
    folder = local_data(name)
    if folder is None:
        return name
    # An inline configuration would hand its own list of members on to every subgroup.
    return tasks._factory.build(
        tasks.task_index[name], overrides={"dataset_path": folder}, registry=tasks.task_index
    )


def _refuse_ignored_shots(unit: Unit, tasks: Mapping[str, Any]) -> None:
    """Stop where the harness would go on with none: what a task sets to 0 it never overrides."""
    fixed = [name for name, task in tasks.items() if task.config.num_fewshot == 0]
    if unit.num_fewshot and fixed:
        raise fixed_shots(unit.num_fewshot, fixed[0])


def _refuse_changed(unit: Unit) -> None:
    """Stop where weights were replaced while others were evaluated: which ones would be unclear."""
    if unit.adapter is None or not (unit.adapter / WEIGHTS).is_file():
        return
    if adapter_checksum(unit.adapter) != unit.adapter_sha256:
        raise AdapterError(
            f"{unit.adapter}: changed since the evaluation began; run the same command again"
        )


def _top_level(loaded: Mapping[str, Any], name: str) -> list[Any]:
    """Return what was loaded under ``name``, so that its documents are not built twice."""
    if name in loaded.get("groups", {}):
        return [loaded["groups"][name]]
    return list(loaded["tasks"].values())


def _use_chat_template(unit: Unit, backend: Backend) -> bool:
    """Decide by the protocols, unless the user did."""
    chat_only = getattr(backend, "chat_only", False)
    has_template = chat_only or bool(getattr(backend.lm.tokenizer, "chat_template", None))
    if unit.chat_template == "off" and chat_only:
        raise UsageError("--chat-template off: this service takes chats only")
    if unit.chat_template == "on" and not has_template:
        raise UsageError("--chat-template on: the base model's tokenizer has no chat template")
    if chat_only or unit.chat_template != "auto":
        return unit.chat_template != "off"
    return has_template and is_own(unit.task)


def _publish(scratch: Path, rows: Mapping[str, int], target: Path, unit: Unit) -> None:
    """Move the harness's files to their place, results last.

    The harness logs a failed write and goes on, so what it wrote is counted here.
    """
    results = next(scratch.rglob("results_*.json"), None)
    if results is None:
        raise RunError(f"{scratch}: the harness could not write its results; is the disk full?")
    target.mkdir(parents=True, exist_ok=True)
    date, files = results.stem.removeprefix("results_"), []
    for task, expected in rows.items():
        # The whole name, since one task's may begin another's.
        file = next(scratch.rglob(f"samples_{task}_{date}.jsonl"), None)
        found = sum(1 for _ in file.open(encoding="utf-8")) if file else 0
        if file is None or found != expected:
            raise RunError(
                f"{unit.label} · {task}: {found} of {expected} samples written; is the disk full?"
            )
        files.append(file)
    for file in [*files, results]:
        draft = target / f".{file.name}.part"
        shutil.copyfile(file, draft)
        draft.replace(target / file.name)
