"""Read what the harness wrote: one folder, one model, scores by document.

Any ``lm_eval --log_samples`` output folder will do, not only ours. Where a task was evaluated
several times the newest results count.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonlines

from kv_tasks.errors import RunError

# Headline metric and filter of tasks that log several; others: the first numeric metric.
HEADLINES: Mapping[str, tuple[str, str]] = {
    "gsm8k": ("exact_match", "strict-match"),
    "hellaswag": ("acc_norm", "none"),
    "triviaqa": ("exact_match", "remove_whitespace"),
    "nq_open": ("exact_match", "remove_whitespace"),
}


@dataclass(frozen=True)
class Sample:
    """One document's score on the headline metric.

    ``question_id``, ``gold_position``, ``depth`` and ``candidates`` come from tasks that have them;
    in others every document is a question of its own.
    """

    task: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    score: float
    question_id: str
    gold_position: int | None
    depth: float | None
    question: str
    answers: tuple[str, ...]
    response: str

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What two runs must share for a comparison to be of the same prompt."""
        return self.task, self.doc_id, self.doc_hash, self.prompt_hash


@dataclass(frozen=True)
class TaskRun:
    """One task's samples, all of one metric and one filter."""

    name: str
    metric: str
    filter: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Run:
    """One model's results: tasks, groups of them, and where they came from."""

    label: str
    folder: Path
    tasks: Mapping[str, TaskRun]
    groups: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, str]


def load_run(folder: Path) -> Run:
    """Read a run.

    Args:
        folder: holds ``results_*.json`` and ``samples_*.jsonl``, itself or in the one
            sub-folder that the harness makes for the model.

    Raises:
        RunError: no such folder, nothing or several models in it, or a file that cannot be read.
    """
    place = _model_folder(folder)
    tasks: dict[str, TaskRun] = {}
    groups: dict[str, tuple[str, ...]] = {}
    provenance: dict[str, str] = {}
    for file in sorted(place.glob("results_*.json")):
        results = _read_results(file)
        date = file.stem.removeprefix("results_")
        for name in results.get("configs", {}):
            samples = place / f"samples_{name}_{date}.jsonl"
            if samples.is_file():
                tasks[name] = _read_task(name, samples)
        groups |= _groups(results)
        provenance |= _provenance(results)
    if not tasks:
        raise RunError(f"{place}: results without samples; run lm_eval with --log_samples")
    return Run(folder.name, place, tasks, groups, provenance)


def _model_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; give what lm_eval's --output_path wrote")
    if any(folder.glob("results_*.json")):
        return folder
    inner = sorted({file.parent for file in folder.glob("*/results_*.json")})
    if len(inner) == 1:
        return inner[0]
    if inner:
        names = ", ".join(str(place) for place in inner)
        raise RunError(f"{folder}: holds several runs; name one of: {names}")
    raise RunError(f"{folder}: no results_*.json; the evaluation did not finish")


def _read_results(file: Path) -> dict[str, Any]:
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{file}: not JSON ({error}); delete it and evaluate again") from error
    if not isinstance(results, dict) or "results" not in results:
        raise RunError(f"{file}: no results of lm_eval; expected a key 'results'")
    return results


def _groups(results: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return group name to its leaf tasks, nested groups resolved."""
    children: Mapping[str, list[str]] = results.get("group_subtasks", {})

    def leaves(name: str) -> Iterator[str]:
        for child in children.get(name, []):
            if children.get(child):
                yield from leaves(child)
            else:
                yield child

    return {name: tuple(leaves(name)) for name, below in children.items() if below}


def _provenance(results: Mapping[str, Any]) -> dict[str, str]:
    config = results.get("config", {})
    found = {
        "model": config.get("model"),
        "model arguments": config.get("model_args"),
        "chat template": "yes" if results.get("chat_template") else "no",
        "limit": config.get("limit"),
        "seeds": f"{config.get('random_seed')}, few-shot {config.get('fewshot_seed')}",
        "lm_eval": results.get("lm_eval_version"),
        "transformers": results.get("transformers_version"),
        "task hashes": results.get("task_hashes"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _read_task(name: str, file: Path) -> TaskRun:
    rows = _rows(file)
    first = next(rows, None)
    if first is None:
        raise RunError(f"{file}: empty; delete it with its results and evaluate again")
    metric, chosen = _headline(name, first, file)
    samples = [_sample(name, first, metric, file)] if first.get("filter", "none") == chosen else []
    samples += [
        _sample(name, row, metric, file) for row in rows if row.get("filter", "none") == chosen
    ]
    if not samples:
        raise RunError(f"{file}: no rows of filter {chosen!r}, the headline of {name}")
    return TaskRun(name, metric, chosen, tuple(samples))


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with jsonlines.open(file) as reader:
            yield from reader.iter(type=dict)
    except jsonlines.InvalidLineError as error:
        raise RunError(
            f"{file}, line {error.lineno}: not a JSON object; the file is cut or damaged: "
            "delete it with its results and evaluate again"
        ) from error


def _headline(name: str, row: Mapping[str, Any], file: Path) -> tuple[str, str]:
    if name in HEADLINES:
        return HEADLINES[name]
    for metric in row.get("metrics", []):
        if isinstance(row.get(metric), int | float):
            return metric, row.get("filter", "none")
    raise RunError(f"{file}: no numeric metric; found {row.get('metrics')}")


def _sample(task: str, row: Mapping[str, Any], metric: str, file: Path) -> Sample:
    try:
        doc: Mapping[str, Any] = row["doc"]
        response = row["filtered_resps"][0]
        return Sample(
            task=task,
            doc_id=row["doc_id"],
            doc_hash=row["doc_hash"],
            prompt_hash=row["prompt_hash"],
            score=float(row[metric]),
            question_id=str(doc.get("question_id", f"{task}:{row['doc_id']}")),
            gold_position=doc.get("gold_position"),
            depth=doc.get("depth"),
            question=str(doc.get("question") or _last_line(row)),
            answers=tuple(map(str, doc.get("answers", [row.get("target")]))),
            response=response if isinstance(response, str) else json.dumps(response),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunError(
            f"{file}: document {row.get('doc_id')}: no sample with {metric!r} ({error!r})"
        ) from error


def _last_line(row: Mapping[str, Any]) -> str:
    """Return the end of a prompt whose document has no question of its own."""
    prompt = str(row.get("arguments", {}).get("gen_args_0", {}).get("arg_0", ""))
    return prompt.strip()[-300:]
