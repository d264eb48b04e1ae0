"""Several adapters of one recipe, trained with different seeds: would the next one do it, too?

Questions are the same for all seeds, so a mean over both has two sources of chance. Each source
alone gives a t interval, of the questions' means and of the seeds' means; their half-widths are
squared and added, as Newcombe and Howe (1974, Journal of the American Statistical Association
69:789) do for sums of independent parts. Three seeds that differ much so have two degrees of
freedom, three that agree cost nothing. What chance moves both in is counted twice, so intervals
are rather wide than narrow.
"""

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from kv_adapters.comparison.compare import Comparison, judged
from kv_adapters.comparison.doubts import unchanged
from kv_adapters.comparison.form import haystacks
from kv_adapters.comparison.intervals import LEVEL, TINY
from kv_adapters.comparison.runs import Run
from kv_adapters.comparison.statistics import Difference, paired_difference
from kv_tasks.errors import RunError

# Smaller p-values are not told apart.
SMALLEST = 1e-9
_SEED = re.compile(r"^(?P<name>.+)-seed\d+$")


@dataclass(frozen=True)
class Spread:
    """One row over the seeds of a recipe: the differences, their mean and standard deviation."""

    name: str
    differences: tuple[float, ...]
    mean: float
    deviation: float


def families_of_seeds(runs: Sequence[Run]) -> dict[str, list[int]]:
    """Return recipe name to its runs' places, for those with two seeds or more.

    ``kv-train run --seeds`` names its adapters NAME-seed0, NAME-seed1 and so on.

    Raises:
        RunError: two seeds are one training, which would count twice.
    """
    found = defaultdict(list)
    for place, run in enumerate(runs):
        if match := _SEED.match(run.label):
            found[match["name"]].append(place)
    for places in found.values():
        for one, other in itertools.combinations([runs[place] for place in places], 2):
            if _one_training(one, other):
                raise RunError(
                    f"{other.folder}: the run of {one.folder} again; name each seed once"
                )
    return {f"{name}, {len(each)} seeds": each for name, each in found.items() if len(each) > 1}


def _one_training(one: Run, other: Run) -> bool:
    # A path may have held one adapter after another; answers tell.
    return one.adapter is not None and one.adapter == other.adapter and bool(unchanged(one, other))


def pool(
    label: str, seeds: Sequence[Sequence[Comparison]]
) -> tuple[list[Comparison], list[Spread], list[Comparison]]:
    """Return rows over all seeds, the spread of each, and what could not be pooled, of one seed.

    Args:
        label: of the pooled rows.
        seeds: each seed's rows against the same base.
    """
    rows, changes, spreads, dropped = [], [], [], []
    # Of all seeds: what one alone lacks is said, too.
    places = {(row.name, row.member_of): row for rows_ in seeds for row in rows_}
    for place, first in places.items():
        each = [row for rows_ in seeds for row in rows_ if (row.name, row.member_of) == place]
        if len(each) < len(seeds) or len({_documents(row) for row in each}) > 1:
            dropped.append(first)
            continue
        changes.append(_by_question(each))
        rows.append(_pooled(label, each, changes[-1]))
        differences = tuple(row.difference.difference for row in each)
        spreads.append(Spread(first.name, differences, fmean(differences), stdev(differences)))
    advised = [_advised(row, change) for row, change in zip(judged(rows), changes, strict=True)]
    return advised, spreads, dropped


def _documents(row: Comparison) -> tuple[object, ...]:
    return tuple(pair.base.key for pair in row.pairs)


def _by_question(each: Sequence[Comparison]) -> "np.ndarray":
    names = [pair.base.question_id for pair in each[0].pairs]
    return by_question(names, [[p.other.score - p.base.score for p in r.pairs] for r in each])


def by_question(names: Sequence[str], changes: Sequence[Sequence[float]]) -> "np.ndarray":
    """Return each question's share in the mean change under each seed, (seeds, questions).

    Args:
        names: each document's question.
        changes: of each document, under each seed in turn.
    """
    groups = np.unique(np.asarray(names), return_inverse=True)[1]
    # A share in the mean over documents, so that a question with many counts as such.
    share = (int(groups.max()) + 1) / len(names)
    return np.array([np.bincount(groups, weights=change) * share for change in changes])


def _pooled(label: str, each: Sequence[Comparison], change: "np.ndarray") -> Comparison:
    """Pool one row: the wider of what seeds and questions say, and what questions say alone.

    The latter, on the documents of all seeds, knows how little a few changed questions prove.
    """
    first = each[0]
    pairs = tuple(pair for row in each for pair in row.pairs)
    names = [pair.base.question_id for pair in first.pairs]
    alone = paired_difference(
        [pair.base.score for pair in pairs], [pair.other.score for pair in pairs], names * len(each)
    )
    found = replace(over_both(alone, change), method=f"{len(each)} seeds and questions")
    # How answers look is each seed's own, and said there.
    first = replace(first, lost=(), unread="", form=haystacks(first.pairs))
    return replace(first, adapter=label, difference=found, pairs=pairs)


def over_both(alone: Difference, change: "np.ndarray") -> Difference:
    """Return a difference with the wider of its interval and that over seeds and questions.

    Args:
        alone: over the documents of all seeds.
        change: as for :func:`over_seeds`.
    """
    low, high, p_value = over_seeds(change)
    return replace(
        alone,
        low=max(-1.0, min(low, alone.low)),
        high=min(1.0, max(high, alone.high)),
        p_value=max(p_value, alone.p_value),
    )


def _advised(row: Comparison, change: "np.ndarray") -> Comparison:
    """Say where more seeds are needed; a number of questions would hold for one adapter alone."""
    must = abs(row.difference.difference) if row.margin is None else row.margin
    note = row.note
    if row.outcome == "inconclusive" and must > TINY and seeds_alone(change) > must:
        aim = (
            f"show a change of {100 * row.difference.difference:+.1f} points"
            if row.margin is None
            else "pass the margin"
        )
        apart = f"so far apart as these {len(change)} are"
        advice = f"needs more seeds: {apart}, no number of questions would {aim}"
        note = f"{note}; {advice}" if note else advice
    return replace(row, needed=None, note=note)


def seeds_alone(change: "np.ndarray") -> float:
    """Return the half-width that would be left with any number of questions.

    Seeds' means differ by the seeds, and by the questions that each seed happens to get right; only
    the latter, estimated from what is left within seeds and questions, goes away with more of them.
    Where the latter explain the former (an F test of variance components), nothing would be left.

    Args:
        change: as for :func:`over_seeds`.
    """
    seeds, questions = change.shape
    if questions < 2:
        return 0.0
    means = change.mean(axis=1)
    rest = change - change.mean(axis=0) - means[:, None] + change.mean()
    within = float((rest**2).sum()) / ((seeds - 1) * (questions - 1))
    between = float(means.var(ddof=1))
    freedom = (seeds - 1, (seeds - 1) * (questions - 1))
    if within > TINY**2 and stats.f.sf(between * questions / within, *freedom) > 1 - LEVEL:
        return 0.0
    lasting = max(0.0, between - within / questions)
    return float(stats.t.ppf(0.5 + LEVEL / 2, seeds - 1)) * math.sqrt(lasting / seeds)


def over_seeds(change: "np.ndarray") -> tuple[float, float, float]:
    """Return the 95 % interval and the p-value of a mean over seeds and questions.

    Args:
        change: mean difference of each question under each seed, (seeds, questions).
    """
    questions = change.shape[1]
    if questions < 2:
        return -1.0, 1.0, 1.0
    parts = [change.mean(axis=0), change.mean(axis=1)]
    variances = [float(part.var(ddof=1)) / len(part) for part in parts]
    mean = float(change.mean())
    if sum(variances) < TINY**2:
        return mean, mean, 1.0 if abs(mean) < TINY else 0.0

    def reach(level: float) -> float:
        quantiles = (float(stats.t.ppf(0.5 + level / 2, len(part) - 1)) for part in parts)
        return math.sqrt(sum(t**2 * v for t, v in zip(quantiles, variances, strict=True)))

    # The p-value is the level whose interval just touches zero.
    if reach(1 - SMALLEST) < abs(mean):
        p_value = SMALLEST
    else:
        p_value = 1 - float(brentq(lambda level: reach(level) - abs(mean), 0.0, 1 - SMALLEST))
    return mean - reach(LEVEL), mean + reach(LEVEL), p_value
