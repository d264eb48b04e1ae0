"""Exact tests of no difference: had the two models changed places, what would have been seen?"""

import numpy as np
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar

# Drawn where more questions changed than can be enumerated; the same for everybody.
DRAWS, SEED = 9_999, 0
# With so many changed questions the randomisation distribution is the normal one.
MANY = 400


def exact_mcnemar(base: "np.ndarray", other: "np.ndarray") -> float:
    """Return McNemar's exact p-value for scores of 0 and 1, (n,) each."""
    gained = int(((base == 0) & (other == 1)).sum())
    lost = int(((base == 1) & (other == 0)).sum())
    return float(mcnemar([[0, gained], [lost, 0]], exact=True).pvalue)


def sign_flips(change: "np.ndarray", groups: "np.ndarray") -> float | None:
    """Return the p-value of flipping the signs of whole questions, enumerated or drawn.

    Args:
        change: differences of scores, (n,).
        groups: number of each document's question, (n,).

    Returns:
        None where so many questions changed that the normal distribution says the same.
    """
    sums = np.bincount(groups, weights=change)
    changed = sums[np.abs(sums) > 1e-9]
    if len(changed) > MANY:
        return None
    # One question alone flips both ways: 1 of 2 at best.
    if len(changed) < 2:
        return 1.0
    found = permutation_test(
        (changed, np.zeros_like(changed)),
        lambda one, two, axis: (one - two).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=DRAWS,
        batch=1_000,
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue)
