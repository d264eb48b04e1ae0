"""How many questions would show the change that was seen, or that nothing was lost."""

import math

from scipy.stats import norm

from kv_adapters.comparison.intervals import LEVEL, TINY, wilson
from kv_adapters.comparison.statistics import Difference

POWER = 0.8
# Beyond this nobody asks that many questions: the difference is as good as none.
MOST = 1_000_000


def questions_needed(found: Difference, margin: float | None, family: int = 1) -> int | None:
    """Return the questions that would give an answer with 80 % power, None where none would.

    That is beyond a million, and where there were already as many. Below a hundred it is rough:
    where the p-value decides, the exact tests are more careful than the t test that this reckons
    with, and the power is 70 to 80 %; where the interval does, it narrows faster than is assumed
    here, and the power is 80 to 95 %.

    For superiority the difference seen is taken for the true one; for non-inferiority the
    true difference is taken to be zero, and the question is whether the interval stays above
    the margin. The spread between questions is the one seen; where nothing changed, Wilson's
    limit on the share of questions that may.

    Args:
        found: what was measured.
        margin: of non-inferiority, as a share of 1; None for superiority.
        family: rows that Holm's correction counts with this one; the strictest share is asked for.
    """
    away = abs(found.difference) if margin is None else margin
    spread = found.spread if found.spread > TINY else math.sqrt(wilson(0, found.questions)[1])
    if away < 1e-6:
        return None
    # The interval, too, must leave zero or the margin out, and it is wider than the t test's.
    below = margin is not None or found.difference > 0
    reach = abs(found.difference - (found.low if below else found.high))
    beyond = float(norm.ppf(POWER)) * spread / math.sqrt(found.questions)
    by_interval = found.questions * ((reach + beyond) / away) ** 2
    needed = max(_by_test(away / spread, (1 - LEVEL) / 2 / family), by_interval)
    # As many as there were, and undecided: the truth is near the limit, and no number is enough.
    enough = found.questions < needed <= MOST
    return math.ceil(needed) if enough else None


def _by_test(effect: float, alpha: float) -> float:
    """Return the questions that a one-sided t test needs to see an effect, in spreads.

    The normal distribution's, and what not knowing the spread costs (Guenther 1981, The American
    Statistician 35:243).
    """
    z = float(norm.ppf(1 - alpha))
    return ((z + float(norm.ppf(POWER))) / effect) ** 2 + z**2 / 2
