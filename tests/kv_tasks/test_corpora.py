"""What is trained on and what is evaluated share no page, in whatever order the rows come."""

import itertools
import random
from collections.abc import Sequence

import pytest

from kv_tasks import corpora
from kv_tasks.questions import Question


def questions(pages: Sequence[tuple[str, str]]) -> tuple[Question, ...]:
    """Return a question for each (title, text)."""
    return tuple(
        Question(f"q{number}", "what", ("7",), title, text)
        for number, (title, text) in enumerate(pages)
    )


@pytest.mark.parametrize("rows", [*itertools.permutations([("T", "A"), ("T", "B"), ("U", "B")])])
def test_a_page_is_one_however_its_rows_are_ordered(rows: Sequence[tuple[str, str]]) -> None:
    ((_, found),) = corpora._pages(questions(rows)).items()
    assert found == ["q0", "q1", "q2"]


def test_a_title_met_again_after_it_became_another_pages_joins_that_page() -> None:
    rows = questions([("T", "A"), ("U", "A"), ("U", "B"), ("V", "C"), ("W", "C"), ("W", "B")])
    assert list(corpora._pages(rows).values()) == [["q0", "q1", "q2", "q3", "q4", "q5"]]


def test_no_title_and_no_text_is_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random("pages")
    monkeypatch.setattr(corpora, "TRAINING_QUESTIONS", 40)
    for _ in range(50):
        made = questions([(f"T{rng.randrange(90)}", f"x{rng.randrange(120)}") for _ in range(120)])
        monkeypatch.setattr(corpora, "nq_open_all", lambda made=made: made)
        kept = corpora._kept_for_training.__wrapped__()
        assert 0 < len(kept) <= 40
        for part in ("title", "text"):
            inside = {getattr(q, part) for q in made if q.question_id in kept}
            assert inside.isdisjoint(getattr(q, part) for q in made if q.question_id not in kept)
