"""What one score hides of how answers look: half-right ones, and ones that grew or shrank.

Key-value retrieval counts an answer that gives the value and its dictionary's number; an adapter
may find every value and no number. MDQA counts an answer in which an accepted one stands anywhere,
so that a sentence is right more often than a name. A sweep asks every key of a haystack, whose
answers are counted like independent ones.
"""

from collections.abc import Sequence
from statistics import fmean, median

from kv_adapters.comparison.pairing import Pair

ANYWHERE = "best_subspan_em"
# Below, a difference is not worth a line: in points of 1, and in shares of the longer median.
HIDDEN, LONGER = 0.05, 0.1


def form(pairs: Sequence[Pair], metric: str) -> str:
    """Say what the headline metric leaves out, empty where that is little."""
    said = [_values(pairs)]
    if metric == ANYWHERE:
        said.append(_words(pairs))
    said.append(haystacks(pairs))
    return "; ".join(text for text in said if text)


def _values(pairs: Sequence[Pair]) -> str:
    valued = [
        (pair.base.value, pair.other.value, pair.base.score, pair.other.score)
        for pair in pairs
        if pair.base.value is not None and pair.other.value is not None
    ]
    if not valued:
        return ""
    base, other, *scores = (fmean(column) for column in zip(*valued, strict=True))
    # Where values changed as the score did, the score says it all.
    if abs((other - base) - (scores[1] - scores[0])) < HIDDEN:
        return ""
    return (
        f"of the values asked for, {base:.2f} are right in the base's answers and {other:.2f} in "
        "the adapter's"
    )


def haystacks(pairs: Sequence[Pair]) -> str:
    """Say that a sweep holds for the haystacks that were asked, empty where there is none."""
    asked = [pair.base.question_id for pair in pairs if pair.base.task.startswith("kv_sweep")]
    count = len({question.rpartition(":")[0] for question in asked})
    if not count:
        return ""
    of, another = ("one haystack", "another") if count == 1 else (f"{count} haystacks", "others")
    return f"all keys are of {of}: the interval says nothing of {another}"


def _words(pairs: Sequence[Pair]) -> str:
    base, other = (
        median(len(sample.response.split("\n", 1)[0].split()) for sample in column)
        for column in ([pair.base for pair in pairs], [pair.other for pair in pairs])
    )
    if abs(other - base) <= LONGER * max(base, other):
        return ""
    return (
        f"the median of the adapter's answers is {other:g} words, of the base's {base:g}; longer "
        "answers can only raise this score"
    )
