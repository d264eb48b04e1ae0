"""Pictures of a training: loss, and held-out accuracy by depth."""

import itertools
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kv_train.held_out import PARTS, Log, answer_losses, other_kinds


def draw(log: Log, target: Path) -> None:
    """Write ``training.png``: loss over steps and, where it was measured, accuracy.

    Args:
        log: the lines of ``log.jsonl``.
        target: the file; equal logs give equal bytes.
    """
    evaluated = [entry for entry in log if "eval_exact_match" in entry]
    figure = Figure(figsize=(11 if evaluated else 6, 4), layout="constrained", dpi=120)
    axes = figure.subplots(1, 2 if evaluated else 1, squeeze=False)[0]
    _losses(axes[0], log, evaluated)
    if evaluated:
        _accuracies(axes[1], evaluated)
    figure.savefig(target, metadata={"Software": None})


def _losses(axes: Axes, log: Log, evaluated: Log) -> None:
    x, y = zip(*answer_losses(log), strict=True)
    held = [entry["eval_loss"] for entry in evaluated]
    axes.plot(x, y, color="0.45", linewidth=1, label="training")
    if evaluated:
        axes.plot([entry["step"] for entry in evaluated], held, "o-", label="held out")
    axes.set(xlabel="optimizer step", ylabel="loss an answer token (nats)", title="Loss")
    axes.set_ylim(0, 1.05 * max([*y, *held]))
    axes.legend(frameon=False)


def _accuracies(axes: Axes, evaluated: Log) -> None:
    x = [entry["step"] for entry in evaluated]
    shades = colormaps["viridis"]
    for part in range(PARTS):
        key = f"exact_match_depth_{part + 1}"
        points = [(at, entry[f"eval_{key}"]) for at, entry in zip(x, evaluated, strict=True)
                  if f"eval_{key}" in entry]  # fmt: skip
        if points:
            where = f"depth {part / PARTS:.1f} to {(part + 1) / PARTS:.1f}"
            colour = shades(part / (PARTS - 1) * 0.9)
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1, label=where)
    overall = [entry["eval_exact_match"] for entry in evaluated]
    axes.plot(x, overall, "o-", color="black", linewidth=2, label="all")
    for kind, style in zip(other_kinds(evaluated[0]), itertools.cycle(("--", ":", "-."))):
        scores = [entry[f"eval_exact_match_{kind}"] for entry in evaluated]
        axes.plot(x, scores, style, color="tab:red", linewidth=2, label=f"all of {kind}")
    axes.set(xlabel="optimizer step", ylabel="answers word for word", title="Held-out accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, fontsize="small")
