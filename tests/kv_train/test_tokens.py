"""Labels cover the answer and its end of turn, for any chat template, and nothing is cut."""

import re
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import pytest
from transformers import AddedToken, AutoTokenizer

from kv_tasks.errors import DataError, ModelError
from kv_tasks.training_data import Specification, rows
from kv_train.tokens import IGNORED, encode

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
    "llama 3": (
        "<|endoftext|>{% for m in messages %}<|im_start|>{{ m.role }}<|im_start|>\n\n"
        "{{ m.content | trim }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant<|im_start|>\n\n{% endif %}"
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


TURNS = {
    "messages": [
        {"role": "user", "content": "Report the value of key 2931."},
        {"role": "assistant", "content": "The value is 8364."},
        {"role": "user", "content": "And of key 17?"},
        {"role": "assistant", "content": "It is 4."},
    ],
    "depth": 0.25,
}
# A model that may think first: the generation prompt closes the thoughts when told not to.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_answer_of_a_conversation_is_trained_and_nothing_else(
    tiny_tokenizer: Any, name: str
) -> None:
    tokenizer = with_template(tiny_tokenizer, TEMPLATES[name])
    row = encode(tokenizer, TURNS, name="row", max_length=500)
    trained = [tokenizer.decode(row.input_ids[start:end]).strip() for start, end in row.spans]
    assert trained == ["The value is 8364.<|im_end|>", "It is 4.<|im_end|>"]
    assert sum(label != IGNORED for label in row.labels) == sum(e - s for s, e in row.spans)
    assert all(
        label in (IGNORED, token) for label, token in zip(row.labels, row.input_ids, strict=True)
    )
    assert row.depth == 0.25


def test_what_the_template_is_called_with_decides_where_the_answer_begins(
    tiny_tokenizer: Any,
) -> None:
    tokenizer = with_template(tiny_tokenizer, THINKING)
    options = {"enable_thinking": False}
    row = encode(tokenizer, ROW, name="row", max_length=500, template_kwargs=options)
    assert tokenizer.decode(row.input_ids[row.prompt_length :]) == "The value is 8364.<|im_end|>"
    thinking = encode(tokenizer, ROW, name="row", max_length=500)
    assert tokenizer.decode(thinking.input_ids[thinking.prompt_length :]).startswith("<think>")


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


def test_an_answer_of_weight_0_is_read_and_not_trained(tiny_tokenizer: Any) -> None:
    tokenizer = with_template(tiny_tokenizer, TEMPLATES["chatml"])
    asked, bad, *rest = TURNS["messages"]
    row = {"messages": [asked, {**bad, "weight": 0}, *rest]}
    both = encode(tokenizer, TURNS, name="row", max_length=500)
    one = encode(tokenizer, row, name="row", max_length=500)
    assert (one.input_ids, one.spans) == (both.input_ids, both.spans[1:])
    none = {"messages": [asked, {**bad, "weight": 0}]}
    with pytest.raises(DataError, match="row: every answer has weight 0"):
        encode(tokenizer, none, name="row", max_length=500)
    with pytest.raises(DataError, match="row: has 'tools'"):
        encode(tokenizer, {**ROW, "tools": [{"type": "function"}]}, name="row", max_length=500)


def test_a_row_that_does_not_fit_is_an_error_and_never_cut(tiny_tokenizer: Any) -> None:
    whole = encode(tiny_tokenizer, ROW, name="row", max_length=500)
    fits = len(whole.input_ids)
    assert encode(tiny_tokenizer, ROW, name="row", max_length=fits) == whole
    with pytest.raises(DataError, match=f"row: {fits} tokens, more than the limit of {fits - 1}"):
        encode(tiny_tokenizer, ROW, name="row", max_length=fits - 1)


class Merging:
    """A tokenizer of single letters that reads "ab" as one token, and "~" as the end of a turn."""

    chat_template, all_special_ids = "x", [0]
    added_tokens_decoder: ClassVar[dict[int, Any]] = {}
    names = ("~", "a", "b", "ab", "x", "c")

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        found = list(re.finditer("ab|.", text))
        return {
            "input_ids": [self.names.index(token[0]) for token in found],
            "offset_mapping": [token.span() for token in found],
        }

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
        ends = {"user": "", "assistant": "~"}
        return "".join(message["content"] + ends[message["role"]] for message in messages)

    def decode(self, token_ids: Sequence[int], **_: Any) -> str:
        return "".join(self.names[token] for token in token_ids)


def test_an_answer_whose_first_token_merges_with_the_prompt_is_refused() -> None:
    def row(answer: str) -> dict[str, Any]:
        asked = {"role": "user", "content": "xa"}
        return {"messages": [asked, {"role": "assistant", "content": answer}]}

    assert encode(Merging(), row("cb"), name="row", max_length=99).spans == ((2, 5),)
    with pytest.raises(DataError, match="row: the first token of the answer merges with the pro"):
        encode(Merging(), row("bc"), name="row", max_length=99)


def test_templates_that_cannot_be_trained_on_are_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match="no chat template"):
        encode(with_template(tiny_tokenizer, None), ROW, name="row", max_length=500)
    rewriting = TEMPLATES["chatml"].replace("{{ m.content }}", "{{ messages|length }}")
    with pytest.raises(ModelError, match="renders the prompt differently.*into the question"):
        encode(with_template(tiny_tokenizer, rewriting), ROW, name="row", max_length=500)
    with pytest.raises(ModelError, match="renders the prompt differently.*train a row a turn"):
        encode(with_template(tiny_tokenizer, rewriting), TURNS, name="row", max_length=500)
    endless = TEMPLATES["chatml"].replace("{{ m.content }}<|im_end|>", "{{ m.content }}")
    with pytest.raises(DataError, match="without an end-of-turn token"):
        encode(with_template(tiny_tokenizer, endless), ROW, name="row", max_length=500)


def test_an_end_of_turn_that_has_no_role_in_the_tokenizer_is_trained(tiny_tokenizer: Any) -> None:
    """Gemma's <end_of_turn> is a special token of the vocabulary, and not its eos."""
    tokenizer = with_template(
        tiny_tokenizer,
        "{% for m in messages %}<start>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start>assistant\n{% endif %}",
    )
    tokenizer.add_tokens([AddedToken("<end_of_turn>", special=True, normalized=False)])
    assert tokenizer.convert_tokens_to_ids("<end_of_turn>") not in tokenizer.all_special_ids
    row = encode(tokenizer, ROW, name="row", max_length=500)
    trained = tokenizer.decode(row.input_ids[row.prompt_length :])
    assert trained == "The value is 8364.<end_of_turn>"


def test_special_tokens_that_open_an_answer_do_not_end_it(tiny_tokenizer: Any) -> None:
    """As where a channel is named before the answer's words."""
    tokenizer = with_template(
        tiny_tokenizer,
        "{% for m in messages %}<|im_start|>{{ m.role }}"
        "{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ m.content }}"
        "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}",
    )
    tokenizer.add_tokens([AddedToken(t, special=True) for t in ("<|channel|>", "<|message|>")])
    row = encode(tokenizer, ROW, name="row", max_length=500)
    trained = tokenizer.decode(row.input_ids[row.prompt_length :])
    assert trained == "<|channel|>final<|message|>The value is 8364.<|im_end|>"


@pytest.mark.parametrize("thought", ["Hm. " * 25, "Hm. " * 300], ids=["short", "long"])
def test_thoughts_that_a_template_takes_from_earlier_turns_move_no_answer(
    tiny_tokenizer: Any, thought: str
) -> None:
    """As Qwen3's does: then the words of the turn do not stand in the text as they were given."""
    tokenizer = with_template(
        tiny_tokenizer,
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    )
    messages = deepcopy(TURNS["messages"])
    assert isinstance(messages, list)
    messages[1]["content"] = f"<think>{thought}</think>{messages[1]['content']}"
    row = encode(tokenizer, {"messages": messages}, name="row", max_length=5000)
    trained = [tokenizer.decode(row.input_ids[start:end]).strip() for start, end in row.spans]
    assert trained == ["The value is 8364.<|im_end|>", "It is 4.<|im_end|>"]


def test_words_that_a_later_turn_repeats_are_looked_for_in_their_own(tiny_tokenizer: Any) -> None:
    tokenizer = with_template(
        tiny_tokenizer,
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.content if loop.last or m.role == 'user' else m.content | lower }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    )
    messages = deepcopy(TURNS["messages"])
    assert isinstance(messages, list)
    messages[3]["content"] = messages[1]["content"]
    row = encode(tokenizer, {"messages": messages}, name="row", max_length=500)
    trained = [tokenizer.decode(row.input_ids[start:end]).strip() for start, end in row.spans]
    assert trained == ["the value is 8364.<|im_end|>", "The value is 8364.<|im_end|>"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": ["hello", "there"]}, "messages with 'role' and 'content', found 'hello'"),
        ({"messages": [{"role": "user"}, ROW["messages"][1]]}, "'role' and 'content', found {"),
        ({"depth": 40}, "depth 40; expected a number from 0 to 1"),
        ({"depth": "0.4"}, "depth '0.4'; expected a number"),
    ],
)
def test_what_a_row_says_beside_its_text_is_checked(
    tiny_tokenizer: Any, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"rows.jsonl, line 3: .*{re.escape(message)}"):
        encode(tiny_tokenizer, {**ROW, **fields}, name="rows.jsonl, line 3", max_length=500)


def test_rows_without_a_context_share_none(tiny_tokenizer: Any) -> None:
    """Exports write null for what a row does not have."""
    found = [
        encode(tiny_tokenizer, {**ROW, **given}, name=name, max_length=500).context_id
        for name, given in (("a", {}), ("b", {"context_id": None}), ("c", {"context_id": 7}))
    ]
    assert found == ["a", "b", "7"]


@pytest.mark.parametrize("name", ["name", "tokenizer", "prompt"])
def test_a_template_may_call_its_arguments_what_it_likes(tiny_tokenizer: Any, name: str) -> None:
    tokenizer = with_template(tiny_tokenizer, f"{{{{ {name} }}}}{tiny_tokenizer.chat_template}")
    row = encode(tokenizer, TURNS, name="n", max_length=999, template_kwargs={name: "Bob"})
    assert tokenizer.decode(row.input_ids).startswith("Bob<|im_start|>user")
