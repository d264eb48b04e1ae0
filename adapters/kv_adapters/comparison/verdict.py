"""One sentence and one gate for each adapter, and for several seeds of one recipe together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from kv_adapters.comparison.compare import Comparison, compare
from kv_adapters.comparison.doubts import doubts, refuse_mistaken, unchanged
from kv_adapters.comparison.gate import Gate, Outcome
from kv_adapters.comparison.pairing import missing_tasks
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.seeds import Spread, families_of_seeds, pool

GateOutcome = Literal["passed", "failed", "inconclusive", "no evidence"]
EXIT_CODES: dict[GateOutcome, int] = {
    "passed": 0, "failed": 1, "inconclusive": 2, "no evidence": 2,
}  # fmt: skip
# What a task that must be improved is to the gate.
_ASKED: dict[Outcome, GateOutcome] = {"improved": "passed", "regressed": "failed"}
# What is worst is the whole's.
_ORDER: tuple[GateOutcome, ...] = ("failed", "inconclusive", "no evidence", "passed")


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one adapter.

    Attributes:
        adapter: label of its run, or of a recipe whose seeds are pooled.
        gate: whether general ability held, and what must be improved was.
        sentence: what changed, and what was not looked at.
        rows: the table.
        warnings: what was not compared, and why.
        doubts: why the runs may not be the ones that were meant.
        seeds: by row name, for pooled seeds alone: each seed's difference.
        unapplied: whether every answer is the base's own.
        unmet: tasks of which the gate asks for a gain that was not shown.
    """

    adapter: str
    gate: GateOutcome
    sentence: str
    rows: tuple[Comparison, ...]
    warnings: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    seeds: tuple[Spread, ...] = ()
    unapplied: bool = False
    unmet: tuple[str, ...] = ()


def judge(base: Run, others: Sequence[Run], gate: Gate | None = None) -> list[Verdict]:
    """Compare every run with the base, and the seeds of a recipe together.

    Args:
        base: results of the base model.
        others: results of adapters; labels ``NAME-seed0``, ``NAME-seed1`` ... are one recipe's.
        gate: what must not be lost, and what must be gained; None is the default.

    Raises:
        RunError: the runs cannot be compared.
    """
    gate = gate or Gate()
    for other in others:
        refuse_mistaken(base, other)
    compared = [compare(base, other, gate) for other in others]
    made, open_tasks = [], []
    for other, (rows, apart) in zip(others, compared, strict=True):
        lost = dict.fromkeys(str(line) for row in rows for line in row.lost)
        reasons = [why if name in why else f"{name}: {why}" for name, why in apart.items()]
        named = (*_misnamed(base, other, gate), *_rowless(rows, gate))
        warnings = (*named, *missing_tasks(base, other), *reasons, *lost)
        open_tasks.append(_not_compared(base, other, rows, gate))
        same = bool(unchanged(base, other))
        whose = (other.label,) if same else ()
        verdict = _verdict(other.label, rows, warnings, gate, open_tasks[-1], unapplied=whose)
        made.append(replace(verdict, doubts=tuple(doubts(base, other)), unapplied=same))
    for name, places in families_of_seeds(others).items():
        missing = {task for place in places for task in open_tasks[place]}
        made.append(_pooled(name, [made[place] for place in places], missing, gate))
    return made


def _pooled(label: str, seeds: Sequence[Verdict], missing: set[str], gate: Gate) -> Verdict:
    """Judge a recipe; a gated row that could not be pooled is missing like one not compared."""
    rows, spreads, dropped = pool(label, [verdict.rows for verdict in seeds])
    warnings = [
        f"{row.name}: not pooled, not all seeds answered the same documents" for row in dropped
    ]
    gated = [row for row in dropped if row.margin is not None]
    entries = {gate.gated_by(row.name) or gate.gated_by(row.member_of or "") for row in gated}
    ordered = [entry for entry in gate.tasks if entry in missing | entries]
    unapplied = [verdict.adapter for verdict in seeds if verdict.unapplied]
    verdict = _verdict(label, rows, warnings, gate, ordered, unapplied=unapplied)
    found = dict.fromkeys(line for verdict in seeds for line in verdict.doubts)
    return replace(verdict, doubts=tuple(found), seeds=tuple(spreads))


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """Return the worst gate's exit code: 0 passed, 1 failed, 2 not known."""
    return EXIT_CODES[min((verdict.gate for verdict in verdicts), key=_ORDER.index)]


def _not_compared(base: Run, other: Run, rows: Sequence[Comparison], gate: Gate) -> tuple[str, ...]:
    """Name what is gated and was not compared: in one run alone, or asked for and in no row."""
    compared = {row.name for row in rows}
    groups = {**base.groups, **other.groups}
    lacking = {
        gate.gated_by(name)
        for task in _evaluated(base, other) - compared
        for name in (task, *(group for group, leaves in groups.items() if task in leaves))
    }
    if "tasks" in gate.model_fields_set:
        lacking |= gate.tasks.keys() - {gate.gated_by(row.name) for row in rows if row.decides}
    return tuple(name for name in gate.tasks if name in lacking)


def _misnamed(base: Run, other: Run, gate: Gate) -> Iterator[str]:
    """Say which of the gate file's names neither run knows, and which of theirs are like it."""
    known = sorted({*_evaluated(base, other), *base.groups, *other.groups})
    named = gate.tasks if "tasks" in gate.model_fields_set else ()
    for entry in named:
        if any(name == entry or name.startswith(f"{entry}_") for name in known):
            continue
        alike = get_close_matches(entry, known)
        hint = f"; did you mean {' or '.join(alike)}?" if alike else ""
        yield f"{entry}: the gate file names it, and neither run has it{hint}"


def _rowless(rows: Sequence[Comparison], gate: Gate) -> Iterator[str]:
    """Say which gains the gate file asks for that no row of the table can show."""
    rows_of_their_own = [row.name for row in rows]
    for name in gate.improve:
        if name not in rows_of_their_own:
            alike = get_close_matches(name, rows_of_their_own)
            hint = f", such as {' or '.join(alike)}" if alike else ""
            yield (
                f"{name}: the gate file asks for a gain of it, and it has no row of its own here; "
                f"name tasks or groups that have one{hint}"
            )


def _evaluated(base: Run, other: Run) -> set[str]:
    return {
        name for run in (base, other) for name in (*run.tasks, *run.without_samples, *run.unfit)
    }


def _verdict(
    label: str,
    rows: Sequence[Comparison],
    warnings: Sequence[str],
    gate: Gate,
    missing: Sequence[str],
    *,
    unapplied: Sequence[str],
) -> Verdict:
    """Judge by the rows; the ``unapplied`` answered as the base, so no adapter was measured."""
    gated = [row.outcome for row in rows if row.decides]
    if missing or unapplied or not gated:
        gated.append("no evidence")
    asked = _asked_for(rows, gate)
    gated += asked.values()
    unmet = tuple(name for name, met in asked.items() if met != "passed")
    outcome: GateOutcome = next((name for name in _ORDER if name in gated), "no evidence")
    sentence = _sentence(label, rows, gate, missing, unmet)
    if unapplied:
        of = "" if label in unapplied else f" of {', '.join(unapplied)}"
        sentence = (
            f"{label}: every answer{of} is the base's own; nothing of an adapter was measured."
        )
    return Verdict(label, outcome, sentence, tuple(rows), tuple(warnings), unmet=unmet)


def _asked_for(rows: Sequence[Comparison], gate: Gate) -> dict[str, GateOutcome]:
    """Return what each task that must be improved is to the gate."""
    found = {row.name: row.outcome for row in rows}
    return {
        name: _ASKED.get(found[name], "inconclusive") if name in found else "no evidence"
        for name in gate.improve
    }


def _sentence(
    label: str,
    rows: Sequence[Comparison],
    gate: Gate,
    missing: Sequence[str],
    unmet: Sequence[str],
) -> str:
    """Say in one sentence what changed, by the rows that count, and what nobody looked at."""
    top = [row for row in rows if row.member_of is None]
    parts = [
        part
        for name in ("improved", "regressed", "inconclusive")
        if (part := _named(name, [row for row in top if row.margin is None]))
    ]
    gated = [row for row in rows if row.decides]
    if missing:
        parts.append(f"general ability was not compared in whole: {', '.join(missing)}")
    if not gated and not missing:
        parts.append(f"general ability was not evaluated ({', '.join(gate.tasks)})")
    elif not missing and all(row.outcome == "passed" for row in gated):
        parts.append(f"general ability held: {_list(gated)}")
    else:
        parts += [
            f"general ability {part}"
            for name in ("failed", "inconclusive", "no evidence", "passed")
            if (part := _named(name, gated))
        ]
    if unmet:
        parts.append(f"the gate asks for a gain of {', '.join(unmet)}, which was not shown")
    return f"{label}: {'; '.join(parts)}."


def _named(outcome: str, rows: Sequence[Comparison]) -> str:
    found = [row for row in rows if row.outcome == outcome]
    return f"{outcome}: {_list(found)}" if found else ""


def _list(rows: Sequence[Comparison]) -> str:
    return ", ".join(f"{row.name} ({100 * row.difference.difference:+.1f} points)" for row in rows)
