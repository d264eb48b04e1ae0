"""Padding: where it comes from, how much of it fits, and where the key paragraphs stand in it.

Padding is a stream of units, whole sentences or whole paragraphs, from which a document takes
a run. Every unit's cost is counted once a process and kept as a running sum, so that the length
of any run is a subtraction, however long it is and however many documents share it.
"""

import itertools
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kv_tasks.errors import DataError
from kv_tasks.flenqa_problems import Kind, names, padding_paragraphs
from kv_tasks.flenqa_text import from_file, generated
from kv_tasks.tokens import count_added

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PaddingType = Literal["same", "books"]
Dispersion = Literal["first", "middle", "last", "random"]

# A generated stream has no end; documents begin at one of its first units.
STARTS = 4096
_BLOCK = 256

_PIECE = re.compile(r"\w+|[^\w\s]|\n")

Cost = Callable[[str, Sequence[str]], list[int]]


class Stream:
    """Units of padding in a fixed order, made and counted when they are first needed.

    Attributes:
        separator: what stands between two units.
        starts: documents begin at a unit below this.
    """

    def __init__(
        self,
        units: Iterator[str],
        cost: Cost,
        *,
        separator: str,
        name: str,
        starts: int = STARTS,
        longest: int | None = None,
    ) -> None:
        """Keep what is needed to make units later.

        Args:
            units: as many as there may ever be.
            cost: of units, given the unit in front of the first.
            separator: between two units.
            name: for error messages.
            starts: possible beginnings of a run.
            longest: units of a run at most, where more of them would repeat; None is no limit.
        """
        self.separator = separator
        self.starts = starts
        self._more = units
        self._cost = cost
        self._name = name
        self._longest = longest
        self._units: list[str] = []
        self._sums = [0]

    def run(self, start: int, count: int) -> list[str]:
        """Return ``count`` units from ``start`` on.

        Raises:
            DataError: when there are not so many.
        """
        self._make(start + count)
        return self._units[start : start + count]

    def cost(self, start: int, count: int) -> int:
        """Return what ``count`` units from ``start`` on cost together."""
        self._count(start + count)
        return self._sums[start + count] - self._sums[start]

    def fitting(self, start: int, room: int) -> int:
        """Return how many units from ``start`` on cost at most ``room``.

        Raises:
            DataError: when there are not enough units to fill the room.
        """
        self._count(start)
        while self._sums[-1] - self._sums[start] <= room:
            self._count(len(self._sums))
        count = bisect_right(self._sums, self._sums[start] + room) - 1 - start
        if self._longest is not None and count > self._longest:
            raise self._too_short()
        return count

    def _make(self, count: int) -> None:
        """Have ``count`` units, and a few more to spare."""
        if count > len(self._units):
            self._units += itertools.islice(self._more, count - len(self._units) + _BLOCK)
            if count > len(self._units):
                raise self._too_short()

    def _count(self, count: int) -> None:
        """Have the costs of ``count`` units, and of those that are there to spare."""
        done = len(self._sums) - 1
        if count > done:
            self._make(count)
            before = self._units[done - 1] if done else ""
            for cost in self._cost(before, self._units[done:]):
                self._sums.append(self._sums[-1] + cost)

    def _too_short(self) -> DataError:
        have = self._longest if self._longest is not None else len(self._units)
        return DataError(
            f"{self._name}: {have} units are too few for the padding of one document; "
            "name a longer text or choose a shorter length"
        )


def pieces(text: str) -> int:
    """Return how many words, punctuation marks and line breaks a text has."""
    return sum(1 for _ in _PIECE.finditer(text))


def _cost(tokenizer: "PreTrainedTokenizerBase | None", separator: str) -> Cost:
    """Return a cost in pieces or, of a tokenizer, in tokens; the separator is included."""
    if tokenizer is None:
        return lambda before, units: [pieces(separator + unit) for unit in units]
    return lambda before, units: count_added(tokenizer, units, before=before, separator=separator)


@lru_cache(maxsize=8)
def resampled(kind: Kind, seed: int, tokenizer: "PreTrainedTokenizerBase | None") -> Stream:
    """Return the padding ``same``: paragraphs of other problems of a kind.

    Args:
        kind: of the problem that is padded.
        seed: of the other problems.
        tokenizer: counts; without one, costs are pieces.
    """
    units = padding_paragraphs(kind, seed)
    return Stream(units, _cost(tokenizer, "\n"), separator="\n", name=f"padding same, {kind}")


@lru_cache(maxsize=4)
def running_text(
    text: str | None, seed: int, tokenizer: "PreTrainedTokenizerBase | None"
) -> Stream:
    """Return the padding ``books``: sentences of the user's text file, or generated ones.

    Args:
        text: UTF-8 text file; None for generated sentences.
        seed: of the generated sentences.
        tokenizer: counts; without one, costs are pieces.

    Raises:
        DataError: when the file cannot be read or holds no usable sentence.
    """
    cost = _cost(tokenizer, " ")
    if text is None:
        return Stream(generated(f"flenqa-books:{seed}"), cost, separator=" ", name="padding books")
    found = from_file(Path(text), [word for part in names("key") for word in part])
    # A run that reaches the end of the file goes on at its beginning.
    both = itertools.chain(found, found)
    file = f"padding_text {text}"
    return Stream(both, cost, separator=" ", name=file, starts=len(found), longest=len(found))


def places(dispersion: Dispersion, units: int, draws: Sequence[float]) -> list[int]:
    """Return before which unit each of the two key paragraphs stands.

    Args:
        dispersion: first, middle and last keep the two together.
        units: of padding; a place equal to it is the end.
        draws: two random numbers in [0, 1) for ``random``, the same at every length.
    """
    if dispersion == "random":
        return [int(draw * (units + 1)) for draw in draws]
    return [{"first": 0, "middle": units // 2, "last": units}[dispersion]] * 2


def mix(
    paragraphs: Sequence[str], units: Sequence[str], separator: str, where: Sequence[int]
) -> str:
    """Return the padded text: key paragraphs and runs of padding, each on lines of its own.

    Args:
        paragraphs: the key paragraphs.
        units: the padding.
        separator: between units of one run.
        where: before which unit each paragraph stands; at equal places in the order given.
    """
    mixed: list[str] = []
    done = 0
    for place, paragraph in sorted(zip(where, paragraphs, strict=True), key=lambda pair: pair[0]):
        mixed += [separator.join(units[done:place]), paragraph]
        done = place
    mixed.append(separator.join(units[done:]))
    return "\n".join(part for part in mixed if part)


def draws(seed: int, index: int, starts: int) -> tuple[int, list[float]]:
    """Return where document ``index`` begins in its stream, and two numbers for its places.

    The same at every length, so that a shorter padding is the beginning of a longer one.
    """
    rng = random.Random(f"flenqa-padding:{seed}:{index}")
    return rng.randrange(starts), [rng.random(), rng.random()]
