"""``kv_multi_subkey``: find a key by the integers that it is made of.

One prompt, shortened, and its target (Xiong et al., arXiv 2406.19292, Figure 2):

    Do a task using the list of dictionaries below.

    Dictionary [1] {(616, 141, 250): 4782, (777, 503, 918): 1193}
    Dictionary [2] {(141, 623, 616): 5617, (310, 623, 884, 205): 7260}

    Above is a list of dictionaries such that each key is a tuple of integers and each value is
    an integer. Report the key that contains the integers 616, 141, 623 (not necessarily in
    order), its value, and the dictionary it is in. Answer in the following template: ...

    The key that contains the integers 616, 141, 623 is (141, 623, 616). Its value is 5617 and it
    is in Dictionary [2].

The public generator lacks this kind. How often other keys share subkeys with the gold key
(every second one, some but never all) is reconstructed.
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

SUBKEY_DIGITS = (3,)
VALUE_DIGITS = (4,)
KEY_SIZES = (3, 4)
SIZES = (2, 3)
SHARING = 0.5

QUESTION = (
    "Above is a list of dictionaries such that each key is a tuple of integers and each value "
    "is an integer. Report the key that contains the integers {subkeys} (not necessarily in "
    "order), its value, and the dictionary it is in."
)
ANSWER = (
    "The key that contains the integers {subkeys} is {key}. Its value is {value} and it is in "
    "Dictionary [{dictionary}]."
)
_SENTENCE = re.compile(
    rf"\bis\s+\(({NUMBER}(?:,\s*{NUMBER})*)\)\.\s+Its value is\s+({NUMBER})\s+"
    rf"and it is in Dictionary\s+\[({NUMBER})\]"
)


class MultiSubkey(Kind):
    """Tuples of 3 or 4 integers as keys; one pair is asked for, its subkeys shuffled."""

    name = "multi-subkey"
    dictionaries = 49
    answer_tokens = 96

    def golds(self, rng: random.Random, count: int) -> list[Pair]:
        """Return pairs none of whose keys contains all subkeys of another."""
        keys: list[tuple[int, ...]] = []
        while len(keys) < count:
            key = _key(rng)
            if not any(set(key) <= set(k) or set(k) <= set(key) for k in keys):
                keys.append(key)
        return list(zip(keys, distinct(rng, count, VALUE_DIGITS), strict=True))

    def dictionary(self, rng: random.Random, gold: Pair | None, reserved: Reserved) -> Dictionary:
        """Return 2 or 3 pairs; other keys share some, never all, subkeys of a gold key."""
        pairs: dict[Key, int] = {}
        size = rng.choice(SIZES)
        asked = sorted(reserved.keys, key=str)
        while len(pairs) < size - bool(gold):
            key, value = _distractor(rng, asked), digits(rng, VALUE_DIGITS)
            if key is not None and key not in pairs and value not in reserved.values:
                pairs[key] = value
        items = list(pairs.items())
        if gold:
            items.insert(rng.randrange(size), gold)
        return tuple(items)

    def needle(self, rng: random.Random, golds: Sequence[Gold]) -> Needle:
        """Return the question, which names the subkeys in a random order other than the key's."""
        (gold,) = golds
        key = _tuple(gold.key)
        shuffled = list(key)
        while tuple(shuffled) == key:
            rng.shuffle(shuffled)
        subkeys = ", ".join(map(str, shuffled))
        return Needle(
            golds=(gold,),
            question=QUESTION.format(subkeys=subkeys),
            template=ANSWER.format(
                subkeys=subkeys,
                key="<fill-in-key>",
                value="<fill-in-value>",
                dictionary="<fill-in-dictionary-name>",
            ),
            answer=ANSWER.format(
                subkeys=subkeys, key=key, value=gold.value, dictionary=gold.dictionary
            ),
        )

    def parse(self, line: str) -> list[tuple[Key, int, int]]:
        """Return key, value and dictionary of each sentence of the answer's form."""
        return [
            (tuple(int(subkey) for subkey in key.split(",")), int(value), int(dictionary))
            for key, value, dictionary in _SENTENCE.findall(line)
        ]


def _key(rng: random.Random) -> tuple[int, ...]:
    return tuple(distinct(rng, rng.choice(KEY_SIZES), SUBKEY_DIGITS))


def _distractor(rng: random.Random, asked: Sequence[Key]) -> tuple[int, ...] | None:
    """Return a key, with some subkeys of an asked one every second time; None if it has all."""
    subkeys = list(_key(rng))
    if rng.random() < SHARING:
        gold = _tuple(rng.choice(asked))
        shared = rng.sample(gold, rng.randrange(1, len(gold)))
        places = rng.sample(range(len(subkeys)), min(len(shared), len(subkeys)))
        for place, subkey in zip(places, shared, strict=False):
            subkeys[place] = subkey
    found = set(subkeys)
    if len(found) < len(subkeys) or any(found >= set(_tuple(key)) for key in asked):
        return None
    return tuple(subkeys)


def _tuple(key: Key) -> tuple[int, ...]:
    return key if isinstance(key, tuple) else (key,)


MULTI_SUBKEY = MultiSubkey()


def load(**metadata: Any) -> dict[str, datasets.Dataset]:
    """Build the task's documents, see :func:`kv_tasks.kv_documents.load_kind`."""
    return load_kind(MULTI_SUBKEY, **metadata)


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Score the raw response ``results[0]``, see :func:`kv_tasks.kv_documents.score_kind`."""
    return score_kind(MULTI_SUBKEY, results[0], doc)
