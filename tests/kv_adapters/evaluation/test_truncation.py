"""Prompts that the harness would cut are refused by name."""

from dataclasses import dataclass
from typing import Any

import pytest

from kv_adapters.evaluation.answers import recorded
from kv_adapters.evaluation.truncation import Fit
from kv_tasks.errors import PromptTooLongError


@dataclass
class Request:
    args: tuple[Any, ...]
    task_name: str = "mdqa_pos_01"
    doc_id: int = 0


class Words:
    """A harness LM whose tokens are words."""

    max_length = 10
    max_gen_toks = 4

    def tok_encode(self, text: str) -> list[str]:
        return text.split()

    def generate_until(self, requests: list[Request], disable_tqdm: bool = False) -> list[str]:
        return ["generated"] * len(requests)

    def loglikelihood(self, requests: list[Request], disable_tqdm: bool = False) -> list[str]:
        return ["scored"] * len(requests)


def prompt(words: int, **kwargs: Any) -> Request:
    return Request(("w " * words, kwargs), doc_id=words)


def test_prompts_that_fit_are_passed_on() -> None:
    lm = recorded(Words)()
    assert lm.generate_until([prompt(6), prompt(8, max_gen_toks=2)]) == ["generated"] * 2
    assert lm.loglikelihood([Request(("a b", " c"))]) == ["scored"]
    assert type(lm).__name__ == "Words"


def test_how_prompts_fitted_is_counted_over_all_requests() -> None:
    lm = recorded(Words)()
    lm.generate_until([prompt(6), prompt(8, max_gen_toks=2)])
    lm.loglikelihood([Request(("a b", " c"))])
    assert lm.fit == Fit(prompts=3, longest=10, context=10)


def test_a_prompt_without_room_for_its_answer_is_refused_before_anything_is_generated() -> None:
    lm = recorded(Words)()
    with pytest.raises(PromptTooLongError) as caught:
        lm.generate_until([prompt(6), prompt(7), prompt(9)])
    message = str(caught.value)
    assert "mdqa_pos_01: 2 of 3 prompts" in message
    assert "document 9, needs 13 tokens" in message
    assert "--max-length" in message


@pytest.mark.parametrize("name", ["max_new_tokens", "max_tokens", "max_completion_tokens"])
def test_an_answers_length_counts_by_whatever_name_the_task_gives_it(name: str) -> None:
    assert recorded(Words)().generate_until([prompt(8, **{name: 2})]) == ["generated"]
    with pytest.raises(PromptTooLongError, match="needs 11 tokens"):
        recorded(Words)().generate_until([prompt(8, **{name: 3})])


def test_a_continuation_counts_as_part_of_the_prompt() -> None:
    with pytest.raises(PromptTooLongError, match="needs 13 tokens"):
        recorded(Words)().loglikelihood([Request(("w " * 9, "x y z"))])
