"""Longrope takes one table of frequencies for all rows that are computed together.

It is the long one as soon as the longest row passes a switch (4,096 tokens for Phi-3), so that a
row alone and the same row beside a longer one differ. vLLM takes the long table for every prompt,
or the short one, by ``max_model_len``.
"""

from collections.abc import Iterable, Sequence

from kv_train.packing import Pack

TOGETHER = (
    "set training.packs_per_batch and training.questions_per_pack to 1, or keep all rows on one "
    "side"
)
SERVED = (
    "trained with longrope's short frequencies; vLLM takes the long ones for every prompt where "
    "its max_model_len is larger"
)


def astride(packs: Sequence[Pack], switch: int | None, packs_per_batch: int) -> str | None:
    """Return what is wrong where rows on both sides of the switch would be computed together.

    Args:
        packs: of one file, in any order.
        switch: most tokens of a row that takes the short table, None without longrope.
        packs_per_batch: packs that a process computes together.
    """
    if switch is None:
        return None
    together: Iterable[Sequence[Pack]] = [packs] if packs_per_batch > 1 else [[p] for p in packs]
    for group in together:
        lengths = [length for pack in group for length in pack.rows]
        if lengths and min(lengths) <= switch < max(lengths):
            return (
                f"rows of {min(lengths)} and {max(lengths)} tokens could be computed together, on "
                f"both sides of the {switch} at which its longrope changes its frequencies"
            )
    return None


def shorter(packs: Iterable[Pack], switch: int | None) -> bool:
    """Say whether some row is trained with the short table, see :data:`SERVED`."""
    return switch is not None and any(min(pack.rows) <= switch for pack in packs)
