"""One task's scores by document, out of the file that the harness logged them in."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from kv_tasks.errors import MetricError, RunError

# Headline metric and filter of tasks that log several; others: the first numeric metric.
HEADLINES: Mapping[str, tuple[str, str]] = {
    "gsm8k": ("exact_match", "strict-match"),
    "hellaswag": ("acc_norm", "none"),
    "triviaqa": ("exact_match", "remove_whitespace"),
    "nq_open": ("exact_match", "remove_whitespace"),
}


# What guessing scores where one of several choices is written out; the longest that fits counts.
WRITTEN_CHOICES: Mapping[str, float] = {
    "flenqa_": 0.5, "kv_paper_flenqa_": 0.5,
    "mmlu_": 0.25, "mmlu_pro_": 0.1, "mmlu_prox_": 0.1,
}  # fmt: skip
N = TypeVar("N", int, float)
K = TypeVar("K", int, str)


@dataclass(frozen=True)
class Sample:
    """One document's score on the headline metric.

    ``question_id``, ``gold_position`` and ``depth`` come from tasks that have them; in others every
    document is a question of its own. Prompts stay in their file, where :meth:`prompt` finds them.

    Attributes:
        chance: score of guessing: one over the number of choices, 0 where an answer is written.
        refused: 1.0 for an answer that says nothing to the question, None where nobody looked.
        length: tokens of the prompt, None where the task does not say.
        value: of key-value retrieval: 1.0 where the value is right, whatever else is asked.
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
    value: float | None
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
        RunError: the file is empty, cut, doubled or damaged.
        MetricError: it has no metric that can be compared.
    """
    _, first = next(_rows(file), (0, None))
    if first is None:
        raise RunError(f"{file}: empty; delete it with its results and evaluate again")
    higher_is_better = results["higher_is_better"].get(name)
    better = higher_is_better if isinstance(higher_is_better, Mapping) else {}
    problem: MetricError | None = None
    for metric, chosen in _headlines(name, first, better):
        try:
            samples = [
                _sample(name, row, metric, (file, offset))
                for offset, row in _rows(file)
                if row.get("filter", "none") == chosen
            ]
        except MetricError as error:
            # RULER, for one, says -1 for the lengths that were not asked for.
            problem = problem or error
            continue
        if not samples:
            # A task of the user's own may have the name of one that is known.
            where = f"{file}: no rows of filter {chosen!r}, the headline of {name}"
            problem = problem or MetricError(where)
            continue
        counts = results["n-samples"].get(name)
        expected = counts.get("effective") if isinstance(counts, Mapping) else None
        _check_whole(samples, expected if isinstance(expected, int) else len(samples), file)
        return TaskRun(name, metric, chosen, tuple(samples))
    raise problem or MetricError(
        f"{file}: no numeric metric of which more is better; found {first.get('metrics')}"
    )


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


def _headlines(
    name: str, row: Mapping[str, Any], higher_is_better: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield metric and filter that a task may be judged by, the best first."""
    if name in HEADLINES:
        yield HEADLINES[name]
        return
    metrics = row.get("metrics")
    for metric in metrics if isinstance(metrics, list) else ():
        if not isinstance(metric, str):
            continue
        # A difference in a loss would be read the wrong way round.
        if isinstance(row.get(metric), int | float) and higher_is_better.get(metric) is not False:
            yield metric, row.get("filter", "none")


def _sample(task: str, row: Mapping[str, Any], metric: str, place: tuple[Path, int]) -> Sample:
    file, offset = place
    try:
        doc: Mapping[str, Any] = row["doc"] if isinstance(row["doc"], Mapping) else {}
        responses, answers = row["filtered_resps"], doc.get("answers")
        if not isinstance(answers, list):
            answers = [row["target"]] if "target" in row else []
        question_id = doc.get("question_id")
        score = float(row[metric])
        # NaN fails this too; the intervals hold for nothing else.
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"{score} is outside 0 to 1")
        return Sample(
            task=task,
            doc_id=_of(int, row, "doc_id"),
            doc_hash=_of(str, row, "doc_hash"),
            prompt_hash=_of(str, row, "prompt_hash"),
            score=score,
            question_id=f"{task}:{row['doc_id']}" if question_id is None else str(question_id),
            gold_position=_number(doc.get("gold_position"), int),
            depth=_number(doc.get("depth"), float),
            question=str(doc.get("question") or _prompt(row).strip()[-300:]),
            answers=tuple(map(str, answers)),
            response=_response(responses),
            chance=_chance(task, responses),
            refused=_number(row.get("other"), float),
            length=_number(doc.get("length"), int),
            value=_number(row.get("value_match"), float),
            file=file,
            offset=offset,
        )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise MetricError(
            f"{file}: document {row.get('doc_id')}: no score by {metric!r} ({error!r}); "
            "expected a number from 0 to 1 in a row of lm_eval 0.4.13"
        ) from error


def _response(responses: Sequence[Any]) -> str:
    """Return what the model wrote, or the log-likelihoods of the choices, in their order."""
    first = responses[0]
    if len(responses) > 1 and isinstance(first, list):
        return "log-likelihoods " + ", ".join(str(choice[0]) for choice in responses)
    return first if isinstance(first, str) else json.dumps(first)


def _of(kind: type[K], row: Mapping[str, Any], key: str) -> K:
    """Return what a document is known by; anything else could not be looked up."""
    value = row[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {value!r}, not {kind.__name__}")
    return value


def _number(value: Any, kind: type[N]) -> N | None:
    """Return a number that a task of any origin may have put under one of our names, else None."""
    return kind(value) if isinstance(value, int | float) else None


def _chance(task: str, responses: Sequence[Any]) -> float:
    """Return what guessing scores: of several choices the harness keeps a log-likelihood each."""
    if len(responses) > 1:
        return 1 / len(responses)
    # A letter that is written is one of as many.
    fits = [name for name in WRITTEN_CHOICES if task.startswith(name)]
    return WRITTEN_CHOICES[max(fits, key=len)] if fits else 0.0


def _prompt(row: Mapping[str, Any]) -> str:
    arguments = row.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, Mapping) else None
    return str(first.get("arg_0", "")) if isinstance(first, Mapping) else ""
