"""``kv_sweep``: one haystack of dictionaries, and a question for each of them.

The prompts of a sweep differ in their last line only, so that an engine with prefix caching
reads the haystack once: a depth curve with a point a dictionary, for about the price of one
prompt. Prompt and target are those of :mod:`kv_tasks.kv_simple`.
"""

import itertools
import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import datasets

from kv_tasks.cache import cached_rows
from kv_tasks.dictionaries import (
    GOLDEN_RATIO,
    Context,
    Dictionary,
    Pair,
    Reserved,
    needles,
    prompt,
    render,
)
from kv_tasks.documents import check_choice, check_samples
from kv_tasks.errors import DataError
from kv_tasks.kv_documents import document_of
from kv_tasks.kv_simple import SIMPLE
from kv_tasks.kv_windows import AFTER, BEFORE
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.registration import refuse_stale
from kv_tasks.tokens import longest
from kv_tasks.windows import Window, fitting, window

# No tokenizer writes a dictionary in fewer tokens; and there are 9,900 keys in all.
_FEWEST_TOKENS, _MOST_DICTIONARIES = 20, 6000


def _dictionaries(name: str, tokens: int) -> Iterator[Dictionary]:
    """Yield dictionaries, each with a key and value that no other has.

    Args:
        name: seeds all that is random.
        tokens: of the window, which decides how many keys are kept apart.
    """
    golds = _golds(name, tokens)
    rng, reserved = random.Random(f"{name}:dictionaries"), Reserved.of(golds)
    for gold in golds:
        yield SIMPLE.dictionary(rng, gold, reserved)


def _golds(name: str, tokens: int) -> list[Pair]:
    rng = random.Random(f"{name}:golds")
    golds = SIMPLE.golds(rng, min(_MOST_DICTIONARIES, tokens // _FEWEST_TOKENS))
    # Different numbers of three digits run out while they are drawn; dealt in that order, the
    # dictionaries of the beginning would have the shorter ones.
    rng.shuffle(golds)
    return golds


def _name(tokens: int, data_seed: int, index: int) -> str:
    return f"kv-sweep:eval:{data_seed}:{tokens}t:{index}"


@lru_cache(maxsize=4)
def haystack(tokens: int, data_seed: int, index: int, count: int) -> Context:
    """Return a sweep's haystack of ``count`` dictionaries, with a needle for each.

    Args:
        tokens: of the window that it was made for.
        data_seed: of the evaluation stream.
        index: 0 for the first haystack of a task.
        count: number of dictionaries, as many as the tokenizer left room for.
    """
    name = _name(tokens, data_seed, index)
    golds = _golds(name, tokens)
    shown = tuple(itertools.islice(_dictionaries(name, tokens), count))
    return Context(name, shown, needles(SIMPLE, name, golds[:count], range(count)))


def load(
    *,
    tokens: int,
    haystacks: int = 1,
    data_seed: int = 0,
    template: bool = True,
    config_source: str | None = None,
    **metadata: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        tokens: the window that prompt, chat template and answer fill.
        haystacks: number of haystacks, each asked for all of its keys.
        data_seed: of the evaluation stream.
        template: whether the prompt shows the answer template.
        config_source: the YAML file, as the harness passes it.
        metadata: what else the harness merges in; ``tokenizer`` or ``pretrained`` is needed.

    Raises:
        DataError: when the YAML is a registered copy of another version, or the window has no
            tokenizer or is too short.
    """
    refuse_stale(config_source)
    check_samples("kv_sweep", haystacks, name="haystacks", endless=True)
    check_choice("kv_sweep", "template", template, (True, False))
    model = ModelArguments.of(metadata)
    wanted = window(tokens, model, answer_tokens=SIMPLE.answer_tokens, task="kv_sweep")
    settings: dict[str, Any] = {"data_seed": data_seed, "template": template}

    def build() -> Iterator[dict[str, Any]]:
        for index in range(haystacks):
            yield from _questions(wanted, index, **settings)

    return {"test": cached_rows({"sweep": haystacks, **settings}, wanted, build)}


def _questions(
    window: Window, index: int, *, data_seed: int, template: bool
) -> Iterator[dict[str, Any]]:
    """Yield a document a dictionary, in an order whose every prefix covers all depths."""
    tokens, name = window.tokens, _name(window.tokens, data_seed, index)
    golds = _golds(name, tokens)
    asked = [n.asked(template=template) for n in needles(SIMPLE, name, golds, range(len(golds)))]
    question = longest(window.tokenizer, asked)
    room = window.room(prompt([], question))
    lines = (render(number, d) for number, d in enumerate(_dictionaries(name, tokens), start=1))
    taken, counts = window.costs(lines, room, before=BEFORE, after=AFTER)
    size = fitting(counts, room)
    if size == len(golds):
        raise DataError(
            f"kv_sweep: a window of {tokens} tokens holds more than {size} dictionaries, "
            "as many as there are keys for; choose a shorter window"
        )
    proof = window.prove(size, lambda count: prompt(taken[:count], question), fewest=1)
    context = haystack(tokens, data_seed, index, proof.lines)
    # The three-gap theorem: whatever prefix is asked, its dictionaries lie evenly apart.
    spread = sorted(range(proof.lines), key=lambda number: (number * GOLDEN_RATIO) % 1.0)
    where = {"tokens": tokens, "data_seed": data_seed, "haystack": index}
    for number in spread:
        doc = document_of(context, context.needles[number], length=proof.length)
        doc["question_id"] += f":{number + 1}"
        yield {**doc, **where, "dictionaries": proof.lines, "template": template}


def doc_to_text(doc: dict[str, Any]) -> str:
    """Return the prompt of a document that :func:`load` made."""
    context = haystack(doc["tokens"], doc["data_seed"], doc["haystack"], doc["dictionaries"])
    return context.prompt(context.needles[doc["gold_position"] - 1], template=doc["template"])
