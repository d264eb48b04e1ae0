"""Answers are kept by what was asked, in parts that begin alike, and never mixed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kv_adapters.evaluation import answers
from kv_adapters.evaluation.answers import Journal, recorded
from kv_adapters.evaluation.usage import Usage, prefix_ordered


@dataclass
class Request:
    args: tuple[Any, ...]
    task_name: str = "task"
    doc_id: int = 0


class Echo:
    """A harness LM that answers in capitals and remembers what it was asked together."""

    max_length = 100
    max_gen_toks = 4

    def __init__(self) -> None:
        self.parts: list[list[str]] = []

    def tok_encode(self, text: str) -> list[str]:
        return text.split()

    def generate_until(self, requests: list[Request], disable_tqdm: bool = False) -> list[str]:
        self.parts.append([request.args[0] for request in requests])
        return [request.args[0].upper() for request in requests]

    def loglikelihood(
        self, requests: list[Request], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        self.parts.append([request.args[0] for request in requests])
        return [(-float(len(request.args[1])), True) for request in requests]


def lm(journal: Journal | None = None) -> Any:
    made = recorded(Echo)()
    made.journal = journal
    return made


def asked(*prompts: str, **kwargs: Any) -> list[Request]:
    return [Request((prompt, kwargs)) for prompt in prompts]


def test_prompts_that_begin_alike_are_computed_together_and_answered_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "PART", 2)
    model = lm()
    prompts = ["b 1", "a 1", "b 2", "a 2", "a 3"]
    assert model.generate_until(asked(*prompts)) == [prompt.upper() for prompt in prompts]
    assert model.parts == [["a 1", "a 2"], ["a 3", "b 1"], ["b 2"]]


def test_a_part_of_long_prompts_is_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PART", 3)
    monkeypatch.setattr(answers, "_LETTERS", 4)
    model = lm()
    prompts = ["a", "b", "c", "d 23456789", "e 23", "f" * 40, "g"]
    assert model.generate_until(asked(*prompts)) == [prompt.upper() for prompt in prompts]
    assert model.parts == [["a", "b", "c"], ["d 23456789"], ["e 23"], ["f" * 40], ["g"]]


def test_what_was_answered_before_is_not_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "out" / "journal"
    lm(Journal(file)).generate_until(asked("a", "b"))
    model = lm(Journal(file))
    assert model.generate_until(asked("c", "b", "a")) == ["C", "B", "A"]
    assert model.parts == [["c"]]
    assert model.loglikelihood([Request(("a", "x")), Request(("a", "xy"))]) == [
        (-1.0, True),
        (-2.0, True),
    ]
    again = lm(Journal(file))
    assert again.loglikelihood([Request(("a", "xy"))]) == [(-2.0, True)]
    assert again.parts == []


def test_other_settings_and_repeats_are_other_requests(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    lm(Journal(file)).generate_until(asked("a", max_gen_toks=3))
    model = lm(Journal(file))
    model.generate_until(asked("a", max_gen_toks=2))
    assert model.parts == [["a"]]
    repeated = lm(Journal(file))
    repeated.generate_until(asked("a", "a", "a", max_gen_toks=3))
    assert repeated.parts == [["a", "a"]]


def test_a_line_that_a_kill_cut_is_dropped_and_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    lm(Journal(file)).generate_until(asked("a", "b"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    model = lm(Journal(file))
    assert model.generate_until(asked("a", "b")) == ["A", "B"]
    assert model.parts == [["b"]]
    assert file.read_bytes() == whole


@dataclass
class Output:
    prompt_token_ids: list[int]
    num_cached_tokens: int
    outputs: tuple[Any, ...] = ()


class Engine:
    """The harness's vLLM model as far as it is wrapped here."""

    def __init__(self) -> None:
        self.served: list[tuple[list[int], str]] = []

    def _model_generate(self, requests: Any, generate: bool, sampling_params: Any) -> list[Output]:
        self.served += zip(requests, sampling_params, strict=True)
        return [Output(request, len(request) // 2) for request in requests]


def test_an_engine_gets_prompts_by_their_tokens_each_with_its_own_parameters() -> None:
    engine = prefix_ordered(Engine)()
    requests = [[2, 1], [1, 2, 3, 4], [1, 2]]
    outputs = engine._model_generate(requests, True, ["p21", "p1234", "p12"])
    assert engine.served == [([1, 2], "p12"), ([1, 2, 3, 4], "p1234"), ([2, 1], "p21")]
    assert [output.prompt_token_ids for output in outputs] == requests
    assert engine.usage.since(Usage(2, 1, 0)) == {
        "prompt_tokens": 6,
        "cached_tokens": 3,
        "cached_share": 0.5,
        "generated_tokens": 0,
    }
