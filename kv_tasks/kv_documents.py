"""Documents and scores of the dictionary retrieval tasks, the same for every kind.

The paper states no scoring rule; ``exact_match`` here asks for all fields in the answer's form.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import datasets

from kv_tasks.cache import cached_rows
from kv_tasks.dictionaries import Context, Gold, Key, Kind, Needle, Placement, contexts, render
from kv_tasks.documents import check_choice, check_samples, document
from kv_tasks.errors import DataError
from kv_tasks.kv_windows import fitted_contexts
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.registration import refuse_stale
from kv_tasks.scores import by_depth
from kv_tasks.windows import window


def load_kind(
    kind: Kind,
    *,
    samples: int,
    dictionaries: int | None = None,
    tokens: int | None = None,
    data_seed: int = 0,
    placement: Placement = "even",
    template: bool = True,
    config_source: str | None = None,
    **metadata: Any,
) -> dict[str, datasets.Dataset]:
    """Build a task's documents (the harness's ``custom_dataset``).

    Args:
        kind: what is asked for.
        samples: number of documents.
        dictionaries: lines of the haystack, the paper's by default.
        tokens: instead of a number of dictionaries, the window that prompt, chat template and
            answer fill.
        data_seed: of the evaluation stream.
        placement: where the needles lie, see :func:`kv_tasks.dictionaries.contexts`.
        template: whether the prompt shows the answer template.
        config_source: the YAML file, as the harness passes it.
        metadata: what else the harness merges in; a window needs ``tokenizer`` or
            ``pretrained`` of it.

    Raises:
        DataError: when the YAML is a registered copy of another version, or a window has no
            tokenizer, is too short, or is given beside a number of dictionaries.
    """
    refuse_stale(config_source)
    task = f"kv_{kind.name}".replace("-", "_")
    check_choice(task, "placement", placement, get_args(Placement))
    check_choice(task, "template", template, (True, False))
    check_samples(task, samples, endless=True)
    if tokens is not None and dictionaries is not None:
        raise DataError(
            f"tokens {tokens} and dictionaries {dictionaries}: choose one, null for the other; a "
            "window holds as many dictionaries as fit"
        )
    settings: dict[str, Any] = {"samples": samples, "placement": placement, "template": template}
    if tokens is None:
        count = kind.dictionaries if dictionaries is None else dictionaries
        rows = kind_rows(kind, dictionaries=count, data_seed=data_seed, **settings)
        return {"test": datasets.Dataset.from_list(list(rows))}
    model = ModelArguments.of(metadata)
    wanted = window(tokens, model, answer_tokens=kind.answer_tokens, task=task)

    def build() -> Iterator[dict[str, Any]]:
        for fitted in fitted_contexts(
            kind,
            wanted,
            split="eval",
            seed=data_seed,
            count=samples,
            placement=placement,
            template=template,
        ):
            yield _document(fitted.context, template=template, length=fitted.length)

    key = {"kind": kind.name, "data_seed": data_seed, **settings}
    return {"test": cached_rows(key, wanted, build)}


def kind_rows(
    kind: Kind,
    *,
    samples: int,
    dictionaries: int,
    data_seed: int,
    placement: Placement,
    template: bool,
) -> Iterator[dict[str, Any]]:
    """Yield the documents of haystacks of a number of dictionaries; see :func:`load_kind`."""
    for context in contexts(
        kind,
        split="eval",
        seed=data_seed,
        count=samples,
        dictionaries=dictionaries,
        placement=placement,
    ):
        yield _document(context, template=template)


def _document(context: Context, *, template: bool, length: int | None = None) -> dict[str, Any]:
    needle = context.needles[0]
    made = document_of(context, needle, length=length)
    return {**made, "prompt": context.prompt(needle, template=template)}


def document_of(context: Context, needle: Needle, *, length: int | None) -> dict[str, Any]:
    """Return the document of one needle, without its prompt.

    Args:
        context: the haystack.
        needle: one of its needles.
        length: tokens of the prompt, None where no tokenizer is known.
    """
    lines = context.dictionaries
    return document(
        question_id=context.context_id,
        answers=[needle.answer],
        gold_position=needle.golds[0].dictionary,
        candidates=len(lines),
        length=length,
        golds=[
            {
                "key": list(gold.key) if isinstance(gold.key, tuple) else [gold.key],
                "value": gold.value,
                "dictionary": gold.dictionary,
                "depth": context.depth(gold),
            }
            for gold in needle.golds
        ],
        gold="\n".join(render(g.dictionary, lines[g.dictionary - 1]) for g in needle.golds),
    )


def score_kind(kind: Kind, response: str, doc: dict[str, Any]) -> dict[str, float | None]:
    """Score a raw response by its first line that is not empty.

    Returns:
        ``exact_match``: 1.0 when the answer's sentences stand there, in the order asked, with
        the right key, value and dictionary; ``value_match``, ``key_match`` and
        ``dictionary_match``: the share of what was asked for whose value, key or
        ``Dictionary [N]`` occurs there as whole numbers, in any wording; ``depth_1_of_5`` to
        ``depth_5_of_5``: the share of exact answers in each fifth of the haystack.
    """
    line = response.strip().split("\n", 1)[0]
    golds = [_gold(gold) for gold in doc["golds"]]
    right = [(gold.key, gold.value, gold.dictionary) for gold in golds]
    found = kind.parse(line)[: len(golds)]
    depths = [
        (gold["depth"], float(triple in found))
        for gold, triple in zip(doc["golds"], right, strict=True)
    ]
    return {
        "exact_match": float(found == right),
        "value_match": _share(line, [rf"(?<!\d){gold.value}(?!\d)" for gold in golds]),
        "key_match": _share(line, [_key_pattern(gold.key) for gold in golds]),
        "dictionary_match": _share(
            line, [rf"(?i:Dictionary)\s*\[?{gold.dictionary}(?!\d)" for gold in golds]
        ),
        **by_depth(depths),
    }


def _gold(gold: dict[str, Any]) -> Gold:
    key = tuple(gold["key"])
    return Gold(key if len(key) > 1 else key[0], gold["value"], gold["dictionary"])


def _key_pattern(key: Key) -> str:
    """Return a pattern of a key, of a tuple with or without spaces after its commas."""
    if isinstance(key, tuple):
        return r"\(" + r",\s*".join(map(str, key)) + r"\)"
    return rf"(?<!\d){key}(?!\d)"


def _share(line: str, patterns: Sequence[str]) -> float:
    return sum(re.search(pattern, line) is not None for pattern in patterns) / len(patterns)
