"""One task's scores by document, out of the file that the harness logged them in."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

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

    ``question_id``, ``gold_position`` and ``depth`` come from tasks that have them; in others every
    document is a question of its own. Prompts stay in their file, where :meth:`prompt` finds them.

    Attributes:
        chance: score of guessing: one over the number of choices, 0 where an answer is written.
        refused: 1.0 for an answer that says nothing to the question, None where nobody looked.
        length: tokens of the prompt, None where the task does not say.
        file: where the sample's row is, ``offset`` bytes from the start.
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
    chance: float
    refused: float | None
    length: int | None
    file: Path
    offset: int

    def row(self) -> dict[str, Any]:
        """Return the whole row as the harness wrote it."""
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            row: dict[str, Any] = json.loads(stream.readline())
        return row

    def prompt(self) -> str:
        """Return what the model was asked, empty where the row does not hold it."""
        return _prompt(self.row())

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


def read_task(name: str, file: Path, results: Mapping[str, Any]) -> TaskRun:
    """Read a task's samples on its headline metric.

    Args:
        name: the task.
        file: ``samples_<task>_<date>.jsonl``.
        results: the results of the same date, which count the samples.

    Raises:
        RunError: the file is empty, cut, doubled or damaged, or has no metric to compare.
    """
    rows = _rows(file)
    _, first = next(rows, (0, None))
    if first is None:
        raise RunError(f"{file}: empty; delete it with its results and evaluate again")
    higher_is_better = results["higher_is_better"].get(name) or {}
    metric, chosen = _headline(name, first, higher_is_better, file)
    samples = [
        _sample(name, row, metric, (file, offset))
        for offset, row in chain([(0, first)], rows)
        if row.get("filter", "none") == chosen
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


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield every row with its place in the file, in bytes."""
    offset = 0
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise _damaged(file, number) from error
            if not isinstance(row, dict):
                raise _damaged(file, number)
            yield offset, row
            offset += len(line)


def _damaged(file: Path, number: int) -> RunError:
    return RunError(
        f"{file}, line {number}: not a JSON object; the file is cut or damaged: "
        "delete it with its results and evaluate again"
    )


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


def _sample(task: str, row: Mapping[str, Any], metric: str, place: tuple[Path, int]) -> Sample:
    file, offset = place
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
            question=str(doc.get("question") or _prompt(row).strip()[-300:]),
            answers=tuple(map(str, answers if isinstance(answers, list) else [row.get("target")])),
            response=response if isinstance(response, str) else json.dumps(response),
            # Of several choices the harness keeps a log-likelihood each.
            chance=1 / len(row["filtered_resps"]) if len(row["filtered_resps"]) > 1 else 0.0,
            refused=row.get("other"),
            length=doc.get("length"),
            file=file,
            offset=offset,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunError(
            f"{file}: document {row.get('doc_id')}: no score by {metric!r} ({error!r}); "
            "expected a number from 0 to 1 in a row of lm_eval 0.4.13"
        ) from error


def _prompt(row: Mapping[str, Any]) -> str:
    arguments = row.get("arguments")
    first = arguments.get("gen_args_0", {}) if isinstance(arguments, Mapping) else {}
    return str(first.get("arg_0", ""))
