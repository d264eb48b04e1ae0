"""Training files: their forms, haystacks shared or not, windows, and any number of processes."""

from collections import Counter
from pathlib import Path
from typing import Any

import jsonlines
import pytest
from typer.testing import CliRunner

from kv_tasks.cli import app
from kv_tasks.errors import KVError, UsageError
from kv_tasks.kinds import KINDS
from kv_tasks.training_data import Specification, rows
from kv_tasks.training_forms import OPENAI_SYSTEM
from kv_tasks.windows import Window


def made(form: str = "messages", multi_turn: bool = False, **settings: Any) -> list[dict[str, Any]]:
    specification = Specification(**{"dictionaries": 12, "samples": 8, **settings})
    return list(rows(specification, form=form, multi_turn=multi_turn, workers=1))  # type: ignore[arg-type]


def write(out: Path, *arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["data", "--out", str(out), *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    with jsonlines.open(out) as lines:
        return list(lines)


def test_rows_of_a_context_differ_after_the_haystack_only() -> None:
    lines = made(questions_per_context=8)
    prompts = [line["messages"][0]["content"] for line in lines]
    shared = prompts[0][: prompts[0].index("Report the value of key ") + 24]
    assert len(lines) == 8
    assert all(prompt.startswith(shared) for prompt in prompts)
    assert len({line["context_id"] for line in lines}) == 1


def test_turns_ask_for_the_same_haystack_without_showing_it_again() -> None:
    (line,) = made(questions_per_context=8, multi_turn=True)
    single = made(questions_per_context=8)
    roles = [message["role"] for message in line["messages"]]
    assert roles == ["user", "assistant"] * 8
    assert line["messages"][0] == single[0]["messages"][0]
    for number, other in enumerate(single):
        question, answer = line["messages"][2 * number : 2 * number + 2]
        assert other["messages"][0]["content"].endswith(question["content"][-150:])
        assert answer == other["messages"][1]
    assert "Dictionary [1] {" not in line["messages"][2]["content"]


def test_the_openai_form_has_the_authors_system_message_and_nothing_else() -> None:
    for line, plain in zip(made("openai"), made(), strict=True):
        assert set(line) == {"messages"}
        assert line["messages"][0] == {"role": "system", "content": OPENAI_SYSTEM}
        assert line["messages"][1:] == plain["messages"]


def test_prompt_and_completion_are_the_two_messages() -> None:
    for line, plain in zip(made("prompt-completion"), made(), strict=True):
        assert [line["prompt"], line["completion"]] == [m["content"] for m in plain["messages"]]


def test_without_a_template_the_prompt_ends_with_the_question() -> None:
    assert all("template" not in m["messages"][0]["content"] for m in made(template=False))


def test_even_placement_gives_every_depth_its_share() -> None:
    lines = made(samples=100, dictionaries=10, placement="even")
    assert set(Counter(line["gold_position"] for line in lines).values()) <= {9, 10, 11}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 9, "questions_per_context": 8}, "samples 9: no multiple of"),
        ({"tokens": 4096, "dictionaries": None}, "--tokens needs --tokenizer FOLDER or ORG/NAME"),
        ({"tokenizer": "some/model"}, "--tokenizer needs --tokens"),
        ({"tokens": 4096, "tokenizer": "some/model"}, "dictionaries 12 and tokens 4096"),
        ({"shortest": 4096}, "shortest 4096: --shortest needs --tokens"),
        (
            {"shortest": 99, "tokens": 98, "tokenizer": "some/model", "dictionaries": None},
            "shortest 99: choose 1 to the longest window, tokens 98",
        ),
        ({"kind": "double"}, "kind 'double': unknown; choose one of simple, multi-subkey"),
        ({"questions_per_context": 13, "samples": 13}, "need 13 dictionaries or more, found 12"),
    ],
)
def test_what_cannot_be_meant_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(**settings)


def test_turns_of_prompt_and_completion_are_refused() -> None:
    with pytest.raises(UsageError, match="multi_turn"):
        made("prompt-completion", multi_turn=True)


def test_turns_of_one_question_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose --questions-per-context 2 or more"):
        write(tmp_path / "train.jsonl", "--multi-turn")
    assert list(tmp_path.iterdir()) == []


def test_turns_are_refused_in_a_window_which_the_later_ones_would_exceed(
    tiny_folder: Path, tmp_path: Path
) -> None:
    window = ("--tokens", "900", "--tokenizer", str(tiny_folder))
    turns = ("--multi-turn", "--questions-per-context", "2")
    with pytest.raises(UsageError, match="--multi-turn with --tokens 900: .*--dictionaries"):
        write(tmp_path / "train.jsonl", *window, *turns)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_writes_the_papers_number_of_dictionaries(kind: str, tmp_path: Path) -> None:
    lines = write(tmp_path / "train.jsonl", "--kind", kind, "--samples", "3")
    for line in lines:
        haystack = line["messages"][0]["content"]
        assert haystack.count("\nDictionary [") == KINDS[kind].dictionaries


def test_a_file_is_the_same_for_any_number_of_processes(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kv_tasks.training_data._WORTH_PROCESSES", 0)
    window = ("--samples", "20", "--tokens", "700", "--tokenizer", str(tiny_folder))
    one = write(tmp_path / "one.jsonl", *window, "--workers", "1")
    two = write(tmp_path / "two.jsonl", *window, "--workers", "2")
    assert one == two
    measure = Window(700, str(tiny_folder), KINDS["simple"].answer_tokens).measure
    lengths = [measure(line["messages"][0]["content"]) for line in one]
    assert all(500 < length <= 700 - 64 for length in lengths)


def test_windows_are_drawn_from_the_shortest_to_the_longest(tiny_folder: Path) -> None:
    made = Specification(samples=30, tokens=1500, shortest=500, tokenizer=str(tiny_folder))
    windows = [made.window(index).tokens for index in range(30)]
    assert 500 <= min(windows) < 700 < 1300 < max(windows) <= 1500
    for index, line in enumerate(rows(made, workers=1)):
        length = made.window(index).measure(line["messages"][0]["content"])
        assert windows[index] - 250 < length <= windows[index] - 64


@pytest.mark.parametrize("command", ["data", "mdqa-data", "needle-data"])
def test_a_folder_or_a_file_in_the_way_is_named_before_the_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kv_tasks.files.write_jsonl", lambda *_: pytest.fail("worked"))
    (tmp_path / "file").write_text("mine")
    places = {
        tmp_path: "is a folder; name a file",
        tmp_path / "file" / "x.jsonl": f"{tmp_path / 'file'} is a file; name a path in a folder",
    }
    for out, message in places.items():
        result = CliRunner().invoke(app, [command, "--out", str(out)])
        assert isinstance(result.exception, UsageError)
        assert str(result.exception) == f"--out {out}: {message}"
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("choice", [("--kind", "simpel"), ("--form", "opneai")])
def test_a_choice_that_is_none_is_wrong_usage(choice: tuple[str, str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "--out", str(tmp_path / "x.jsonl"), *choice])
    assert result.exit_code == 2


def test_a_failed_command_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "train.jsonl"
    with pytest.raises(KVError, match="need 5 dictionaries"):
        write(out, "--dictionaries", "4", "--samples", "5", "--questions-per-context", "5")
    assert list(tmp_path.iterdir()) == []
