"""Learning against forgetting, over the steps of several trainings: ``search.jsonl`` of a study.

A line is one evaluation on held-out prompts: ``rate`` and ``weight`` of the training, ``step`` of
``steps``, ``keys`` (share of unseen keys answered word for word), ``ordinary`` (share of unseen
ordinary prompts answered as the base model did, word for word).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure
from study import Strict

from kv_adapters.reports.figures.scene import COLOURS, Drawing, finish

FILE = "search.jsonl"
MARKERS = "vos^D"


class Point(Strict):
    """One line of the file; see the module."""

    rate: float
    weight: float
    step: int
    steps: int
    keys: float
    ordinary: float


def read(file: Path) -> list[Point]:
    """Return the points of a file, those of one training after each other, by step."""
    lines = file.read_text(encoding="utf-8").splitlines()
    found = [Point.model_validate_json(line) for line in lines]
    return sorted(found, key=lambda point: (point.weight, point.rate, point.step))


def trainings(points: Sequence[Point]) -> Iterator[tuple[float, float, list[Point]]]:
    """Return the weight, the rate and the points of each training."""
    for (weight, rate), of_one in groupby(points, key=lambda point: (point.weight, point.rate)):
        yield weight, rate, list(of_one)


def table(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """Return headings and a row a training, what it last knew."""
    rows: list[tuple[str, ...]] = [("rate", "weight", "step", "keys", "ordinary answers kept")]
    for weight, rate, of_one in trainings(points):
        last = of_one[-1]
        step = f"{last.step} of {last.steps}"
        rows.append((f"{rate:g}", f"{weight:g}", step, f"{last.keys:.2f}", f"{last.ordinary:.2f}"))
    return rows


def draw(stem: str, points: Sequence[Point]) -> Drawing:
    """Draw a path a training: up is learned, left is forgotten."""
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.subplots()
    weights, rates = (sorted({getattr(p, name) for p in points}) for name in ("weight", "rate"))
    for weight, rate, of_one in trainings(points):
        colour, marker = COLOURS[1 + weights.index(weight)], MARKERS[rates.index(rate)]
        x, y = [p.ordinary for p in of_one], [p.keys for p in of_one]
        axes.plot(x, y, color=colour, linewidth=1, alpha=0.45)
        axes.plot(x[-1], y[-1], color=colour, marker=marker, markersize=9)
    for number, weight in enumerate(weights):
        axes.plot([], [], color=COLOURS[1 + number], linewidth=3, label=f"weight {weight:g}")
    for number, rate in enumerate(rates):
        axes.plot([], [], "k", marker=MARKERS[number], linestyle="", label=f"rate {rate:g}")
    axes.set_xlabel("ordinary prompts answered as before, word for word")
    axes.set_ylabel("keys answered, word for word")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption = (
        "Learning against forgetting on held-out prompts, a path a training from the base at the "
        "bottom right; its mark is the last evaluation."
    )
    return finish(figure, stem, caption, caption)
