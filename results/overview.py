"""What every condition changed, as one figure and one table: documents, keys, a general task.

What each column shows is written in ``about.yaml``, as ``overview`` of a study: the task of
each column, null where a study has none. Conditions without the first of them have no row;
``short`` of a condition stands beside its name. Seeds of one recipe, NAME-seed0 and so on, are one
row.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kv_adapters.comparison import tables
from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.verdict import Verdict
from kv_adapters.reports.figures.scene import COLOURS, Drawing, finish

COLUMNS = ("real documents", "keys, template", "keys, no template", "HellaSwag")
HEADINGS = (
    "condition", "trained on", "accuracy", "change", "cut at 20 words", "words", "HellaSwag",
)  # fmt: skip
WIDTHS = (3.0, 2.0, 2.0, 2.0)
# Inches a row; rows above a heading; inches of title and axis.
ROW, GAP, REST = 0.25, 1.7, 1.0
# Of the cuts that by_length.py makes, the one shown: about the longest of the bases' medians.
CUT = 20


@dataclass(frozen=True)
class Row:
    """One condition: its name, what it is, and its comparison in each column."""

    label: str
    short: str
    cells: Sequence[Comparison | None]
    first: Comparison
    lengths: Mapping[str, Any] | None

    def cut(self) -> Mapping[str, float] | None:
        """Return the change of answers cut at :data:`CUT` words, where it was counted."""
        rows = self.lengths["rows"] if self.lengths else []
        return next((row for row in rows if row["words"] == CUT), None)


@dataclass(frozen=True)
class Section:
    """One study.

    Attributes:
        title: the model and how it was trained and evaluated.
        tasks: of each column.
        verdicts: one a condition.
        short: what each condition is, in a few words, by its name.
        lengths: what by_length.py found, by condition.
    """

    title: str
    tasks: Sequence[str | None]
    verdicts: Sequence[Verdict]
    short: Mapping[str, str]
    lengths: Mapping[str, Mapping[str, Any]]

    def rows(self) -> list[Row]:
        """Return each condition that has the first column."""
        found = []
        for verdict in self.verdicts:
            by_name = {row.name: row for row in verdict.rows}
            cells = [by_name.get(task) if task else None for task in self.tasks]
            if cells[0] is not None:
                name = verdict.adapter
                short = self.short.get(name, "")
                found.append(Row(name, short, cells, cells[0], self.lengths.get(name)))
        return found

    def asked(self) -> str:
        """Return the task of the first column, and its answers."""
        answers = sorted({row.first.difference.documents for row in self.rows()})
        return f"{self.tasks[0]}, {' or '.join(f'{n:,}' for n in answers)} answers:"


def one_a_recipe(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the verdicts with a recipe's seeds as one, where its first seed stood.

    What not all of its seeds were asked is taken from the first that was. Documents are those of
    one seed.
    """
    shown = {verdict.adapter: verdict for verdict in verdicts if not verdict.seeds}
    for pooled in (verdict for verdict in verdicts if verdict.seeds):
        names = seeds_of(pooled.adapter, shown)
        rows = {row.name: row for name in reversed(names) for row in shown[name].rows}
        for row in pooled.rows:
            documents = row.difference.documents // len(names)
            rows[row.name] = replace(row, difference=replace(row.difference, documents=documents))
        order = dict.fromkeys(row.name for name in names for row in shown[name].rows)
        whole = replace(pooled, rows=tuple(rows[name] for name in order))
        shown = {
            (pooled.adapter if name == names[0] else name): (whole if name == names[0] else verdict)
            for name, verdict in shown.items()
            if name not in names[1:]
        }
    return list(shown.values())


def seeds_of(label: str, names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that a label of pooled seeds, ``NAME, 3 seeds``, stands for."""
    pattern = re.escape(label.rpartition(", ")[0]) + r"-seed\d+"
    return [name for name in names if re.fullmatch(pattern, name)]


def table(section: Section) -> list[tuple[str, ...]]:
    """Return headings and a row a condition, of Markdown cells."""
    found: list[tuple[str, ...]] = [HEADINGS]
    for row in section.rows():
        d, cut, words = row.first.difference, row.cut(), (row.lengths or {}).get("words")
        general = row.cells[-1] and row.cells[-1].difference
        found.append((
            row.label,
            row.short,
            f"{d.base:.3f} to {d.other:.3f}",
            interval(d.difference, d.low, d.high),
            interval(cut["change"], cut["low"], cut["high"]) if cut else "",
            f"{words[0]:g} to {words[1]:g}" if words else "",
            interval(general.difference, general.low, general.high) if general else "",
        ))  # fmt: skip
    return found


def draw(sections: Sequence[Section]) -> Drawing:
    """Draw all sections' rows from the top."""
    shown = [(section, rows) for section in sections if (rows := section.rows())]
    lines = sum(len(rows) for _, rows in shown) + GAP * len(shown)
    figure = Figure(figsize=(11.0, REST + ROW * lines), layout="constrained")
    # A column that no condition of these was asked is left out.
    kept = [
        n for n in range(len(COLUMNS)) if any(row.cells[n] for _, rows in shown for row in rows)
    ]
    widths = [WIDTHS[n] for n in kept]
    columns = figure.subplots(1, len(kept), sharey=True, width_ratios=widths, squeeze=False)[0]
    # Its headings run over the other columns, and hide their lines.
    columns[0].set_zorder(1)
    height, labels, described = 0.0, dict[float, str](), []
    for section, rows in shown:
        height -= GAP
        columns[0].annotate(
            _heading(section, rows[0]), (0.005, height + 0.9), fontsize=9, fontweight="bold",
            xycoords=("figure fraction", "data"), va="center", in_layout=False,
            annotation_clip=False, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip
        for row in rows:
            labels[height] = ": ".join(filter(None, (row.label, row.short)))
            described.append(_words(row))
            for axes, n in zip(columns, kept, strict=True):
                if (cell := row.cells[n]) is not None:
                    _bar(axes, cell, height)
            if (cut := row.cut()) is not None:
                columns[0].plot([100 * cut["change"]], [height], color="#333333", marker="|",
                                markersize=9, markeredgewidth=1.5)  # fmt: skip
            height -= 1
    for axes, n in zip(columns, kept, strict=True):
        _tidy(axes, COLUMNS[n], height)
        if COLUMNS[n] == "HellaSwag":
            axes.axvspan(-1, 0, color="#eeeeee", zorder=0)
    columns[0].set_yticks(list(labels), list(labels.values()), fontsize=9)
    return finish(
        figure, "overview",
        "Change of every condition in points, with 95 % intervals; filled where the interval of "
        f"that task alone excludes zero; black tick: both models' answers cut after {CUT} words. A "
        "key's answer is right with value and dictionary, among 16 dictionaries. Of HellaSwag, "
        "shaded is a loss within the margin of 1 point; green passed, the whole interval above "
        "that loss, orange failed, the whole interval below it; hollow is open. Empty: not "
        "measured.",
        f"Change in points. {'; '.join(described)}.",
    )  # fmt: skip


def _heading(section: Section, row: Row) -> str:
    d = row.first.difference
    return f"{section.title}: {row.first.name}, base {d.base:.3f} of {d.documents}"


def _bar(axes: Axes, row: Comparison, height: float) -> None:
    d, judged = row.difference, {"passed": COLOURS[3], "failed": COLOURS[2]}
    if row.kind == "non-inferiority":
        settled, colour = row.outcome in judged, judged.get(row.outcome, COLOURS[0])
    else:
        settled = d.low > 0 or d.high < 0
        colour = COLOURS[0] if not settled else COLOURS[1] if d.low > 0 else COLOURS[2]
    axes.plot([100 * d.low, 100 * d.high], [height, height], color=colour, linewidth=1.8)
    axes.plot(
        [100 * d.difference], [height], color=colour, marker="o", markersize=6,
        markerfacecolor=colour if settled else "white",
    )  # fmt: skip


def _words(row: Row) -> str:
    shown = [(cell.name, cell.difference) for cell in row.cells if cell is not None]
    changes = [f"{name} {interval(d.difference, d.low, d.high)}" for name, d in shown]
    return f"{row.label}: {', '.join(changes)}"


def interval(change: float, low: float, high: float) -> str:
    """Return a change with its interval, in points of 100."""
    return f"{tables.points(change)} ({tables.points(low)} to {tables.points(high)})"


def _tidy(axes: Axes, title: str, bottom: float) -> None:
    axes.patch.set_visible(False)
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_ylim(bottom, 0)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("change, points")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
