"""The report's figures: accuracy by the gold document's position, and by depth.

Every figure is drawn from the documents of one row of the comparison, base and adapters in the
same colours throughout (Okabe and Ito's, which colour-blind readers can tell apart).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from statistics import fmean

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.intervals import wilson
from kv_adapters.comparison.samples import Sample

COLOURS = ("#555555", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
BINS = 4
# Three labels of more characters than this do not fit beside each other.
LONG_LABEL = 22
# The same data gives the same bytes.
matplotlib.rcParams["svg.hashsalt"] = "kv-adapters"
# A dollar sign in a folder's name is not the start of a formula.
matplotlib.rcParams["text.parse_math"] = False


@dataclass(frozen=True)
class Point:
    """Mean score of some documents: ``x`` is a position, or the middle of a range of depths."""

    x: float
    mean: float
    low: float
    high: float
    documents: int


@dataclass(frozen=True)
class Drawing:
    """A finished figure: file stem, caption, alternative text, and its bytes."""

    stem: str
    caption: str
    alternative: str
    svg: bytes
    png: bytes


def draw_all(compared: Sequence[Sequence[Comparison]]) -> list[Drawing]:
    """Draw a figure for each group or lone task whose documents have positions.

    Args:
        compared: one list of rows an adapter, all against the same base.
    """
    by_name: dict[str, list[Comparison]] = defaultdict(list)
    for rows in compared:
        for row in rows:
            if row.member_of is None:
                by_name[row.name].append(row)
    drawings = []
    for found in by_name.values():
        positions = {pair.base.gold_position for row in found for pair in row.pairs}
        if None not in positions and len(positions) > 1:
            drawings.append(_draw(found, by_depth=len(positions) > 10))
    return drawings


def points(samples: Iterable[Sample], *, by_depth: bool) -> list[Point]:
    """Return mean scores by position, or by depth in four equal ranges, with Wilson intervals."""
    scores: Mapping[float, list[float]] = defaultdict(list)
    for sample in samples:
        if by_depth:
            depth = min(int((sample.depth or 0.0) * BINS), BINS - 1)
            scores[(depth + 0.5) / BINS].append(sample.score)
        else:
            scores[float(sample.gold_position or 0)].append(sample.score)
    return [
        Point(x, fmean(found), *wilson(sum(found), len(found)), len(found))
        for x, found in sorted(scores.items())
    ]


def _draw(rows: Sequence[Comparison], *, by_depth: bool) -> Drawing:
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    # Pairs, not a dictionary: nothing forbids two runs of one name.
    first = "reference" if any(row.adapter == "base" for row in rows) else "base"
    curves = [(first, points((pair.base for pair in rows[0].pairs), by_depth=by_depth))]
    for row in rows:
        curve = points((pair.other for pair in row.pairs), by_depth=by_depth)
        curves.append((row.adapter, curve))
    for number, (label, curve) in enumerate(curves):
        _curve(axes, label, curve, number, len(curves))
    _label_axes(axes, rows[0], curves[0][1], by_depth=by_depth)
    place = "depth of the needle" if by_depth else "position of the gold document"
    described = "; ".join(
        f"{label}: " + ", ".join(f"{point.mean:.2f} at {point.x:g}" for point in curve)
        for label, curve in curves
    )
    return Drawing(
        stem=re.sub(r"[^\w.-]+", "-", rows[0].name),
        caption=f"{rows[0].name}: {rows[0].metric} by {place}. Bars are 95 % Wilson intervals.",
        alternative=f"{rows[0].metric} by {place}. {described}.",
        svg=_render(figure, "svg"),
        png=_render(figure, "png"),
    )


def _curve(axes: Axes, label: str, curve: Sequence[Point], number: int, count: int) -> None:
    """Draw one model, a little aside of the others so that the bars do not overlap."""
    span = curve[-1].x - curve[0].x
    aside = (number - (count - 1) / 2) * span * 0.012
    below = [point.mean - point.low for point in curve]
    above = [point.high - point.mean for point in curve]
    axes.errorbar(
        [point.x + aside for point in curve],
        [point.mean for point in curve],
        yerr=[below, above],
        color=COLOURS[number % len(COLOURS)],
        linestyle="--" if number == 0 else "-",
        marker="os^Dv*"[number % 6],
        markersize=5,
        capsize=3,
        linewidth=1.8,
        elinewidth=1,
        label=label,
    )


def _label_axes(axes: Axes, row: Comparison, curve: Sequence[Point], *, by_depth: bool) -> None:
    counts = sorted({point.documents for point in curve})
    each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    axes.set_title(f"{row.name} ({each} documents a point)", loc="left", fontsize=11)
    axes.set_ylabel(row.metric)
    axes.set_ylim(-0.02, 1.02)
    if by_depth:
        axes.set_xlabel("depth of the needle in the prompt")
        axes.set_xlim(0, 1)
        axes.set_xticks([n / BINS for n in range(BINS + 1)])
    else:
        axes.set_xlabel("position of the gold document")
        axes.set_xticks([point.x for point in curve], [f"{point.x:g}" for point in curve])
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    labels = axes.get_legend_handles_labels()[1]
    columns = 3 if max(map(len, labels)) <= LONG_LABEL else 1
    axes.legend(frameon=False, loc="upper center", ncols=columns, bbox_to_anchor=(0.5, -0.2))


def _render(figure: Figure, form: str) -> bytes:
    stream = BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    figure.savefig(stream, format=form, dpi=150, metadata=metadata)
    return stream.getvalue()
