"""How two accuracies on the same documents are compared: the choice of method, in one place.

* Every question once, right or wrong: Newcombe's square-and-add interval for a paired difference
  of proportions (Newcombe 1998, Statistics in Medicine 17:2635, method 10) and McNemar's
  exact test. The interval has its width even where no document changed.
* A question at several positions or lengths, or scores between 0 and 1: the mean of the
  documents' differences with a standard error clustered by question and a t distribution with
  one degree of freedom less than there are questions (Liang and Zeger 1986, Biometrika 73:13).
* The same, where all questions changed alike (most often: not at all): their spread is zero, and
  an interval of zero width would be a lie. Wilson's limit (Wilson 1927, Journal of the American
  Statistical Association 22:209) on the share of questions that behave otherwise, 0 of as many
  as there are, reaches to both sides; it is Newcombe's interval for two models that never differ.
* One question alone: anything is possible.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

LEVEL = 0.95
# Below this a spread of scores between 0 and 1 is rounding.
TINY = 1e-9


@dataclass(frozen=True)
class Difference:
    """A paired difference of means; all numbers are shares of 1, not points.

    Attributes:
        documents: pairs compared.
        questions: clusters among them.
        base, other: mean scores.
        difference: ``other - base``.
        low, high: its 95 % interval.
        p_value: two-sided, of no difference.
        method: name of the method above.
    """

    documents: int
    questions: int
    base: float
    other: float
    difference: float
    low: float
    high: float
    p_value: float
    method: str


def paired_difference(
    base: Sequence[float], other: Sequence[float], questions: Sequence[str]
) -> Difference:
    """Compare two models' scores on the same documents.

    Args:
        base: scores of the base model, length n, each in [0, 1].
        other: scores of the other model on the same documents, length n.
        questions: the question that each document asks, length n.

    Raises:
        ValueError: no documents, lengths that differ, or a score outside [0, 1].
    """
    if not base or not len(base) == len(other) == len(questions):
        raise ValueError(
            f"lengths {len(base)}, {len(other)}, {len(questions)}; expected equal, > 0"
        )
    first, second = np.asarray(base, float), np.asarray(other, float)
    scores = np.concatenate([first, second])
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores from {scores.min()} to {scores.max()}; expected 0 to 1")
    names, groups = np.unique(np.asarray(questions), return_inverse=True)
    change = second - first
    # What a question adds to the variance: zero where gains and losses within it cancel, too.
    spread = np.bincount(groups, weights=change - change.mean())
    if len(names) < 2:
        low, high, p_value, method = -1.0, 1.0, 1.0, "one question: no interval"
    elif len(names) == len(first) and np.isin(scores, (0.0, 1.0)).all():
        low, high = newcombe(first, second)
        p_value, method = _mcnemar(first, second), "Newcombe, exact McNemar"
    elif np.abs(spread).max() < TINY:
        low, high, p_value = _all_alike(float(change.mean()), len(names))
        method = "Wilson on questions: all changed alike"
    else:
        low, high, p_value = _clustered(change, groups)
        method = "t, clustered by question"
    return Difference(
        documents=len(first),
        questions=len(names),
        base=float(first.mean()),
        other=float(second.mean()),
        difference=float(change.mean()),
        low=float(max(-1.0, low)),
        high=float(min(1.0, high)),
        p_value=p_value,
        method=method,
    )


def newcombe(base: "np.ndarray", other: "np.ndarray") -> tuple[float, float]:
    """Return Newcombe's method 10 interval for ``mean(other) - mean(base)``, both of 0 and 1.

    The Wilson limits of both proportions are combined as for independent samples, less
    what the pairs share: phi, with a continuity correction where it is positive.
    """
    n = len(base)
    both = int(((base == 1) & (other == 1)).sum())
    gained = int(((base == 0) & (other == 1)).sum())
    lost = int(((base == 1) & (other == 0)).sum())
    neither = n - both - gained - lost
    p_other, p_base = (both + gained) / n, (both + lost) / n
    low_other, high_other = wilson(both + gained, n)
    low_base, high_base = wilson(both + lost, n)
    phi = _phi(both, gained, lost, neither)
    d = p_other - p_base

    def reach(a: float, b: float) -> float:
        return float(np.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b)))

    low = d - reach(p_other - low_other, high_base - p_base)
    return low, d + reach(high_other - p_other, p_base - low_base)


def wilson(successes: float, count: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a proportion."""
    low, high = proportion_confint(successes, count, alpha=1 - LEVEL, method="wilson")
    # At 0 and 1 rounding puts a limit on the wrong side of the proportion.
    return min(float(low), successes / count), max(float(high), successes / count)


def _phi(both: int, gained: int, lost: int, neither: int) -> float:
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    product, n = both * neither - gained * lost, both + gained + lost + neither
    # Newcombe's correction: half of n less where the product is positive, not below zero.
    return float((max(0.0, product - n / 2) if product > 0 else product) / np.sqrt(margins))


def _mcnemar(base: "np.ndarray", other: "np.ndarray") -> float:
    gained = int(((base == 0) & (other == 1)).sum())
    lost = int(((base == 1) & (other == 0)).sum())
    if gained + lost == 0:
        return 1.0
    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def _all_alike(change: float, questions: int) -> tuple[float, float, float]:
    """Return interval and sign-test p-value where every question changed by ``change``."""
    reach = wilson(0, questions)[1]
    p_value = 1.0 if abs(change) < TINY else 2 * 0.5**questions
    return change - reach, change + reach, p_value


def _clustered(differences: "np.ndarray", groups: "np.ndarray") -> tuple[float, float, float]:
    fit = OLS(differences, np.ones_like(differences)).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    low, high = fit.conf_int(alpha=1 - LEVEL)[0]
    return float(low), float(high), float(fit.pvalues[0])
