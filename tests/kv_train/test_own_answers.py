"""A base model's own answers: only whole ones, kept through a kill, fit to train on."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import jsonlines
import pytest
import torch
from filelock import FileLock
from transformers import AutoTokenizer
from typer.testing import CliRunner

from kv_tasks.errors import DataError, PromptTooLongError, RunError, UsageError
from kv_train.cli import app
from kv_train.ordinary_prompts import ordinary_prompts
from kv_train.own_answers import Greedy, identity, read_prompts, write_own_answers
from kv_train.tokens import encode

# A line break to str.splitlines, none to JSON.
PROMPTS = ["three", "a longer\u2028prompt", "two", "never ends"]
# As identity() gives them.
THESE, OTHER = "0123456789abcdef", "fedcba9876543210"


class Answers:
    """Answers in capitals, except what never ends; falls over at a prompt if told so."""

    def __init__(self, falls_at: str | None = None) -> None:
        self.asked: list[str] = []
        self._falls_at = falls_at

    def __call__(self, prompts: Sequence[str]) -> list[str | None]:
        if self._falls_at in prompts:
            raise KeyboardInterrupt
        self.asked += prompts
        return [None if prompt == "never ends" else prompt.upper() for prompt in prompts]


def written(file: Path) -> list[tuple[str, str]]:
    with jsonlines.open(file) as reader:
        return [tuple(message["content"] for message in row["messages"]) for row in reader]


def test_rows_are_chats_of_the_answers_that_end_in_the_order_of_the_prompts(
    tmp_path: Path,
) -> None:
    out = tmp_path / "own.jsonl"
    answers = Answers()
    assert write_own_answers(out, PROMPTS, answers, THESE, batch_size=3) == 3
    assert answers.asked == sorted(PROMPTS, key=len), "of like length together"
    assert written(out) == [(p, p.upper()) for p in PROMPTS if p != "never ends"]
    assert [file.name for file in tmp_path.iterdir()] == ["own.jsonl"]


def test_a_killed_command_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "own.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write_own_answers(out, PROMPTS, Answers(falls_at="never ends"), THESE, batch_size=1)
    assert not out.exists()
    for _ in range(2):
        with (tmp_path / f".own.jsonl.{THESE}.partial").open("a") as file:
            file.write('["3", "ans')
        with pytest.raises(KeyboardInterrupt):
            write_own_answers(out, PROMPTS, Answers(falls_at="never ends"), THESE, batch_size=1)
    again = Answers()
    write_own_answers(out, PROMPTS, again, THESE, batch_size=1)
    assert again.asked == ["never ends", "a longer\u2028prompt"]
    assert written(out)[1] == ("a longer\u2028prompt", "A LONGER\u2028PROMPT")
    assert len(written(out)) == 3


def test_answers_of_another_model_are_not_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "own.jsonl"
    with pytest.raises(KeyboardInterrupt):
        write_own_answers(out, PROMPTS, Answers(falls_at="never ends"), THESE, batch_size=1)
    other = Answers()
    assert write_own_answers(out, PROMPTS, other, OTHER, batch_size=1) == 3
    assert len(other.asked) == len(PROMPTS)
    assert [file.name for file in tmp_path.iterdir()] == ["own.jsonl"], "nothing is left"


def test_two_processes_never_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "own.jsonl"
    with (
        FileLock(tmp_path / ".own.jsonl.lock"),
        pytest.raises(RunError, match=r"own\.jsonl: another process is making it"),
    ):
        write_own_answers(out, PROMPTS, Answers(), THESE, batch_size=3)
    assert write_own_answers(out, PROMPTS, Answers(), THESE, batch_size=3) == 3
    # Which another did while this one loaded its model.
    with pytest.raises(RunError, match=r"own\.jsonl: was made meanwhile"):
        write_own_answers(out, PROMPTS, Answers(), THESE, batch_size=3)
    assert write_own_answers(out, PROMPTS, Answers(), THESE, batch_size=3, overwrite=True) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["own.jsonl"]


def test_a_full_gpu_names_the_flag(demo_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering = Greedy(demo_model, max_tokens=4)

    def full(**_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(answering._model, "generate", full)
    with pytest.raises(RunError, match="full with 2 prompts together; .* lower --batch-size"):
        answering(["one", "two"])


def test_an_answer_ends_where_training_will_end_it(demo_model: Path, tmp_path: Path) -> None:
    """A template's end of turn need be neither the tokenizer's end nor the generation's."""
    folder = shutil.copytree(demo_model, tmp_path / "base")
    for name in ("generation_config.json", "config.json", "tokenizer_config.json"):
        file = folder / name
        file.write_text(file.read_text().replace("<|im_end|>", "<|endoftext|>"))
        changed = json.loads(file.read_text())
        if "eos_token_id" in changed:
            file.write_text(json.dumps(changed | {"eos_token_id": 0}))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|endoftext|>"
    (answer,) = Greedy(folder, max_tokens=24)(["What is the capital of France?"])
    assert answer is not None
    assert "user" not in answer
    assert answer == Greedy(demo_model, max_tokens=24)(["What is the capital of France?"])[0]


def test_no_answer_that_ends_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of 1 answers ended by itself"):
        write_own_answers(tmp_path / "o", ["never ends"], Answers(), THESE, batch_size=1)
    assert not list(tmp_path.iterdir()), "the next attempt, with more tokens, is another one"


def test_the_mark_is_of_model_prompts_and_settings(tiny_base: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_base, tmp_path / "other")
    config = other / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "rope_theta": 5.0}))
    worded = shutil.copytree(tiny_base, tmp_path / "worded")
    (worded / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    marks = {
        identity(tiny_base, PROMPTS, {"max_tokens": 8}),
        identity(tiny_base, PROMPTS[1:], {"max_tokens": 8}),
        identity(tiny_base, PROMPTS, {"max_tokens": 9}),
        identity(other, PROMPTS, {"max_tokens": 8}),
        identity(worded, PROMPTS, {"max_tokens": 8}),
    }
    assert len(marks) == 5
    assert identity(tiny_base, PROMPTS, {"max_tokens": 8}) in marks


def test_a_model_answers_as_one_prompt_at_a_time_would(demo_model: Path) -> None:
    prompts = ["What is the capital of France?", "Hi", "Write a long story about a king."]
    greedy = Greedy(demo_model, max_tokens=24)
    together = greedy(prompts)
    assert together == [greedy([prompt])[0] for prompt in prompts]
    assert together[0] is not None
    assert "Paris" in together[0]
    assert together[2] is None, "a story does not end within 24 tokens"
    greedy.check(prompts)
    with pytest.raises(PromptTooLongError, match="prompt 2, 'word .* than the 8192 of the model"):
        greedy.check(["Hi", "word " * 8200])
    messages = [
        {"role": "user", "content": prompts[0]},
        {"role": "assistant", "content": together[0]},
    ]
    tokenizer = AutoTokenizer.from_pretrained(demo_model)
    row = encode(tokenizer, {"messages": messages}, name="row", max_length=512)
    (span,) = row.spans
    assert tokenizer.decode(row.input_ids[span[0] : span[1]]) == f"{together[0]}<|im_end|>"


def test_ordinary_prompts_are_of_a_seed_and_all_different_kinds() -> None:
    made = ordinary_prompts()
    assert made == ordinary_prompts(531)
    assert len(set(made)) == 531
    assert made[:9] == ordinary_prompts(9)
    assert made != ordinary_prompts(seed=1)
    shown = [prompt for prompt in made if prompt.count("The answer is") >= 2]
    assert len(shown) == 110
    assert all(prompt.endswith("\nAnswer:") for prompt in shown)
    with pytest.raises(UsageError, match="--samples 999: there are 531 ordinary prompts"):
        ordinary_prompts(999)


def test_prompts_of_a_file_are_read_or_their_line_named(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a"}\n{"prompt": "b", "more": 1}\n')
    assert read_prompts(file) == ["a", "b"]
    file.write_text('{"prompt": "a"}\n{"text": "b"}\n')
    with pytest.raises(DataError, match="line 2: expected a text as 'prompt', found None"):
        read_prompts(file)
    file.write_text("")
    with pytest.raises(DataError, match="no rows; expected JSON lines with 'prompt'"):
        read_prompts(file)
    with pytest.raises(DataError, match="--prompts .*none.jsonl: no such file"):
        read_prompts(tmp_path / "none.jsonl")


def test_the_command_writes_a_file_that_a_recipe_mixes_in(demo_model: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "What is the capital of France?"}) + "\n")
    out = tmp_path / "own.jsonl"
    command = ["own-answers", str(demo_model), "--prompts", str(prompts), "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--max-tokens", "24"])
    assert done.exit_code == 0, done.output
    ((asked, answer),) = written(out)
    assert asked == "What is the capital of France?"
    assert "Paris" in answer
    again = CliRunner().invoke(app, command).exception
    assert isinstance(again, UsageError)
    assert str(again).startswith(f"--out {out}: exists")
    renewed = [*command, "--overwrite"]
    assert isinstance(CliRunner().invoke(app, [*renewed, "--samples", "3"]).exception, UsageError)
    named = CliRunner().invoke(app, [*renewed, "--revision", "v2"]).exception
    assert "revision 'v2'" in str(named)


def test_a_prompt_may_fill_the_context_up_to_its_answer_and_no_further(tiny_base: Path) -> None:
    greedy = Greedy(tiny_base, max_tokens=24)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    around = tokenizer.apply_chat_template(
        [{"role": "user", "content": ""}], add_generation_prompt=True, return_dict=False
    )
    room = 2048 - 24 - len(around)
    greedy.check(["7" * room])
    with pytest.raises(PromptTooLongError, match="2025 tokens and 24 of an answer, .* the 2048"):
        greedy.check(["7" * (room + 1)])


def test_what_a_model_says_against_repetition_is_not_followed(
    tiny_base: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    file = folder / "generation_config.json"
    against = {"repetition_penalty": 1.9, "no_repeat_ngram_size": 2}
    file.write_text(json.dumps({**json.loads(file.read_text()), **against}))
    config = Greedy(folder, max_tokens=4)._model.generation_config
    assert (config.repetition_penalty, config.no_repeat_ngram_size) == (1.0, 0)
