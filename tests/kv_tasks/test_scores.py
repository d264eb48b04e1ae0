"""Means over what is known, and scores by fifths of the haystack."""

import pytest

from kv_tasks.scores import by_depth, mean_of_known

FIFTHS = [f"depth_{number}_of_5" for number in range(1, 6)]


def fifths(*parts: tuple[float | None, float]) -> list[float | None]:
    found = by_depth(parts)
    assert list(found) == FIFTHS
    return list(found.values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, None, 0.0, None], 0.5), ([0.0], 0.0), ([None, 0.25], 0.25), ([1, 0, 0, 1], 0.5)],
)
def test_the_mean_counts_what_is_known(values: list[float | None], expected: float) -> None:
    assert mean_of_known(values) == expected


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_the_mean_of_nothing_is_what_the_harness_calls_unknown(values: list[float | None]) -> None:
    assert mean_of_known(values) == "N/A"


@pytest.mark.parametrize(
    ("depth", "fifth"),
    [(0.0, 1), (0.19, 1), (0.2, 2), (0.39, 2), (0.4, 3), (0.6, 4), (0.79, 4), (0.8, 5), (1.0, 5)],
)
def test_a_depth_belongs_to_one_fifth_and_the_last_includes_the_end(
    depth: float, fifth: int
) -> None:
    expected: list[float | None] = [None] * 5
    expected[fifth - 1] = 0.5
    assert fifths((depth, 0.5)) == expected


@pytest.mark.parametrize("candidates", [5, 6, 10, 20, 85, 120, 3001])
def test_places_at_a_border_are_not_moved_by_rounding(candidates: int) -> None:
    for place in range(candidates):
        exact = min(4, place * 5 // (candidates - 1))
        assert fifths((place / (candidates - 1), 1.0)).index(1.0) == exact


def test_several_parts_are_averaged_within_their_fifth() -> None:
    assert fifths((0.1, 1.0), (0.15, 0.0), (0.9, 1.0)) == [0.5, None, None, None, 1.0]


def test_no_depth_belongs_to_no_fifth() -> None:
    assert fifths((None, 1.0)) == fifths() == [None] * 5


def test_means_of_fifths_over_documents_weight_every_document_once() -> None:
    documents = [
        by_depth([(depth, score)]) for depth, score in ((0.1, 1.0), (0.1, 0.0), (0.9, 1.0))
    ]
    means = [mean_of_known([document[name] for document in documents]) for name in FIFTHS]
    assert (means[0], means[4]) == (0.5, 1.0)
    assert means[1:4] == ["N/A"] * 3
