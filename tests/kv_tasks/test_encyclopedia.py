"""The generated encyclopedia holds every answer once, and reads like one."""

import re
from collections import Counter

import pytest

from kv_tasks.encyclopedia import entries
from kv_tasks.encyclopedia_facts import KINDS, NAMES, WORDS
from kv_tasks.normalize import contains_answer, normalize
from kv_tasks.questions import Corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus.of("encyclopedia", entries())


def holders(corpus: Corpus, phrase: str) -> list[int]:
    return [row for row, text in enumerate(corpus.normalized) if contains_answer(text, [phrase])]


def test_an_answer_stands_in_its_own_entry_only(corpus: Corpus) -> None:
    assert len(corpus.questions) == 1000
    for row, question in enumerate(corpus.questions):
        (answer,) = question.answers
        assert holders(corpus, answer) == [row], answer


def test_a_title_stands_in_its_own_entry_only(corpus: Corpus) -> None:
    for row, question in enumerate(corpus.questions):
        assert holders(corpus, question.title) == [row], question.title


def test_entries_are_about_a_hundred_words_long(corpus: Corpus) -> None:
    lengths = [len(question.text.split()) for question in corpus.questions]
    assert 80 <= min(lengths) <= max(lengths) <= 120
    assert 95 <= sum(lengths) / len(lengths) <= 105


def test_questions_are_in_the_manner_of_nq_and_name_the_title(corpus: Corpus) -> None:
    for question in corpus.questions:
        assert question.question == question.question.lower()
        assert re.match(r"(who|what|which|where|on|in|to) ", question.question)
        assert not question.question.endswith("?")
        assert contains_answer(normalize(question.question), [question.title])
        assert not contains_answer(normalize(question.question), question.answers)


def test_answers_have_one_to_three_words(corpus: Corpus) -> None:
    lengths = Counter(len(question.answers[0].split()) for question in corpus.questions)
    assert set(lengths) <= {1, 2, 3}
    assert len(lengths) > 1


def test_the_answer_has_no_usual_place(corpus: Corpus) -> None:
    thirds = Counter(
        3 * question.text.index(question.answers[0]) // len(question.text)
        for question in corpus.questions
    )
    assert min(thirds[0], thirds[1], thirds[2]) > 150


def test_every_kind_of_question_is_asked(corpus: Corpus) -> None:
    patterns = [
        re.escape(template.lower()).replace(r"\{title\}", ".+")
        for kind in KINDS
        for fact in kind.facts
        for template in fact.questions
    ]
    asked = [question.question for question in corpus.questions]
    for pattern in patterns:
        assert any(re.fullmatch(pattern, question) for question in asked), pattern


def test_no_blank_is_left_and_articles_are_right(corpus: Corpus) -> None:
    for question in corpus.questions:
        assert not re.search(r"[{}]|  ", question.text)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", question.text, re.IGNORECASE)
        assert not re.search(r"(^|[.] )[a-z]", question.text)
        assert question.text.endswith(".")


def test_every_sentence_states_its_answer_and_every_question_its_title() -> None:
    facts = [fact for kind in KINDS for fact in kind.facts]
    assert facts
    for fact in facts:
        assert all("{answer}" in sentence for sentence in fact.sentences)
        assert all("{title}" in question for question in fact.questions)
    assert not set(NAMES) & set(WORDS)


def test_fewer_entries_are_the_first_of_more_and_seeds_differ() -> None:
    assert entries(count=50) == entries()[:50]
    assert entries(seed=1, count=50)[0].text != entries()[0].text
