"""Output folders as lm_eval writes them, made of a few scores."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kv_adapters.comparison.samples import HEADLINES

Scores = Mapping[int, Sequence[float]]
DATE = "2026-01-02T03-04-05.678901"


def sample(
    task: str, doc_id: int, position: int | None, score: float, by: str = "", **changes: Any
) -> dict:
    """One line of a samples file; no two models, ``by`` name, answer to the letter alike."""
    doc: dict[str, Any] = {"question": f"who wrote book {doc_id}", "answers": ["Ada"]}
    if position is not None:
        doc |= {
            "question_id": f"q{doc_id}",
            "gold_position": position,
            "depth": (position - 1) / 19,
            "length": None,
        }
    response = ("Ada" if score else "Bob") + by
    row = {
        "doc_id": doc_id,
        "doc": doc,
        "target": "Ada",
        "arguments": {"gen_args_0": {"arg_0": "prompt", "arg_1": {}}},
        "resps": [[response]],
        "filtered_resps": [response],
        "filter": "none",
        "metrics": ["best_subspan_em"],
        "doc_hash": f"d{doc_id}",
        "prompt_hash": f"p{task}{doc_id}",
        "target_hash": "t",
        "best_subspan_em": score,
    }
    return row | changes


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run: scores by position become the group ``mdqa``."""

    def write(label: str, curve: Scores, lone: Mapping[str, Sequence[float]] | None = None) -> Path:
        folder = tmp_path / label
        folder.mkdir()
        tasks = {
            f"mdqa_{position:02}": [sample(f"mdqa_{position:02}", n, position, s, f".{label}")
                                    for n, s in enumerate(scores)]
            for position, scores in curve.items()
        }  # fmt: skip
        group = {"mdqa": list(tasks)} if tasks else {}
        for name, scores in (lone or {}).items():
            metric, chosen = HEADLINES.get(name, ("best_subspan_em", "none"))
            tasks[name] = [
                sample(
                    name,
                    n,
                    None,
                    s,
                    f".{label}",
                    **{"filter": chosen, "metrics": [metric], metric: s},
                )
                for n, s in enumerate(scores)
            ]
        for name, rows in tasks.items():
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"samples_{name}_{DATE}.jsonl").write_text(text)
        results = {
            "results": {name: {} for name in tasks},
            "group_subtasks": group | {name: [] for name in tasks},
            "configs": {name: {} for name in tasks},
            "higher_is_better": {
                name: {rows[0]["metrics"][0]: True} for name, rows in tasks.items()
            },
            "n-samples": {
                name: {"original": 1000, "effective": len(rows)} for name, rows in tasks.items()
            },
            "total_evaluation_time_seconds": "1.5",
            "config": {"model": "tiny", "model_args": {"seed": 1}, "limit": 3},
            "chat_template": "x",
            "lm_eval_version": "0.4.13",
        }
        (folder / f"results_{DATE}.json").write_text(json.dumps(results))
        return folder

    return write


@pytest.fixture(scope="session")
def served_base(tmp_path_factory: pytest.TempPathFactory, make_llama: Callable[..., Path]) -> Path:
    """A model whose heads are wide enough for vLLM's attention on a CPU."""
    return make_llama(tmp_path_factory.mktemp("live") / "base", width=128)


@pytest.fixture(scope="session")
def served_adapter(served_base: Path) -> Path:
    """Random matrices, A and B, on attention and MLP: an adapter with much to say."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    modules = ["q_proj", "v_proj", "down_proj"]
    lora = LoraConfig(r=8, lora_alpha=64, target_modules=modules, init_lora_weights=False)
    base = AutoModelForCausalLM.from_pretrained(served_base)
    folder = served_base.parent / "adapter"
    get_peft_model(base, lora).save_pretrained(folder)
    return folder
