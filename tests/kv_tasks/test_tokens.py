"""Counting the tokens of lines gives the whole text's tokens, whatever the tokenizer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from kv_tasks.errors import ModelError
from kv_tasks.tokens import chat_prompt, count_lines, count_read, count_tokens, load_tokenizer

LINES = [
    "Dictionary [1] {122: 765, 4548: 1475, 4818: 4782}",
    "",
    "Two\nlines,\n\nand a third. ",
    "Röntgen, 東京, naïve 🙂 e\u0301",
    "  indented",
    "",
    "",
    "ends with a break\n",
    "ﬁne ½ Ｆｕｌｌ",
    "carriage\r\nreturn\t",
    "x",
]
FRAMES = [("Do.\n\n", "\nAbove"), ("", ""), ("no break", "at the border")]
TEXTS = ["the value of key 12 and 345 is 6. ", "{12: 34}, ", "\n\n", "é 東 "] * 4


def wrapped(tokenizer: Tokenizer, trainer: Any) -> PreTrainedTokenizerFast:
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def byte_level(**settings: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(**settings)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    return wrapped(tokenizer, trainer)


def across_breaks() -> PreTrainedTokenizerFast:
    """Return a BPE that knows no words: its tokens hold spaces and line breaks."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    joints = [("\n", "D"), ("\n", "\n"), ("n", "\n"), (" ", "\n"), ("}", "\n")]
    letters = sorted(set("".join(LINES + [text for pair in FRAMES for text in pair])) | {"\n"})
    vocabulary = ["<unk>", *letters, *(first + second for first, second in joints)]
    tokenizer.model = models.BPE(
        vocab={token: number for number, token in enumerate(vocabulary)},
        merges=joints,
        unk_token="<unk>",
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def byte_fallback() -> PreTrainedTokenizerFast:
    """Return a BPE as Llama 2 has it: a mark before the text, bytes for unknown letters."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    specials = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=specials, show_progress=False)
    return wrapped(tokenizer, trainer)


def unigram() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    return wrapped(tokenizer, trainer)


def words() -> PreTrainedTokenizerFast:
    """Return a tokenizer for which line breaks are nothing."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False)
    return wrapped(tokenizer, trainer)


MADE: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level": lambda: byte_level(trim_offsets=False),
    "byte-level-trimmed": lambda: byte_level(trim_offsets=True),
    "across-breaks": across_breaks,
    "byte-fallback": byte_fallback,
    "unigram": unigram,
    "words": words,
}


@pytest.fixture(params=[*MADE, "tiny", "demo"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param == "tiny":
        return request.getfixturevalue("tiny_tokenizer")
    if request.param == "demo":
        return load_tokenizer(str(request.getfixturevalue("demo_model")))
    return MADE[request.param]()


def joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def without_offsets(tokenizer: Any) -> Any:
    """Return a tokenizer that only counts, as those written in Python do."""
    return lambda texts, **settings: tokenizer(texts, **settings)


def test_the_counts_of_lines_add_up_to_the_whole_text(tokenizer: Any) -> None:
    counts = count_lines(tokenizer, LINES, before="", after="")
    assert len(counts) == len(LINES)
    assert sum(counts) == count_tokens(tokenizer, [joined(LINES)])[0]


@pytest.mark.parametrize(("before", "after"), FRAMES)
def test_what_stands_around_the_lines_is_not_counted(
    tokenizer: Any, before: str, after: str
) -> None:
    counts = count_lines(tokenizer, LINES, before=before, after=after)
    whole, *around = count_tokens(tokenizer, [before + joined(LINES) + after, before, after])
    # A token may form across each of the two borders, or a mark be put before each text.
    assert abs(sum(counts) - (whole - sum(around))) <= 2


def test_a_part_of_the_lines_costs_what_it_adds_to_a_text(tokenizer: Any) -> None:
    counts = count_lines(tokenizer, LINES, before="Do.\n\n", after="\nAbove")
    texts = [f"Do.\n\n{joined(LINES[:n])}" for n in range(len(LINES) + 1)]
    first, *wholes = count_tokens(tokenizer, texts)
    for number, whole in enumerate(wholes, start=1):
        assert abs(sum(counts[:number]) - (whole - first)) <= 2


def test_a_line_of_whole_words_costs_its_words() -> None:
    lines = ["one two", "", "three\nfour five", "six"]
    assert count_lines(words(), lines, before="before ", after="after") == [2, 0, 3, 1]


def test_a_token_across_a_border_counts_for_the_line_that_it_begins_in() -> None:
    # "}" and its line break are one token, and so are two line breaks.
    assert count_lines(across_breaks(), ["{x}", "x"], before="", after="x") == [3, 2]
    assert count_lines(across_breaks(), ["x", "", "x"], before="", after="x") == [2, 0, 2]
    assert count_lines(across_breaks(), ["", "x"], before="x\n", after="x") == [0, 2]


def test_a_tokenizer_that_knows_no_places_counts_nearly_the_same(tokenizer: Any) -> None:
    lines = [f"Dictionary [{n}] {{12{n}: 765, 4{n}: {n}}}" for n in range(1, 30)]
    frame = {"before": "Do.\n\n", "after": "\nAbove"}
    fast = count_lines(tokenizer, lines, **frame)
    slow = count_lines(without_offsets(tokenizer), lines, **frame)
    assert max(abs(one - other) for one, other in zip(fast, slow, strict=True)) <= 1
    assert abs(sum(fast) - sum(slow)) <= 1


def test_no_lines_are_no_tokens(tokenizer: Any) -> None:
    assert count_lines(tokenizer, [], before="before", after="after") == []


def test_a_first_token_that_the_tokenizer_adds_is_read_and_never_twice() -> None:
    tokenizer = words()
    backend = tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(
        single="<unk> $A", special_tokens=[("<unk>", 0)]
    )
    assert count_tokens(tokenizer, ["one two", ""]) == [2, 0]
    assert count_read(tokenizer, ["one two", ""]) == [3, 1]
    tokenizer.bos_token = "<unk>"
    assert count_read(tokenizer, ["<unk> one two", "one two"]) == [3, 3]


def test_a_chat_prompt_is_what_the_template_makes_of_one_user_message(tiny_tokenizer: Any) -> None:
    assert chat_prompt(tiny_tokenizer, "Hello.\n") == (
        "<|im_start|>user\nHello.\n<|im_end|>\n<|im_start|>assistant\n"
    )
    assert chat_prompt(words(), "Hello.") is None


@pytest.mark.parametrize("content", [None, {}, {"tokenizer.json": "{"}])
def test_a_tokenizer_that_cannot_be_loaded_is_named(
    content: dict[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "model"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    with pytest.raises(ModelError, match=r"--metadata") as caught:
        load_tokenizer(str(folder))
    assert repr(str(folder)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_is_loaded_once(tiny_folder: Path) -> None:
    assert load_tokenizer(str(tiny_folder)) is load_tokenizer(str(tiny_folder))


@pytest.mark.parametrize(
    "settings",
    [
        {
            "truncation": {
                "direction": "Right",
                "max_length": 16,
                "strategy": "LongestFirst",
                "stride": 0,
            }
        },
        {
            "padding": {
                "strategy": {"Fixed": 400},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "<|endoftext|>",
            }
        },
    ],
    ids=["truncation", "padding"],
)
def test_settings_in_a_tokenizers_file_change_no_count(
    settings: dict[str, Any], tiny_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "t")
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    lines = [f"Dictionary [{number}] {{1: 2}}" for number in range(10)]
    tokenizer = load_tokenizer(str(folder))
    counted = sum(count_lines(tokenizer, lines, before="", after=""))
    assert counted == count_tokens(tokenizer, ["".join(f"{line}\n" for line in lines)])[0]


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{{ broken }"])
def test_a_chat_template_that_fails_is_named(template: str, tiny_folder: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_folder))
    kept, tokenizer.chat_template = tokenizer.chat_template, template
    try:
        with pytest.raises(ModelError, match="its chat template fails on 1 message"):
            chat_prompt(tokenizer, "hi")
    finally:
        tokenizer.chat_template = kept


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    )
    with pytest.raises(ModelError, match="not a folder or hub name that loads"):
        load_tokenizer(str(tmp_path))
