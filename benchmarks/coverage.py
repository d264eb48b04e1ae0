"""Do the intervals hold the truth 95 times in 100, and does the gate err as rarely as it says?

    python benchmarks/coverage.py [--replications 2000]

Models are simulated: a question has a difficulty, a change of model moves some questions more
than others, documents of one question are alike. Printed are, by design, how often the interval
holds the true difference, what ignoring the questions would give, and how often the gate is wrong.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import binom, norm
from statsmodels.stats.multitest import multipletests

from kv_adapters.comparison.intervals import newcombe, paired
from kv_adapters.comparison.seeds import over_seeds
from kv_adapters.comparison.statistics import interval, p_value

Draw = Callable[[np.random.Generator, int, int], tuple[np.ndarray, np.ndarray]]
MARGIN = 0.01


@dataclass(frozen=True)
class Design:
    """A way to evaluate two models.

    Attributes:
        name: as printed.
        questions, positions: documents are their product.
        draw: both models' scores, (questions, positions) each.
    """

    name: str
    questions: int
    positions: int
    draw: Draw


def latent(accuracy: float, effect: float, own: float = 1.0) -> Draw:
    """Return a generator: right where difficulty, change and luck exceed a threshold.

    Args:
        accuracy: of the base model, about.
        effect: mean change on the latent scale.
        own: how much more some questions change than others.
    """
    threshold = -np.sqrt(2) * float(norm.ppf(accuracy))

    def draw(
        rng: np.random.Generator, questions: int, positions: int
    ) -> tuple[np.ndarray, np.ndarray]:
        skill = rng.normal(size=(questions, 1))
        moved = effect + own * rng.normal(size=(questions, 1))
        base = skill + rng.normal(size=(questions, positions)) > threshold
        other = skill + moved + rng.normal(size=(questions, positions)) > threshold
        return base.astype(float), other.astype(float)

    return draw


def rare(share: float, up: float) -> Draw:
    """Return a generator in which ``share`` of the questions change, of them ``up`` to right."""

    def draw(
        rng: np.random.Generator, questions: int, positions: int
    ) -> tuple[np.ndarray, np.ndarray]:
        base = (rng.random((questions, 1)) < rng.random((questions, positions))).astype(float)
        chosen = rng.random((questions, 1)) < share
        better = rng.random((questions, 1)) < up
        shown = rng.random((questions, positions)) < 0.7
        other = np.where(chosen & shown, np.where(better, 1.0, 0.0), base)
        return base, other

    return draw


def fractions(
    rng: np.random.Generator, questions: int, positions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw F1-like scores: often 0 or 1, else between."""
    first, second = (
        draw * (rng.random((questions, positions)) < 0.6)
        for draw in (rng.beta(1, 1, (questions, positions)), rng.beta(2, 1, (questions, positions)))
    )
    return np.round(first, 2), np.round(second, 2)


DESIGNS = (
    Design("50 documents, accuracy 0.5", 50, 1, latent(0.5, 0.4)),
    Design("200 documents, accuracy 0.1", 200, 1, latent(0.1, 0.3)),
    Design("200 documents, accuracy 0.9, no effect", 200, 1, latent(0.9, 0.0)),
    Design("1,000 documents, accuracy 0.5, hardly any change", 1000, 1, latent(0.5, 0.02, 0.1)),
    Design("1,000 documents, 2 % changed, most gained", 1000, 1, rare(0.02, 0.8)),
    Design("60 questions", 60, 1, latent(0.4, 0.4, 1.5)),
    Design("40 questions x 3", 40, 3, latent(0.4, 0.4, 1.5)),
    Design("25 questions x 6", 25, 6, latent(0.4, 0.4, 1.5)),
    Design("100 questions x 6", 100, 6, latent(0.4, 0.2)),
    Design("100 questions x 6, accuracy 0.1", 100, 6, latent(0.1, 0.2)),
    Design("200 questions x 6, 2 % changed", 200, 6, rare(0.02, 0.5)),
    Design("300 questions x 6, 2 % gained", 300, 6, rare(0.02, 1.0)),
    Design("50 questions x 3, F1", 50, 3, fractions),
    Design("200 documents, F1", 200, 1, fractions),
)


def coverage(design: Design, replications: int, seed: int = 0) -> tuple[float, float, float]:
    """Return how often the interval holds the truth, and misses it below and above."""
    rng = np.random.default_rng([seed, 1])
    base, other = design.draw(np.random.default_rng([seed, 2]), 1_000_000, 1)
    truth = float((other - base).mean())
    groups = np.repeat(np.arange(design.questions), design.positions)
    below = above = 0
    for _ in range(replications):
        base, other = design.draw(rng, design.questions, design.positions)
        low, high, _ = interval(base.ravel(), other.ravel(), groups)
        below += truth < low
        above += truth > high
    missed = (below + above) / replications
    return 1 - missed, below / replications, above / replications


def ignoring_questions(design: Design, replications: int, seed: int = 0) -> float:
    """Return the coverage of Newcombe's interval as if every document were a question."""
    rng = np.random.default_rng([seed, 1])
    base, other = design.draw(np.random.default_rng([seed, 2]), 1_000_000, 1)
    truth, hits = float((other - base).mean()), 0
    for _ in range(replications):
        base, other = design.draw(rng, design.questions, design.positions)
        low, high = newcombe(base.ravel(), other.ravel())
        hits += low <= truth <= high
    return hits / replications


def false_improvements(replications: int, seed: int = 0) -> tuple[float, float]:
    """Return how often one of 6 unchanged tasks reads as improved, with Holm and without."""
    rng, draw = np.random.default_rng(seed), latent(0.4, 0.0)
    groups = np.repeat(np.arange(40), 3)
    with_holm = without = 0
    for _ in range(replications):
        found = []
        for _ in range(6):
            base, other = (scores.ravel() for scores in draw(rng, 40, 3))
            gain = (other - base).mean() > 0
            positive = gain and interval(base, other, groups)[0] > 0
            found.append((p_value(base, other, groups), positive))
        adjusted = multipletests([p for p, _ in found], method="holm")[1]
        with_holm += any(p < 0.05 and up for p, (_, up) in zip(adjusted, found, strict=True))
        without += any(p < 0.05 and up for p, up in found)
    return with_holm / replications, without / replications


def gate_rates(
    documents: int, loss: float, replications: int, seed: int = 0
) -> tuple[float, float]:
    """Return how often the gate passes and fails, when ``loss`` is the true loss.

    A twentieth of the documents changes, as between a base and a mild adapter.
    """
    rng, changed = np.random.default_rng([seed, documents]), 0.05
    groups = np.arange(documents)
    passed = failed = 0
    for _ in range(replications):
        base = (rng.random(documents) < 0.5).astype(float)
        turned = rng.random(documents)
        # Of the right ones more are lost than of the wrong ones gained, by the loss on the whole.
        share = np.where(base == 1, changed + loss, changed - loss)
        other = np.where(turned < share, 1 - base, base)
        low, high, _ = interval(base, other, groups)
        passed += low > -MARGIN
        failed += high < -MARGIN
    return passed / replications, failed / replications


def losses_alone(documents: int) -> tuple[float, float]:
    """Return how often a loss of the margin passes when nothing is gained: exact, no simulation."""
    chances = binom.pmf(np.arange(documents + 1), documents, MARGIN)
    base = np.r_[np.ones(documents // 2), np.zeros(documents - documents // 2)]
    shares = [0.0, 0.0]
    for lost in range(min(documents // 2, 10 * int(MARGIN * documents) + 10)):
        other = base.copy()
        other[:lost] = 0.0
        for place, limits in enumerate((paired, newcombe)):
            shares[place] += chances[lost] * (limits(base, other)[0] > -MARGIN)
    return shares[0], shares[1]


def seeds_coverage(replications: int, seed: int = 0) -> float:
    """Return how often the pooled interval of 3 seeds on 60 questions holds the truth."""
    rng, truth, hits = np.random.default_rng(seed), 0.0, 0
    for _ in range(replications):
        question = rng.normal(scale=0.3, size=(1, 60))
        trained = rng.normal(scale=0.05, size=(3, 1))
        change = truth + trained + question + rng.normal(scale=0.3, size=(3, 60))
        low, high, _ = over_seeds(change)
        hits += low <= truth <= high
    return hits / replications


def lines(replications: int) -> Iterator[tuple[str, ...]]:
    """Yield the coverage table's rows."""
    for design in DESIGNS:
        held, below, above = coverage(design, replications)
        naive = ""
        if design.positions > 1 and "F1" not in design.name:
            naive = f"{ignoring_questions(design, replications):.3f}"
        yield design.name, f"{held:.3f}", f"{below:.3f}", f"{above:.3f}", naive
    yield "3 seeds x 60 questions, pooled", f"{seeds_coverage(replications):.3f}", "", "", ""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=2000)
    count = parser.parse_args().replications
    out = Console(width=100)
    table = Table(title=f"95 % intervals, {count} simulations each")
    for name in ("design", "holds the truth", "truth below", "truth above", "questions ignored"):
        table.add_column(name, justify="left" if name == "design" else "right")
    for line in lines(count):
        table.add_row(*line)
    out.print(table)
    holm, without = false_improvements(count // 4)
    out.print(
        f"6 unchanged tasks, one improved: {holm:.3f} with Holm's correction, {without:.3f} without"
    )
    table = Table(title="the gate, margin 1 point, 5 % of the documents change")
    for name in ("documents", "passed at no loss", "passed at 1 point", "failed at no loss",
                 "failed at 3 points"):  # fmt: skip
        table.add_column(name, justify="right")
    for documents in (100, 500, 1000, 2000, 4000, 8000):
        none, margin, more = (gate_rates(documents, loss, count // 2) for loss in (0, 0.01, 0.03))
        table.add_row(str(documents), *(f"{x:.3f}" for x in (none[0], margin[0], none[1], more[1])))
    out.print(table)
    table = Table(title="the gate at its margin, a loss of 1 point, where nothing is gained")
    for name in ("documents", "passed", "by Newcombe's limit alone"):
        table.add_column(name, justify="right")
    for documents in (100, 200, 300, 400, 600, 1000, 2000, 4000):
        table.add_row(str(documents), *(f"{share:.3f}" for share in losses_alone(documents)))
    out.print(table)


if __name__ == "__main__":
    main()
