"""Packs for several processes go out evenly."""

import pytest

from kv_train.sharing import empty_needed


@pytest.mark.parametrize(
    ("packs", "packs_per_batch", "processes", "empty"),
    [(10, 1, 3, 2), (9, 2, 2, 3), (8, 2, 2, 0), (9, 2, 1, 0)],
)
def test_empty_packs_fill_the_last_batch_of_every_process_and_no_more(
    packs: int, packs_per_batch: int, processes: int, empty: int
) -> None:
    assert empty_needed(packs, packs_per_batch, processes) == empty
