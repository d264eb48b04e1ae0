"""Training on multi-document questions: balanced, answerable, and never on what is evaluated."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonlines
import pytest
from typer.testing import CliRunner

from kv_tasks import mdqa
from kv_tasks.cli import app
from kv_tasks.corpora import TRAINING_CORPORA
from kv_tasks.errors import UsageError
from kv_tasks.normalize import contains_answer, normalize
from kv_tasks.questions import Question
from kv_tasks.training_mdqa import _strangers, questions, rows

EVALUATED = {
    "nq-open-training": "nq-open",
    "encyclopedia-training": "encyclopedia-large",
    "encyclopedia-training-large": "encyclopedia-large",
}
SHOWN = re.compile(r"^Document \[\d+\]\(Title: ", re.MULTILINE)


@pytest.fixture(params=TRAINING_CORPORA)
def corpus(request: pytest.FixtureRequest) -> str:
    if request.param == "nq-open-training":
        request.getfixturevalue("shared_data")
    return str(request.param)


def made(corpus: str, **settings: Any) -> list[dict[str, Any]]:
    return list(rows(corpus=corpus, **{"samples": 60, "documents": 20, **settings}))


def texts(prompt: str) -> set[str]:
    """Return the documents that a prompt shows, titles included."""
    block = prompt.split("\n\n", 1)[1].split("\n\nQuestion: ")[0]
    return {text.strip() for text in SHOWN.split(block) if text.strip()}


def test_no_question_and_no_document_of_training_is_ever_evaluated(corpus: str) -> None:
    trained = made(corpus, samples=350)
    prompts = [row["messages"][0]["content"] for row in trained]
    asked = {prompt.rsplit("Question: ", 1)[1] for prompt in prompts}
    shown = set().union(*map(texts, prompts))
    assert len(asked) == 350
    assert len(shown) > 600
    for doc in mdqa.load(corpus=EVALUATED[corpus], documents=20, gold_position=10)["test"]:
        prompt = mdqa.doc_to_text(doc)
        assert prompt.rsplit("Question: ", 1)[1] not in asked
        assert not shown & texts(prompt)


def test_the_gold_document_stands_where_the_row_says_and_alone_answers(corpus: str) -> None:
    for row in made(corpus):
        question, answer = (message["content"] for message in row["messages"])
        line = re.search(
            rf"^Document \[{row['gold_position']}\].*?(?=^Document \[|\n\nQuestion)",
            question,
            re.MULTILINE | re.DOTALL,
        )
        assert line is not None
        assert mdqa.best_subspan_em(line[0].replace("\n", " "), [answer]) == 1.0
        assert question.endswith("\nAnswer:")
        assert row["depth"] == (row["gold_position"] - 1) / 19


@pytest.mark.parametrize("part", [20, 40, 60])
def test_gold_positions_are_balanced_in_every_part(part: int) -> None:
    places = Counter(row["gold_position"] for row in made("encyclopedia-training")[:part])
    assert part == 20 or set(places) == set(range(1, 21))
    assert max(places.values()) - min(places.values()) <= 2


def test_gold_positions_are_balanced_where_questions_share_their_documents() -> None:
    found = made("encyclopedia-training", samples=20, questions_per_context=4)
    assert max(Counter(row["gold_position"] for row in found).values()) <= 2


def test_the_command_writes_the_papers_number_of_samples(tmp_path: Path) -> None:
    arguments = ["mdqa-data", "--out", str(tmp_path / "m.jsonl"), "--documents", "5"]
    arguments += ["--corpus", "encyclopedia-training", "--form", "openai"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    with jsonlines.open(tmp_path / "m.jsonl") as lines:
        found = list(lines)
    assert len(found) == 350
    assert [m["role"] for m in found[0]["messages"]] == ["system", "user", "assistant"]


def test_questions_over_the_same_documents_each_have_one_of_their_own(corpus: str) -> None:
    found = made(corpus, samples=60, questions_per_context=6)
    for start in range(0, 60, 6):
        group = found[start : start + 6]
        before = {row["messages"][0]["content"].rsplit("\n\nQuestion: ", 1)[0] for row in group}
        assert len(before) == 1
        assert len({row["context_id"] for row in group}) == 1
        assert len({row["gold_position"] for row in group}) == 6
        shown = SHOWN.split(before.pop().split("\n\n", 1)[1])[1:]
        assert len(shown) == 20
        for row in group:
            answer = row["messages"][1]["content"]
            told = [
                n for n, text in enumerate(shown, 1) if contains_answer(normalize(text), [answer])
            ]
            assert told == [row["gold_position"]]
    assert len({row["messages"][0]["content"] for row in found}) == 60


def test_questions_share_documents_only_where_no_gold_answers_the_others() -> None:
    seven = Question("a", "what", ("7",), "A", "It is 7.")
    both = Question("b", "who", ("Ada",), "B", "Ada has 7.")
    eight = Question("c", "who", ("Eve",), "C", "Eve has 8.")
    assert not _strangers(seven, both)
    assert not _strangers(both, seven)
    assert _strangers(seven, eight)


def test_one_question_a_context_is_the_papers_own_layout_and_held_out_rows_follow() -> None:
    whole = made("encyclopedia-training", samples=40, questions_per_context=4)
    assert made("encyclopedia-training", samples=20, questions_per_context=4) == whole[:20]
    trained = questions(samples=20, corpus="encyclopedia-training", questions_per_context=4)
    held = made("encyclopedia-training", samples=20, beside=trained, questions_per_context=4)
    assert held == whole[20:]
    asked = [row["messages"][0]["content"].rsplit("Question: ", 1)[1] for row in whole]
    alone = made("encyclopedia-training", samples=40)
    assert asked == [row["messages"][0]["content"].rsplit("Question: ", 1)[1] for row in alone]


def test_contexts_that_are_not_whole_or_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="samples 10: no multiple of questions_per_context 4"):
        made("encyclopedia-training", samples=10, questions_per_context=4)
    with pytest.raises(UsageError, match="questions_per_context 6: choose 1 to documents, 5"):
        made("encyclopedia-training", samples=12, documents=5, questions_per_context=6)


def test_what_is_evaluated_and_what_is_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="corpus 'nq-open': choose one of nq-open-training"):
        made("nq-open")
    with pytest.raises(UsageError, match="samples 9999: encyclopedia-training has 650 questions"):
        made("encyclopedia-training", samples=9999)
    with pytest.raises(UsageError, match="has 610 questions beside the 40 that are trained"):
        trained = questions(samples=40, corpus="encyclopedia-training")
        made("encyclopedia-training", samples=640, beside=trained)
