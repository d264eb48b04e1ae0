"""Accuracy by the gold document's position, or by depth, between what bounds it."""

from collections.abc import Callable, Sequence, Set
from math import ceil
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.samples import Sample
from kv_adapters.reports.figures.scene import (
    Drawing,
    Point,
    Scene,
    curve,
    finish,
    intervals,
    models,
    points,
    tidy,
)

Place = Callable[[Sample], float]
BINS = 4
# More positions than this are drawn by depth, where it is known.
MANY = 10
# What the base knows without a document, and with the gold one alone.
BOUNDS = {"mdqa_closedbook": "closed-book", "mdqa_oracle": "oracle"}


def draw(scene: Scene) -> list[Drawing]:
    """Draw a figure for each group or lone task whose documents have positions."""
    drawings = []
    for found in scene.by_name().values():
        positions = {pair.base.gold_position for row in found for pair in row.pairs}
        if None not in positions and len(positions) > 1:
            deep = all(pair.base.depth is not None for row in found for pair in row.pairs)
            place = by_depth if deep and len(positions) > MANY else by_position
            drawings.append(_draw(scene, found, place))
    return drawings


def by_depth(sample: Sample) -> float:
    """Return the middle of the quarter of the prompt that a sample's gold stands in."""
    return (min(int((sample.depth or 0.0) * BINS), BINS - 1) + 0.5) / BINS


def by_position(sample: Sample) -> float:
    """Return the place of a sample's gold document, from 1."""
    return float(sample.gold_position or 0)


def bounds(scene: Scene, name: str, asked: Set[str]) -> dict[str, float]:
    """Return the base's accuracy without a document and with the gold one alone, where known.

    Args:
        scene: what was compared.
        name: of the task or group that is drawn.
        asked: the questions that the base's curve is over.
    """
    if not name.startswith(("mdqa_pos", "kv_paper_mdqa")) or "synth" in name:
        return {}
    found = {}
    for task, label in BOUNDS.items():
        known = scene.base.tasks[task].samples if task in scene.base.tasks else ()
        scores = {sample.question_id: sample.score for sample in known}
        # Of other questions it would bound another curve.
        if asked <= scores.keys():
            found[label] = fmean(scores[question] for question in asked)
    return found


def _draw(scene: Scene, rows: Sequence[Comparison], place: Place) -> Drawing:
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    drawn_models = models(rows)
    curves = [(label, points(samples, place)) for label, samples in drawn_models]
    for n, (label, drawn) in enumerate(curves):
        number, style = (scene.number(label), "-") if n else (0, "--")
        curve(axes, label, drawn, number, style, place=n, of=len(curves))
    asked = {sample.question_id for sample in drawn_models[0][1]}
    found = bounds(scene, rows[0].name, asked)
    for label, height in found.items():
        axes.axhline(height, color="#555555", linestyle=":", linewidth=1)
        axes.annotate(
            f"base, {label}", (1, height), (-2, 2), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="bottom", fontsize=8, color="#555555",
        )  # fmt: skip
    _label_axes(axes, rows[0], [drawn for _, drawn in curves], place)
    highest = max(found.values(), default=0.0)
    highest = max(highest, *(point.high for _, drawn in curves for point in drawn))
    # From zero, or a small change would look like a large one, to the next tenth.
    top = min(ceil(10 * highest) / 10, 1.0)
    axes.set_ylim(-0.02 * top, 1.02 * top)
    where = "depth of the needle" if place is by_depth else "position of the gold document"
    described = "; ".join(
        f"{label}: " + ", ".join(f"{point.mean:.2f} at {point.x:g}" for point in drawn)
        for label, drawn in curves
    )
    lines = "".join(f"; base, {label}: {height:.2f}" for label, height in found.items())
    return finish(
        figure,
        rows[0].name,
        f"{rows[0].name}: {rows[0].metric} by {where}. {intervals(len(curves))}",
        f"{rows[0].metric} by {where}. {described}{lines}.",
    )


def _label_axes(
    axes: Axes, row: Comparison, curves: Sequence[Sequence[Point]], place: Place
) -> None:
    # Of all curves: an adapter may have been asked fewer documents than the base.
    counts = sorted({point.documents for drawn in curves for point in drawn})
    each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    axes.set_title(f"{row.name} ({each} documents a point)", loc="left", fontsize=11)
    axes.set_ylabel(row.metric)
    if place is by_depth:
        axes.set_xlabel("depth of the needle in the prompt")
        axes.set_xlim(0, 1)
        axes.set_xticks([n / BINS for n in range(BINS + 1)])
    else:
        axes.set_xlabel("position of the gold document")
        places = sorted({point.x for drawn in curves for point in drawn})
        axes.set_xticks(places, [f"{x:g}" for x in places])
        room = (places[-1] - places[0]) / 10
        axes.set_xlim(places[0] - room, places[-1] + room)
    tidy(axes)
