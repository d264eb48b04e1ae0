"""``flenqa``: the same reasoning over two facts, in texts of 250 to 3,000 tokens.

One prompt of the set PIR, shortened, and its target (Levy, Jacoby, Goldberg, "Same Task, More
Tokens", arXiv 2402.14848):

    The lecture hall was as quiet as ever. Julie Baker is in Ethan Washington's bakery. ...
    Ethan Washington's bakery is marble-floored, a luxurious touch that ...
    True/False Question: Is Julie Baker in a marble-floored room?
    Answer only True or False.

    true

The third of the sets, Simplified RuleTaker, asks what follows from a rule and two statements;
MonoRel what follows from two comparisons. Prompts and scores are the authors', to the byte.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

import datasets

from kv_tasks.documents import check_samples, document
from kv_tasks.errors import DataError
from kv_tasks.flenqa_data import DEPTHS, SETS, facts_field, rows
from kv_tasks.flenqa_scores import OTHER, accuracy, category, early_response, fact_coverage
from kv_tasks.registration import refuse_stale

ANSWER_TOKENS = 400

# Protocol constants, with the source's unbalanced and typographic quotation marks.
PROMPTS = {
    "Simplified RuleTaker": (
        "Answer whether the statement {assertion/question} can be derived from the rule and the "
        'facts. Answer with either "True" or "False".\n'
        "Rule: {rule}\n"
        "Facts: {mixin}\n"
        'Answer with either "True or "False".\n'
    ),
    "PIR": ("{mixin}\nTrue/False Question: {assertion/question}\nAnswer only True or False.\n"),
    "MonoRel": (
        "Here are some facts. Answer the exact following question based on the text: "
        "{assertion/question} Answer the question as it appears exactly.\n"
        "{mixin}\n{assertion/question}\nAnswer only True or False.\n"
    ),
}
PROMPTS_COT = {
    "Simplified RuleTaker": (
        "Answer whether the statement {assertion/question} can be derived from the rule and the "
        "facts.\n"
        'Show your steps then answer with either "True" or "False".\n'
        "Rule: {rule}\n"
        "Facts: {mixin}\n"
        'Answer with either "True or "False". Let\'s work this out in a step by step way to be '
        "sure we have the right answer.\n"
    ),
    "PIR": (
        "Show your steps then answer with ’true’ or ’false’.\n"
        "{mixin}\n"
        "True/False Question: {assertion/question}\n"
        "Let’s work this out in a step by step way to\n"
        "be sure we have the right answer.\n"
    ),
    "MonoRel": (
        "Here are some facts. Answer the exact following question based on the text: "
        "{assertion/question} Answer the question as it appears exactly.\n"
        "Show your steps then answer with ’true’ or ’false’.\n"
        "{mixin}\n{assertion/question}\n"
        "Let’s work this out in a step by step way to be sure we have the right answer. Show your "
        "work and finally answer with ’true’ or ’false’. The final step should include the exact "
        "text of the question and the answer.\n"
    ),
}


def load(
    *,
    ctx_size: int,
    dispersion: str | None = "random",
    samples: int | None = None,
    config_source: str | None = None,
    **_: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        ctx_size: 250, 500, 1000, 2000 or 3000, the data's own length in tokens.
        dispersion: where the key facts stand; None for all four. The length curve is that of
            ``random``. Rows whose padding is the key facts repeated (identity) are left out.
        samples: number of documents, all by default.
        config_source: the YAML file, as the harness passes it.
        _: what else the harness merges in.

    Raises:
        DataError: when the YAML is a registered copy of another version, the data cannot be had,
            or a row is not of the published form.
    """
    refuse_stale(config_source)
    wanted = [
        row
        for row in rows()
        if int(row["ctx_size"]) == ctx_size
        and dispersion in (None, row["dispersion"])
        and not str(row["padding_type"]).startswith("identity")
    ]
    if not wanted:
        raise DataError(
            f"flenqa: no row has ctx_size {ctx_size} and dispersion {dispersion}; choose 250, 500, "
            "1000, 2000 or 3000, and first, middle, last, random or null for all"
        )
    check_samples("flenqa", samples, most=len(wanted))
    docs = [document_of(row, depth=DEPTHS[row["dispersion"]]) for row in _balanced(wanted)]
    return {"test": datasets.Dataset.from_list(docs[:samples])}


def _balanced(chosen: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rows so that every part holds the sets, labels and paddings equally often.

    The problems come in one random order, which is that of every length. Each padding (and
    dispersion) begins at another problem: few documents ask as many problems as they can.
    """
    problems = sorted({int(row["global_sample_id"]) for row in chosen})
    random.Random("flenqa-order").shuffle(problems)
    rank = {problem: place for place, problem in enumerate(problems)}
    strata: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in sorted(chosen, key=lambda row: rank[int(row["global_sample_id"])]):
        kind = (row["padding_type"], row["dispersion"], str(row["label"]), row["dataset"])
        strata.setdefault(kind, []).append(row)
    versions = sorted({kind[:2] for kind in strata})
    turned = []
    for stratum, rows_of in sorted(strata.items(), key=lambda item: item[0]):
        start = versions.index(stratum[:2]) * len(rows_of) // len(versions)
        turned.append(rows_of[start:] + rows_of[:start])
    return [row for row in chain.from_iterable(zip_longest(*turned)) if row is not None]


def document_of(row: Mapping[str, Any], *, depth: float | None) -> dict[str, Any]:
    """Return the task document of a row of the published form, its fields kept.

    Args:
        row: as published; see :func:`load`.
        depth: of the key facts, 0 to 1; None where they stand apart.
    """
    rule = row.get("rule")
    return document(
        question_id=f"flenqa-{row['global_sample_id']}",
        answers=[str(row["label"]).lower()],
        gold_position=None,
        depth=depth,
        global_sample_id=str(row["global_sample_id"]),
        sample_id=str(row.get("sample_id")),
        label=str(row["label"]),
        dataset=row["dataset"],
        facts=row.get("facts"),
        # A list in some copies; the source's prompt shows whatever it is as Python prints it.
        rule=None if rule is None else str(rule),
        statement=row.get("statement"),
        **{"assertion/question": row["assertion/question"]},
        mixin=row["mixin"],
        padding_type=row["padding_type"],
        dispersion=row["dispersion"],
        ctx_size=int(row["ctx_size"]),
    )


def doc_to_text(doc: Mapping[str, Any]) -> str:
    """Return the prompt that asks for the answer alone."""
    return PROMPTS[doc["dataset"]].format_map(doc)


def doc_to_text_cot(doc: Mapping[str, Any]) -> str:
    """Return the prompt that asks for steps first."""
    return PROMPTS_COT[doc["dataset"]].format_map(doc)


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Score the raw response ``results[0]`` (the harness's ``process_results``).

    Returns:
        ``acc``; ``other``: 1.0 for a response with neither word, which counts as wrong;
        ``acc_monorel``, ``acc_pir``, ``acc_ruletaker``: None but for the document's own set.
    """
    right = accuracy(results[0], doc["label"])
    own = {f"acc_{name}": right if doc["dataset"] == key else None for key, name in SETS.items()}
    return {"acc": right, "other": float(category(results[0]) == OTHER), **own}


def process_results_cot(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float | None]:
    """Score a response with steps: also ``fact_coverage`` and ``early_response``."""
    facts = doc[facts_field(doc)]
    return {
        **process_results(doc, results),
        "fact_coverage": fact_coverage(results[0], facts),
        "early_response": early_response(results[0]),
    }
