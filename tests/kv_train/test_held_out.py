"""Held-out accuracy is what greedy decoding would write, and is told by depth."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, EvalPrediction

from kv_tasks.errors import DataError
from kv_tasks.training_data import Specification, rows
from kv_train import examples
from kv_train.attention import NAME
from kv_train.examples import encode_rows, held_out
from kv_train.held_out import HeldOut, other_kinds
from kv_train.packing import Collator, Pack, pack_rows
from kv_train.recipe_files import load_recipe
from kv_train.tokens import Row
from kv_train.trainer import answer_scores


def greedy_answer(model: torch.nn.Module, row: Row, length: int) -> tuple[int, ...]:
    prompt = torch.tensor([row.input_ids[: row.prompt_length]])
    made = model.generate(  # type: ignore[operator]
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=length, do_sample=False
    )
    return tuple(made[0, row.prompt_length :].tolist())


def test_an_answer_is_exact_if_and_only_if_greedy_decoding_writes_it(tiny_base: Path) -> None:
    """Half of the answers are replaced by what the model itself writes."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    made = rows(Specification(samples=6, dictionaries=6, questions_per_context=3), workers=1)
    encoded = encode_rows(tokenizer, made, map(str, range(6)), max_length=2048)
    stock = AutoModelForCausalLM.from_pretrained(tiny_base)
    stock.generation_config.eos_token_id = None
    answered = []
    for number, row in enumerate(encoded):
        written = greedy_answer(stock, row, 5)
        if number % 2:
            written = (*written[:4], (written[4] + 1) % 300)
        ids = row.input_ids[: row.prompt_length] + written
        answered.append(Row(ids, ((row.prompt_length, len(ids)),), row.context_id, row.name))
    model = AutoModelForCausalLM.from_pretrained(tiny_base, attn_implementation=NAME)
    for size, expected in ((3, [[1, 0, 1], [0, 1, 0]]), (1, [[1], [0], [1], [0], [1], [0]])):
        packs = pack_rows(answered, questions_per_pack=size)
        exact, losses = answer_scores(model.eval(), Collator(0)(packs))
        assert exact.tolist() == expected
        assert losses[..., 1].unique().tolist() == [5]


def test_several_processes_encode_as_one_does(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    made = list(rows(Specification(samples=130, dictionaries=3), workers=1))
    names = [f"row {number}" for number in range(130)]
    alone = encode_rows(tokenizer, made, names, max_length=2048)
    monkeypatch.setattr(examples, "_WORTH_PROCESSES", 0)
    monkeypatch.setattr(examples.os, "sched_getaffinity", lambda _: {0, 1})
    assert encode_rows(tokenizer, made, names, max_length=2048) == alone
    with pytest.raises(DataError, match="row 0: .* more than the limit of 16"):
        encode_rows(tokenizer, made, names, max_length=16)


def test_metrics_weigh_tokens_and_questions_and_ignore_what_fills_a_batch() -> None:
    first = Pack((1,), ((2,), (3,)), ((2,), (3,)), (0.0, 0.5))
    second = Pack((1,), ((2,),), ((2,),), (1.0,))
    exact = np.array([[1.0, 0.0], [1.0, -100.0]])
    losses = np.array([[[2.0, 4.0], [6.0, 4.0]], [[4.0, 2.0], [-100.0, -100.0]]])
    found = HeldOut([first, second]).metrics(EvalPrediction(predictions=exact, label_ids=losses))
    assert found == {
        "loss": pytest.approx(12 / 10),
        "exact_match": pytest.approx(2 / 3),
        "exact_match_depth_1": 1.0,
        "exact_match_depth_3": 0.0,
        "exact_match_depth_5": 1.0,
    }


def test_a_question_that_only_another_pack_of_its_batch_has_counts_for_nothing() -> None:
    first = Pack((1,), ((2,), (3,)), ((2,), (3,)), (0.0, 0.5))
    second = Pack((1,), ((2,),), ((2,),), (1.0,))
    exact = np.array([[0.0, 0.0], [0.0, 1.0]])
    losses = np.array([[[2.0, 4.0], [6.0, 4.0]], [[4.0, 2.0], [0.0, 0.0]]])
    found = HeldOut([first, second]).metrics(EvalPrediction(predictions=exact, label_ids=losses))
    assert found["exact_match"] == 0.0


def test_parts_of_the_haystack_are_its_fifths() -> None:
    depths = (0.0, 0.19, 0.21, 0.39, 0.61, 0.79, 0.81, 1.0)
    packs = [Pack((1,), ((2,),), ((2,),), (depth,)) for depth in depths]
    assert HeldOut(packs)._parts(1)[:, 0].tolist() == [0, 0, 1, 1, 3, 3, 4, 4]


def test_the_first_kind_is_told_by_depth_and_every_other_by_its_name() -> None:
    packs = [
        Pack((1,), ((2,),), ((2,),), (depth,), kind)
        for depth, kind in ((0.0, "simple"), (1.0, "simple"), (0.0, "mdqa"), (0.5, "mdqa"))
    ]
    exact = np.array([[1.0], [0.0], [1.0], [1.0]])
    losses = np.array([[[2.0, 1.0]], [[4.0, 1.0]], [[9.0, 1.0]], [[9.0, 1.0]]])
    found = HeldOut(packs).metrics(EvalPrediction(predictions=exact, label_ids=losses))
    assert found == {
        "loss": 3.0,
        "exact_match": 0.5,
        "exact_match_depth_1": 1.0,
        "exact_match_depth_5": 0.0,
        "exact_match_mdqa": 1.0,
    }
    logged = {f"eval_{key}": value for key, value in found.items()}
    assert other_kinds(logged) == ["mdqa"]


def test_what_is_held_out_follows_the_recipe(tiny_recipe: Path, tmp_path: Path) -> None:
    def count(*overrides: str) -> int:
        return len(list(held_out(load_recipe(str(tiny_recipe), overrides), "unused")))

    data = tmp_path / "chat.jsonl"
    data.write_text('{"messages": []}\n' * 3)
    assert count("evaluation.samples=5") == 6  # whole contexts of two questions
    assert count("evaluation.steps=0") == 0
    assert count(f"data.file={data}") == 0
    assert count(f"data.file={data}", "data.kind=simple") == 10
    assert count(f"evaluation.file={data}") == 3


def test_depths_of_held_out_prompts_are_even(tiny_recipe: Path) -> None:
    recipe = load_recipe(
        str(tiny_recipe),
        ["evaluation.samples=25", "data.questions_per_context=1", "data.dictionaries=25"],
    )
    depths = sorted(row["depth"] for row in held_out(recipe, "unused"))
    counts, _ = np.histogram(depths, bins=5, range=(0, 1))
    assert min(counts) >= 4
    assert max(counts) <= 6
