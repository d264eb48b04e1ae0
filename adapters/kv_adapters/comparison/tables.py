"""The comparison as a table on the screen, as Markdown, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from kv_adapters.comparison.compare import Comparison

# What matters most stands first: a phone shows the left of a table.
HEADINGS = ("task", "outcome", "change", "95 % interval", "base", "adapter", "docs", "metric")
NUMBERS = frozenset(HEADINGS[2:7])
WIDE = 110
_COLOURS = {"improved": "green", "held": "green", "regressed": "red", "inconclusive": "yellow"}


def cells(row: Comparison) -> tuple[str, ...]:
    """Return a row's texts under :data:`HEADINGS`; changes are in points of 100."""
    d = row.difference
    return (
        f"  {row.name}" if row.member_of else row.name,
        row.outcome,
        f"{100 * d.difference:+.1f}",
        f"{100 * d.low:+.1f} to {100 * d.high:+.1f}",
        f"{d.base:.3f}",
        f"{d.other:.3f}",
        str(d.documents),
        row.metric,
    )


def screen(rows: Sequence[Comparison], *, width: int) -> Table:
    """Return the table for a terminal of ``width`` columns; a narrow one goes without metrics."""
    table = Table(
        title=escape(f"{rows[0].adapter} against its base"),
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    shown = [heading for heading in HEADINGS if heading != "metric" or width >= WIDE]
    for heading in shown:
        name = heading in ("task", "metric")
        side: Literal["left", "right"] = "right" if heading in NUMBERS else "left"
        table.add_column(heading, justify=side, no_wrap=not name, overflow="fold")
    for row in rows:
        texts = dict(zip(HEADINGS, map(escape, cells(row)), strict=True))
        texts["outcome"] = f"[{_COLOURS[row.outcome]}]{row.outcome}[/]"
        table.add_row(*(texts[heading] for heading in shown))
    return table


def markdown(rows: Sequence[Comparison]) -> str:
    """Return the table as GitHub Markdown."""
    lines = [HEADINGS, tuple("---" for _ in HEADINGS), *(cells(row) for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def as_json(rows: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Return the rows without their documents, for ``json.dumps``."""
    return [
        {
            "name": row.name,
            "member_of": row.member_of,
            "adapter": row.adapter,
            "metric": row.metric,
            "outcome": row.outcome,
            "unmatched": list(row.unmatched),
            "lost": [asdict(lost) for lost in row.lost],
            **asdict(row.difference),
        }
        for row in rows
    ]
