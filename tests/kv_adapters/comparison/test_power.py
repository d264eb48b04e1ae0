"""As many questions as are advised decide about as often as is said."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from kv_adapters.comparison.power import questions_needed
from kv_adapters.comparison.statistics import Difference, interval, paired_difference

MARGIN = 0.01
HALF = 0.025
QUESTIONS = 300
REPLICATIONS = 400


def scores(rng: np.random.Generator, questions: int, positions: int) -> tuple[np.ndarray, ...]:
    """Draw two equal models' scores, of which either alone is right in HALF, and their groups."""
    drawn = rng.random(questions * positions)
    base, other = drawn < 0.5 + HALF, (drawn < 0.5) | (drawn > 1 - HALF)
    return base.astype(float), other.astype(float), np.repeat(np.arange(questions), positions)


@pytest.mark.parametrize("positions", [1, 6])
def test_as_many_questions_as_are_advised_keep_the_interval_within_the_margin(
    positions: int,
) -> None:
    """Six documents a question vary as if each were one of its own, which the interval doubts."""
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(20):
        base, other, groups = scores(rng, QUESTIONS, positions)
        seen.append(paired_difference(base.tolist(), other.tolist(), [*map(str, groups)]))
    # One that is typical: the luck of a single one would count once more.
    reach = float(np.mean([one.difference - one.low for one in seen]))
    spread = float(np.mean([one.spread for one in seen]))
    typical = replace(seen[0], difference=0.0, low=-reach, high=reach, spread=spread)
    needed = questions_needed(typical, MARGIN)
    assert needed is not None
    lows = [interval(*scores(rng, needed, positions))[0] for _ in range(REPLICATIONS)]
    assert 0.72 <= np.mean(np.array(lows) > -MARGIN) <= 0.95


def test_a_large_change_that_hardly_varies_warns_of_nothing() -> None:
    found = paired_difference([0.0] * 3, [0.5, 0.5, 0.51], ["a", "b", "c"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        needed = questions_needed(found, None)
    assert needed is not None
    assert 3 < needed < 10


def test_no_number_of_questions_shows_that_nothing_changed() -> None:
    same = [1.0, 0.0] * 20
    found = paired_difference(same, same, [str(n) for n in range(40)])
    assert questions_needed(found, None) is None
    assert questions_needed(found, 0.01) is not None


def test_a_row_of_a_large_family_needs_more_questions() -> None:
    found = Difference(
        documents=100, questions=100, base=0.4, other=0.45, difference=0.05,
        low=-0.05, high=0.15, p_value=0.3, spread=0.5, method="",
    )  # fmt: skip
    alone, of_nine = questions_needed(found, None), questions_needed(found, None, family=9)
    assert alone is not None
    assert of_nine is not None
    assert of_nine > 1.5 * alone
