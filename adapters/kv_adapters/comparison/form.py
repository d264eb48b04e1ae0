"""What one score hides of how answers look: half-right ones, and ones that grew or shrank.

Key-value retrieval counts an answer that gives the value and its dictionary's number; an adapter
may find every value and no number. MDQA counts an answer in which an accepted one stands anywhere,
so that a sentence is right more often than a name.
"""

from collections.abc import Sequence
from statistics import fmean, median

from kv_adapters.comparison.pairing import Pair

ANYWHERE = "best_subspan_em"
# Below, a difference is not worth a line: in shares, and in shares of the longer median.
HIDDEN, LONGER = 0.05, 0.1


def form(pairs: Sequence[Pair], metric: str) -> str:
    """Say what the headline metric leaves out, empty where that is little."""
    said = [_values(pairs)]
    if metric == ANYWHERE:
        said.append(_words(pairs))
    return "; ".join(text for text in said if text)


def _values(pairs: Sequence[Pair]) -> str:
    values = [
        (pair.base.value, pair.other.value)
        for pair in pairs
        if pair.base.value is not None and pair.other.value is not None
    ]
    if not values:
        return ""
    base, other = (fmean(column) for column in zip(*values, strict=True))
    scores = [fmean(pair.base.score for pair in pairs), fmean(pair.other.score for pair in pairs)]
    if base - scores[0] < HIDDEN and other - scores[1] < HIDDEN:
        return ""
    return (
        f"the value alone is right in {base:.2f} of the base's answers and {other:.2f} of the "
        "adapter's"
    )


def _words(pairs: Sequence[Pair]) -> str:
    base, other = (
        median(len(sample.response.split("\n", 1)[0].split()) for sample in column)
        for column in ([pair.base for pair in pairs], [pair.other for pair in pairs])
    )
    if abs(other - base) < LONGER * max(base, other):
        return ""
    return (
        f"answers have {other:g} words (median), the base's {base:g}; longer ones are right more "
        "often"
    )
