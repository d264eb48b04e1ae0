"""FLenQA's scores: each quirk of the authors' notebook by name."""

import pytest

from kv_tasks.flenqa_scores import OTHER, accuracy, category, early_response, fact_coverage


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("True", "true"),
        ("The answer is FALSE.", "false"),
        ("true or false", "false"),
        ("false ... True.\n", "true"),
        ("Not False, so true", "true"),
        ("True or false? It is true.", "true"),
        ("False or true? It is false.", "false"),
    ],
)
def test_the_last_of_true_and_false_decides(response: str, expected: str) -> None:
    assert category(response) == expected


@pytest.mark.parametrize(
    "response",
    ["It is not true.", "It is not the true one", "NOT\n\ttrue", "True? Not a true word of it."],
)
def test_not_true_is_false_over_articles_and_white_space(response: str) -> None:
    assert category(response) == "false"


def test_not_false_is_false() -> None:
    assert category("It is not false.") == "false"


def test_punctuation_stays_so_that_it_parts_not_from_true() -> None:
    assert category('It is not "true".') == "true"


@pytest.mark.parametrize("response", ["That is untrue", "Is it? Truely.", "nottrue"])
def test_true_counts_inside_another_word(response: str) -> None:
    assert category(response) == "true"


@pytest.mark.parametrize("response", ["I cannot say.", "", "Yes", "t r u e", "none"])
def test_neither_word_is_other_and_wrong_under_both_labels(response: str) -> None:
    assert category(response) == OTHER
    assert accuracy(response, "True") == accuracy(response, "False") == 0.0


def test_a_response_is_right_when_the_lower_cased_label_holds_its_category() -> None:
    assert accuracy("TRUE", "True") == accuracy("false", "FALSE") == 1.0
    assert accuracy("true", "False") == accuracy("False", "True") == 0.0


def test_facts_are_covered_word_for_word_but_for_articles_case_and_white_space() -> None:
    facts = ["Anna is the elder of the two.", "Ben is small."]
    assert fact_coverage("first, anna is\nelder of two. so ben is small.", facts) == 1.0
    assert fact_coverage("Anna is elder of two", facts) == 0.0  # punctuation is not removed
    assert fact_coverage("Ben is small.", facts) == 0.5


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("True. Because", 1.0),
        ("So: untrue", 1.0),
        ("So it: true", 0.0),  # the tenth character is the word's last but one
        ("A the true", 1.0),  # articles do not count
        ("True, no: in the end it is false", 0.0),  # its category is false, and not early
        ("False, or not. The end: false", 1.0),  # the category is looked for, not its place
    ],
)
def test_an_early_response_has_its_category_in_the_first_ten_characters(
    response: str, expected: float
) -> None:
    assert early_response(response) == expected


def test_not_true_is_never_early_although_false() -> None:
    assert category("Not true.") == "false"
    assert early_response("Not true.") == 0.0


@pytest.mark.parametrize("response", ["no", "none of it", OTHER])
def test_a_response_with_neither_word_is_never_early(response: str) -> None:
    assert early_response(response) == 0.0
