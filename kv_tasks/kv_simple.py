"""``kv_simple``: report a key's value and the dictionary that it is in.

Prompt and target are shown in :mod:`kv_tasks.dictionaries`: integers of 3 or 4 digits, 3 or 4
pairs a dictionary, 85 dictionaries (Xiong et al., arXiv 2406.19292, "simple").
"""

import random
import re
from collections.abc import Sequence
from typing import Any

import datasets

from kv_tasks.dictionaries import (
    NUMBER,
    Dictionary,
    Gold,
    Key,
    Kind,
    Needle,
    Pair,
    Reserved,
    digits,
    distinct,
)
from kv_tasks.kv_documents import load_kind, score_kind

DIGITS = (3, 4)
SIZES = (3, 4)
GOLD_SIZE = 3

QUESTION = (
    "Above is a list of dictionaries such that each key and value is an integer. "
    "Report the value of key {key} and the dictionary it is in."
)
ANSWER = "The value of key {key} is {value} and it is in Dictionary [{dictionary}]."
_SENTENCE = re.compile(
    rf"The value of key\s+({NUMBER})\s+is\s+({NUMBER})\s+and it is in Dictionary\s+\[({NUMBER})\]"
)


class Simple(Kind):
    """Integer keys and values; one pair is asked for."""

    name = "simple"
    dictionaries = 85
    answer_tokens = 64

    def golds(self, rng: random.Random, count: int) -> list[Pair]:
        """Return pairs whose keys, and whose values, are all different."""
        keys = distinct(rng, count, DIGITS)
        return list(zip(keys, distinct(rng, count, DIGITS), strict=True))

    def dictionary(self, rng: random.Random, gold: Pair | None, reserved: Reserved) -> Dictionary:
        """Return 3 or 4 pairs, 3 with a gold one; no other repeats a gold key or value."""
        size = GOLD_SIZE if gold else rng.choice(SIZES)
        pairs: dict[Key, int] = {}
        while len(pairs) < size - bool(gold):
            key, value = digits(rng, DIGITS), digits(rng, DIGITS)
            if key not in reserved.keys and key not in pairs and value not in reserved.values:
                pairs[key] = value
        items = list(pairs.items())
        if gold:
            items.insert(rng.randrange(size), gold)
        return tuple(items)

    def needle(self, rng: random.Random, golds: Sequence[Gold]) -> Needle:
        """Return the paper's question; nothing in it is random."""
        (gold,) = golds
        return Needle(
            golds=(gold,),
            question=QUESTION.format(key=gold.key),
            template=sentence(gold.key),
            answer=sentence(gold.key, gold.value, gold.dictionary),
        )

    def parse(self, line: str) -> list[tuple[Key, int, int]]:
        """Return the numbers of each sentence of the answer's form."""
        return [(int(k), int(v), int(d)) for k, v, d in _SENTENCE.findall(line)]


def sentence(
    key: Key,
    value: int | str = "<fill-in-value>",
    dictionary: int | str = "<fill-in-dictionary-name>",
) -> str:
    """Return the answer's sentence, by default as the answer template shows it."""
    return ANSWER.format(key=key, value=value, dictionary=dictionary)


SIMPLE = Simple()


def load(**metadata: Any) -> dict[str, datasets.Dataset]:
    """Build the task's documents, see :func:`kv_tasks.kv_documents.load_kind`."""
    return load_kind(SIMPLE, **metadata)


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Score the raw response ``results[0]``, see :func:`kv_tasks.kv_documents.score_kind`."""
    return score_kind(SIMPLE, results[0], doc)
