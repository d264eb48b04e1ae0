"""One self-contained page: verdict, table, figures, the documents that changed, provenance."""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kv_adapters.comparison import tables
from kv_adapters.comparison.gate import Gate
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.verdict import Verdict, judge
from kv_adapters.reports import changes, published
from kv_adapters.reports.figures import draw_all
from kv_adapters.reports.figures.scene import Drawing, Scene
from kv_tasks.files import atomic_path, write_text

PAGE = "report.html"


def write_report(
    base: Run,
    others: Sequence[Run],
    out: Path,
    gate: Gate | None = None,
    *,
    beside: bool = False,
) -> Path:
    """Write ``report.html``, every figure as PNG and SVG, and ``changed.jsonl``.

    Args:
        base: results of the base model.
        others: results of adapters.
        out: folder, made if need be.
        gate: what must not be lost, and what must be gained; None is the default.
        beside: whether to set the paper's published numbers beside.

    Returns:
        The page.

    Raises:
        RunError: the runs cannot be compared.
    """
    verdicts = judge(base, others, gate)
    single = [verdict for verdict in verdicts if not verdict.seeds]
    drawings = draw_all(Scene(base, single, beside))
    for drawing in drawings:
        for suffix, content in ((".svg", drawing.svg), (".png", drawing.png)):
            with atomic_path(out / f"{drawing.stem}{suffix}") as draft:
                draft.write_bytes(content)
    changes.write_changes(single, out)
    write_text(out / PAGE, render(base, others, verdicts, drawings, beside=beside))
    return out / PAGE


def render(
    base: Run,
    others: Sequence[Run],
    verdicts: Sequence[Verdict],
    drawings: Sequence[Drawing],
    *,
    beside: bool = False,
) -> str:
    """Return the page; whatever a model wrote is escaped, and no script but the page's own runs."""
    environment = Environment(
        loader=PackageLoader("kv_adapters.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates = files("kv_adapters.reports") / "templates"
    script = (templates / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        title=f"{', '.join(other.label for other in others)} against {base.label}",
        style=Markup((templates / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=_hash(script),
        verdicts=verdicts,
        remarks=tables.remarks,
        readable=tables.readable,
        large=tables.MEMBERS,
        headings=tables.HEADINGS,
        numbers=tables.NUMBERS,
        named_cells=lambda row: zip(tables.HEADINGS, tables.cells(row), strict=True),
        drawings=drawings,
        svg=inline,
        blocks=changes.blocks([verdict for verdict in verdicts if not verdict.seeds]),
        answer_length=changes.ANSWER,
        changed_file=changes.FILE,
        runs=[base, *others],
        published=published if beside else None,
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


def _hash(script: str) -> str:
    """Return what the page's policy knows its script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
