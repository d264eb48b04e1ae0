import itertools
import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from kv_tasks import flenqa, flenqa_padding, flenqa_synth
from kv_tasks.errors import DataError
from kv_tasks.flenqa_documents import PIECES_PER_TOKEN
from kv_tasks.flenqa_problems import names
from kv_tasks.flenqa_text import from_file, sentences
from kv_tasks.paths import task_configs
from kv_tasks.windows import SLACK, Window

from .common_fields import check_document

SIZES = (250, 500, 1000, 2000, 3000)
WINDOWS = {"8k": 8192, "16k": 16384, "32k": 32768, "64k": 65536, "128k": 131072}
DISPERSIONS = ("first", "middle", "last", "random")
GROUPS = {
    "flenqa_synth": [f"flenqa_synth_{size}" for size in SIZES],
    "flenqa_synth_cot": [f"flenqa_synth_cot_{size}" for size in SIZES],
    **{f"flenqa_synth_{w}": [f"flenqa_synth_{w}_{d}" for d in DISPERSIONS] for w in WINDOWS},
}
DATASETS = ("MonoRel", "PIR", "Simplified RuleTaker")
KEY_NAMES = {word for part in names("key") for word in part}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KV_TASKS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tokenizer(tiny_base: Path) -> str:
    return str(tiny_base)


def docs(**arguments: Any) -> Any:
    return flenqa_synth.load(**{"samples": 24, **arguments})["test"]


def key_facts(doc: dict[str, Any]) -> list[str]:
    return list(doc["statement"] if doc["facts"] is None else doc["facts"])


def paragraphs(doc: dict[str, Any]) -> list[tuple[int, str]]:
    """The key paragraphs, in the order of the facts, with their line numbers."""
    lines = doc["mixin"].split("\n")
    found = [[n for n, line in enumerate(lines) if line.startswith(f)] for f in key_facts(doc)]
    assert [len(where) for where in found] == [1, 1]
    return [(where[0], lines[where[0]]) for where in found]


def padding_lines(doc: dict[str, Any]) -> list[str]:
    key = {text for _, text in paragraphs(doc)}
    return [line for line in doc["mixin"].split("\n") if line not in key]


def test_a_problem_keeps_its_key_facts_at_every_length_dispersion_and_padding() -> None:
    base = docs(ctx_size=250)
    fields = ("question_id", "answers", "dataset", "label", "assertion/question", "rule")
    for change in (
        {"ctx_size": 3000},
        {"ctx_size": 1000, "dispersion": "first"},
        {"ctx_size": 1000, "dispersion": "last", "padding": "books"},
        {"ctx_size": 2000, "padding": "same"},
    ):
        for first, other in zip(base, docs(**change), strict=True):
            assert all(first[field] == other[field] for field in fields)
            assert key_facts(first) == key_facts(other)
            assert {p for _, p in paragraphs(first)} == {p for _, p in paragraphs(other)}


def test_a_seed_changes_problems_and_question_ids() -> None:
    zero, one = docs(ctx_size=250), docs(ctx_size=250, data_seed=1)
    assert set(zero["question_id"]).isdisjoint(one["question_id"])
    assert set(zero["assertion/question"]) != set(one["assertion/question"])


@pytest.mark.parametrize("padding", ["same", "books"])
def test_a_shorter_padding_is_the_beginning_of_a_longer_one(padding: str) -> None:
    short = docs(ctx_size=500, dispersion="first", padding=padding)
    long = docs(ctx_size=2000, dispersion="first", padding=padding)
    for one, other in zip(short, long, strict=True):
        assert other["mixin"].startswith(one["mixin"])
        assert len(other["mixin"]) > 3 * len(one["mixin"])


def test_documents_do_not_share_their_padding() -> None:
    lines = [line for doc in docs(ctx_size=500, padding="same") for line in padding_lines(doc)]
    assert len(set(lines)) > 0.95 * len(lines)


def test_key_paragraphs_stand_where_the_dispersion_says() -> None:
    for doc in docs(ctx_size=1000, padding="same", dispersion="first"):
        assert [n for n, _ in paragraphs(doc)] == [0, 1]
        assert doc["depth"] == 0.0
    for doc in docs(ctx_size=1000, padding="same", dispersion="middle"):
        lines = len(doc["mixin"].split("\n"))
        assert [n for n, _ in paragraphs(doc)] == [lines // 2 - 1, lines // 2]
        assert doc["depth"] == 0.5
    for doc in docs(ctx_size=1000, padding="same", dispersion="last"):
        lines = len(doc["mixin"].split("\n"))
        assert [n for n, _ in paragraphs(doc)] == [lines - 2, lines - 1]
        assert doc["depth"] == 1.0


def test_random_places_are_independent_and_spread() -> None:
    made = docs(ctx_size=3000, padding="same", samples=120)
    assert set(made["depth"]) == {None}
    parts = []
    for doc in made:
        lines = len(doc["mixin"].split("\n"))
        parts.append([n / (lines - 1) for n, _ in paragraphs(doc)])
    for fact in (0, 1):
        assert 0.4 < sum(part[fact] for part in parts) / len(parts) < 0.6
        assert min(part[fact] for part in parts) < 0.1
        assert max(part[fact] for part in parts) > 0.9
    assert 0.3 < sum(one < other for one, other in parts) / len(parts) < 0.7


@pytest.mark.parametrize("padding", ["same", "books"])
def test_padding_names_nobody_of_the_key_facts(padding: str) -> None:
    for doc in docs(ctx_size=3000, padding=padding, samples=60):
        words = set(re.findall(r"\w+", "\n".join(padding_lines(doc))))
        assert words.isdisjoint(KEY_NAMES)


@pytest.mark.parametrize("size", SIZES)
def test_a_length_without_a_tokenizer_is_met_within_a_unit(size: int) -> None:
    for doc in docs(ctx_size=size, samples=60):
        units = padding_lines(doc)
        if doc["padding_type"] == "books":
            units = [sentence for line in units for sentence in sentences(line)]
        # A unit that is not in the document may be longer than any that is.
        longest = max([55, *map(flenqa_padding.pieces, units)])
        wanted = size * PIECES_PER_TOKEN
        assert abs(flenqa_padding.pieces(doc["mixin"]) - wanted) <= longest / 2 + 3


def test_any_prefix_is_balanced_over_kinds_labels_and_paddings() -> None:
    made = docs(ctx_size=250, samples=60)
    for count in range(1, 61):
        for field in ("dataset", "label", "padding_type"):
            seen = Counter(made[field][:count])
            sizes = [seen[value] for value in set(made[field])]
            assert max(sizes) - min(sizes) <= 2
    cells = Counter(zip(made["dataset"], made["label"], made["padding_type"], strict=True))
    assert len(cells) == 12
    assert set(cells.values()) == {5}


@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_a_window_is_filled_to_within_a_unit_in_both_prompts(
    tokenizer: str, dispersion: str
) -> None:
    window = Window(4096, tokenizer, flenqa.ANSWER_TOKENS)
    arguments: dict[str, Any] = {"dispersion": dispersion, "pretrained": tokenizer, "samples": 12}
    for doc in docs(tokens=4096, **arguments):
        both = [render(doc) for render in (flenqa.doc_to_text, flenqa.doc_to_text_cot)]
        needed = max(map(window.measure, both)) + flenqa.ANSWER_TOKENS
        units = padding_lines(doc)
        if doc["padding_type"] == "books":
            units = [sentence for line in units for sentence in sentences(line)]
        assert len(units) >= 5
        # The next unit is not in the document; none has more than 280 characters.
        assert 4096 - 280 - SLACK <= needed <= 4096


def test_a_window_gives_the_same_documents_from_the_cache(
    tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"tokens": 4096, "tokenizer": tokenizer, "samples": 6}
    built = docs(**arguments)
    monkeypatch.setattr(Window, "prove", None)
    assert docs(**arguments).to_list() == built.to_list()
    with pytest.raises(TypeError):
        docs(**{**arguments, "data_seed": 1})


def test_the_harness_arguments_name_the_tokenizer_that_counts(tokenizer: str) -> None:
    by_model = docs(tokens=2048, samples=2, pretrained=tokenizer)
    by_name = docs(tokens=2048, samples=2, tokenizer=tokenizer)
    assert by_model["mixin"] == by_name["mixin"]
    with pytest.raises(DataError, match="a window of 2048 tokens needs the model's tokenizer"):
        docs(tokens=2048)


def test_the_users_text_pads_in_whole_sentences_without_the_key_names(tmp_path: Path) -> None:
    name = sorted(KEY_NAMES)[0]
    text = [f"Sentence number {n} of the user stands here." for n in range(900)]
    file = tmp_path / "own.txt"
    file.write_text(" ".join([*text, f"Then {name} came.", f"It was {name}'s."]), encoding="utf-8")
    for doc in docs(ctx_size=1000, padding="books", padding_text=str(file)):
        units = [s for line in padding_lines(doc) for s in sentences(line)]
        assert set(units) <= set(text)
        assert len(units) == len(set(units))
        numbers = [text.index(unit) for unit in units]
        assert all((b - a) % 900 == 1 for a, b in itertools.pairwise(numbers))


def test_a_text_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("One sentence is here. And here is another one.", encoding="utf-8")
    with pytest.raises(DataError, match=r"short\.txt: 2 units are too few"):
        docs(ctx_size=1000, padding="books", padding_text=str(file))


def test_the_state_of_the_union_pads_32000_tokens_worth(shared_data: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared_data / "text" / "state_union.zip") as archive:
        members = [name for name in sorted(archive.namelist()) if name.endswith(".txt")]
        text = "\n".join(archive.read(name).decode("utf-8", "replace") for name in members)
    file = tmp_path / "union.txt"
    file.write_text(text, encoding="utf-8")
    wanted = 32000 * PIECES_PER_TOKEN
    for doc in docs(ctx_size=32000, padding="books", padding_text=str(file), samples=12):
        assert abs(flenqa_padding.pieces(doc["mixin"]) - wanted) < 200
        assert KEY_NAMES.isdisjoint(re.findall(r"\w+", "\n".join(padding_lines(doc))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "ctx_size None, tokens None"),
        ({"ctx_size": 250, "tokens": 4096}, "tokens 4096; give one of them"),
        ({"ctx_size": 250, "samples": 0}, "samples 0; choose 1 or more"),
        ({"ctx_size": 20}, "ctx_size 20 is shorter than the key paragraphs"),
        ({"ctx_size": 250, "dispersion": "end"}, "dispersion 'end'; choose one of first"),
        ({"ctx_size": 250, "padding": "none"}, "padding 'none'; choose one of mixed"),
        ({"ctx_size": 250, "padding_text": "/no/such.txt"}, "/no/such.txt: no such file"),
        (
            {"ctx_size": 250, "padding": "same", "padding_text": "/no/such.txt"},
            "padding same, which has no running text",
        ),
    ],
)
def test_metadata_that_cannot_be_meant_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        docs(**arguments)


def test_a_text_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("Später kam er.".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt: not a readable UTF-8 text file"):
        docs(ctx_size=250, padding_text=str(file))
    file.write_text(" \n", encoding="utf-8")
    with pytest.raises(DataError, match=r"latin\.txt: no sentence in it"):
        flenqa_padding.running_text.cache_clear()
        docs(ctx_size=250, padding_text=str(file))


PROMPTS_DIGEST = """
import hashlib
from kv_tasks import flenqa, flenqa_synth
docs = flenqa_synth.load(ctx_size=1000, samples=60)["test"]
text = "\\0".join(map(flenqa.doc_to_text, docs))
print(len(docs), hashlib.sha256(text.encode()).hexdigest())
"""


def test_prompts_are_the_same_in_every_process() -> None:
    def digest(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", PROMPTS_DIGEST],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    first = digest("1")
    assert first.split()[0] == "60"
    assert digest("2") == first


@pytest.mark.parametrize("group", ["flenqa_synth", "flenqa_synth_cot"])
def test_the_harness_loads_a_group_and_asks_the_protocols_prompts(group: str) -> None:
    manager = TaskManager(include_path=str(task_configs()), include_defaults=False)
    loaded = manager.load([group])
    assert sorted(loaded["tasks"]) == sorted(GROUPS[group])
    render = flenqa.doc_to_text_cot if group.endswith("cot") else flenqa.doc_to_text
    for name, task in loaded["tasks"].items():
        assert len(task.eval_docs) == 600
        task.build_all_requests(limit=6)
        assert [instance.doc["dataset"] for instance in task.instances] == [*DATASETS, *DATASETS]
        for instance in task.instances:
            context, kwargs = instance.args
            check_document(instance.doc, where=name)
            assert context == render(instance.doc)
            assert instance.doc["mixin"] in context
            assert instance.doc["assertion/question"] in context
            assert instance.doc["ctx_size"] == int(name.rsplit("_", 1)[1])
            assert kwargs["until"] == []
            assert kwargs["max_gen_toks"] == 400
            right = task.process_results(instance.doc, [instance.doc["label"]])
            wrong = "False" if instance.doc["label"] == "True" else "True"
            assert right["acc"] == 1.0
            assert task.process_results(instance.doc, [wrong])["acc"] == 0.0
            assert task.process_results(instance.doc, ["It depends."])["other"] == 1.0


@pytest.mark.parametrize("window", WINDOWS)
def test_a_windows_tasks_say_what_their_names_say(window: str) -> None:
    manager = TaskManager(include_path=str(task_configs()), include_defaults=False)
    for name in GROUPS[f"flenqa_synth_{window}"]:
        text = Path(manager.task_index[name].yaml_path).read_text("utf-8")
        assert f"  tokens: {WINDOWS[window]}\n" in text
        assert f"  dispersion: {name.rsplit('_', 1)[1]}\n" in text
        assert "  samples: 300\n" in text


def test_a_texts_byte_order_mark_is_no_part_of_its_first_sentence(tmp_path: Path) -> None:
    file = tmp_path / "essay.txt"
    file.write_text("One stands here. Two stands there.", encoding="utf-8-sig")
    assert from_file(file, []) == ["One stands here.", "Two stands there."]


def test_the_harness_loads_a_window_and_measures_its_prompts(tokenizer: str) -> None:
    metadata = {"pretrained": tokenizer, "max_length": 8192, "samples": 6}
    manager = TaskManager(
        include_path=str(task_configs()), include_defaults=False, metadata=metadata
    )
    loaded = manager.load(["flenqa_synth_8k_middle"])
    task = loaded["tasks"]["flenqa_synth_8k_middle"]
    task.build_all_requests(limit=6)
    for _, doc in task.doc_iterator():
        assert 7000 < doc["length"] <= 8192 - flenqa.ANSWER_TOKENS
        assert doc["depth"] == 0.5


def test_every_yaml_file_of_the_family_is_a_task_or_a_group() -> None:
    manager = TaskManager(include_path=str(task_configs()), include_defaults=False)
    stems = {path.stem for path in (task_configs() / "flenqa_synth").glob("*.yaml")}
    assert stems == {*GROUPS, *(leaf for leaves in GROUPS.values() for leaf in leaves)}
    assert stems <= set(manager.all_tasks)
