"""Join two runs document by document, compare them, and say what changed.

Long-context tasks are judged by superiority: improved, regressed, or inconclusive. General
ability is judged by non-inferiority with a margin of 1 point: held, regressed or
inconclusive; that no difference was found does not mean that there is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kv_adapters.comparison.pairing import Pair, Pairing, Unmatched, pair
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.statistics import Difference, paired_difference
from kv_tasks.errors import RunError

GENERAL = ("mmlu", "hellaswag", "gsm8k", "triviaqa", "nq_open")
MARGIN = 0.01
Outcome = Literal["improved", "regressed", "held", "inconclusive"]


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
        lost: what did not join, and why; empty when everything did.
    """

    name: str
    member_of: str | None
    adapter: str
    metric: str
    difference: Difference
    outcome: Outcome
    pairs: tuple[Pair, ...]
    lost: tuple[Unmatched, ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """What did not join, counted, in words."""
        return tuple(lost.summary for lost in self.lost)


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
    joined = {name: pair(base, other, name) for name in shared}
    return list(_rows(base, other, joined))


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


def _rows(base: Run, other: Run, joined: Mapping[str, Pairing]) -> Iterator[Comparison]:
    grouped: set[str] = set()
    for group, leaves in base.groups.items():
        members = [leaf for leaf in leaves if leaf in joined]
        within_another = any(set(leaves) < set(wider) for wider in base.groups.values())
        if len(members) < 2 or within_another or grouped.intersection(members):
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
    joined: Mapping[str, Pairing],
) -> Comparison:
    pairs = tuple(found for task in tasks for found in joined[task].pairs)
    difference = paired_difference(
        [found.base.score for found in pairs],
        [found.other.score for found in pairs],
        [found.base.question_id for found in pairs],
    )
    return Comparison(
        name=name,
        member_of=member_of,
        adapter=other.label,
        metric=", ".join(dict.fromkeys(base.tasks[task].metric for task in tasks)),
        difference=difference,
        outcome=_outcome(difference, general=is_general(name)),
        pairs=pairs,
        lost=tuple(lost for task in tasks for lost in joined[task].unmatched),
    )


def _outcome(difference: Difference, *, general: bool) -> Outcome:
    if general:
        if difference.low > -MARGIN:
            return "held"
        return "regressed" if difference.high < -MARGIN else "inconclusive"
    if difference.low > 0:
        return "improved"
    return "regressed" if difference.high < 0 else "inconclusive"
