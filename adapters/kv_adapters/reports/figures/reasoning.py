"""FLenQA as the field draws it: accuracy by length, chain of thought dashed, and refusals."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from matplotlib.artist import Artist
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

THINKING = ", chain of thought"
_TOKENS = re.compile(r"_(?P<size>\d+)(?P<k>k?)(_|$)")


def draw(scene: Scene) -> list[Drawing]:
    """Draw a figure for FLenQA and one for its synthetic form, where they were run."""
    found = scene.by_name()
    drawings = []
    for stem in ("flenqa", "flenqa_synth", "kv_paper_flenqa"):
        ways = {style: rows for name, style in ((stem, "-"), (f"{stem}_cot", "--"))
                if (rows := found.get(name) or _lone_lengths(found, name))}  # fmt: skip
        lengths = {
            _tokens(pair.base) for rows in ways.values() for row in rows for pair in row.pairs
        }
        if len(lengths - {None}) > 1:
            drawings.append(_draw(scene, stem, ways))
    return drawings


def _lone_lengths(found: Mapping[str, Sequence[Comparison]], group: str) -> list[Comparison]:
    """Return a row a run with the pairs of all lengths that were asked without their group."""
    member = re.compile(re.escape(group) + r"_\d+k?")
    joined: dict[str, Comparison] = {}
    for rows in (rows for name, rows in found.items() if member.fullmatch(name)):
        for row in rows:
            earlier = joined[row.adapter].pairs if row.adapter in joined else ()
            joined[row.adapter] = replace(row, name=group, pairs=(*earlier, *row.pairs))
    return list(joined.values())


def _tokens(sample: Sample) -> float | None:
    """Return the length that a task's name says, in tokens."""
    match = _TOKENS.search(sample.task)
    return None if match is None else float(match["size"]) * (1024 if match["k"] else 1)


def _refused(sample: Sample) -> Sample:
    return replace(sample, score=sample.refused or 0.0)


def _draw(scene: Scene, stem: str, ways: Mapping[str, Sequence[Comparison]]) -> Drawing:
    figure = Figure(figsize=(8.6, 3.8), layout="constrained")
    panels: tuple[tuple[str, Callable[[Sample], Sample]], ...] = (
        ("accuracy", lambda sample: sample), ("refused or unreadable", _refused),
    )  # fmt: skip
    described = []
    count = max(len(models(rows)) for rows in ways.values())
    for n, (title, score) in enumerate(panels):
        axes = figure.add_subplot(1, 2, n + 1)
        ticks: dict[float, None] = {}
        for style, rows in ways.items():
            for place, (label, samples) in enumerate(models(rows)):
                number = scene.number(label) if place else 0
                name = label + THINKING if style == "--" else label
                drawn = points(map(score, samples), _tokens)
                curve(axes, name, drawn, number, style, place=place, of=count)
                ticks |= dict.fromkeys(point.x for point in drawn)
                described.append(f"{title}, {name}: {_words(drawn)}")
        if n == 0:
            axes.axhline(0.5, color="#999999", linewidth=1, linestyle=":")
        axes.set_title(f"{stem}: {title}", loc="left", fontsize=10)
        axes.set_xlabel("length, tokens")
        axes.set_xscale("log")
        axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)], fontsize=8)
        axes.set_xlim(min(ticks) / 1.2, max(ticks) * 1.2)
        axes.minorticks_off()
        axes.set_ylim(-0.02, 1.02)
        tidy(axes, legend=False)
    # A model that was asked in one of the two ways alone has its line there.
    entries: dict[str, Artist] = {}
    for handle, name in zip(*figure.axes[0].get_legend_handles_labels(), strict=True):
        entries.setdefault(name.removesuffix(THINKING), handle)
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center",
        ncols=min(len(entries), 4),
        frameon=False, title="dashed: with chain of thought" if len(ways) > 1 else None,
        title_fontsize=9,
    )  # fmt: skip
    return finish(
        figure, f"{stem}-by-length",
        f"{stem}: accuracy and refused answers by length; dotted is guessing. "
        f"{intervals(count)}",
        "; ".join(described) + ".",
    )  # fmt: skip


def _words(drawn: Sequence[Point]) -> str:
    return ", ".join(f"{point.mean:.2f} at {point.x:g}" for point in drawn)
