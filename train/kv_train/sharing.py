"""Packs for several processes: as many for each, none trained twice.

Every process computes as many batches as the others. Where the packs do not go out evenly,
accelerate hands some out again, and those would be trained twice; here empty packs, which hold no
answer and so add nothing to loss or gradient, are handed out last.
"""

from collections.abc import Iterator

from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Sampler

from kv_train.packing import Pack
from kv_train.tokens import IGNORED


def empty_needed(packs: int, packs_per_batch: int, processes: int) -> int:
    """Return how many empty packs make ``packs`` go out evenly; one process needs none."""
    return -packs % (packs_per_batch * processes) if processes > 1 else 0


def empty_pack(token_id: int) -> Pack:
    """Return a pack of one token and no answer."""
    return Pack(context=(), suffixes=((token_id,),), labels=((IGNORED,),), depths=(None,))


class ThenEmpty(Sampler[int]):
    """Each epoch the order in which one process alone would train, then the empty packs."""

    def __init__(self, packs: int, empty: int, *, seed: int) -> None:
        """Shuffle places 0 to ``packs`` by ``seed`` and epoch; the ``empty`` ones follow."""
        self._packs, self._empty = packs, empty
        # What accelerate itself shuffles with.
        self._shuffled = SeedableRandomSampler(range(packs), data_seed=seed)

    def __iter__(self) -> Iterator[int]:
        """Yield the places of one epoch."""
        yield from self._shuffled
        yield from range(self._packs, len(self))

    def __len__(self) -> int:
        """Return the places of one epoch."""
        return self._packs + self._empty

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes; accelerate does."""
        self._shuffled.set_epoch(epoch)
