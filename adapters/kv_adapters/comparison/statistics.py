"""How two models' scores on the same documents are compared: the choice of method, in one place.

Intervals, 95 %, two-sided:

* Scores of 0 and 1, every question once: the wider of Newcombe's square-and-add interval for a
  paired difference of proportions (Newcombe 1998, Statistics in Medicine 17:2635, method 10) and
  Tango's score interval (Tango 1998, Statistics in Medicine 17:891). Both have their width even
  where no document changed; where few did, Newcombe's alone would pass an adapter at the margin
  up to 13 times in 100 instead of 2.5.
* Scores of 0 and 1, a question at several positions, lengths or wordings: the same, for as many
  documents as are worth as much as independent ones (Korn and Graubard 1998, Survey Methodology
  24:193). A t interval clustered by question, the usual choice, is too narrow where few questions
  changed: four gains in 300 questions would read as an improvement.
* Scores between 0 and 1: the mean with a standard error clustered by question and a t
  distribution with one degree of freedom less than questions, or than as many equal ones as they
  are worth where some have many more documents (Liang and Zeger 1986, Biometrika 73:13). A
  percentile bootstrap of questions covers less where there are few of them. It reaches at least
  as far as Wilson's limit (1927, Journal of the American Statistical Association 22:209) on the
  share of questions that behave otherwise than any that was seen: one hundredth of a point in one
  question of 60 says nothing of the next.
* One question alone: anything is possible.

p-values, two-sided, of no difference: McNemar's exact test where every question comes once
with 0 or 1, else a randomisation test that exchanges the models question by question (Fisher
1935, The Design of Experiments, chapter 3): all ways up to 13 changed questions, 9,999 drawn ones
beyond, the clustered t distribution beyond 400.

``benchmarks/coverage.py`` simulates what these promise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kv_adapters.comparison.intervals import (
    TINY,
    clustered_t,
    effective_documents,
    paired,
    unseen,
)
from kv_adapters.comparison.randomisation import exact_mcnemar, sign_flips


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
        spread: standard deviation of a question's share in the difference.
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
    spread: float
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
    first, second, groups = _arrays(base, other, questions)
    change, count = second - first, int(groups.max()) + 1
    low, high, method = interval(first, second, groups)
    sums = np.bincount(groups, weights=change - change.mean()) * count / len(change)
    return Difference(
        documents=len(first),
        questions=count,
        base=float(first.mean()),
        other=float(second.mean()),
        difference=float(change.mean()),
        low=low,
        high=high,
        p_value=p_value(first, second, groups),
        spread=float(np.sqrt((sums**2).sum() / max(1, count - 1))),
        method=method,
    )


def interval(
    base: "np.ndarray", other: "np.ndarray", groups: "np.ndarray"
) -> tuple[float, float, str]:
    """Return the 95 % interval of ``mean(other - base)`` within -1 and 1, and its method's name.

    Args:
        base: scores, (n,).
        other: scores of the same documents, (n,).
        groups: number of each document's question from 0, (n,).
    """
    change, questions = other - base, int(groups.max()) + 1
    if questions < 2:
        return -1.0, 1.0, "one question: no interval"
    if _binary(base, other):
        if questions == len(base):
            low, high = paired(base, other)
            method = "Newcombe and Tango"
        else:
            low, high = paired(base, other, effective_documents(change, groups))
            method = "Newcombe and Tango, clustered by question"
    else:
        low, high = unseen(float(change.mean()), questions)
        method = "t, clustered by question"
        if not _alike(change, groups):
            t_low, t_high, _ = clustered_t(change, groups)
            low, high = min(low, t_low), max(high, t_high)
    return max(-1.0, low), min(1.0, high), method


def p_value(base: "np.ndarray", other: "np.ndarray", groups: "np.ndarray") -> float:
    """Return the two-sided p-value of no difference; arguments as for :func:`interval`."""
    change, questions = other - base, int(groups.max()) + 1
    if questions < 2:
        return 1.0
    if questions == len(base) and _binary(base, other):
        return exact_mcnemar(base, other)
    found = sign_flips(change, groups)
    return clustered_t(change, groups)[2] if found is None else found


def _arrays(
    base: Sequence[float], other: Sequence[float], questions: Sequence[str]
) -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
    if not base or not len(base) == len(other) == len(questions):
        raise ValueError(
            f"lengths {len(base)}, {len(other)}, {len(questions)}; expected equal, > 0"
        )
    first, second = np.asarray(base, float), np.asarray(other, float)
    scores = np.concatenate([first, second])
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores from {scores.min()} to {scores.max()}; expected 0 to 1")
    return first, second, np.unique(np.asarray(questions), return_inverse=True)[1]


def _binary(base: "np.ndarray", other: "np.ndarray") -> bool:
    return bool(np.isin(base, (0.0, 1.0)).all() and np.isin(other, (0.0, 1.0)).all())


def _alike(change: "np.ndarray", groups: "np.ndarray") -> bool:
    """Whether no question adds to the variance; gains and losses within one may cancel, too."""
    return bool(np.abs(np.bincount(groups, weights=change - change.mean())).max() < TINY)
