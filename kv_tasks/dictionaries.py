"""Synthetic dictionary key-value retrieval: the haystack, its questions and their answers.

One prompt, shortened (Xiong et al., arXiv 2406.19292, section 2, "simple"):

    Do a task using the list of dictionaries below.

    Dictionary [1] {122: 765, 4548: 1475, 4818: 4782}
    Dictionary [2] {526: 290, 2931: 8364, 9278: 1565}

    Above is a list of dictionaries such that each key and value is an integer. Report the
    value of key 2931 and the dictionary it is in. Answer in the following template: ...

and its target: ``The value of key 2931 is 8364 and it is in Dictionary [2].``

The published generator can lose a pair to a duplicate key, and draws its "first 5 %" from the
number of samples; here every dictionary keeps its pairs, and the 5 % are of the dictionaries.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kv_tasks.errors import UsageError

Split = Literal["train", "eval"]
Placement = Literal["paper", "uniform", "even"]
Dictionary = tuple[tuple[int, int], ...]

DIGITS = (3, 4)
SIZES = (3, 4)
GOLD_SIZE = 3
# Shares of samples that the paper places at index 0, and within the first 5 % of dictionaries.
FIRST_SHARE, EARLY_SHARE, EARLY_PART = 0.05, 0.03, 0.05
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

INSTRUCTION = "Do a task using the list of dictionaries below."
QUESTION = (
    "Above is a list of dictionaries such that each key and value is an integer. "
    "Report the value of key {key} and the dictionary it is in."
)
TEMPLATE = (
    "Answer in the following template:\n"
    "The value of key {key} is <fill-in-value> and it is in Dictionary "
    "[<fill-in-dictionary-name>]."
)
ANSWER = "The value of key {key} is {value} and it is in Dictionary [{dictionary}]."


@dataclass(frozen=True)
class Needle:
    """One question: a key, its value, and the 1-based number of the dictionary of both."""

    key: int
    value: int
    dictionary: int

    @property
    def answer(self) -> str:
        """The sentence that a model is to give, the paper's answer template filled in."""
        return ANSWER.format(key=self.key, value=self.value, dictionary=self.dictionary)


@dataclass(frozen=True)
class Context:
    """A haystack of dictionaries and the needles that are asked for in it."""

    context_id: str
    dictionaries: tuple[Dictionary, ...]
    needles: tuple[Needle, ...]

    def prompt(self, needle: Needle, *, template: bool) -> str:
        """Return the whole prompt for one needle; prompts of a context differ at the end only."""
        block = "\n".join(render(n, d) for n, d in enumerate(self.dictionaries, start=1))
        question = QUESTION.format(key=needle.key)
        if template:
            question = f"{question} {TEMPLATE.format(key=needle.key)}"
        return f"{INSTRUCTION}\n\n{block}\n\n{question}"

    def gold_line(self, needle: Needle) -> str:
        """Return the haystack's line that holds the needle."""
        return render(needle.dictionary, self.dictionaries[needle.dictionary - 1])


def training_rows(context: Context, *, template: bool) -> Iterator[dict[str, Any]]:
    """Yield one chat-message row a needle; rows of one ``context_id`` share their haystack."""
    for needle in context.needles:
        yield {
            "messages": [
                {"role": "user", "content": context.prompt(needle, template=template)},
                {"role": "assistant", "content": needle.answer},
            ],
            "context_id": context.context_id,
            "gold_position": needle.dictionary,
            "depth": (needle.dictionary - 1) / max(1, len(context.dictionaries) - 1),
        }


def render(number: int, dictionary: Dictionary) -> str:
    """Return one line of the haystack, ``Dictionary [7] {122: 765, 4548: 1475}``."""
    pairs = ", ".join(f"{key}: {value}" for key, value in dictionary)
    return f"Dictionary [{number}] {{{pairs}}}"


def contexts(
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
    any process. Train and eval draw from different streams at every seed.

    Args:
        split: which stream; what is trained on is never evaluated.
        seed: 0, 1, 2 in the paper.
        count: number of contexts.
        dictionaries: lines of each haystack; the paper's is 85.
        questions: needles a context.
        placement: ``paper``: uniform, but 5 % of first needles at index 0 and 3 % within the
            first 5 %; ``uniform``; ``even``: every prefix of the samples covers all depths.

    Raises:
        UsageError: when a haystack cannot hold so many needles.
    """
    if not 1 <= questions <= dictionaries:
        raise UsageError(
            f"{questions} questions a context need as many dictionaries, found {dictionaries}; "
            "choose 1 to the number of dictionaries"
        )
    for index in range(count):
        name = f"kv-simple:{split}:{seed}:{dictionaries}x{questions}:{placement}:{index}"
        rng = random.Random(name)
        places = _places(rng, index, dictionaries, questions, placement)
        yield _context(rng, name, dictionaries, places)


def _places(
    rng: random.Random, index: int, dictionaries: int, questions: int, placement: Placement
) -> list[int]:
    """Return ``questions`` different 0-based dictionary indices, the first as ``placement``."""
    if placement == "even":
        # A Kronecker sequence of the golden ratio leaves no large gap in any prefix.
        start = index * questions
        spread = [(0.5 + (start + n) * _GOLDEN_RATIO) % 1.0 for n in range(questions)]
        places = list(dict.fromkeys(int(x * dictionaries) for x in spread))
    elif placement == "paper" and (share := rng.random()) < FIRST_SHARE + EARLY_SHARE:
        early = 1 if share < FIRST_SHARE else max(1, math.ceil(EARLY_PART * dictionaries))
        places = [rng.randrange(early)]
    else:
        places = [rng.randrange(dictionaries)]
    free = [place for place in range(dictionaries) if place not in places]
    return places + rng.sample(free, questions - len(places))


def _context(
    rng: random.Random, context_id: str, dictionaries: int, places: Sequence[int]
) -> Context:
    keys = _distinct(rng, len(places))
    values = _distinct(rng, len(places))
    gold = dict(zip(places, zip(keys, values, strict=True), strict=True))
    reserved_keys, reserved_values = frozenset(keys), frozenset(values)
    haystack = tuple(
        _dictionary(rng, gold.get(place), reserved_keys, reserved_values)
        for place in range(dictionaries)
    )
    needles = tuple(Needle(*gold[place], dictionary=place + 1) for place in places)
    return Context(context_id, haystack, needles)


def _dictionary(
    rng: random.Random,
    gold: tuple[int, int] | None,
    reserved_keys: frozenset[int],
    reserved_values: frozenset[int],
) -> Dictionary:
    """Return 3 or 4 pairs, 3 with the needle; no distractor repeats a needle's key or value."""
    size = GOLD_SIZE if gold else rng.choice(SIZES)
    pairs: dict[int, int] = {}
    while len(pairs) < size - bool(gold):
        key, value = _integer(rng), _integer(rng)
        if key not in reserved_keys and key not in pairs and value not in reserved_values:
            pairs[key] = value
    items = list(pairs.items())
    if gold:
        items.insert(rng.randrange(size), gold)
    return tuple(items)


def _distinct(rng: random.Random, count: int) -> list[int]:
    drawn: dict[int, None] = {}
    while len(drawn) < count:
        drawn[_integer(rng)] = None
    return list(drawn)


def _integer(rng: random.Random) -> int:
    digits = rng.choice(DIGITS)
    return rng.randrange(10 ** (digits - 1), 10**digits)
