"""The comparison as a table on the screen, as Markdown, and as JSON."""

from collections import Counter
from collections.abc import Sequence
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
WIDE = 110
# A group of more members than this, such as MMLU, stands for them where people read.
MEMBERS = 12
_COLOURS = {
    "improved": "green", "passed": "green", "regressed": "red", "failed": "red",
}  # fmt: skip


def cells(row: Comparison) -> tuple[str, ...]:
    """Return a row's texts under :data:`HEADINGS`; changes are in points of 100."""
    d = row.difference
    # Of rows of superiority the p-value that decides, after Holm's correction.
    p_value = d.p_value if row.p_adjusted is None else row.p_adjusted
    return (
        f"  {row.name}" if row.member_of else row.name,
        row.outcome,
        f"{100 * d.difference:+.1f}",
        f"{100 * d.low:+.1f} to {100 * d.high:+.1f}",
        "<0.001" if p_value < 0.001 else f"{p_value:.3f}",
        f"{d.base:.3f}",
        f"{d.other:.3f}",
        str(d.documents),
        row.metric,
    )


def readable(rows: Sequence[Comparison]) -> list[Comparison]:
    """Return rows without the members of large groups, which JSON holds."""
    members = Counter(row.member_of for row in rows)
    return [row for row in rows if row.member_of is None or members[row.member_of] <= MEMBERS]


def remarks(verdict: Verdict) -> list[str]:
    """Return what the table's top rows leave open, and how seeds differed."""
    lines = []
    members = Counter(row.member_of for row in verdict.rows)
    for row in verdict.rows:
        if row.member_of is not None:
            continue
        if members[row.name] > MEMBERS:
            lines.append(f"{row.name}: its {members[row.name]} tasks are not listed; --json does")
        if row.note:
            lines.append(f"{row.name}: {row.note}")
        if row.needed:
            lines.append(f"{row.name}: about {row.needed:,} questions would settle it")
    for spread in verdict.seeds:
        each = ", ".join(f"{100 * change:+.1f}" for change in spread.differences)
        deviation = f"{100 * spread.deviation:.1f}"
        lines.append(f"{spread.name}: seeds {each}; standard deviation {deviation} points")
    return lines


def screen(verdict: Verdict, *, width: int) -> Table:
    """Return the table for a terminal of ``width`` columns; a narrow one goes without metrics."""
    table = Table(
        title=escape(f"{verdict.adapter} against its base"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    shown = [heading for heading in HEADINGS if heading != "metric" or width >= WIDE]
    for heading in shown:
        name = heading in ("task", "metric")
        side: Literal["left", "right"] = "right" if heading in NUMBERS else "left"
        table.add_column(heading, justify=side, no_wrap=not name, overflow="fold")
    for row in readable(verdict.rows):
        texts = dict(zip(HEADINGS, map(escape, cells(row)), strict=True))
        texts["outcome"] = f"[{_COLOURS.get(row.outcome, 'yellow')}]{row.outcome}[/]"
        table.add_row(*(texts[heading] for heading in shown))
    return table


def markdown(verdict: Verdict) -> str:
    """Return sentence, table and remarks as GitHub Markdown."""
    notes = "".join(f"- {line}\n" for line in (*remarks(verdict), *verdict.warnings))
    table = markdown_table(verdict.rows)
    return f"{verdict.sentence}\n\n{table}" + (f"\n{notes}" if notes else "")


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
                "sentence": verdict.sentence,
                "warnings": list(verdict.warnings),
                "seeds": [asdict(spread) for spread in verdict.seeds],
                "rows": [_row_as_json(row) for row in verdict.rows],
            }
            for verdict in verdicts
        ],
    }


def _row_as_json(row: Comparison) -> dict[str, Any]:
    plain = {
        name: getattr(row, name)
        for name in ("name", "member_of", "metric", "kind", "margin", "outcome", "note", "needed",
                     "p_adjusted")
    }  # fmt: skip
    return plain | asdict(row.difference) | {"lost": [asdict(lost) for lost in row.lost]}
