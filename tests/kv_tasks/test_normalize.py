"""The score's rules, and the quirks that make it comparable."""

import pytest

from kv_tasks.normalize import best_subspan_em, contains_answer, normalize


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Boston\tRed Sox!", "boston red sox"),
        ("a theme, an ant", "theme ant"),
        ("U.S. Mint's co-op", "us mints coop"),
        ("Röntgen – 1901", "röntgen – 1901"),  # only ASCII punctuation is dropped
        ("*", ""),
        ("The.", ""),  # punctuation goes first, which uncovers the article
    ],
)
def test_normalize_follows_the_protocol(text: str, expected: str) -> None:
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("response", "score"),
    [
        (" Wilhelm Conrad Röntgen.", 1.0),
        ("It was the wilhelm conrad RÖNTGEN, in 1901.\nOr not.", 1.0),
        ("Wilhelm Röntgen", 0.0),
        ("Marie Curie\nWilhelm Conrad Röntgen", 0.0),  # the second line is not read
        ("\nWilhelm Conrad Röntgen", 0.0),  # an empty first line is the first line
        ("", 0.0),
    ],
)
def test_only_the_first_line_is_scored(response: str, score: float) -> None:
    assert best_subspan_em(response, ["Wilhelm Conrad Röntgen"]) == score


def test_any_answer_counts_even_inside_a_longer_word() -> None:
    assert best_subspan_em("in 1999 or so", ["never", "99"]) == 1.0


def test_an_answer_of_punctuation_alone_makes_everything_right() -> None:
    assert best_subspan_em("anything", ["*"]) == 1.0


@pytest.mark.parametrize(
    ("answer", "contained"),
    [("2", False), ("the 12", True), ("12 monkeys", True), ("monkey", False), ("*", False)],
)
def test_a_document_contains_an_answer_as_whole_words_only(answer: str, contained: bool) -> None:
    assert contains_answer(normalize("There were 12 Monkeys."), [answer]) is contained
