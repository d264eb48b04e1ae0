"""Accuracy by depth and length, as a heat map a model: where in how long a prompt is it lost?"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.figure import Figure

from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.samples import Sample
from kv_adapters.reports.figures.scene import Drawing, Scene, finish, models

PARTS = 5
# Panels beside each other; a page shows no more of a readable size.
COLUMNS = 4
# The end of a task's name that says how long its prompts are.
_LENGTH = re.compile(r"_(?P<size>\d+)(?P<unit>k|dicts|docs|keys)(_template|_plain)?$")
Cells = Mapping[tuple[int, int], list[float]]


def draw(scene: Scene) -> list[Drawing]:
    """Draw a family of tasks that come in two lengths or more, where the gold has a depth."""
    families: dict[str, dict[str, list[Comparison]]] = defaultdict(dict)
    for name, rows in scene.by_name().items():
        known = all(pair.base.depth is not None for row in rows for pair in row.pairs)
        if known and (match := _LENGTH.search(name)):
            families[name[: match.start()]][name] = rows
    return [_draw(stem, family) for stem, family in families.items() if len(family) > 1]


def _order(name: str) -> tuple[str, int]:
    match = _LENGTH.search(name)
    return (match["unit"], int(match["size"])) if match else ("", 0)


def _draw(stem: str, family: Mapping[str, Sequence[Comparison]]) -> Drawing:
    names = sorted(family, key=_order)
    lengths = [name.removeprefix(stem).strip("_").replace("_", " ") for name in names]
    panels = _panels([models(family[name]) for name in names])
    columns, rows = min(len(panels), COLUMNS), -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(1.2 + 2.6 * columns, 3.4 + 3.2 * (rows - 1)), layout="constrained")
    described = []
    for number, (label, samples) in enumerate(panels):
        cells = _cells(samples)
        axes = figure.add_subplot(rows, columns, number + 1)
        grid = [
            [fmean(found) if (found := cells.get((n, part))) else float("nan")
             for n in range(len(names))]
            for part in range(PARTS)
        ]  # fmt: skip
        # Not imshow: a picture within the page's SVG is more than its policy lets it load.
        axes.pcolormesh(grid, vmin=0, vmax=1, cmap="cividis", edgecolor="white", linewidth=0.5)
        axes.set_ylim(PARTS, 0)
        for (n, part), scores in cells.items():
            mean = fmean(scores)
            colour = "white" if mean < 0.55 else "black"
            axes.text(
                n + 0.5,
                part + 0.5,
                f"{mean:.2f}",
                ha="center",
                va="center",
                color=colour,
                fontsize=9,
            )
        axes.set_title(label, loc="left", fontsize=10)
        axes.set_xticks([n + 0.5 for n in range(len(names))], lengths)
        ticks = [f"{part / PARTS:.1f}–{(part + 1) / PARTS:.1f}" for part in range(PARTS)]
        axes.set_yticks(
            [part + 0.5 for part in range(PARTS)], ticks if number % columns == 0 else [""] * PARTS
        )
        axes.spines[:].set_visible(False)
        described.append(f"{label}: {_words(cells, lengths)}")
    figure.supylabel("depth of the gold", fontsize=10)
    figure.supxlabel("length", fontsize=10)
    metric = family[names[0]][0].metric
    return finish(
        figure, f"{stem}-depth-length",
        f"{stem}: {metric} by depth of the gold and length of the prompt.",
        f"{metric} by length and depth. {'; '.join(described)}.",
    )  # fmt: skip


def _panels(
    by_length: Sequence[Sequence[tuple[str, list[Sample]]]],
) -> list[tuple[str, list[list[Sample]]]]:
    """Return label and samples by length of every run; a length it was not asked is empty."""
    found: dict[str, list[list[Sample]]] = {}
    for n, asked in enumerate(by_length):
        for label, samples in asked:
            found.setdefault(label, [[] for _ in by_length])[n] = samples
    return list(found.items())


def _cells(by_length: Sequence[Sequence[Sample]]) -> Cells:
    """Return scores by (length, part of the prompt)."""
    cells: dict[tuple[int, int], list[float]] = defaultdict(list)
    for n, samples in enumerate(by_length):
        for sample in samples:
            cells[n, min(int((sample.depth or 0.0) * PARTS), PARTS - 1)].append(sample.score)
    return cells


def _words(cells: Cells, lengths: Sequence[str]) -> str:
    return ", ".join(
        f"{lengths[n]} in part {part + 1} of {PARTS} {fmean(scores):.2f}"
        for (n, part), scores in sorted(cells.items())
    )
