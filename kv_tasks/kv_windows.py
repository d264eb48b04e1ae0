"""Haystacks of dictionaries that fill a window of tokens.

The dictionaries of a context are an endless sequence of its own; as many are taken as fit, and
those at the needles' places are exchanged for the gold dictionaries.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kv_tasks.dictionaries import (
    INSTRUCTION,
    Context,
    Dictionary,
    Kind,
    Needle,
    Pair,
    Placement,
    Reserved,
    Split,
    gold_places,
    needles,
    prompt,
    render,
    stream,
)
from kv_tasks.tokens import count_lines, longest
from kv_tasks.windows import Window, fitting, largest

# What stands around the first and the last line; every kind's question begins so.
BEFORE, AFTER = f"{INSTRUCTION}\n\n", "\nAbove is a list"


@dataclass(frozen=True)
class Fitted:
    """A context and the tokens of its longest prompt, chat template included."""

    context: Context
    length: int


def fitted_contexts(
    kind: Kind,
    window: Window,
    *,
    split: Split,
    seed: int,
    count: int,
    questions: int = 1,
    placement: Placement = "paper",
    template: bool = True,
    start: int = 0,
) -> Iterator[Fitted]:
    """Yield contexts number ``start`` on, like :func:`kv_tasks.dictionaries.contexts`.

    Raises:
        DataError: when the window is too short for the questions.
    """
    size = f"{window.tokens}t{questions}:{placement}"
    for index in range(start, start + count):
        name = stream(kind, split, seed, size, index)
        asked = questions * kind.golds_per_question
        yield _Draft(kind, name, index, asked, placement, template, window).fitted()


@dataclass(frozen=True)
class _Draft:
    """A context in the making, whose number of dictionaries is not settled."""

    kind: Kind
    name: str
    index: int
    asked: int
    placement: Placement
    template: bool
    window: Window

    def fitted(self) -> Fitted:
        rng = random.Random(self.name)
        golds = self.kind.golds(rng, self.asked)
        reserved = Reserved.of(golds)
        gold = [self.kind.dictionary(rng, pair, reserved) for pair in golds]
        others: list[Dictionary] = []

        def lines() -> Iterator[str]:
            for number in itertools.count(1):
                others.append(self.kind.dictionary(rng, None, reserved))
                yield render(number, others[-1])

        question = self._longest(needles(self.kind, self.name, golds, range(self.asked)))
        room = self.window.room(prompt([], question))
        taken, counts = self.window.costs(lines(), room, before=BEFORE, after=AFTER)
        sums = [0, *itertools.accumulate(counts)]

        def fits(size: int) -> bool:
            if size < self.asked:
                return True
            spent = sums[size] + self._exchange(self._places(size), gold, taken, counts)
            return spent <= room

        size = largest(len(counts), fits, fitting(counts, room))
        proof = self.window.prove(
            size,
            lambda n: prompt(self._shown(taken[:n], gold), self._longest(self._needles(n, golds))),
            fewest=self.asked,
        )
        shown = others[: proof.lines]
        for place, dictionary in zip(self._places(proof.lines), gold, strict=True):
            shown[place] = dictionary
        context = Context(self.name, tuple(shown), self._needles(proof.lines, golds))
        return Fitted(context, proof.length)

    def _places(self, size: int) -> list[int]:
        rng = random.Random(f"{self.name}:places")
        return gold_places(rng, self.index, size, self.asked, self.placement)

    def _needles(self, size: int, golds: Sequence[Pair]) -> tuple[Needle, ...]:
        return needles(self.kind, self.name, golds, self._places(size))

    def _longest(self, found: Sequence[Needle]) -> str:
        asked = [needle.asked(template=self.template) for needle in found]
        return longest(self.window.tokenizer, asked)

    def _shown(self, lines: list[str], gold: Sequence[Dictionary]) -> list[str]:
        for place, dictionary in zip(self._places(len(lines)), gold, strict=True):
            lines[place] = render(place + 1, dictionary)
        return lines

    def _exchange(
        self,
        places: Sequence[int],
        gold: Sequence[Dictionary],
        taken: Sequence[str],
        counts: Sequence[int],
    ) -> int:
        """Return the tokens gained by showing the gold dictionaries at ``places``."""
        gained = 0
        for place, dictionary in zip(places, gold, strict=True):
            before = f"{taken[place - 1]}\n" if place else BEFORE
            line = [render(place + 1, dictionary)]
            gained += count_lines(self.window.tokenizer, line, before=before, after=AFTER)[0]
            gained -= counts[place]
        return gained
