"""General ability as a forest plot: what changed, its interval, and the margin."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kv_adapters.comparison.compare import Comparison
from kv_adapters.reports.figures.scene import Drawing, Scene, finish, look
from kv_adapters.reports.published import MISTRAL

PUBLISHED = "published, Mistral 7B"


def draw(scene: Scene) -> list[Drawing]:
    """Draw one figure of all gated tasks, where any was run."""
    names = [name for name, rows in scene.by_name().items() if rows[0].kind == "non-inferiority"]
    if not names:
        return []
    rows = [row for name in names for row in scene.by_name()[name]]
    figure = Figure(figsize=(6.8, 1.4 + 0.32 * len(rows) + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    heights = _draw(axes, rows, scene)
    if scene.published:
        _beside(axes, heights)
    described = "; ".join(
        f"{row.name}, {row.adapter}: {100 * row.difference.difference:+.1f} points, "
        f"{100 * row.difference.low:+.1f} to {100 * row.difference.high:+.1f}, {row.outcome}"
        for row in rows
    )
    return [
        finish(
            figure, "general-ability",
            "General ability: change in points with its 95 % interval; shaded is a loss within the "
            "margin. Passed where the whole interval lies right of the margin's edge.",
            f"Change of general ability. {described}.",
        )
    ]  # fmt: skip


def _draw(axes: Axes, rows: list[Comparison], scene: Scene) -> dict[str, float]:
    """Draw a line a row from the top; return the height of each task's first."""
    labels, heights, height = [], dict[str, float](), 0.0
    for row in rows:
        # A little more room between tasks than between adapters.
        height -= 1.0 if row.name in heights else 1.6
        heights.setdefault(row.name, height)
        d = row.difference
        colour, marker = look(scene.number(row.adapter))
        axes.plot([100 * d.low, 100 * d.high], [height, height], color=colour, linewidth=1.8)
        axes.plot([100 * d.difference], [height], color=colour, markersize=6, marker=marker)
        margin = 100 * (row.margin or 0.0)
        axes.fill_between([-margin, 0], height - 0.5, height + 0.5, color="#E69F00", alpha=0.2,
                          linewidth=0)  # fmt: skip
        labels.append((height, f"{row.name} · {row.adapter} · {row.outcome}"))
    axes.axvline(0, color="#333333", linewidth=1)
    axes.set_yticks([place for place, _ in labels], [text for _, text in labels], fontsize=9)
    axes.set_ylim(height - 0.8, -0.8)
    axes.set_xlabel("change, points")
    axes.set_title("general ability", loc="left", fontsize=11)
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return heights


def _beside(axes: Axes, heights: dict[str, float]) -> None:
    """Set the paper's change of the same task beside, which has no interval."""
    known = [(after - before, heights[name] + 0.35)
             for name, (before, after) in MISTRAL.items() if name in heights]  # fmt: skip
    if known:
        axes.plot(
            [change for change, _ in known], [height for _, height in known], marker="d",
            markersize=6, color="#333333", fillstyle="none", linestyle="none", label=PUBLISHED,
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1.0, 1.12))
