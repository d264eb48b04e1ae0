"""Join two runs document by document, compare them, and say what changed.

Long-context tasks are judged by superiority: improved, regressed, or inconclusive. General
ability is judged by non-inferiority with a margin of 1 point: held, regressed or
inconclusive; that no difference was found does not mean that there is none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kv_adapters.runs import Run, Sample
from kv_adapters.statistics import Difference, paired_difference
from kv_tasks.errors import RunError

GENERAL = ("mmlu", "hellaswag", "gsm8k", "triviaqa", "nq_open")
MARGIN = 0.01
Outcome = Literal["improved", "regressed", "held", "inconclusive"]


@dataclass(frozen=True)
class Pair:
    """The same prompt answered by both models."""

    base: Sample
    other: Sample


@dataclass(frozen=True)
class Comparison:
    """One row of the table.

    Attributes:
        name: task or group.
        member_of: the group that a task belongs to; None for groups and lone tasks.
        adapter: label of the other run.
        metric: what was scored.
        difference: numbers and interval.
        outcome: what they mean.
        pairs: the documents behind them.
        unmatched: what did not join, in words; empty when everything did.
    """

    name: str
    member_of: str | None
    adapter: str
    metric: str
    difference: Difference
    outcome: Outcome
    pairs: tuple[Pair, ...]
    unmatched: tuple[str, ...]


def compare(base: Run, other: Run) -> list[Comparison]:
    """Compare all tasks and groups that both runs have; each group stands before its tasks.

    Raises:
        RunError: the runs have no task, or no document of a task, in common.
    """
    shared = [name for name in base.tasks if name in other.tasks]
    if not shared:
        raise RunError(
            f"{other.folder}: no task in common with {base.folder}; found "
            f"{', '.join(other.tasks)} and {', '.join(base.tasks)}"
        )
    joined = {name: _join(base, other, name) for name in shared}
    return list(_rows(base, other, joined))


def missing_tasks(base: Run, other: Run) -> list[str]:
    """Name the tasks that only one of two runs has."""
    return [f"{name}: only in {run.label}" for run, rest in ((base, other), (other, base))
            for name in run.tasks if name not in rest.tasks]  # fmt: skip


def verdict(rows: Sequence[Comparison]) -> str:
    """Say in one sentence what changed, by the table's top rows, and what nobody looked at."""
    top = [row for row in rows if row.member_of is None]
    parts = []
    for outcome in ("improved", "regressed", "held", "inconclusive"):
        named = [
            f"{row.name} ({100 * row.difference.difference:+.1f} points)"
            for row in top
            if row.outcome == outcome
        ]
        if named:
            parts.append(f"{outcome}: {', '.join(named)}")
    if not any(is_general(row.name) for row in top):
        parts.append(f"general ability was not evaluated ({', '.join(GENERAL)})")
    return f"{top[0].adapter}: {'; '.join(parts)}."


def is_general(name: str) -> bool:
    """Say whether a task, or a group of tasks, measures general ability."""
    return name in GENERAL or name.startswith("mmlu_")


def _join(base: Run, other: Run, name: str) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    mine, theirs = base.tasks[name], other.tasks[name]
    if (mine.metric, mine.filter) != (theirs.metric, theirs.filter):
        raise RunError(
            f"{name}: {base.label} has {mine.metric},{mine.filter} and {other.label} has "
            f"{theirs.metric},{theirs.filter}; evaluate both with the same task version"
        )
    by_key = {sample.key: sample for sample in theirs.samples}
    pairs = tuple(Pair(s, by_key.pop(s.key)) for s in mine.samples if s.key in by_key)
    if not pairs:
        raise RunError(
            f"{name}: no prompt of {base.label} is also in {other.label}; were chat template, "
            "limit or seed different?"
        )
    lost = len(mine.samples) - len(pairs)
    counts = ((lost, base.label), (len(by_key), other.label))
    return pairs, tuple(
        f"{name}: {count} prompts only in {label}" for count, label in counts if count
    )


def _rows(
    base: Run, other: Run, joined: dict[str, tuple[tuple[Pair, ...], tuple[str, ...]]]
) -> Iterator[Comparison]:
    grouped: set[str] = set()
    for group, leaves in base.groups.items():
        members = [leaf for leaf in leaves if leaf in joined]
        if len(members) < 2 or grouped.intersection(members):
            continue
        grouped.update(members)
        yield _row(group, None, base, other, members, joined)
        for member in members:
            yield _row(member, group, base, other, [member], joined)
    for name in joined:
        if name not in grouped:
            yield _row(name, None, base, other, [name], joined)


def _row(
    name: str,
    member_of: str | None,
    base: Run,
    other: Run,
    tasks: Sequence[str],
    joined: dict[str, tuple[tuple[Pair, ...], tuple[str, ...]]],
) -> Comparison:
    pairs = tuple(pair for task in tasks for pair in joined[task][0])
    difference = paired_difference(
        [pair.base.score for pair in pairs],
        [pair.other.score for pair in pairs],
        [pair.base.question_id for pair in pairs],
    )
    return Comparison(
        name=name,
        member_of=member_of,
        adapter=other.label,
        metric=base.tasks[tasks[0]].metric,
        difference=difference,
        outcome=_outcome(difference, general=is_general(name)),
        pairs=pairs,
        unmatched=tuple(line for task in tasks for line in joined[task][1]),
    )


def _outcome(difference: Difference, *, general: bool) -> Outcome:
    if general:
        if difference.low > -MARGIN:
            return "held"
        return "regressed" if difference.high < -MARGIN else "inconclusive"
    if difference.low > 0:
        return "improved"
    return "regressed" if difference.high < 0 else "inconclusive"
