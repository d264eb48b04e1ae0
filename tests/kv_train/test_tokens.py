"""Labels cover the answer and its end of turn, for any chat template, and nothing is cut."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from kv_tasks.errors import DataError, ModelError
from kv_tasks.training_data import Specification, rows
from kv_train.tokens import encode

ROW = {
    "messages": [
        {"role": "user", "content": "Report the value of key 2931."},
        {"role": "assistant", "content": "The value is 8364."},
    ]
}
# The ways in which templates close a turn: token and line break, token alone, spaces around.
TEMPLATES = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "mistral": (
        "<|endoftext|>{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} "
        "[/INST]{% else %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    ),
    "zephyr": (
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    ),
}


def with_template(tokenizer: Any, template: str | None) -> Any:
    changed = deepcopy(tokenizer)
    changed.chat_template = template
    return changed


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_answer_and_its_end_of_turn_are_trained(tiny_tokenizer: Any, name: str) -> None:
    tokenizer = with_template(tiny_tokenizer, TEMPLATES[name])
    row = encode(tokenizer, ROW, name="row", max_length=500)
    trained = tokenizer.decode(row.input_ids[row.prompt_length :])
    assert trained.strip() == "The value is 8364.<|im_end|>"
    assert row.input_ids[-1] == tokenizer.eos_token_id
    assert "The value is" not in tokenizer.decode(row.input_ids[: row.prompt_length])


def test_the_prompts_tokens_are_those_of_inference(demo_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo_model)
    made = Specification(samples=8, dictionaries=16, questions_per_context=8)
    for row in rows(made, workers=1):
        encoded = encode(tokenizer, row, name="row", max_length=8192)
        asked = tokenizer.apply_chat_template(
            row["messages"][:1], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        assert list(encoded.input_ids[: encoded.prompt_length]) == list(asked)
        answer = tokenizer.decode(encoded.input_ids[encoded.prompt_length :])
        assert answer == row["messages"][1]["content"] + "<|im_end|>"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "'messages' must list a question and its answer"),
        ({"messages": ROW["messages"][:1] * 2}, "last message must be the assistant's"),
        ({"messages": [ROW["messages"][0], {"role": "assistant", "content": ""}]}, "with content"),
    ],
)
def test_a_row_without_an_answer_is_named(tiny_tokenizer: Any, row: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"data.jsonl, line 7: .*{message}"):
        encode(tiny_tokenizer, row, name="data.jsonl, line 7", max_length=500)


def test_a_row_that_does_not_fit_is_an_error_and_never_cut(tiny_tokenizer: Any) -> None:
    whole = encode(tiny_tokenizer, ROW, name="row", max_length=500)
    fits = len(whole.input_ids)
    assert encode(tiny_tokenizer, ROW, name="row", max_length=fits) == whole
    with pytest.raises(DataError, match=f"row: {fits} tokens, more than the limit of {fits - 1}"):
        encode(tiny_tokenizer, ROW, name="row", max_length=fits - 1)


def test_templates_that_cannot_be_trained_on_are_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        encode(with_template(tiny_tokenizer, None), ROW, name="row", max_length=500)
    rewriting = TEMPLATES["chatml"].replace("{{ m.content }}", "{{ messages|length }}")
    with pytest.raises(ModelError, match="renders the prompt differently"):
        encode(with_template(tiny_tokenizer, rewriting), ROW, name="row", max_length=500)
    endless = TEMPLATES["chatml"].replace("{{ m.content }}<|im_end|>", "{{ m.content }}")
    with pytest.raises(DataError, match="without an end-of-turn token"):
        encode(with_template(tiny_tokenizer, endless), ROW, name="row", max_length=500)
