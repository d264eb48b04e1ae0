"""Runs of every family the report knows, as lm_eval would have written them."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATE = "2026-01-02T03-04-05.678901"
POSITIONS = (1, 2, 5, 10, 15, 20)
LENGTHS = ("4k", "8k", "16k", "32k")
WORDS = (250, 500, 1000, 2000, 3000)
MULTIPLE = {"mmlu_law": "acc", "mmlu_logic": "acc", "hellaswag": "acc_norm"}
GROUPS = {
    "mdqa_pos": [f"mdqa_pos_{place:02}" for place in POSITIONS],
    "flenqa": [f"flenqa_{size}" for size in WORDS],
    "flenqa_cot": [f"flenqa_cot_{size}" for size in WORDS],
    "mmlu": ["mmlu_law", "mmlu_logic"],
}


@dataclass(frozen=True)
class Model:
    """How good a model is: a skill each family, a sag in the middle, a seed of its own."""

    label: str
    retrieval: float
    middle: float
    general: float = 0.0
    answers: str = ""


def rows(model: Model, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield task and sample of every family."""
    rng = random.Random(f"{model.label}")

    def right(chance: float) -> float:
        return float(rng.random() < chance)

    for place in POSITIONS:
        sag = model.middle * (1 - abs(place - 10) / 10)
        for n in range(count):
            prompt = "\n".join(
                f"Document [{k}](Title: Book {k}) Written by {'Ada' if k == place else 'Bob'}."
                for k in range(1, 21)
            ) + f"\n\nQuestion: who wrote book {n}?\nAnswer:"  # fmt: skip
            doc = {"question_id": f"q{n}", "question": f"who wrote book {n}?", "answers": ["Ada"],
                   "gold_position": place, "depth": (place - 1) / 19, "length": 3000}  # fmt: skip
            yield f"mdqa_pos_{place:02}", written(n, doc, prompt, right(0.75 - sag), model)
    for task, chance in (("mdqa_closedbook", 0.2), ("mdqa_oracle", 0.85)):
        for n in range(count):
            doc = {"question_id": f"q{n}", "answers": ["Ada"], "gold_position": None, "depth": None}
            yield task, written(n, doc, "who wrote it?", right(chance), model)
    for k, size in enumerate(LENGTHS):
        for n in range(count):
            depth = n / (count - 1)
            doc = {"question_id": f"{size}{n}", "answers": ["The value of key 1 is 2"],
                   "gold": "Dictionary [3] {1: 2}", "gold_position": n + 1, "depth": depth,
                   "length": 4000}  # fmt: skip
            prompt = "Dictionary [2] {7: 8}\nDictionary [3] {1: 2}\nDictionary [4] {5: 6}\n" * 3
            chance = model.retrieval - 0.15 * k - 0.3 * depth * (1 - depth)
            row = written(n, doc, prompt, right(chance), model, "exact_match")
            yield f"kv_simple_{size}", row
    for cot in ("", "cot_"):
        for k, size in enumerate(WORDS):
            for n in range(count):
                refused = right(0.05 * k)
                doc = {"question_id": f"f{n}", "answers": ["True"], "gold_position": None,
                       "depth": None, "facts": ["Ann is old.", "Old ones are wise."]}  # fmt: skip
                prompt = "Bob is tall. Ann is old. " * 30 + "Old ones are wise. Is Ann wise?"
                score = 0.0 if refused else right(0.9 - 0.08 * k + (0.05 if cot else 0))
                row = written(n, doc, prompt, score, model, "acc")
                yield f"flenqa_{cot}{size}", row | {"other": refused}
    for task, metric in MULTIPLE.items():
        for n in range(count * 4):
            row = written(n, {"query": "?"}, "?", right(0.6 + model.general), model, metric)
            choices = [[-1.0, False]] * 4
            yield task, row | {"filtered_resps": choices, "resps": [[c] for c in choices]}
    for n in range(count * 4):
        row = written(n, {"question": "2+2?"}, "2+2?", right(0.3), model, "exact_match")
        yield "gsm8k", row | {"filter": "strict-match"}


def written(
    n: int,
    doc: Mapping[str, Any],
    prompt: str,
    score: float,
    model: Model,
    metric: str = "best_subspan_em",
) -> dict[str, Any]:
    """Return one line of a samples file."""
    response = "Ada" if score else model.answers or "I do not know."
    return {
        "doc_id": n, "doc": dict(doc), "target": "Ada", "resps": [[response]],
        "arguments": {"gen_args_0": {"arg_0": prompt, "arg_1": {}}}, "filtered_resps": [response],
        "filter": "none", "metrics": [metric], metric: score, "doc_hash": f"d{n}",
        "prompt_hash": f"p{n}", "target_hash": "t",
    }  # fmt: skip


def write_model(folder: Path, model: Model, count: int) -> Path:
    """Write a model's results and samples."""
    out = folder / model.label
    out.mkdir(parents=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for task, row in rows(model, count):
        found.setdefault(task, []).append(row)
    for task, lines in found.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (out / f"samples_{task}_{DATE}.jsonl").write_text(text)
    results = {
        "results": {name: {} for name in found},
        "group_subtasks": GROUPS | {name: [] for name in found},
        "configs": {name: {} for name in found},
        "higher_is_better": {name: {lines[0]["metrics"][0]: True} for name, lines in found.items()},
        "n-samples": {
            name: {"original": 1000, "effective": len(lines)} for name, lines in found.items()
        },
        "total_evaluation_time_seconds": "61.5",
        "config": {"model": "smollm2-135m", "model_args": {"seed": 1234}, "limit": count},
        "chat_template": "x",
        "lm_eval_version": "0.4.13",
        "kv_adapters": {
            "command": "kv-adapters eval", "base_sha256": "3cf863", "seconds": 61.5,
            "prompt_tokens": 400_000, "cached_tokens": 120_000, "cached_share": 0.3, "truncated": 0,
            "skipped": 2, "packages": {"vllm": "0.32.0"}, "seed": "1234",
        },
    }  # fmt: skip
    (out / f"results_{DATE}.json").write_text(json.dumps(results))
    return out


MODELS = (
    Model("base", 0.2, 0.5),
    Model("simple-template", 0.9, 0.2),
    Model("simple", 0.7, 0.3, -0.03),
    Model("mdqa", 0.3, 0.1, -0.15),
)
