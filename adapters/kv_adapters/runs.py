"""Read what the harness wrote: one folder, one model, scores by document.

Any ``lm_eval --log_samples`` output folder will do, not only ours. Where a task was evaluated
several times the newest results count.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """One model's results: tasks, groups of them, and where they came from.

    ``without_samples`` names the tasks whose newest results came without scores by document.
    """

    label: str
    folder: Path
    tasks: Mapping[str, TaskRun]
    groups: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, str]
    without_samples: tuple[str, ...]


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Read several runs, labelled by as much of their paths as tells them apart.

    Raises:
        RunError: as :func:`load_run`.
    """
    labels = _labels([folder.absolute() for folder in folders])
    return [
        replace(load_run(folder), label=label)
        for folder, label in zip(folders, labels, strict=True)
    ]


def load_run(folder: Path) -> Run:
    """Read a run.

    Args:
        folder: holds ``results_*.json`` and ``samples_*.jsonl``, itself or in the one
            sub-folder that the harness makes for the model.

    Raises:
        RunError: no such folder, nothing or several models in it, or a file that cannot be read.
    """
    place = _model_folder(folder)
    evaluations = {
        file.stem.removeprefix("results_"): _read_results(file)
        for file in sorted(place.glob("results_*.json"))
    }
    newest = {name: date for date, results in evaluations.items() for name in results["configs"]}
    files = {name: place / f"samples_{name}_{date}.jsonl" for name, date in newest.items()}
    tasks = {
        name: _read_task(name, file, evaluations[newest[name]])
        for name, file in files.items()
        if file.is_file()
    }
    if not tasks:
        raise RunError(f"{place}: results without samples; run lm_eval with --log_samples")
    groups: dict[str, tuple[str, ...]] = {}
    for results in evaluations.values():
        groups |= _groups(results)
    counting = {date: evaluations[date] for date in sorted({newest[name] for name in tasks})}
    return Run(
        label=folder.absolute().name,
        folder=place,
        tasks=tasks,
        groups=groups,
        provenance=_provenance(counting),
        without_samples=tuple(name for name in newest if name not in tasks),
    )


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return the last name of each path, or as many of the last as it takes to differ."""
    names: list[str] = []
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


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
    for section in ("configs", "config", "group_subtasks", "higher_is_better", "n-samples"):
        if not isinstance(results.setdefault(section, {}), dict):
            raise RunError(
                f"{file}: {section!r} is {results[section]!r}; expected an object: evaluate again"
            )
    return results


def _groups(results: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return group name to its leaf tasks, nested groups resolved."""
    children: Mapping[str, list[str]] = results["group_subtasks"]

    def leaves(name: str) -> Iterator[str]:
        for child in children.get(name, []):
            if children.get(child):
                yield from leaves(child)
            else:
                yield child

    return {name: tuple(leaves(name)) for name, below in children.items() if below}


def _provenance(evaluations: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return settings by name; where evaluations differ, every value there was."""
    found: dict[str, dict[str, None]] = {}
    for results in evaluations.values():
        for name, value in _settings(results).items():
            found.setdefault(name, {})[value] = None
    dates = list(dict.fromkeys([min(evaluations), max(evaluations)]))
    seconds = sum(
        float(results.get("total_evaluation_time_seconds") or 0) for results in evaluations.values()
    )
    return {name: " | ".join(values) for name, values in found.items()} | {
        "evaluated": " to ".join(dates),
        "evaluation time": f"{seconds:.0f} seconds",
    }


def _settings(results: Mapping[str, Any]) -> dict[str, str]:
    config = results["config"]
    found = {
        "model": config.get("model"),
        "model arguments": config.get("model_args"),
        "chat template": "yes" if results.get("chat_template") else "no",
        "limit": config.get("limit") or "none",
        "seeds": f"{config.get('random_seed')}, few-shot {config.get('fewshot_seed')}",
        "lm_eval": results.get("lm_eval_version"),
        "transformers": results.get("transformers_version"),
        "task hashes": results.get("task_hashes"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _read_task(name: str, file: Path, results: Mapping[str, Any]) -> TaskRun:
    rows = _rows(file)
    first = next(rows, None)
    if first is None:
        raise RunError(f"{file}: empty; delete it with its results and evaluate again")
    higher_is_better = results["higher_is_better"].get(name) or {}
    metric, chosen = _headline(name, first, higher_is_better, file)
    samples = [_sample(name, first, metric, file)] if first.get("filter", "none") == chosen else []
    samples += [
        _sample(name, row, metric, file) for row in rows if row.get("filter", "none") == chosen
    ]
    if not samples:
        raise RunError(f"{file}: no rows of filter {chosen!r}, the headline of {name}")
    counts = results["n-samples"].get(name) or {}
    _check_whole(samples, counts.get("effective", len(samples)), file)
    return TaskRun(name, metric, chosen, tuple(samples))


def _check_whole(samples: Sequence[Sample], expected: int, file: Path) -> None:
    """Refuse a file that was cut between two lines, or to which a second run was added."""
    if len(samples) < expected:
        raise RunError(
            f"{file}: {len(samples)} documents, its results count {expected}; the file is cut: "
            "delete it with its results and evaluate again"
        )
    key, times = Counter(sample.key for sample in samples).most_common(1)[0]
    if times > 1:
        raise RunError(
            f"{file}: document {key[1]} is there {times} times; "
            "delete the file with its results and evaluate again"
        )


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with jsonlines.open(file) as reader:
            yield from reader.iter(type=dict)
    except (jsonlines.InvalidLineError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if isinstance(error, jsonlines.InvalidLineError) else ""
        raise RunError(
            f"{file}{line}: not a JSON object; the file is cut or damaged: "
            "delete it with its results and evaluate again"
        ) from error


def _headline(
    name: str, row: Mapping[str, Any], higher_is_better: Mapping[str, Any], file: Path
) -> tuple[str, str]:
    if name in HEADLINES:
        return HEADLINES[name]
    for metric in row.get("metrics", []):
        # A difference in a loss would be read the wrong way round.
        if isinstance(row.get(metric), int | float) and higher_is_better.get(metric) is not False:
            return metric, row.get("filter", "none")
    raise RunError(f"{file}: no numeric metric of which more is better; found {row.get('metrics')}")


def _sample(task: str, row: Mapping[str, Any], metric: str, file: Path) -> Sample:
    try:
        doc: Mapping[str, Any] = row["doc"] if isinstance(row["doc"], Mapping) else {}
        response, answers = row["filtered_resps"][0], doc.get("answers")
        question_id = doc.get("question_id")
        score = float(row[metric])
        # NaN fails this too; the intervals hold for nothing else.
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"{score} is outside 0 to 1")
        return Sample(
            task=task,
            doc_id=row["doc_id"],
            doc_hash=row["doc_hash"],
            prompt_hash=row["prompt_hash"],
            score=score,
            question_id=f"{task}:{row['doc_id']}" if question_id is None else str(question_id),
            gold_position=doc.get("gold_position"),
            depth=doc.get("depth"),
            question=str(doc.get("question") or _last_line(row)),
            answers=tuple(map(str, answers if isinstance(answers, list) else [row.get("target")])),
            response=response if isinstance(response, str) else json.dumps(response),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunError(
            f"{file}: document {row.get('doc_id')}: no score by {metric!r} ({error!r}); "
            "expected a number from 0 to 1 in a row of lm_eval 0.4.13"
        ) from error


def _last_line(row: Mapping[str, Any]) -> str:
    """Return the end of a prompt whose document has no question of its own."""
    arguments = row.get("arguments")
    first = arguments.get("gen_args_0", {}) if isinstance(arguments, Mapping) else {}
    return str(first.get("arg_0", "")).strip()[-300:]
