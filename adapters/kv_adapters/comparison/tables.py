"""The comparison as a table on the screen, as Markdown, and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.verdict import Verdict, exit_code

# What matters most stands first: a phone shows the left of a table.
HEADINGS = (
    "task", "outcome", "change", "95 % interval", "p", "base", "adapter", "docs", "metric",
)  # fmt: skip
NUMBERS = frozenset(HEADINGS[2:8])
# What a narrow terminal does without, in this order, rather than cut numbers.
SPARED = ("metric", "docs", "p", "base", "adapter")
_NAME = 24  # characters of a task's name, the rest of which goes onto further lines
# A group of more members than this, such as MMLU, stands for them where people read.
MEMBERS = 12
_COLOURS = {
    "improved": "green", "passed": "green", "regressed": "red", "failed": "red",
}  # fmt: skip


def cells(row: Comparison) -> tuple[str, ...]:
    """Return a row's texts under :data:`HEADINGS`; changes are in points of 100."""
    d = row.difference
    return (
        f"  {row.name}" if row.member_of else row.name,
        row.outcome,
        points(d.difference),
        f"{points(d.low)} to {points(d.high)}",
        _p_value(row.p_adjusted),
        f"{d.base:.3f}",
        f"{d.other:.3f}",
        str(d.documents),
        row.metric,
    )


def points(share: float) -> str:
    """Return a change in points of 100; what would round to zero, and is not, says its sign."""
    if 5e-5 <= abs(share) < 5e-4:
        return f"{100 * share:+.2f}"
    return f"{100 * share:+z.1f}"


def _p_value(adjusted: float | None) -> str:
    """Return the p-value that decides; of gated rows none does."""
    if adjusted is None:
        return ""
    return "<0.001" if adjusted < 0.001 else f"{adjusted:.3f}"


def readable(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return rows without the members of large groups, which JSON holds; but those that decide."""
    members = Counter(row.member_of for row in rows)
    return [
        row
        for row in rows
        if row.member_of is None or row.decides or members[row.member_of] <= MEMBERS
    ]


def remarks(verdict: Verdict, *, shortened: bool = False) -> list[str]:
    """Return what the table leaves open, and how seeds differed.

    Args:
        verdict: of which the table is.
        shortened: whether to say what :func:`readable` leaves out, where nothing else shows it.
    """
    lines = []
    shown = readable(verdict.rows)
    members = Counter(row.member_of for row in verdict.rows)
    unlisted = members - Counter(row.member_of for row in shown)
    for row in shown:
        if row.member_of is not None and not row.decides:
            continue
        if shortened and (left := unlisted[row.name]):
            rest = f"{left} tasks" if left == members[row.name] else f"{left} other tasks"
            lines.append(f"{row.name}: its {rest} are not listed; --json does")
        if row.note:
            lines.append(f"{row.name}: {row.note}")
        if row.needed:
            lines.append(f"{row.name}: {_plan(row, row.needed)}")
        if row.unread:
            lines.append(f"{row.name}: {row.unread}")
        if row.form:
            lines.append(f"{row.name}: {row.form}")
    named = {row.name for row in shown}
    for spread in verdict.seeds:
        if spread.name not in named:
            continue
        each = ", ".join(f"{100 * change:+.1f}" for change in spread.differences)
        deviation = f"{100 * spread.deviation:.1f}"
        lines.append(f"{spread.name}: seeds {each}; standard deviation {deviation} points")
    return lines


def _plan(row: Comparison, needed: int) -> str:
    if row.margin is not None:
        return (
            f"about {needed:,} questions would keep the interval within the margin with 80 % "
            "power, if nothing was lost"
        )
    change = points(row.difference.difference)
    return f"about {needed:,} questions would show a change of {change} points with 80 % power"


def screen(verdict: Verdict, *, width: int) -> Table:
    """Return the table for a terminal of ``width`` columns; a narrow one goes without some."""
    rows = [dict(zip(HEADINGS, cells(row), strict=True)) for row in readable(verdict.rows)]
    table = Table(
        title=escape(f"{verdict.adapter} against its base"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    shown = _fitting(rows, width)
    for heading in shown:
        name = heading in ("task", "metric")
        side: Literal["left", "right"] = "right" if heading in NUMBERS else "left"
        table.add_column(heading, justify=side, no_wrap=not name, overflow="fold")
    for texts in rows:
        colour = _COLOURS.get(texts["outcome"], "yellow")
        said = {name: escape(text) for name, text in texts.items()}
        said["outcome"] = f"[{colour}]{said['outcome']}[/]"
        table.add_row(*(said[heading] for heading in shown))
    return table


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Return the headings of the columns that fit side by side, numbers whole."""

    def needed(heading: str) -> int:
        widest = max(len(text[heading]) for text in (*rows, {heading: heading}))
        # Between columns are three blanks, around them two, and names may go on beneath.
        return 3 + (min(widest, _NAME) if heading == "task" else widest)

    shown = list(HEADINGS)
    for spared in SPARED:
        if sum(map(needed, shown)) - 1 > width:
            shown.remove(spared)
    return shown


def markdown(verdict: Verdict, notes: Sequence[str] | None = None) -> str:
    """Return sentence, table and notes as GitHub Markdown; None for all that there is to note."""
    if notes is None:
        doubts = [f"warning: {line}" for line in verdict.doubts]
        notes = [*doubts, *remarks(verdict, shortened=True), *verdict.warnings]
    items = "".join(f"- {line}\n" for line in notes)
    table = markdown_table(verdict.rows)
    return f"{verdict.sentence}\n\n{table}" + (f"\n{items}" if items else "")


def markdown_table(rows: Sequence[Comparison], base: str = "base", other: str = "adapter") -> str:
    """Return the table alone; ``base`` and ``other`` head the columns of the two scores."""
    named = {"base": base, "adapter": other}
    lines = [
        tuple(named.get(heading, heading) for heading in HEADINGS),
        tuple("---" for _ in HEADINGS),
        *(cells(row) for row in readable(rows)),
    ]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return verdicts and rows without their documents, for ``json.dumps``."""
    return {
        "exit_code": exit_code(verdicts),
        "verdicts": [
            {
                "adapter": verdict.adapter,
                "gate": verdict.gate,
                "unmet": list(verdict.unmet),
                "sentence": verdict.sentence,
                "warnings": list(verdict.warnings),
                "doubts": list(verdict.doubts),
                "seeds": [asdict(spread) for spread in verdict.seeds],
                "rows": [_row_as_json(row) for row in verdict.rows],
            }
            for verdict in verdicts
        ],
    }


def _row_as_json(row: Comparison) -> dict[str, Any]:
    plain = {
        name: getattr(row, name)
        for name in ("name", "member_of", "metric", "kind", "margin", "decides", "outcome", "note",
                     "needed", "unread", "form", "p_adjusted")
    }  # fmt: skip
    return plain | asdict(row.difference) | {"lost": [asdict(lost) for lost in row.lost]}
