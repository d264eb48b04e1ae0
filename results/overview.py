"""Every condition's change in one figure: documents, keys and a general task, with intervals.

What each column shows is written in ``conditions.yaml``, as ``overview`` of a model: the task of
each column, null where a model has none. Conditions without the first of them have no row, and
``short`` of a condition stands beside its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.verdict import Verdict
from kv_adapters.reports.figures.scene import COLOURS, Drawing, finish

COLUMNS = ("real documents", "keys, template", "keys, no template", "HellaSwag")
WIDTHS = (3.0, 2.0, 2.0, 2.0)
ROW, GAP, REST = 0.25, 1.7, 1.0


@dataclass(frozen=True)
class Section:
    """One model's rows.

    Attributes:
        title: the model and how it was trained and evaluated.
        tasks: of each column.
        verdicts: one a condition.
        short: what each condition is, in a few words, by its name.
    """

    title: str
    tasks: Sequence[str | None]
    verdicts: Sequence[Verdict]
    short: Mapping[str, str]

    def rows(self) -> list[tuple[str, list[Comparison | None]]]:
        """Return each condition that has the first column, with what it has of every column."""
        found = []
        for verdict in self.verdicts:
            by_name = {row.name: row for row in verdict.rows}
            cells = [by_name.get(task) if task else None for task in self.tasks]
            if cells[0] is not None:
                found.append((verdict.adapter, cells))
        return found

    def heading(self) -> str:
        """Return the title, the first column's task and the base's score in it."""
        first = next(cells[0] for _, cells in self.rows())
        assert first is not None
        return f"{self.title}: {first.name}, base {first.difference.base:.2f}"


def draw(sections: Sequence[Section]) -> Drawing:
    """Draw all sections' rows from the top."""
    shown = [section for section in sections if section.rows()]
    lines = sum(len(section.rows()) for section in shown) + GAP * len(shown)
    figure = Figure(figsize=(11.0, REST + ROW * lines), layout="constrained")
    columns = figure.subplots(1, len(COLUMNS), sharey=True, width_ratios=WIDTHS)
    height, labels, described = 0.0, dict[float, str](), []
    for section in shown:
        height -= GAP
        columns[0].annotate(
            section.heading(), (0.005, height + 0.9), xycoords=("figure fraction", "data"),
            fontsize=9, fontweight="bold", va="center", in_layout=False, annotation_clip=False,
        )  # fmt: skip
        for label, cells in section.rows():
            labels[height] = ": ".join(filter(None, (label, section.short.get(label))))
            described.append(_words(label, cells))
            for axes, row in zip(columns, cells, strict=True):
                if row is not None:
                    _bar(axes, row, height)
            height -= 1
    for axes, title in zip(columns, COLUMNS, strict=True):
        _tidy(axes, title, height)
    columns[0].set_yticks(list(labels), list(labels.values()), fontsize=9)
    return finish(
        figure, "overview",
        "Every condition's change in points, with 95 % intervals. Filled: the interval of that "
        "task alone keeps away from zero. Keys are right where value and dictionary are.",
        f"Change in points. {'; '.join(described)}.",
    )  # fmt: skip


def _bar(axes: Axes, row: Comparison, height: float) -> None:
    d = row.difference
    settled = d.low > 0 or d.high < 0
    colour = COLOURS[0] if not settled else COLOURS[1] if d.low > 0 else COLOURS[2]
    axes.plot([100 * d.low, 100 * d.high], [height, height], color=colour, linewidth=1.8)
    axes.plot(
        [100 * d.difference], [height], color=colour, marker="o", markersize=6,
        markerfacecolor=colour if settled else "white",
    )  # fmt: skip


def _words(label: str, cells: Sequence[Comparison | None]) -> str:
    changes = [
        f"{row.name} {100 * row.difference.difference:+.1f} "
        f"({100 * row.difference.low:+.1f} to {100 * row.difference.high:+.1f})"
        for row in cells
        if row is not None
    ]
    return f"{label}: {', '.join(changes)}"


def _tidy(axes: Axes, title: str, bottom: float) -> None:
    # A heading runs through all columns.
    axes.patch.set_visible(False)
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_ylim(bottom, 0)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("change, points")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
