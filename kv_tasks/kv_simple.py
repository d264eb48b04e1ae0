"""``kv_simple``: report a key's value and the dictionary that it is in, among 85.

Prompt and target are those of :mod:`kv_tasks.dictionaries`. The paper states no scoring rule;
``exact_match`` here asks for all three fields in the answer's sentence.
"""

import re
from collections.abc import Sequence
from typing import Any

import datasets

from kv_tasks.dictionaries import Context, Needle, Placement, contexts
from kv_tasks.documents import document
from kv_tasks.registration import refuse_stale
from kv_tasks.tokens import prompt_lengths

_SENTENCE = re.compile(
    r"The value of key\s+(\d+)\s+is\s+(\d+)\s+and it is in Dictionary\s+\[(\d+)\]"
)


def load(
    *,
    dictionaries: int,
    samples: int,
    data_seed: int = 0,
    placement: Placement = "even",
    template: bool = True,
    tokenizer: str | None = None,
    config_source: str | None = None,
    **_: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        dictionaries: lines of the haystack.
        samples: number of documents.
        data_seed: of the evaluation stream.
        placement: where the needles lie, see :func:`kv_tasks.dictionaries.contexts`.
        template: whether the prompt shows the answer template.
        tokenizer: folder or hub name; fills in ``length`` when given.
        config_source: the YAML file, as the harness passes it.
        _: what else the harness merges in (model arguments, the user's metadata).

    Raises:
        DataError: when the YAML is a registered copy of another version.
    """
    refuse_stale(config_source)
    made = contexts(
        split="eval", seed=data_seed, count=samples, dictionaries=dictionaries, placement=placement
    )
    docs = [_document(context, context.needles[0], template) for context in made]
    lengths = prompt_lengths([doc["prompt"] for doc in docs], tokenizer)
    for doc, length in zip(docs, lengths, strict=True):
        doc["length"] = length
    return {"test": datasets.Dataset.from_list(docs)}


def _document(context: Context, needle: Needle, template: bool) -> dict[str, Any]:
    return document(
        question_id=context.context_id,
        answers=[needle.answer],
        gold_position=needle.dictionary,
        candidates=len(context.dictionaries),
        key=needle.key,
        value=needle.value,
        gold=context.gold_line(needle),
        prompt=context.prompt(needle, template=template),
    )


def score(response: str, *, key: int, value: int, dictionary: int) -> dict[str, float]:
    """Score a raw response by its first line.

    Returns:
        ``exact_match``: 1.0 when the answer's sentence stands there with the right key, value
        and dictionary; ``value_match`` and ``dictionary_match``: 1.0 when the right value, or
        ``Dictionary [N]`` of the right number, occurs as a whole number, in any wording.
    """
    line = response.strip().split("\n", 1)[0]
    found = _SENTENCE.search(line)
    fields = tuple(int(field) for field in found.groups()) if found else None
    return {
        "exact_match": float(fields == (key, value, dictionary)),
        "value_match": float(re.search(rf"(?<!\d){value}(?!\d)", line) is not None),
        "dictionary_match": float(
            re.search(rf"Dictionary\s*\[?{dictionary}(?!\d)", line, re.IGNORECASE) is not None
        ),
    }


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Score one document (the harness's ``process_results``); the headline metric is first."""
    return score(results[0], key=doc["key"], value=doc["value"], dictionary=doc["gold_position"])
