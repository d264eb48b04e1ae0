"""The intervals cover what they say, also where nothing changed."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from kv_adapters.comparison.intervals import effective_documents, newcombe, paired, tango, wilson
from kv_adapters.comparison.statistics import interval, paired_difference

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
    groups = np.repeat(np.arange(questions), positions)
    hits = 0
    for _ in range(REPLICATIONS):
        low, high, _ = interval(*simulate(rng, questions, positions), groups)
        hits += low <= true <= high
    assert 0.935 <= hits / REPLICATIONS <= 0.99


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


def test_newcombe_agrees_with_a_published_example() -> None:
    """Airway reactivity of 21 children before and after transplantation.

    Bentur and others 2009; analysed in Fagerland, Lydersen and Laake 2014, Statistics in
    Medicine 33:2850: square-and-add -0.507 to -0.026.
    """
    base, other = np.array([1] * 8 + [0] * 13), np.array([1] + [0] * 7 + [1] + [0] * 12)
    assert newcombe(base, other) == pytest.approx((-0.507, -0.026), abs=5e-4)


def test_tango_agrees_with_the_same_example() -> None:
    """The same source: Tango's score interval -0.517 to -0.026."""
    base, other = np.array([1] * 8 + [0] * 13), np.array([1] + [0] * 7 + [1] + [0] * 12)
    assert tango(base, other) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize("size", [1, 5, 40])
def test_tango_is_symmetric_and_stays_within_bounds(size: int) -> None:
    for lost in range(size + 1):
        base, other = np.ones(size), np.r_[np.zeros(lost), np.ones(size - lost)]
        low, high = tango(base, other)
        assert -1 <= low <= -lost / size <= high <= 1
        assert tango(other, base) == pytest.approx((-high, -low))


@pytest.mark.parametrize(("documents", "most"), [(200, 0.0), (300, 0.035), (1_000, 0.035)])
def test_a_loss_of_the_margin_itself_passes_as_seldom_as_it_may(
    documents: int, most: float
) -> None:
    """All changes are losses, the case in which Newcombe's limit alone is too high."""
    chances = binom.pmf(np.arange(documents), documents, 0.01)
    base = np.r_[np.ones(documents // 2), np.zeros(documents - documents // 2)]

    def passes(lost: int, limits: Any) -> bool:
        other = base.copy()
        other[:lost] = 0.0
        return bool(limits(base, other)[0] > -0.01)

    def share(limits: Any) -> float:
        return float(sum(p for n, p in enumerate(chances[:40]) if passes(n, limits)))

    assert share(paired) <= most
    assert share(newcombe) > 0.035


def test_one_small_change_in_a_score_between_0_and_1_proves_no_margin() -> None:
    base, other = [0.5] * 60, [0.49] + [0.5] * 59
    found = paired_difference(base, other, [str(n) for n in range(60)])
    assert found.low < -0.01
    assert found.high > 0.01


def test_gains_and_losses_that_cancel_within_each_question_prove_nothing() -> None:
    questions = [str(n // 2) for n in range(40)]
    found = paired_difference([0.0, 1.0] * 20, [1.0, 0.0] * 20, questions)
    assert found.difference == 0.0
    assert found.low < -0.01 < 0.01 < found.high
    assert found.p_value == 1.0


def test_questions_that_all_changed_alike_have_an_interval_around_the_change() -> None:
    questions = [str(n // 3) for n in range(60)]
    found = paired_difference([0.0] * 60, [1.0] * 60, questions)
    assert found.high == 1.0
    # Drawn, not enumerated: two in 10,000 is the least that 9,999 draws can say.
    assert found.p_value <= 0.0002
    assert 0.5 < found.low < 0.9
    partial = paired_difference([0.2] * 60, [0.7] * 60, questions)
    assert 0.2 < partial.low < 0.5 < partial.high < 0.8


def test_no_change_has_the_interval_of_two_models_that_never_differ() -> None:
    nothing = np.zeros(20)
    found = paired_difference([0.5] * 40, [0.5] * 40, [str(n // 2) for n in range(40)])
    assert newcombe(nothing, nothing) == pytest.approx((found.low, found.high))
    assert tango(nothing, nothing) == pytest.approx((found.low, found.high))


def test_rare_changes_call_an_unchanged_model_improved_in_at_most_1_of_40() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(200), 6)
    improved = 0
    for _ in range(400):
        base = (rng.random((200, 6)) < 0.5).astype(float)
        draw, shown = rng.random((200, 1)), rng.random((200, 6)) < 0.7
        other = np.where((draw < 0.02) & shown, 1.0, np.where((draw > 0.98) & shown, 0.0, base))
        improved += interval(base.ravel(), other.ravel(), groups)[0] > 0
    assert improved / 400 <= 1 / 40


@pytest.mark.parametrize("score", [float("nan"), 20.0, -0.5])
def test_scores_outside_0_to_1_are_refused(score: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        paired_difference([score, 0.0], [1.0, 0.0], ["a", "b"])


def test_four_gains_in_300_questions_are_no_improvement() -> None:
    questions = [str(n // 6) for n in range(1800)]
    base = [0.0] * 1800
    other = [1.0 if n in (0, 600, 1200, 1799) else 0.0 for n in range(1800)]
    found = paired_difference(base, other, questions)
    assert found.p_value == pytest.approx(2 * 0.5**4)
    assert found.low < found.difference < found.high


def test_the_randomisation_test_is_exact_and_symmetric() -> None:
    questions = [str(n // 2) for n in range(24)]
    other = [1.0, 1.0] * 4 + [1.0, 0.0] * 2 + [0.0, 0.0] * 6
    found = paired_difference([0.0] * 24, other, questions)
    # Six questions gained: all signs alike, of 64 ways two are as far.
    assert found.p_value == pytest.approx(2 / 64)
    assert paired_difference(other, [0.0] * 24, questions).p_value == found.p_value


def test_documents_repeated_within_their_question_prove_nothing_new() -> None:
    rng = np.random.default_rng(5)
    base, other = (rng.random(60) < 0.4).astype(float), (rng.random(60) < 0.6).astype(float)
    groups = np.arange(60)
    once = interval(base, other, groups)
    often = interval(np.repeat(base, 5), np.repeat(other, 5), np.repeat(groups, 5))
    assert often[1] - often[0] >= once[1] - once[0]


def test_few_questions_are_worth_less_than_their_documents() -> None:
    change = np.array([1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    found = effective_documents(change, np.repeat(np.arange(5), 2))
    # 2.776 is t of four degrees of freedom.
    assert found <= 10 * (1.96 / 2.776) ** 2 + 0.01


def test_documents_that_cancel_within_their_questions_are_worth_no_more_than_they_are() -> None:
    assert effective_documents(np.array([1.0, -1.0] * 10), np.repeat(np.arange(10), 2)) <= 20


def test_one_question_with_many_documents_counts_for_what_it_is_worth() -> None:
    # 30 questions, of which one was asked 40 times: worth three equal ones.
    rng, held = np.random.default_rng(5), 0
    groups = np.concatenate([np.arange(30), np.zeros(40, int)])
    for _ in range(200):
        base, other = (rng.binomial(1, 0.5, 30).astype(float)[groups] for _ in range(2))
        low, high, _ = interval(base, other, groups)
        held += low <= 0 <= high
    assert held >= 186, held


def test_many_questions_that_all_changed_alike_have_a_p_value_too() -> None:
    names = [f"q{n}" for n in range(401)]
    found = paired_difference([0.2] * 401, [0.5] * 401, names)
    assert found.p_value == 0.0
    assert found.low < 0.3 < found.high
