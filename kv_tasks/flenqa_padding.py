"""Padding: where it comes from, how much of it fits, and where the key paragraphs stand in it.

Padding is a stream of units, whole sentences or whole paragraphs, from which a document takes
a run. Every unit's cost is counted once a process and kept as a running sum, so that the length
of any run is a subtraction, however long it is and however many documents share it.
"""

import itertools
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from kv_tasks.errors import DataError
from kv_tasks.flenqa_problems import Kind, names, padding_paragraphs
from kv_tasks.flenqa_text import from_file, generated
from kv_tasks.tokens import count_tokens, load_tokenizer

PaddingType = Literal["same", "books"]
Dispersion = Literal["first", "middle", "last", "random"]
DEPTHS: dict[Dispersion, float | None] = {
    "first": 0.0,
    "middle": 0.5,
    "last": 1.0,
    "random": None,
}

# A generated stream has no end; documents begin at one of its first units.
STARTS = 4096
_BLOCK = 256

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
        """Args as the attributes.

        Args:
            units: as many as there may ever be.
            cost: of units, given the separator's and the unit in front of the first.
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
        """Return ``count`` units from ``start`` on that :meth:`fitting` has found."""
        return self._units[start : start + count]

    def cost(self, start: int, count: int) -> int:
        """Return what ``count`` units from ``start`` on cost together."""
        return self._sums[start + count] - self._sums[start]

    def fitting(self, start: int, room: int) -> int:
        """Return how many units from ``start`` on cost at most ``room``; the next is made too.

        Raises:
            DataError: when there are not enough units to fill the room.
        """
        while len(self._units) <= start or self._sums[-1] - self._sums[start] <= room:
            new = list(itertools.islice(self._more, _BLOCK))
            if not new:
                raise self._too_short()
            before = self._units[-1] if self._units else ""
            for cost in self._cost(before, new):
                self._sums.append(self._sums[-1] + cost)
            self._units += new
        count = bisect_right(self._sums, self._sums[start] + room) - 1 - start
        if self._longest is not None and count > self._longest:
            raise self._too_short()
        return count

    def _too_short(self) -> DataError:
        have = self._longest if self._longest is not None else len(self._units)
        return DataError(
            f"{self._name}: {have} units are too few for the padding of one document; "
            "name a longer text or choose a shorter length"
        )


def characters(before: str, units: Sequence[str]) -> list[int]:
    """Return the number of characters of each unit, its separator included."""
    return [len(unit) + 1 for unit in units]


def tokens(tokenizer: str, separator: str) -> Cost:
    """Return a cost that is the tokens a unit adds to the unit in front of it."""

    def cost(before: str, units: Sequence[str]) -> list[int]:
        earlier = [before, *units[:-1]]
        pairs = [f"{one}{separator}{two}" for one, two in zip(earlier, units, strict=True)]
        alone = count_tokens(load_tokenizer(tokenizer), earlier)
        both = count_tokens(load_tokenizer(tokenizer), pairs)
        return [n - m for n, m in zip(both, alone, strict=True)]

    return cost


@lru_cache(maxsize=16)
def stream(
    padding: PaddingType, kind: Kind, seed: int, text: str | None, tokenizer: str | None
) -> Stream:
    """Return the padding of a type, counted in tokens or, without a tokenizer, in characters.

    Args:
        padding: ``same``: paragraphs of other problems of the kind; ``books``: running text.
        kind: of the problem that is padded; matters for ``same`` only.
        seed: of the generated padding.
        text: the user's text file in place of generated running text.
        tokenizer: folder or hub name.

    Raises:
        DataError: when the text file cannot be read or holds no usable sentence.
    """
    separator = "\n" if padding == "same" else " "
    cost = characters if tokenizer is None else tokens(tokenizer, separator)
    if padding == "same":
        units = padding_paragraphs(kind, seed)
        return Stream(units, cost, separator=separator, name=f"padding same of {kind}")
    if text is None:
        units = generated(f"flenqa-books:{seed}")
        return Stream(units, cost, separator=separator, name="padding books")
    found = from_file(Path(text), [word for part in names("key") for word in part])
    if not found:
        raise DataError(f"padding_text {text}: no sentence in it; name a .txt file with text")
    return Stream(
        # A run that reaches the end of the file goes on at its beginning.
        itertools.chain(found, found),
        cost,
        separator=separator,
        name=f"padding_text {text}",
        starts=len(found),
        longest=len(found),
    )


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
    pieces: list[str] = []
    done = 0
    for place, paragraph in sorted(zip(where, paragraphs, strict=True), key=lambda pair: pair[0]):
        pieces += [separator.join(units[done:place]), paragraph]
        done = place
    pieces.append(separator.join(units[done:]))
    return "\n".join(piece for piece in pieces if piece)


def draws(seed: int, index: int, starts: int) -> tuple[int, list[float]]:
    """Return where document ``index`` begins in its stream, and two numbers for its places.

    The same at every length, so that a shorter padding is the beginning of a longer one.
    """
    rng = random.Random(f"flenqa-padding:{seed}:{index}")
    return rng.randrange(starts), [rng.random(), rng.random()]
