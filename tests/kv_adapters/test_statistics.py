"""The intervals cover what they say, also where nothing changed."""

import numpy as np
import pytest

from kv_adapters.statistics import newcombe, paired_difference, wilson

REPLICATIONS = 1000


def simulate(rng: np.random.Generator, questions: int, positions: int) -> tuple[np.ndarray, ...]:
    """Draw both models' scores, alike within a question; each (questions * positions,)."""
    skill = rng.normal(size=(questions, 1))
    shift = rng.normal(scale=1.5, size=(questions, 1))
    base = skill + rng.normal(size=(questions, positions)) > 0.4
    other = skill + shift + rng.normal(size=(questions, positions)) > 0.4 - SHIFT
    return base.astype(float).ravel(), other.astype(float).ravel()


SHIFT = 0.4


def truth() -> float:
    base, other = simulate(np.random.default_rng(99), 400_000, 1)
    return float(other.mean() - base.mean())


@pytest.mark.parametrize(("questions", "positions"), [(40, 3), (25, 6), (60, 1)])
def test_intervals_cover_the_truth_19_times_in_20(questions: int, positions: int) -> None:
    rng, true = np.random.default_rng(0), truth()
    names = [f"q{n}" for n in range(questions) for _ in range(positions)]
    hits = 0
    for _ in range(REPLICATIONS):
        base, other = simulate(rng, questions, positions)
        found = paired_difference(base.tolist(), other.tolist(), names)
        hits += found.low <= true <= found.high
    assert 0.925 <= hits / REPLICATIONS <= 0.975


def test_ignoring_the_clusters_would_cover_less() -> None:
    """The test above can fail: the same documents as if each were a question of its own."""
    rng, true = np.random.default_rng(0), truth()
    hits = 0
    for _ in range(REPLICATIONS):
        base, other = simulate(rng, 25, 6)
        low, high = newcombe(base, other)
        hits += low <= true <= high
    assert hits / REPLICATIONS < 0.92


def test_sixty_documents_without_a_change_do_not_prove_a_margin_of_one_point() -> None:
    same = [1.0] * 30 + [0.0] * 30
    found = paired_difference(same, same, [str(n) for n in range(60)])
    assert found.difference == 0.0
    assert found.low < -0.01 < 0.01 < found.high
    clustered = paired_difference(same, same, [str(n // 3) for n in range(60)])
    assert clustered.low < found.low
    assert clustered.questions == 20


def test_newcombe_is_symmetric_and_narrower_for_pairs_that_agree() -> None:
    rng = np.random.default_rng(1)
    base = (rng.random(100) < 0.5).astype(float)
    alike, unlike = base.copy(), rng.permutation(base)
    alike[:5] = 1 - alike[:5]
    low, high = newcombe(base, alike)
    assert newcombe(alike, base) == pytest.approx((-high, -low))
    wide = newcombe(base, unlike)
    assert high - low < 0.7 * (wide[1] - wide[0])


def test_a_clear_gain_is_significant_and_a_single_question_never_is() -> None:
    found = paired_difference([0.0] * 40, [1.0] * 30 + [0.0] * 10, [str(n) for n in range(40)])
    assert found.low > 0.5
    assert found.p_value < 1e-6
    alone = paired_difference([0.0, 0.0, 1.0], [1.0, 1.0, 1.0], ["q"] * 3)
    assert (alone.low, alone.high) == (-1.0, 1.0)


def test_wilson_holds_the_proportion_itself() -> None:
    for count in range(1, 200):
        assert wilson(0, count)[0] == 0.0
        assert wilson(count, count)[1] == 1.0


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="lengths 1, 2, 1"):
        paired_difference([1.0], [1.0, 0.0], ["q"])
