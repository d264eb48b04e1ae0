"""95 % intervals of a proportion and of a paired difference; see statistics.py for the choice."""

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

LEVEL = 0.95
# Below this a spread of scores between 0 and 1 is rounding.
TINY = 1e-9
# Questions added to the estimate of the design effect.
PRIOR = 2


def wilson(successes: float, count: float) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a proportion; the numbers need not be whole."""
    low, high = proportion_confint(successes, count, alpha=1 - LEVEL, method="wilson")
    # At 0 and 1 rounding puts a limit on the wrong side of the proportion.
    return min(float(low), successes / count), max(float(high), successes / count)


def paired(
    base: "np.ndarray", other: "np.ndarray", effective: float | None = None
) -> tuple[float, float]:
    """Return an interval for ``mean(other) - mean(base)``, both of 0 and 1: the wider of two.

    Newcombe's is too short where few documents changed, and all of them one way; Tango's where
    many did. A gate that reads one limit needs both.

    Args:
        base: scores, (n,).
        other: scores of the same documents, (n,).
        effective: count as so many documents; None counts them all.
    """
    one, two = newcombe(base, other, effective), tango(base, other, effective)
    return min(one[0], two[0]), max(one[1], two[1])


def tango(
    base: "np.ndarray", other: "np.ndarray", effective: float | None = None
) -> tuple[float, float]:
    """Return Tango's score interval, arguments as for :func:`paired`.

    It holds the differences that a score test does not reject, with the chance of a loss that is
    likeliest under each.
    """
    n, _, gained, lost = _counts(base, other, effective)
    found = (gained - lost) / n

    def score(difference: float) -> float:
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        chance_of_loss = (np.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
        variance = n * (2 * chance_of_loss + difference * (1 - difference))
        return float((gained - lost - n * difference) / np.sqrt(max(variance, TINY**2)))

    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    low, high = -1.0, 1.0
    if score(-1 + TINY) > z:
        low = float(brentq(lambda d: score(d) - z, -1 + TINY, found - TINY))
    if score(1 - TINY) < -z:
        high = float(brentq(lambda d: score(d) + z, found + TINY, 1 - TINY))
    return low, high


def newcombe(
    base: "np.ndarray", other: "np.ndarray", effective: float | None = None
) -> tuple[float, float]:
    """Return Newcombe's method 10 interval, arguments as for :func:`paired`.

    The Wilson limits of both proportions are combined as for independent samples, less
    what the pairs share: phi, with a continuity correction where it is positive.
    """
    n, both, gained, lost = _counts(base, other, effective)
    p_other, p_base = (both + gained) / n, (both + lost) / n
    low_other, high_other = wilson(both + gained, n)
    low_base, high_base = wilson(both + lost, n)
    phi = _phi(both, gained, lost, n - both - gained - lost)
    d = p_other - p_base

    def reach(a: float, b: float) -> float:
        return float(np.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b)))

    low = d - reach(p_other - low_other, high_base - p_base)
    return float(low), float(d + reach(high_other - p_other, p_base - low_base))


def effective_documents(change: "np.ndarray", groups: "np.ndarray") -> float:
    """Return how many independent documents tell as much as these, which share questions.

    Documents over the design effect, the clustered variance over that of independent
    documents, less what estimating it from few questions costs: (z / t)^2. Where hardly any
    question changed, nobody knows how alike its documents are: two more, all of whose documents
    change alike, are added for the design effect, as Agresti and Coull add to a proportion.

    Args:
        change: differences of scores, (n,).
        groups: number of each document's question, (n,).
    """
    questions = int(groups.max()) + 1
    each = len(change) / questions
    reach = stats.norm.ppf(0.5 + LEVEL / 2), stats.t.ppf(0.5 + LEVEL / 2, _freedom(groups))
    few = float((reach[0] / reach[1]) ** 2)
    sums = np.bincount(groups, weights=change - change.mean())
    clustered = float((sums**2).sum()) * questions / (questions - 1) + PRIOR * each**2
    independent = float(((change - change.mean()) ** 2).sum()) + PRIOR * each
    # Gains and losses that cancel within questions are luck, not more documents than there are.
    return len(change) / max(1.0, clustered / independent) * few


def clustered_t(change: "np.ndarray", groups: "np.ndarray") -> tuple[float, float, float]:
    """Return interval and p-value of a mean whose documents share questions."""
    fit = OLS(change, np.ones_like(change)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    mean, error, freedom = float(fit.params[0]), float(fit.bse[0]), _freedom(groups)
    if error < TINY:
        return mean, mean, float(abs(mean) < TINY)
    low, high = stats.t.interval(LEVEL, freedom, mean, error)
    return float(low), float(high), 2 * float(stats.t.sf(abs(mean) / error, freedom))


def _freedom(groups: "np.ndarray") -> float:
    """Return the degrees of freedom of a mean over questions: one less than there are.

    Where some have many more documents than others, they are worth fewer equal ones (Kish 1965,
    Survey Sampling, section 8.2; Carter, Schnepel and Steigerwald 2017, Review of Economics and
    Statistics 99:698).
    """
    sizes = np.bincount(groups)
    return max(1.0, float(sizes.sum() ** 2 / (sizes**2).sum()) - 1)


def unseen(change: float, questions: int) -> tuple[float, float]:
    """Return what questions that behave otherwise than any of these may add to ``change``."""
    reach = wilson(0, questions)[1]
    return change - reach, change + reach


def _counts(
    base: "np.ndarray", other: "np.ndarray", effective: float | None
) -> tuple[float, float, float, float]:
    """Return documents, those that both got right, gains and losses, scaled to ``effective``."""
    n = effective if effective is not None else float(len(base))
    part = n / len(base)
    both = part * float(((base == 1) & (other == 1)).sum())
    gained = part * float(((base == 0) & (other == 1)).sum())
    return n, both, gained, part * float(((base == 1) & (other == 0)).sum())


def _phi(both: float, gained: float, lost: float, neither: float) -> float:
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins < TINY:
        return 0.0
    product, n = both * neither - gained * lost, both + gained + lost + neither
    # Newcombe's correction: half of n less where the product is positive, not below zero.
    return float((max(0.0, product - n / 2) if product > 0 else product) / np.sqrt(margins))
