"""One self-contained page: verdict, table, curves, the documents that changed, provenance."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kv_adapters.comparison import tables
from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.gate import Gate
from kv_adapters.comparison.pairing import Pair
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.verdict import Verdict, judge
from kv_adapters.reports import figures
from kv_adapters.reports.figures import Drawing
from kv_tasks.files import atomic_path, write_text

PAGE = "report.html"
SHOWN = 50


@dataclass(frozen=True)
class Differing:
    """Documents of one row that one model got right and the other did not."""

    title: str
    adapter: str
    total: int
    shown: tuple[Pair, ...]


def write_report(base: Run, others: Sequence[Run], out: Path, gate: Gate | None = None) -> Path:
    """Write ``report.html`` and every figure as PNG and SVG into ``out``; return the page.

    Raises:
        RunError: the runs cannot be compared.
    """
    verdicts = judge(base, others, gate)
    drawings = figures.draw_all([verdict.rows for verdict in verdicts if not verdict.seeds])
    for drawing in drawings:
        for suffix, content in ((".svg", drawing.svg), (".png", drawing.png)):
            with atomic_path(out / f"{drawing.stem}{suffix}") as draft:
                draft.write_bytes(content)
    write_text(out / PAGE, render(base, others, verdicts, drawings))
    return out / PAGE


def render(
    base: Run,
    others: Sequence[Run],
    verdicts: Sequence[Verdict],
    drawings: Sequence[Drawing],
) -> str:
    """Return the page; whatever a model wrote is escaped."""
    environment = Environment(
        loader=PackageLoader("kv_adapters.reports"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        title=f"{', '.join(other.label for other in others)} against {base.label}",
        verdicts=verdicts,
        remarks=tables.remarks,
        headings=tables.HEADINGS,
        numbers=tables.NUMBERS,
        named_cells=lambda row: zip(tables.HEADINGS, tables.cells(row), strict=True),
        drawings=drawings,
        svg=inline,
        differing=[block for verdict in verdicts for block in differing(verdict.rows)],
        runs=[base, *others],
    )


def inline(drawing: Drawing) -> Markup:
    """Return a figure's SVG for the page, its ids made unique among the page's figures."""
    svg = drawing.svg.decode()
    svg = svg[svg.index("<svg") :]
    prefix = re.sub(r"\W", "-", drawing.stem)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    # Our own drawing of numbers and task names, in which matplotlib escaped every text.
    return Markup(svg)


def differing(rows: Sequence[Comparison]) -> list[Differing]:
    """Return, for each top row, what became right and what became wrong."""
    blocks = []
    for row in rows:
        if row.member_of is not None:
            continue
        gained = [pair for pair in row.pairs if pair.other.score > pair.base.score]
        lost = [pair for pair in row.pairs if pair.other.score < pair.base.score]
        for title, pairs in (("became right", gained), ("became wrong", lost)):
            if pairs:
                shown = tuple(pairs[:SHOWN])
                blocks.append(
                    Differing(f"{row.adapter}: {row.name}, {title}", row.adapter, len(pairs), shown)
                )
    return blocks
