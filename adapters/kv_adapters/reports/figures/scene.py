"""What every figure is drawn from, and the style that all share.

Base and adapters have the same colours throughout, Okabe and Ito's, which colour-blind readers can
tell apart, and markers of their own.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from statistics import fmean

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.intervals import wilson
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.samples import Sample
from kv_adapters.comparison.verdict import Verdict

# The first of each is the base's own. The adapters' repeat after six and seven, never together.
COLOURS = ("#555555", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = "os^Dv*PX"
# More bands hide each other: intervals are bars then, side by side, so many points apart.
BANDS, APART = 3, 4
# Three labels of more characters than this do not fit beside each other.
LONG_LABEL = 22
# The same data gives the same bytes.
matplotlib.rcParams["svg.hashsalt"] = "kv-adapters"
# A dollar sign in a folder's name is not the start of a formula.
matplotlib.rcParams["text.parse_math"] = False


@dataclass(frozen=True)
class Scene:
    """What was compared.

    Attributes:
        base: results of the base model.
        verdicts: one a run; pooled seeds are not drawn.
        published: whether to set the paper's numbers beside.
    """

    base: Run
    verdicts: Sequence[Verdict]
    published: bool = False

    def by_name(self) -> dict[str, list[Comparison]]:
        """Return the top rows of all adapters by task or group."""
        found: dict[str, list[Comparison]] = defaultdict(list)
        for verdict in self.verdicts:
            for row in verdict.rows:
                if row.member_of is None:
                    found[row.name].append(row)
        return found

    def number(self, adapter: str) -> int:
        """Return an adapter's number in every figure, from 1; the base's is 0."""
        return 1 + [verdict.adapter for verdict in self.verdicts].index(adapter)


@dataclass(frozen=True)
class Drawing:
    """A finished figure: file stem, caption, alternative text, and its bytes."""

    stem: str
    caption: str
    alternative: str
    svg: bytes
    png: bytes


@dataclass(frozen=True)
class Point:
    """Mean score of some documents at ``x``, with its Wilson interval."""

    x: float
    mean: float
    low: float
    high: float
    documents: int


def models(rows: Sequence[Comparison]) -> list[tuple[str, list[Sample]]]:
    """Return label and samples of the base, and then of every adapter.

    The base's are those that any adapter was asked as well.
    """
    first = "reference" if any(row.adapter == "base" for row in rows) else "base"
    others = [(row.adapter, [pair.other for pair in row.pairs]) for row in rows]
    asked = {pair.base.key: pair.base for row in rows for pair in row.pairs}
    return [(first, list(asked.values())), *others]


def points(samples: Iterable[Sample], place: Callable[[Sample], float | None]) -> list[Point]:
    """Return mean scores by where ``place`` puts a sample; None leaves it out.

    A question that is there several times at a point counts once in its interval.
    """
    found: Mapping[float, list[Sample]] = defaultdict(list)
    for sample in samples:
        if (x := place(sample)) is not None:
            found[x].append(sample)
    return [_point(x, here) for x, here in sorted(found.items())]


def _point(x: float, here: Sequence[Sample]) -> Point:
    mean, questions = fmean(s.score for s in here), len({s.question_id for s in here})
    return Point(x, mean, *wilson(mean * questions, questions), len(here))


def look(number: int) -> tuple[str, str]:
    """Return colour and marker of the base, number 0, or of an adapter, from 1."""
    if number == 0:
        return COLOURS[0], MARKERS[0]
    colours, markers = COLOURS[1:], MARKERS[1:]
    return colours[(number - 1) % len(colours)], markers[(number - 1) % len(markers)]


def curve(
    axes: Axes,
    label: str,
    drawn: Sequence[Point],
    number: int,
    style: str = "-",
    *,
    place: int,
    of: int,
) -> None:
    """Draw a model's points, joined, with their intervals.

    Args:
        axes: to draw in.
        label: for the legend.
        drawn: its points.
        number: which decides its look, see :meth:`Scene.number`.
        style: of the line.
        place: among the ``of`` models of this figure.
        of: how many they are.
    """
    x, low, high = ([getattr(point, name) for point in drawn] for name in ("x", "low", "high"))
    colour, marker = look(number)
    moved = axes.transData
    if of <= BANDS:
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    else:
        inches = (place - (of - 1) / 2) * APART / 72
        moved += ScaledTranslation(inches, 0, axes.figure.dpi_scale_trans)
        axes.vlines(x, low, high, colors=colour, linewidth=1, alpha=0.6, transform=moved)
    # matplotlib leaves labels that begin with a low line out of its legends.
    named = f" {label}" if label.startswith("_") else label
    axes.plot(
        x, [p.mean for p in drawn], color=colour, linestyle=style, linewidth=1.8, markersize=5,
        marker=marker, label=named, transform=moved,
    )  # fmt: skip


def intervals(of: int) -> str:
    """Say in a caption how the intervals of so many models are drawn."""
    return f"{'Bands' if of <= BANDS else 'Bars'} are 95 % Wilson intervals."


def tidy(axes: Axes, *, legend: bool = True) -> None:
    """Take away what carries no data, and put the legend below."""
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if not legend:
        return
    labels = axes.get_legend_handles_labels()[1]
    columns = 3 if max(map(len, labels)) <= LONG_LABEL else 1
    axes.legend(frameon=False, loc="upper center", ncols=columns, bbox_to_anchor=(0.5, -0.2))


def finish(figure: Figure, stem: str, caption: str, alternative: str) -> Drawing:
    """Render a figure in both forms."""
    safe = re.sub(r"[^\w.-]+", "-", stem)
    # Ticks follow from the axes' size and that from their labels: the second layout has room.
    figure.draw_without_rendering()
    return Drawing(safe, caption, alternative, _render(figure, "svg"), _render(figure, "png"))


def _render(figure: Figure, form: str) -> bytes:
    stream = BytesIO()
    metadata = {"Date": None} if form == "svg" else {"Software": None}
    figure.savefig(stream, format=form, dpi=150, metadata=metadata)
    return stream.getvalue()
