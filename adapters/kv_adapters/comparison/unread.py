"""Answers in which there was nothing to score: empty, or without what the task's filter looks for.

Two models that score alike may still differ in this: one answers wrongly, the other not at all.
"""

from collections.abc import Sequence

from kv_adapters.comparison.gate import ALPHA
from kv_adapters.comparison.pairing import Pair
from kv_adapters.comparison.samples import Sample
from kv_adapters.comparison.statistics import paired_difference

# What the harness's filters write where they find nothing.
INVALID = "[invalid]"


def unread(pairs: Sequence[Pair]) -> str:
    """Say in how many documents no answer could be read, where that clearly changed."""
    base, other = ([_nothing(p.base) for p in pairs], [_nothing(p.other) for p in pairs])
    if sum(base) == sum(other):
        return ""
    found = paired_difference(base, other, [pair.base.question_id for pair in pairs])
    if found.p_value >= ALPHA:
        return ""
    return (
        f"no answer could be read in {sum(base)} of the base's {len(pairs)} documents and "
        f"{sum(other)} of the adapter's"
    )


def _nothing(sample: Sample) -> bool:
    return sample.response.strip() in ("", INVALID)
