"""Multi-document questions: the prompt's bytes, the distractors, and the harness's view of both."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from kv_tasks import corpora, mdqa
from kv_tasks.corpora import load_corpus
from kv_tasks.errors import DataError
from kv_tasks.normalize import contains_answer
from kv_tasks.paths import task_configs
from kv_tasks.questions import Corpus, Question
from kv_tasks.windows import Window

from .common_fields import check_document

POSITIONS = (1, 2, 5, 10, 15, 20)
GROUPS = {
    "mdqa_pos": [f"mdqa_pos_{p:02d}" for p in POSITIONS],
    "mdqa_pos_middle": [f"mdqa_pos_{p:02d}" for p in (5, 10, 15)],
    "mdqa_pos_synth": [f"mdqa_pos_synth_{p:02d}" for p in POSITIONS],
    "mdqa_pos_synth_5docs": [f"mdqa_pos_synth_5docs_{p:02d}" for p in (1, 3, 5)],
}
FOREIGN = {"pretrained": "/no/such/model", "max_length": 4096, "dtype": "float32"}
CORPORA = ("encyclopedia", "nq-open")


@pytest.fixture(params=CORPORA)
def corpus(request: pytest.FixtureRequest) -> Corpus:
    if request.param == "nq-open":
        request.getfixturevalue("shared_data")
    return load_corpus(request.param)


@pytest.fixture(params=GROUPS)
def group(request: pytest.FixtureRequest) -> str:
    if request.param in ("mdqa_pos", "mdqa_pos_middle"):
        request.getfixturevalue("shared_data")
    return str(request.param)


def docs(corpus: str, documents: int = 20, gold_position: int | None = 1, **rest: Any) -> Any:
    return mdqa.load(corpus=corpus, documents=documents, gold_position=gold_position, **rest)[
        "test"
    ]


def question(name: str, answers: Sequence[str] = ("7",), text: str = "") -> Question:
    return Question(name, f"what is {name}", tuple(answers), name, text or f"{name} is told here.")


def test_the_prompt_is_the_protocols_byte_for_byte() -> None:
    shown = [("Deadpool 2", "A film.\n"), ("List (of things)", "One\ntwo.")]
    assert mdqa.prompt("who got the first nobel prize in physics", shown) == (
        "Write a high-quality answer for the given question using only the provided search "
        "results (some of which might be irrelevant).\n"
        "\n"
        "Document [1](Title: Deadpool 2) A film.\n"
        "\n"
        "Document [2](Title: List (of things)) One\n"
        "two.\n"
        "\n"
        "Question: who got the first nobel prize in physics\n"
        "Answer:"
    )


def test_the_closed_book_has_no_instruction() -> None:
    assert mdqa.prompt("who won", []) == "Question: who won\nAnswer:"
    (first, *_) = docs("encyclopedia", documents=0, gold_position=None)
    assert mdqa.doc_to_text(first) == f"Question: {first['question']}\nAnswer:"


def test_the_oracle_shows_the_gold_document_only() -> None:
    first = docs("encyclopedia", documents=1)[0]
    shown = [(first["title"], first["text"])]
    assert mdqa.doc_to_text(first) == mdqa.prompt(first["question"], shown)


def test_what_would_give_the_answer_away_is_no_distractor() -> None:
    asked = question("asked", ["42", "a lot"], text="It is 42.")
    admissible = question("fits"), question("inside", text="In 1428, a lottery.")
    rejected = (
        question("twin", text=asked.text),
        question("number", text="About 42, they say."),
        question("phrase", text="There is a lot!"),
        question("a lot"),  # in the title
    )
    corpus = Corpus.of("small", (asked, *rejected, *admissible))
    assert sorted(mdqa.distractors(asked, corpus, 2, seed=0)) == [5, 6]
    with pytest.raises(DataError, match=r"asked: 2 distractors .* 3 wanted"):
        mdqa.distractors(asked, corpus, 3, seed=0)


def test_a_text_is_shown_once_under_whatever_title() -> None:
    corpus = Corpus.of("small", [question(f"q{n}", text=f"Text {n // 4}.") for n in range(16)])
    asked = question("asked", text="Text 0.")
    rows = mdqa.distractors(asked, corpus, 3, seed=0)
    assert sorted(row // 4 for row in rows) == [1, 2, 3]
    with pytest.raises(DataError, match="3 distractors"):
        mdqa.distractors(asked, corpus, 4, seed=0)


def test_every_distractor_in_the_corpus_is_admissible(corpus: Corpus) -> None:
    by_id = {row.question_id: row for row in corpus.questions}
    asked = docs(corpus.name)
    assert len(asked) >= 1000
    for doc in asked:
        texts = [corpus.questions[row].text for row in doc["distractors"]]
        assert len({doc["text"], *texts}) == 20
        own = by_id[doc["question_id"]]
        assert own.text == doc["text"]
        for row in doc["distractors"]:
            assert not contains_answer(corpus.normalized[row], own.answers)


def test_positions_differ_in_where_the_gold_document_is_and_in_nothing_else(
    corpus: Corpus,
) -> None:
    base = docs(corpus.name, gold_position=1)
    for position in POSITIONS[1:]:
        for first, other in zip(base, docs(corpus.name, gold_position=position), strict=True):
            changed = {key for key in first if first[key] != other[key]}
            assert changed == {"gold_position", "depth"}
    first = base[0]
    titles = [corpus.questions[row].title for row in first["distractors"]]
    for position in POSITIONS:
        expected = [*titles[: position - 1], first["title"], *titles[position - 1 :]]
        text = mdqa.doc_to_text({**first, "gold_position": position})
        places = [text.index(f"[{n}](Title: {title})") for n, title in enumerate(expected, 1)]
        assert all(before < after for before, after in pairwise(places))


def test_fewer_documents_are_a_prefix_of_more(corpus: Corpus) -> None:
    ten, twenty = docs(corpus.name, documents=10), docs(corpus.name, documents=20)
    assert ten["question_id"] == twenty["question_id"]
    assert [rows[:9] for rows in twenty["distractors"]] == ten["distractors"]


def test_fewer_questions_are_the_first_of_more() -> None:
    few, more = ([*docs("encyclopedia", documents=3, samples=count)] for count in (5, 9))
    assert more[:5] == few


def test_no_two_questions_share_their_distractors() -> None:
    made = docs("encyclopedia", documents=5, samples=50)
    assert len(set(map(tuple, made["distractors"]))) == 50


def test_depth_is_0_for_the_first_document_and_1_for_the_last() -> None:
    made = (docs("encyclopedia", documents=5, gold_position=n, samples=1) for n in (1, 3, 5))
    assert [doc["depth"] for (doc,) in made] == [0.0, 0.5, 1.0]


def test_a_seed_changes_the_distractors_and_not_the_questions() -> None:
    zero, one = docs("encyclopedia"), docs("encyclopedia", data_seed=1)
    assert zero["question_id"] == one["question_id"]
    assert zero["distractors"] != one["distractors"]


def test_a_limit_takes_a_fair_sample() -> None:
    numbers = [int(name.rsplit("-", 1)[1]) for name in docs("encyclopedia")["question_id"]]
    assert sorted(numbers) == list(range(1000))
    assert 400 < sum(numbers[:200]) / 200 < 600


def test_the_question_that_any_response_answers_is_left_out(shared_data: Path) -> None:
    corpus = load_corpus("nq-open-all")
    assert len(corpus.questions) == 2655
    left_out = corpus.questions[1451]
    assert "*" in left_out.answers
    ids = docs("nq-open-all")["question_id"]
    everyone = {row.question_id for row in corpus.questions}
    assert everyone - set(ids) == {left_out.question_id}
    assert len(ids) == len(set(ids)) == 2654


def test_nothing_that_is_trained_on_is_evaluated(corpus: Corpus) -> None:
    evaluated = load_corpus("encyclopedia-large") if "ency" in corpus.name else corpus
    training = load_corpus(f"{corpus.name}-training")
    for part in ("question_id", "question", "text", "title"):
        left, right = ({getattr(q, part) for q in c.questions} for c in (evaluated, training))
        assert not left & right, part
    assert len(training.questions) >= 650
    assert not set(training.normalized) & set(evaluated.normalized)


def test_gold_texts_that_occur_twice_are_never_shown_twice(shared_data: Path) -> None:
    rows = load_corpus("nq-open-all").questions
    assert len(rows) - len({row.text for row in rows}) == 55


def test_line_breaks_inside_the_texts_are_kept(shared_data: Path) -> None:
    broken = [doc for doc in docs("nq-open") if "\n" in doc["text"]]
    assert broken
    assert all(f") {doc['text']}\nDocument [2]" in mdqa.doc_to_text(doc) for doc in broken)


PROMPTS_DIGEST = """
import hashlib, sys
from kv_tasks import corpora, mdqa
docs = mdqa.load(corpus=sys.argv[1], documents=20, gold_position=10)["test"]
text = "\\0".join(map(mdqa.doc_to_text, docs))
print(len(docs), hashlib.sha256(text.encode()).hexdigest())
"""


def test_prompts_are_the_same_in_every_process(corpus: Corpus) -> None:
    def digest(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", PROMPTS_DIGEST, corpus.name],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    asked = sum(question.askable for question in corpus.questions)
    first = digest("1")
    assert first.split()[0] == str(asked)
    assert digest("2") == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"corpus": "wikipedia"}, "'wikipedia': unknown; choose one of nq-open, "),
        ({"gold_position": 21}, "gold_position 21 is outside"),
        ({"gold_position": "2"}, "gold_position '2' of 20 documents: choose"),
        ({"documents": "20"}, "gold_position 1 of '20' documents: choose"),
        ({"samples": 1.5}, "samples 1.5; choose 1 to"),
        ({"gold_position": 0}, "gold_position 0 is outside"),
        ({"documents": 0}, "gold_position 1 of 0 documents"),
        ({"gold_position": None}, "gold_position None of 20 documents"),
        ({"documents": 1001}, "1000 wanted"),
        ({"depth": 0.5}, "depth 0.5 without tokens"),
        ({"distractors": "relevant"}, "'relevant'; choose one of random, retrieved"),
        ({"samples": 0}, "mdqa_pos: samples 0; choose 1 to 1000"),
        ({"samples": 1001}, "mdqa_pos: samples 1001; choose 1 to 1000"),
    ],
)
def test_metadata_that_cannot_be_meant_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        docs(**{"corpus": "encyclopedia", **arguments})


def test_the_raw_response_is_scored() -> None:
    doc = {"answers": ["Grelmere"]}
    assert mdqa.process_results(doc, ["The Grelmere.\nQuestion:"]) == {"best_subspan_em": 1.0}
    assert mdqa.process_results(doc, ["No.\nGrelmere"]) == {"best_subspan_em": 0.0}


def test_the_harness_loads_a_group_and_asks_the_protocols_prompts(group: str) -> None:
    manager = TaskManager(
        include_path=str(task_configs()), include_defaults=False, metadata=dict(FOREIGN)
    )
    loaded = manager.load([group])
    assert sorted(loaded["tasks"]) == GROUPS[group]
    asked = []
    for name, task in loaded["tasks"].items():
        task.build_all_requests(limit=3)
        assert len(task.instances) == 3
        for instance in task.instances:
            context, kwargs = instance.args
            assert context == mdqa.doc_to_text(instance.doc)
            assert context.endswith(f"Question: {instance.doc['question']}\nAnswer:")
            assert kwargs["until"] == ["\n"]
            assert kwargs["max_gen_toks"] == 100
            assert kwargs["do_sample"] is False
            check_document(instance.doc, where=name)
            assert instance.doc["gold_position"] == int(name[-2:])
        asked.append([instance.doc["question_id"] for instance in task.instances])
        right = task.process_results(task.instances[0].doc, [task.instances[0].doc["answers"][0]])
        assert right == {"best_subspan_em": 1.0}
    assert all(ids == asked[0] for ids in asked)


def test_a_group_reports_the_mean_over_questions(group: str) -> None:
    manager = TaskManager(include_path=str(task_configs()), include_defaults=False)
    metrics = {
        leaf: {
            "best_subspan_em,none": float(leaf.endswith("_05")),
            "best_subspan_em_stderr,none": 0.1,
            "sample_len": 300 if leaf.endswith("_05") else 100,
        }
        for leaf in GROUPS[group]
    }
    reported = manager.load([group])["groups"][group].aggregate(metrics)
    expected = 300 / (300 + 100 * (len(metrics) - 1))
    assert reported["best_subspan_em,none"] == pytest.approx(expected)


def write_retrieved(folder: Path, shared_data: Path) -> Path:
    """Write the published questions into ``folder``, and 19 invented passages for each."""
    folder = folder / "lost-in-the-middle"
    folder.mkdir(parents=True)
    shutil.copy(shared_data / "lost-in-the-middle" / "nq-open-oracle.jsonl.gz", folder)
    file = folder / "nq-open-20_total_documents_gold_at_0.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        for row in load_corpus("nq-open-all").questions:
            gold = {"title": row.title, "text": row.text, "isgold": True}
            rest = [
                {"title": f"Page {n}", "text": f"{row.question} {n}", "isgold": False}
                for n in range(19)
            ]
            line = {"question": row.question, "answers": row.answers, "ctxs": [gold, *rest]}
            out.write(json.dumps(line) + "\n")
    return file


@pytest.fixture
def retrieved_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> Path:
    """A file of the published form, whose retrieved documents are invented."""
    file = write_retrieved(tmp_path, shared_data)
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    corpora.retrieved.cache_clear()
    return file


def test_retrieved_distractors_keep_their_order_around_the_gold_document(
    retrieved_file: Path,
) -> None:
    made = docs("nq-open", gold_position=5, distractors="retrieved", samples=20)
    assert made["question_id"] == docs("nq-open", samples=20)["question_id"]
    for doc in made:
        lines = mdqa.doc_to_text(doc).split("\n\n", 1)[1].split("\n\nQuestion: ")[0]
        titles = re.findall(r"^Document \[\d+\]\(Title: (Page \d+)\)", lines, re.MULTILINE)
        assert titles == [f"Page {n}" for n in range(19)]
        assert f"Document [5](Title: {doc['title']}) {doc['text']}" in lines


def test_a_question_without_retrieved_documents_is_named(retrieved_file: Path) -> None:
    with gzip.open(retrieved_file, "wt", encoding="utf-8") as out:
        out.write(json.dumps({"question": "who", "ctxs": [{"isgold": True}]}) + "\n")
    with pytest.raises(DataError, match="0 retrieved distractors, 19 wanted"):
        docs("nq-open", distractors="retrieved")


def test_a_retrieved_row_without_its_gold_document_is_named_by_line(retrieved_file: Path) -> None:
    with gzip.open(retrieved_file, "wt", encoding="utf-8") as out:
        out.write(json.dumps({"question": "who", "ctxs": []}) + "\n")
    with pytest.raises(DataError, match=r"gold_at_0\.jsonl\.gz, line 1: .*\(0 gold passages\)"):
        docs("nq-open", distractors="retrieved")


@pytest.mark.parametrize("tokens", [1500, 4096])
def test_a_window_is_filled_alike_at_every_depth(
    tokens: int, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_CACHE", str(tmp_path))
    window = Window(tokens, str(tiny_folder), mdqa.ANSWER_TOKENS)
    shown = {}
    for depth in (0.0, 0.5, 1.0):
        made = mdqa.load(
            corpus="encyclopedia-large",
            tokens=tokens,
            depth=depth,
            samples=8,
            tokenizer=str(tiny_folder),
        )["test"]
        shown[depth] = made["distractors"][:]
        for doc in made:
            documents = len(doc["distractors"]) + 1
            assert doc["gold_position"] == round(depth * (documents - 1)) + 1
            assert doc["length"] == window.measure(mdqa.doc_to_text(doc))
            room = tokens - mdqa.ANSWER_TOKENS - doc["length"]
            assert 0 <= room < 2 * doc["length"] / documents + 40
    assert shown[0.0] == shown[0.5] == shown[1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"documents": 20}, "tokens 8192 and documents 20: choose one"),
        ({"gold_position": 5}, "tokens 8192 and gold_position 5: .* set depth"),
        ({"distractors": "retrieved"}, "tokens 8192 and distractors retrieved"),
    ],
)
def test_a_window_beside_what_it_would_override_is_refused(
    arguments: dict[str, Any], message: str, tiny_folder: Path
) -> None:
    window = {"corpus": "encyclopedia", "tokens": 8192, "tokenizer": str(tiny_folder)}
    with pytest.raises(DataError, match=message):
        mdqa.load(**window, **arguments)


def test_a_window_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(DataError, match="a window of 8192 tokens needs the model's tokenizer"):
        mdqa.load(corpus="encyclopedia", tokens=8192)


def test_a_window_that_holds_too_few_or_all_documents_is_refused_at_once(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_CACHE", str(tmp_path))
    measured: list[str] = []
    measure = Window.measure
    monkeypatch.setattr(
        Window, "measure", lambda self, text: (measured.append(text), measure(self, text))[1]
    )
    asked = {"corpus": "encyclopedia", "samples": 1, "tokenizer": str(tiny_folder)}
    with pytest.raises(DataError, match="choose a longer window"):
        mdqa.load(tokens=400, **asked)
    assert len(measured) <= 2
    with pytest.raises(DataError, match="all .* documents of the corpus encyclopedia .* fill less"):
        mdqa.load(tokens=1_000_000, **asked)
