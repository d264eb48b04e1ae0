"""``kv_multi_query``: report the values of four keys and the dictionaries that they are in.

One prompt, shortened, and its target:

    Do a task using the list of dictionaries below.

    Dictionary [1] {122: 765, 4548: 1475, 4818: 4782}
    Dictionary [2] {526: 290, 2931: 8364, 9278: 1565}

    Above is a list of dictionaries such that each key and value is an integer. Report the
    values of keys 2931, 4548 and the dictionaries they are in. Answer in the following ...

    The value of key 2931 is 8364 and it is in Dictionary [2]. The value of key 4548 is 1475 and
    it is in Dictionary [1].

Dictionaries and sentences are those of :mod:`kv_tasks.kv_simple`; that several keys are asked
for, and how, is this project's own.
"""

import random
from collections.abc import Sequence
from typing import Any

import datasets

from kv_tasks.dictionaries import Gold, Needle
from kv_tasks.kv_documents import load_kind, score_kind
from kv_tasks.kv_simple import Simple, sentence

QUESTION = (
    "Above is a list of dictionaries such that each key and value is an integer. "
    "Report the values of keys {keys} and the dictionaries they are in."
)


class MultiQuery(Simple):
    """Integer keys and values; four pairs of four dictionaries are asked for."""

    name = "multi-query"
    golds_per_question = 4
    answer_tokens = 256

    def needle(self, rng: random.Random, golds: Sequence[Gold]) -> Needle:
        """Return the question; keys are asked in random order of depth."""
        return Needle(
            golds=tuple(golds),
            question=QUESTION.format(keys=", ".join(str(gold.key) for gold in golds)),
            template=" ".join(sentence(gold.key) for gold in golds),
            answer=" ".join(sentence(gold.key, gold.value, gold.dictionary) for gold in golds),
        )


MULTI_QUERY = MultiQuery()


def load(**metadata: Any) -> dict[str, datasets.Dataset]:
    """Build the task's documents, see :func:`kv_tasks.kv_documents.load_kind`."""
    return load_kind(MULTI_QUERY, **metadata)


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Score the raw response ``results[0]``, see :func:`kv_tasks.kv_documents.score_kind`."""
    return score_kind(MULTI_QUERY, results[0], doc)
