"""A window is never exceeded, chat template and answer included, and hardly a line is wasted."""

import itertools
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from kv_tasks import flenqa_synth, kv_simple, kv_sweep, mdqa
from kv_tasks.errors import DataError, ModelError
from kv_tasks.model_arguments import ModelArguments
from kv_tasks.tokens import chat_prompt, load_tokenizer
from kv_tasks.windows import SLACK, Window, largest, window

BEFORE, AFTER = "Read.\n\n", "\nWhat is the answer?"


def sentence(number: int) -> str:
    """Return a line of more tokens than the slack."""
    return f"Line {number}: " + "word " * (SLACK + 2 + number % 7) + "end."


def render(lines: Sequence[str]) -> str:
    return BEFORE + "\n".join(lines) + "\n" + AFTER


def fill(wanted: Window) -> tuple[list[str], list[int], int]:
    """Return lines, their counts, and how many fit by their sum."""
    endless = map(sentence, itertools.count(1))
    room = wanted.room(render([]))
    lines, counts = wanted.costs(endless, room, before=BEFORE, after=AFTER)
    fits = sum(1 for spent in itertools.accumulate(counts) if spent <= room)
    return lines, counts, fits


@pytest.fixture
def without_template(tmp_path: Path) -> str:
    """The folder of a tokenizer that puts a first token before a text and has no chat template."""
    vocabulary = {"<s>": 0, "<unk>": 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.fixture(params=["tiny", "without-template", "demo"])
def folder(request: pytest.FixtureRequest) -> str:
    names = {"tiny": "tiny_folder", "without-template": "without_template", "demo": "demo_model"}
    return str(request.getfixturevalue(names[request.param]))


@pytest.mark.parametrize("tokens", [300, 1000, 2047])
def test_a_proven_prompt_fits_and_two_more_lines_would_not(folder: str, tokens: int) -> None:
    wanted = Window(tokens, folder, answer_tokens=40)
    lines, _, fits = fill(wanted)
    proof = wanted.prove(fits, lambda n: render(lines[:n]), fewest=1)
    prompt = render(lines[: proof.lines])
    read = chat_prompt(wanted.tokenizer, prompt)
    ids = wanted.tokenizer(read or prompt, add_special_tokens=read is None)["input_ids"]
    assert len(ids) == proof.length <= tokens - 40
    assert len(lines) >= proof.lines + 2
    assert wanted.measure(render(lines[: proof.lines + 2])) > tokens - 40


def test_a_longer_answer_takes_its_tokens_from_the_prompt(folder: str) -> None:
    short, long = (Window(1000, folder, answer_tokens=n) for n in (10, 210))
    assert short.room(render([])) - long.room(render([])) == 200
    assert fill(short)[2] > fill(long)[2]


def test_the_overhead_is_the_chat_templates_or_the_first_tokens(
    tiny_folder: Path, tiny_tokenizer: Any, without_template: str
) -> None:
    around = chat_prompt(tiny_tokenizer, "")
    assert around
    expected = len(tiny_tokenizer(around, add_special_tokens=False)["input_ids"])
    assert Window(100, str(tiny_folder), 1).overhead == expected
    assert Window(100, without_template, 1).overhead == 1
    assert Window(100, without_template, 1).measure("one two") == 3


def test_room_is_what_the_frame_the_template_and_the_answer_leave(without_template: str) -> None:
    assert Window(100, without_template, answer_tokens=20).room("two words") == 77 - SLACK
    assert Window(24 + SLACK, without_template, answer_tokens=20).room("two words") == 1


def test_a_frame_that_does_not_fit_is_refused_with_its_numbers(without_template: str) -> None:
    with pytest.raises(DataError) as caught:
        Window(23 + SLACK, without_template, answer_tokens=20).room("two words")
    message = str(caught.value)
    assert message.startswith(f"a window of {23 + SLACK} tokens: the prompt without any line")
    assert "needs 2, its chat template 1 and the answer 20" in message
    assert "\n" not in message


def test_costs_take_enough_lines_and_few_too_many(without_template: str) -> None:
    wanted = Window(5000, without_template, answer_tokens=20)
    taken = 0

    def lines() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield sentence(taken)

    found, counts = wanted.costs(lines(), 3000, before=BEFORE, after=AFTER)
    assert len(found) == len(counts) == taken
    assert sum(counts) > 3000
    assert sum(counts[:-100]) < 3000


def test_costs_end_where_the_lines_end(without_template: str) -> None:
    wanted = Window(5000, without_template, answer_tokens=20)
    lines = [sentence(number) for number in range(40)]
    found, counts = wanted.costs(iter(lines), 3000, before=BEFORE, after=AFTER)
    assert found == lines
    assert sum(counts) == len(wanted.tokenizer(" ".join(lines), add_special_tokens=False).input_ids)


def test_a_count_in_blocks_is_the_count_at_once(folder: str) -> None:
    wanted = Window(4000, folder, answer_tokens=20)
    lines, counts, _ = fill(wanted)
    whole = len(wanted.tokenizer(render(lines), add_special_tokens=False)["input_ids"])
    frame = len(wanted.tokenizer(render([]), add_special_tokens=False)["input_ids"])
    assert abs(sum(counts) - (whole - frame)) <= SLACK


def test_proving_goes_down_to_what_really_fits(without_template: str) -> None:
    wanted = Window(50, without_template, answer_tokens=10)
    measured: list[int] = []

    def words(count: int) -> str:
        measured.append(count)
        return "word " * count

    proof = wanted.prove(43, words, fewest=1)
    assert (proof.lines, proof.length) == (39, 40)
    assert measured == [43, 42, 41, 40, 39]
    assert wanted.prove(43, words, fewest=39) == proof
    with pytest.raises(DataError, match="a window of 50 tokens holds fewer than 40 lines"):
        wanted.prove(43, words, fewest=40)


@pytest.mark.parametrize("guess", [0, 4, 6, 7, 10])
def test_the_largest_number_is_found_from_any_guess(guess: int) -> None:
    assert largest(10, lambda lines: lines <= 6, guess) == 6
    assert largest(10, lambda lines: True, guess) == 10
    assert largest(10, lambda lines: lines == 0, guess) == 0


def test_a_window_needs_a_tokenizer_and_says_how_to_name_one(tiny_folder: Path) -> None:
    with pytest.raises(DataError, match="kv_simple: a window of 4096 tokens .* --metadata"):
        window(4096, ModelArguments.of({}), answer_tokens=64, task="kv_simple")
    known = ModelArguments.of({"pretrained": str(tiny_folder)})
    assert window(9, known, answer_tokens=3, task="x") == Window(9, str(tiny_folder), 3)


@pytest.mark.parametrize("family", [kv_simple, kv_sweep, mdqa, flenqa_synth])
def test_a_window_counts_with_the_models_revision_and_code(
    family: ModuleType, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **how: Any) -> Any:
        asked.append((name, how))
        return load_tokenizer(str(tiny_folder))

    monkeypatch.setattr("kv_tasks.windows.load_tokenizer", load)
    model = {"pretrained": "a/b", "revision": "v2", "trust_remote_code": True, "max_length": 9}
    size: dict[str, Any] = {} if family is kv_sweep else {"samples": 1}
    if family is mdqa:
        size |= {"corpus": "encyclopedia", "documents": None, "depth": 0.5}
    family.load(tokens=3000, **size, **model)
    assert asked == [("a/b", {"revision": "v2", "trust_remote_code": True})]


def test_a_windows_tokenizer_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=str(tmp_path / "none")):
        Window(100, str(tmp_path / "none"), 10).room("frame")


def test_room_is_kept_for_the_thoughts_that_a_template_closes_when_told(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """A model that is told not to think reads more, and the window still holds it."""
    tokenizer = deepcopy(tiny_tokenizer)
    tokenizer.chat_template += (
        "{% if add_generation_prompt and enable_thinking is false %}<think>\n\n</think>{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path)
    wanted = Window(300, str(tmp_path), answer_tokens=40)
    told = chat_prompt(wanted.tokenizer, "one two", enable_thinking=False)
    assert told is not None
    read = len(wanted.tokenizer(told, add_special_tokens=False)["input_ids"])
    assert wanted.measure("one two") == read
    assert read > len(tiny_tokenizer(chat_prompt(tiny_tokenizer, "one two"))["input_ids"])
