"""Synthetic dictionary key-value retrieval: the haystack, its questions and their answers.

One prompt, shortened (Xiong et al., arXiv 2406.19292, section 2, "simple"):

    Do a task using the list of dictionaries below.

    Dictionary [1] {122: 765, 4548: 1475, 4818: 4782}
    Dictionary [2] {526: 290, 2931: 8364, 9278: 1565}

    Above is a list of dictionaries such that each key and value is an integer. Report the
    value of key 2931 and the dictionary it is in. Answer in the following template: ...

and its target: ``The value of key 2931 is 8364 and it is in Dictionary [2].``

What a dictionary holds and how it is asked for is a :class:`Kind`; a further kind is one more
module. A haystack has a number of dictionaries, or fills a window of tokens.

The published generator can lose a pair to a duplicate key, and draws its "first 5 %" from the
number of samples; here every dictionary keeps its pairs, and the 5 % are of the dictionaries.
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from kv_tasks.documents import depth_of
from kv_tasks.errors import UsageError

Split = Literal["train", "validation", "eval"]
Placement = Literal["paper", "uniform", "even"]
Key = int | tuple[int, ...]
Pair = tuple[Key, int]
Dictionary = tuple[Pair, ...]

# Shares of samples that the paper places at index 0, and within the first 5 % of dictionaries.
FIRST_SHARE, EARLY_SHARE, EARLY_PART = 0.05, 0.03, 0.05
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

INSTRUCTION = "Do a task using the list of dictionaries below."
# A number in an answer, as prompts write theirs: "0836" and "８３６" are not 836.
NUMBER = "[1-9][0-9]{0,8}"
TEMPLATE = "Answer in the following template:\n{answer}"


@dataclass(frozen=True)
class Gold:
    """A pair that is asked for, and the 1-based number of the dictionary that holds it."""

    key: Key
    value: int
    dictionary: int


@dataclass(frozen=True)
class Reserved:
    """What is asked for in a haystack, which no other pair may repeat."""

    keys: frozenset[Key]
    values: frozenset[int]

    @classmethod
    def of(cls, golds: Sequence[Pair]) -> "Reserved":
        """Return the keys and values of pairs."""
        return cls(frozenset(key for key, _ in golds), frozenset(value for _, value in golds))


@dataclass(frozen=True)
class Needle:
    """One question: the last line of the prompt, the answer's template, and the answer."""

    golds: tuple[Gold, ...]
    question: str
    template: str
    answer: str

    def asked(self, *, template: bool) -> str:
        """Return what follows the haystack."""
        if not template:
            return self.question
        return f"{self.question} {TEMPLATE.format(answer=self.template)}"


class Kind(ABC):
    """What the dictionaries hold and how it is asked for.

    Attributes:
        name: of the kind; part of the seed of everything random.
        dictionaries: the paper's number, about 4,000 tokens where digits are split.
        golds_per_question: pairs that one question asks for, each of another dictionary.
        answer_tokens: enough for an answer with any tokenizer.
    """

    name: ClassVar[str]
    dictionaries: ClassVar[int]
    golds_per_question: ClassVar[int] = 1
    answer_tokens: ClassVar[int]

    @abstractmethod
    def golds(self, rng: random.Random, count: int) -> list[Pair]:
        """Return pairs to ask for in one haystack, all keys and all values different."""

    @abstractmethod
    def dictionary(self, rng: random.Random, gold: Pair | None, reserved: Reserved) -> Dictionary:
        """Return a dictionary, with ``gold`` in it, whose other pairs cannot be asked for.

        Args:
            rng: of the haystack.
            gold: None for a distractor.
            reserved: all that is asked for in the haystack.
        """

    @abstractmethod
    def needle(self, rng: random.Random, golds: Sequence[Gold]) -> Needle:
        """Return the question that asks for ``golds``, ``golds_per_question`` of them."""

    @abstractmethod
    def parse(self, line: str) -> list[tuple[Key, int, int]]:
        """Return (key, value, dictionary) of each of the answer's sentences in a line."""


@dataclass(frozen=True)
class Context:
    """A haystack of dictionaries and the needles that are asked for in it."""

    context_id: str
    dictionaries: tuple[Dictionary, ...]
    needles: tuple[Needle, ...]

    def prompt(self, needle: Needle, *, template: bool) -> str:
        """Return the whole prompt for one needle; prompts of a context differ at the end only."""
        return prompt(self._lines, needle.asked(template=template))

    @cached_property
    def _lines(self) -> list[str]:
        return [render(number, d) for number, d in enumerate(self.dictionaries, start=1)]

    def depth(self, gold: Gold) -> float:
        """Return where a pair lies, from 0 in the first dictionary to 1 in the last."""
        return depth_of(gold.dictionary, len(self.dictionaries))


def prompt(lines: Sequence[str], asked: str) -> str:
    """Return the protocol's prompt, a dictionary a line, without a final line break."""
    block = "\n".join(lines)
    return f"{INSTRUCTION}\n\n{block}\n\n{asked}"


def render(number: int, dictionary: Dictionary) -> str:
    """Return one line of the haystack, ``Dictionary [7] {122: 765, 4548: 1475}``."""
    pairs = ", ".join(f"{key}: {value}" for key, value in dictionary)
    return f"Dictionary [{number}] {{{pairs}}}"


def contexts(
    kind: Kind,
    *,
    split: Split,
    seed: int,
    count: int,
    dictionaries: int,
    questions: int = 1,
    placement: Placement = "paper",
) -> Iterator[Context]:
    """Yield ``count`` contexts, each with ``questions`` needles in different dictionaries.

    Context number i depends on the arguments and i alone, so any part can be made alone, in
    any process. Every split draws from a stream of its own at every seed.

    Args:
        kind: what is asked for.
        split: which stream; what is trained on is never evaluated.
        seed: 0, 1, 2 in the paper.
        count: number of contexts.
        dictionaries: lines of each haystack; the paper's is 85 for the simple kind.
        questions: needles a context.
        placement: ``paper``: uniform, but 5 % of first needles at index 0 and 3 % within the
            first 5 %; ``uniform``; ``even``: every prefix of the samples covers all depths.

    Raises:
        UsageError: when a haystack cannot hold so many needles.
    """
    asked = questions * kind.golds_per_question
    if not 1 <= asked <= dictionaries:
        raise UsageError(
            f"{questions} questions a context need {asked} dictionaries or more, found "
            f"{dictionaries}; ask fewer questions or choose more dictionaries"
        )
    for index in range(count):
        name = stream(kind, split, seed, f"{dictionaries}x{questions}:{placement}", index)
        rng = random.Random(name)
        places = gold_places(rng, index, dictionaries, asked, placement)
        golds = kind.golds(rng, asked)
        held, reserved = dict(zip(places, golds, strict=True)), Reserved.of(golds)
        haystack = tuple(kind.dictionary(rng, held.get(n), reserved) for n in range(dictionaries))
        yield Context(name, haystack, needles(kind, name, golds, places))


def stream(kind: Kind, split: Split, seed: int, size: str, index: int) -> str:
    """Return the name of a context, which seeds all that is random in it."""
    return f"kv-{kind.name}:{split}:{seed}:{size}:{index}"


def gold_places(
    rng: random.Random, index: int, dictionaries: int, count: int, placement: Placement
) -> list[int]:
    """Return ``count`` different 0-based dictionary indices, the first as ``placement`` says."""
    if placement == "even":
        # A Kronecker sequence of the golden ratio leaves no large gap in any prefix.
        start = index * count
        spread = [(0.5 + (start + n) * GOLDEN_RATIO) % 1.0 for n in range(count)]
        places = list(dict.fromkeys(int(x * dictionaries) for x in spread))
    elif placement == "paper" and (share := rng.random()) < FIRST_SHARE + EARLY_SHARE:
        early = 1 if share < FIRST_SHARE else max(1, math.ceil(EARLY_PART * dictionaries))
        places = [rng.randrange(early)]
    else:
        places = [rng.randrange(dictionaries)]
    free = [place for place in range(dictionaries) if place not in places]
    return places + rng.sample(free, count - len(places))


def needles(
    kind: Kind, name: str, golds: Sequence[Pair], places: Sequence[int]
) -> tuple[Needle, ...]:
    """Return the questions of a context, from its pairs and their 0-based dictionaries."""
    rng = random.Random(f"{name}:questions")
    found = [Gold(*pair, dictionary=n + 1) for pair, n in zip(golds, places, strict=True)]
    step = kind.golds_per_question
    return tuple(kind.needle(rng, found[n : n + step]) for n in range(0, len(found), step))


def digits(rng: random.Random, choices: Sequence[int]) -> int:
    """Return an integer: first its number of digits is drawn, then one of that many."""
    chosen = rng.choice(choices)
    return rng.randrange(10 ** (chosen - 1), 10**chosen)


def distinct(rng: random.Random, count: int, choices: Sequence[int]) -> list[int]:
    """Return different integers as :func:`digits` draws them.

    Raises:
        UsageError: when there are hardly so many.
    """
    # A tenth is left to distractors, which repeat none of these.
    most = sum(9 * 10 ** (size - 1) for size in set(choices)) * 9 // 10
    if count > most:
        raise UsageError(
            f"{count} different keys are to be asked for in one haystack, and {most} is the most; "
            "ask fewer questions a context"
        )
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn[digits(rng, choices)] = None
    return list(drawn)
