"""Training on a needle in a haystack: each is where its row says, and windows are full."""

import hashlib
import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jsonlines
import pytest
from typer.testing import CliRunner

from kv_tasks.cli import app
from kv_tasks.corpora import load_corpus
from kv_tasks.errors import DataError, UsageError
from kv_tasks.needle_text import CITIES, INSTRUCTION
from kv_tasks.tokens import load_tokenizer
from kv_tasks.training_data import Specification
from kv_tasks.training_needle import LINES, rows

SENTENCE = re.compile(r"The special magic (.+) number is: (\d{7})\.")
QUESTION = re.compile(r"What is the special magic (.+) number\?")
BYTES = """
import hashlib, sys
from kv_tasks.training_needle import rows
made = rows(samples=6, tokens=1500, tokenizer=sys.argv[1], shortest=900, questions_per_context=2)
print(hashlib.sha256(repr(list(made)).encode()).hexdigest())
"""


def made(**settings: Any) -> list[dict[str, Any]]:
    return list(rows(**{"samples": 24, **settings}))


def haystack(row: dict[str, Any]) -> list[str]:
    instruction, block, _ = row["messages"][0]["content"].split("\n\n")
    assert instruction == INSTRUCTION
    return list(block.split("\n"))


def asked(row: dict[str, Any]) -> str:
    """Return the city that the last line asks for."""
    found = QUESTION.fullmatch(row["messages"][0]["content"].rsplit("\n\n", 1)[1])
    assert found is not None
    return found[1]


def needles(lines: list[str]) -> dict[int, tuple[str, str]]:
    """Return city and number of every needle by its 1-based line."""
    matches = ((number, SENTENCE.fullmatch(line)) for number, line in enumerate(lines, start=1))
    return {number: (found[1], found[2]) for number, found in matches if found}


def prose(lines: list[str]) -> list[str]:
    return [line for line in lines if not SENTENCE.fullmatch(line)]


@pytest.fixture(params=["tiny_folder", "demo_model"])
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.mark.parametrize("window", [False, True], ids=["lines", "tokens"])
@pytest.mark.parametrize("questions", [1, 4])
def test_each_needle_stands_where_its_row_says_and_nowhere_else(
    questions: int, window: bool, tiny_folder: Path
) -> None:
    size = {"tokens": 3000, "tokenizer": str(tiny_folder)} if window else {"lines": 20}
    for row in made(questions_per_context=questions, **size):
        lines = haystack(row)
        hidden = needles(lines)
        city, number = hidden[row["gold_position"]]
        assert city == asked(row)
        answer = f"The special magic {city} number is {number}."
        assert row["messages"][1] == {"role": "assistant", "content": answer}
        assert row["depth"] == pytest.approx((row["gold_position"] - 1) / (len(lines) - 1))
        assert len(hidden) == questions < len(lines)
        for values in zip(*hidden.values(), strict=True):
            assert len(set(values)) == questions
        assert sum("special magic" in line for line in lines) == questions


def test_the_rows_of_a_haystack_differ_in_the_city_at_their_end_only() -> None:
    found = made(questions_per_context=4)
    groups = [list(group) for _, group in itertools.groupby(found, lambda row: row["context_id"])]
    assert [len(group) for group in groups] == [4] * 6
    for group in groups:
        cities = {asked(row) for row in group}
        assert len(cities) == 4
        starts = {
            row["messages"][0]["content"].removesuffix(f"{asked(row)} number?") for row in group
        }
        assert len(starts) == 1
        assert {city for city, _ in needles(haystack(group[0])).values()} == cities


@pytest.mark.parametrize("part", [10, 20, 40])
@pytest.mark.parametrize("questions", [1, 2])
def test_any_part_of_the_rows_covers_all_depths(part: int, questions: int) -> None:
    depths = sorted(
        row["depth"] for row in made(samples=40, questions_per_context=questions)[:part]
    )
    gaps = [after - before for before, after in itertools.pairwise([0.0, *depths, 1.0])]
    assert max(gaps) < 2.5 / part


@pytest.mark.parametrize("tokens", [1500, 4096])
@pytest.mark.parametrize("questions", [1, 4])
def test_no_row_exceeds_its_window_and_hardly_a_token_is_wasted(
    folder: str, tokens: int, questions: int
) -> None:
    tokenizer = load_tokenizer(folder)
    found = made(samples=20, tokens=tokens, tokenizer=folder, questions_per_context=questions)
    lengths: dict[str, list[int]] = {}
    for row in found:
        read = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        ids = tokenizer(read, add_special_tokens=False)["input_ids"]
        lengths.setdefault(row["context_id"], []).append(len(ids))
    for of_haystack in lengths.values():
        assert 0.97 * tokens <= max(of_haystack) <= tokens
        assert tokens - max(of_haystack) < 45


def test_the_end_of_the_answers_turn_has_room_too(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kv_tasks.windows.SLACK", 0)
    tokenizer = load_tokenizer(folder)
    for row in made(samples=10, tokens=1500, tokenizer=folder):
        read = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        assert len(tokenizer(read, add_special_tokens=False)["input_ids"]) <= 1500


def test_windows_are_drawn_as_for_dictionaries(tiny_folder: Path) -> None:
    size: dict[str, Any] = {"tokens": 3000, "shortest": 1000, "tokenizer": str(tiny_folder)}
    tokenizer = load_tokenizer(str(tiny_folder))
    lengths = []
    for index, row in enumerate(made(samples=8, seed=3, **size)):
        read = tokenizer.apply_chat_template(row["messages"], tokenize=False)
        lengths.append(len(tokenizer(read, add_special_tokens=False)["input_ids"]))
        drawn = Specification(samples=8, seed=3, **size).window(index).tokens
        assert drawn - 60 < lengths[-1] <= drawn
    assert max(lengths) - min(lengths) > 500


def test_rows_have_the_same_bytes_in_any_process(tiny_folder: Path) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", BYTES, str(tiny_folder)],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


def test_another_seed_or_split_has_other_needles_and_every_haystack_another_text() -> None:
    settings: list[dict[str, Any]] = [{}, {"seed": 1}, {"split": "validation"}]
    found = [row for chosen in settings for row in made(samples=10, **chosen)]
    stated = Counter(fact for row in found for fact in needles(haystack(row)).values())
    assert len(stated) == len(found)
    assert len({row["context_id"] for row in found}) == len(found)
    assert len({tuple(prose(haystack(row))) for row in found}) == len(found)


def test_generated_text_is_of_entries_that_no_task_shows() -> None:
    shown = {line for row in made() for line in prose(haystack(row))}
    training, evaluated = (
        " ".join(entry.text for entry in load_corpus(name).questions)
        for name in ("encyclopedia-training", "encyclopedia-large")
    )
    assert len(shown) > 2000
    assert all(line in training for line in shown)
    # A sentence without a name can be of two entries.
    assert sum(line in evaluated for line in shown) < len(shown) / 100


def test_a_text_begins_anywhere_and_goes_on_at_its_first_sentence(tmp_path: Path) -> None:
    file = tmp_path / "essay.txt"
    file.write_text(
        "A heading\n\nOne stands\nhere. Two is said by Dr. Who! “Is this three?”\n\n"
        "The special  magic Paris number is: 1234567. Four ends — été.\n",
        encoding="utf-8",
    )
    whole = ["A heading", "One stands here.", "Two is said by Dr. Who!", "“Is this three?”"]
    whole.append("Four ends — été.")
    starts = set()
    for row in made(samples=30, lines=9, text=file):
        lines = prose(haystack(row))
        start = whole.index(lines[0])
        assert lines == [whole[(start + n) % len(whole)] for n in range(8)]
        starts.add(start)
    assert starts == set(range(len(whole)))


def test_a_texts_byte_order_mark_is_no_part_of_its_first_sentence(tmp_path: Path) -> None:
    file = tmp_path / "essay.txt"
    file.write_text("One stands here. Two stands there.", encoding="utf-8-sig")
    shown = {line for row in made(samples=8, lines=5, text=file) for line in prose(haystack(row))}
    assert shown == {"One stands here.", "Two stands there."}


def test_an_unusable_text_is_refused_by_name(tmp_path: Path) -> None:
    for name, content in (("empty.txt", b"\n \n"), ("latin.txt", b"caf\xe9.")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"text .*{name}: .*name a \.txt file"):
            made(text=tmp_path / name)
    with pytest.raises(DataError, match=r"text .*none\.txt: not a readable UTF-8 text file"):
        made(text=tmp_path / "none.txt")


def test_rows_are_made_one_by_one() -> None:
    first = next(rows(samples=10**9))
    assert len(haystack(first)) == LINES


def test_no_city_is_part_of_another() -> None:
    assert len(CITIES) == len(set(CITIES)) >= 60
    assert [a for a in CITIES for b in CITIES if a != b and a in b] == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lines": 20, "tokens": 900}, "lines 20 and tokens 900: choose one"),
        ({"tokens": 900}, "--tokens needs --tokenizer FOLDER or ORG/NAME"),
        ({"tokenizer": "x"}, "--tokenizer needs --tokens"),
        ({"shortest": 5, "lines": 20}, "shortest 5: --shortest needs --tokens"),
        ({"samples": 7, "questions_per_context": 2}, "samples 7: no multiple of"),
        ({"questions_per_context": 0}, "questions_per_context 0: choose 1 to"),
        ({"questions_per_context": 999}, "questions_per_context 999: choose 1 to"),
        ({"questions_per_context": 4, "lines": 4}, "lines 4: 4 questions a context need 5 lines"),
    ],
)
def test_arguments_that_cannot_work_together_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        made(**settings)


def test_a_window_without_room_for_the_needles_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(DataError, match="a window of 120 tokens: the prompt without any line"):
        made(tokens=120, tokenizer=str(tiny_folder))
    with pytest.raises(DataError, match="a window of 400 tokens holds fewer than 9 lines"):
        made(tokens=400, tokenizer=str(tiny_folder), questions_per_context=8)


def test_the_command_writes_the_papers_number_of_samples(tmp_path: Path) -> None:
    out = tmp_path / "n.jsonl"
    arguments = ["needle-data", "--out", str(out), "--questions-per-context", "7"]
    result = CliRunner().invoke(app, [*arguments, "--lines", "12", "--form", "prompt-completion"])
    assert result.exit_code == 0, result.output
    with jsonlines.open(out) as lines:
        found = list(lines)
    expected = made(samples=350, questions_per_context=7, lines=12, form="prompt-completion")
    assert found == expected
