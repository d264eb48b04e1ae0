"""Join two runs document by document and compare them, task by task and group by group.

Long-context tasks are judged by superiority, gated ones by non-inferiority; see gate.py.
Families of Holm's correction are an adapter's rows of superiority at top level, and within each
group its members.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from statsmodels.stats.multitest import multipletests

from kv_adapters.comparison.form import form
from kv_adapters.comparison.gate import Gate, Outcome, non_inferiority, superiority
from kv_adapters.comparison.pairing import Pair, Pairing, Unmatched, pair
from kv_adapters.comparison.power import questions_needed
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.statistics import Difference, paired_difference
from kv_adapters.comparison.unread import unread
from kv_tasks.errors import RunError

Kind = Literal["superiority", "non-inferiority"]
Groups = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Comparison:
    """One row of the table.

    Attributes:
        name: task or group.
        member_of: the group that a task belongs to; None for groups and lone tasks.
        adapter: label of the other run.
        metric: what was scored.
        kind: how it is judged.
        margin: of non-inferiority, as a share of 1; None for superiority.
        decides: whether the gate counts it; a gated group's tasks do with an entry of their own.
        difference: numbers and interval.
        p_adjusted: p-value after Holm's correction in its family; None for non-inferiority.
        outcome: what they mean.
        note: why the outcome is what it is, where that is not plain.
        needed: of an inconclusive row: questions that would show the change that was seen, or pass
            the margin if nothing was lost, with 80 % power.
        unread: how many answers could not be read, where that clearly changed.
        form: what the metric leaves out of how answers look, where that is much.
        pairs: the documents behind them.
        lost: what did not join, and why; empty when everything did.
    """

    name: str
    member_of: str | None
    adapter: str
    metric: str
    kind: Kind
    margin: float | None
    decides: bool
    difference: Difference
    p_adjusted: float | None
    outcome: Outcome
    note: str
    needed: int | None
    unread: str
    form: str
    pairs: tuple[Pair, ...]
    lost: tuple[Unmatched, ...]


def compare(
    base: Run, other: Run, gate: Gate | None = None
) -> tuple[list[Comparison], dict[str, str]]:
    """Compare all tasks and groups that both runs have; each group stands before its tasks.

    Args:
        base: what the other is measured against.
        other: most often an adapter's run.
        gate: what is judged by non-inferiority; None is the default.

    Returns:
        The rows, and the tasks that cannot be compared, with the reason.

    Raises:
        RunError: the runs have no task, or no document of any, in common.
    """
    shared = [name for name in base.tasks if name in other.tasks]
    if not shared:
        raise RunError(
            f"{other.folder}: no task in common with {base.folder}; found "
            f"{', '.join(other.tasks)} and {', '.join(base.tasks)}"
        )
    joined, apart = {}, {}
    for name in shared:
        try:
            joined[name] = pair(base, other, name)
        except RunError as error:
            apart[name] = str(error)
    if not joined:
        raise RunError("; ".join(apart.values()))
    gate = gate or Gate()
    rows = judged(list(_rows(base, other, joined, gate)))
    return [replace(row, decides=_decides(row, rows, gate)) for row in rows], apart


def judged(rows: Sequence[Comparison]) -> list[Comparison]:
    """Give every row its outcome; rows of superiority need their families."""
    adjusted: dict[int, tuple[float, int]] = {}
    for family in dict.fromkeys(row.member_of for row in rows if row.margin is None):
        places = [n for n, row in enumerate(rows) if row.margin is None and row.member_of == family]
        p_values = [rows[n].difference.p_value for n in places]
        found = multipletests(p_values, method="holm")[1]
        adjusted |= {n: (float(p), len(places)) for n, p in zip(places, found, strict=True)}
    return [_outcome(row, *adjusted.get(n, (None, 1))) for n, row in enumerate(rows)]


def _outcome(row: Comparison, adjusted: float | None, family: int) -> Comparison:
    if row.margin is not None:
        outcome, note = non_inferiority(row.difference, row.margin, row.pairs)
    else:
        outcome, note = superiority(row.difference, 1.0 if adjusted is None else adjusted)
    open_question = outcome == "inconclusive"
    needed = questions_needed(row.difference, row.margin, family) if open_question else None
    return replace(row, outcome=outcome, note=note, needed=needed, p_adjusted=adjusted)


def _rows(base: Run, other: Run, joined: Mapping[str, Pairing], gate: Gate) -> Iterator[Comparison]:
    grouped: set[str] = set()
    known = {**other.groups, **base.groups}
    groups = {name: leaves for name, leaves in known.items() if _stands(name, known, joined, gate)}
    for group, leaves in groups.items():
        members = [leaf for leaf in leaves if leaf in joined]
        within_another = any(set(leaves) < set(wider) for wider in groups.values())
        if len(members) < 2 or within_another or grouped.intersection(members):
            continue
        grouped.update(members)
        yield _row((group, None), base, other, {name: joined[name] for name in members}, gate)
        for inner in _gated_within(group, known, gate):
            if below := {name: joined[name] for name in known[inner] if name in joined}:
                yield _row((inner, group), base, other, below, gate)
        for member in members:
            yield _row((member, group), base, other, {member: joined[member]}, gate)
    for name in joined:
        if name not in grouped:
            yield _row((name, None), base, other, {name: joined[name]}, gate)


def _stands(group: str, known: Groups, joined: Container[str], gate: Gate) -> bool:
    """Say whether a row of a group would be what its name says.

    Of a gated group what lacks is no evidence already; any other must have been compared whole,
    and hold nothing gated, which would be out of sight.
    """
    if gate.margin_of(group) is not None:
        return True
    leaves = set(known[group])
    inner = [n for n, below in known.items() if n != group and set(below) <= leaves]
    gated = any(gate.margin_of(name) is not None for name in (*leaves, *inner))
    return not gated and all(leaf in joined for leaf in leaves)


def _gated_within(group: str, known: Groups, gate: Gate) -> list[str]:
    """Name the groups within a gated one that the gate names as well."""
    leaves = set(known[group])
    inner = [name for name in gate.tasks if name in known and name != group]
    return [name for name in inner if set(known[name]) <= leaves]


def _decides(row: Comparison, rows: Sequence[Comparison], gate: Gate) -> bool:
    """Whether the gate counts a row: by its own entry, not by one that another row stands for."""
    if row.margin is None or row.member_of is None:
        return row.margin is not None
    entry = gate.gated_by(row.name)
    beside = {other.name for other in rows if other.member_of == row.member_of}
    own = entry is not None and entry != gate.gated_by(row.member_of)
    return own and (entry == row.name or entry not in beside)


def _row(
    place: tuple[str, str | None],
    base: Run,
    other: Run,
    joined: Mapping[str, Pairing],
    gate: Gate,
) -> Comparison:
    """Compare the documents of one task, or of all tasks of a group, without a judgement yet."""
    name, group = place
    pairs = tuple(found for pairing in joined.values() for found in pairing.pairs)
    metric = ", ".join(dict.fromkeys(base.tasks[task].metric for task in joined))
    margin = gate.margin_of(name)
    if margin is None and group is not None:
        margin = gate.margin_of(group)
    return Comparison(
        name=name,
        member_of=group,
        adapter=other.label,
        metric=metric,
        kind="superiority" if margin is None else "non-inferiority",
        margin=margin,
        decides=False,
        difference=paired_difference(
            [found.base.score for found in pairs],
            [found.other.score for found in pairs],
            [found.base.question_id for found in pairs],
        ),
        p_adjusted=None,
        outcome="inconclusive",
        note="",
        needed=None,
        unread=unread(pairs),
        form=form(pairs, metric),
        pairs=pairs,
        lost=tuple(lost for pairing in joined.values() for lost in pairing.unmatched),
    )
