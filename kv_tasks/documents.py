"""The fields that every document of every task carries, whatever else it has.

The comparison clusters documents by ``question_id`` and draws curves by the others, so the
names and units live here and nowhere else.
"""

from collections.abc import Sequence
from typing import Any

from kv_tasks.errors import DataError


def check_choice(task: str, field: str, value: object, choices: Sequence[object]) -> None:
    """Refuse metadata that names no setting there is.

    Raises:
        DataError: naming the field and the choices.
    """
    if value not in choices:
        raise DataError(f"{task}: {field} {value!r}; choose one of {', '.join(map(str, choices))}")


def check_samples(
    task: str,
    samples: int | None,
    most: int | None = None,
    *,
    name: str = "samples",
    endless: bool = False,
) -> None:
    """Refuse a number of documents below 1, or of more than there are.

    None is all of them, and refused where they are ``endless``.

    Raises:
        DataError: naming the number.
    """
    if samples is None and not endless:
        return
    if type(samples) is not int or samples < 1 or (most is not None and samples > most):
        there = "1 or more" if most is None else f"1 to {most}"
        raise DataError(f"{task}: {name} {samples!r}; choose {there}")


def depth_of(position: int, candidates: int) -> float:
    """Return where the 1-based ``position`` lies: 0 for the first candidate, 1 for the last."""
    return (position - 1) / max(1, candidates - 1)


def document(
    *,
    question_id: str,
    answers: Sequence[str],
    gold_position: int | None,
    candidates: int = 0,
    depth: float | None = None,
    length: int | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """Return a task document with the common fields first.

    Args:
        question_id: the same at every position and length at which a question recurs.
        answers: all strings that count as right, at least one.
        gold_position: 1-based place of the gold document or dictionary among
            ``candidates``; None where there is none (closed book).
        candidates: how many documents or dictionaries the haystack has.
        depth: given only where there is no position; 0 to 1, None where there is no depth either.
        length: tokens of the prompt as the model reads it, None where no tokenizer is known.
        rest: the fields of the task itself.

    Returns:
        ``depth`` is 0 for the first candidate, 1 for the last; as given without a position.

    Raises:
        DataError: when there is no answer or the position lies outside the haystack.
    """
    if not answers:
        raise DataError(f"question {question_id}: no answer; every document needs at least one")
    if gold_position is not None and not 1 <= gold_position <= candidates:
        raise DataError(
            f"question {question_id}: gold_position {gold_position} is outside the "
            f"haystack; choose 1 to {candidates}"
        )
    if gold_position is not None:
        depth = depth_of(gold_position, candidates)
    return {
        "question_id": question_id,
        "gold_position": gold_position,
        "depth": depth,
        "length": length,
        "answers": list(answers),
        **rest,
    }
