"""Several seeds of a recipe: their spread, and what they say together."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.gate import Gate
from kv_adapters.comparison.runs import Run, load_run, load_runs
from kv_adapters.comparison.seeds import (
    by_question,
    families_of_seeds,
    over_both,
    over_seeds,
    seeds_alone,
)
from kv_adapters.comparison.statistics import Difference
from kv_adapters.comparison.tables import remarks
from kv_adapters.comparison.verdict import judge
from kv_tasks.errors import RunError

Write = Callable[..., Path]


def test_labels_that_end_in_a_seed_are_one_recipe(write_run: Write) -> None:
    labels = ["demo-seed0", "demo-seed1", "other-seed0", "plain", "demo-seed12"]
    runs = load_runs([write_run(label, {1: [1.0]}) for label in labels])
    assert families_of_seeds(runs) == {"demo, 3 seeds": [0, 1, 4]}


def test_one_training_under_two_names_is_no_second_seed(write_run: Write) -> None:
    base = write_run("base", {1: [0.0, 0.0]})
    one, two = (write_run(f"demo-seed{n}", {1: [1.0, 0.0]}) for n in (0, 1))
    for folder in (one, two):
        (file,) = folder.glob("results_*.json")
        results = json.loads(file.read_text()) | {"kv_adapters": {"adapter_sha256": "a"}}
        file.write_text(json.dumps(results))
    # One path for two trainings after one another: their answers differ.
    assert len(judge(*_split(load_runs([base, one, two])))) == 3
    shutil.copy(next(one.glob("samples_*")), next(two.glob("samples_*")))
    with pytest.raises(RunError, match=r"demo-seed1: the run of .*demo-seed0 again"):
        judge(*_split(load_runs([base, one, two])))


def _split(runs: list[Run]) -> tuple[Run, list[Run]]:
    return runs[0], runs[1:]


def test_the_pooled_interval_covers_the_truth_also_where_seeds_differ_much() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(1000):
        question, trained = rng.normal(scale=0.2, size=(1, 60)), rng.normal(scale=0.1, size=(3, 1))
        low, high, _ = over_seeds(question + trained + rng.normal(scale=0.2, size=(3, 60)))
        hits += low <= 0 <= high
    assert 0.93 <= hits / 1000 <= 0.995


def test_seeds_that_disagree_prove_less_than_seeds_that_agree() -> None:
    rng = np.random.default_rng(1)
    question = rng.normal(scale=0.2, size=(1, 60))
    alike = over_seeds(0.2 + question + np.zeros((3, 1)))
    apart = over_seeds(0.2 + question + np.array([[-0.2], [0.0], [0.2]]))
    assert alike[0] > 0 > apart[0]
    assert alike[2] < 0.001 < 0.05 < apart[2]


def test_three_seeds_that_differ_have_two_degrees_of_freedom() -> None:
    low, high, _ = over_seeds(np.array([[0.1] * 50, [0.2] * 50, [0.3] * 50]))
    reach = stats.t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert (low, high) == pytest.approx((0.2 - reach, 0.2 + reach))


def test_a_question_counts_by_its_documents_in_the_mean_over_questions() -> None:
    change = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    found = by_question(["a", "a", "a", "a", "b", "b"], [change])
    assert found.mean() == pytest.approx(np.mean(change))


def test_seeds_that_disagree_widen_what_their_documents_alone_say() -> None:
    alone = Difference(
        documents=100, questions=100, base=0.5, other=0.5, difference=0.0,
        low=-0.01, high=0.01, p_value=1.0, spread=0.1, method="",
    )  # fmt: skip
    found = over_both(alone, np.array([[-0.2] * 50, [0.0] * 50, [0.2] * 50]))
    assert found.low < -0.2
    assert found.high > 0.2


def test_a_recipe_gets_a_verdict_of_its_own_behind_those_of_its_seeds(write_run: Write) -> None:
    base = write_run("base", {1: [0.0] * 40, 10: [0.0] * 40})
    gains = (18, 20, 25)
    runs = [
        write_run(f"demo-seed{n}", {1: [1.0] * gain + [0.0] * (40 - gain), 10: [0.0] * 40})
        for n, gain in enumerate(gains)
    ]
    reference, *others = load_runs([base, *runs])
    found = judge(reference, others)
    assert [verdict.adapter for verdict in found] == [
        "demo-seed0", "demo-seed1", "demo-seed2", "demo, 3 seeds",
    ]  # fmt: skip
    pooled = found[-1]
    first = next(row for row in pooled.rows if row.name == "mdqa_01")
    assert first.difference.difference == pytest.approx(sum(gains) / 120)
    assert (first.difference.documents, first.difference.questions) == (120, 40)
    assert first.outcome == "improved"
    spread = next(spread for spread in pooled.seeds if spread.name == "mdqa_01")
    assert spread.differences == pytest.approx([gain / 40 for gain in gains])
    assert spread.deviation == pytest.approx(np.std(np.array(gains) / 40, ddof=1))
    done = CliRunner().invoke(app, ["compare", *map(str, [base, *runs])])
    assert "demo, 3 seeds against its base" in done.output
    assert "mdqa_01: seeds +45.0, +50.0, +62.5; standard deviation 9.0 points" in done.output


def test_seeds_that_never_change_anything_prove_nothing(write_run: Write) -> None:
    same = {"nq_open": [1.0, 0.0] * 30}
    base, *others = (load_run(write_run(n, {}, same)) for n in ("base", "a-seed0", "a-seed1"))
    pooled = judge(base, others)[-1]
    assert pooled.gate == "inconclusive"
    assert pooled.rows[0].difference.low < -0.01


def test_seeds_that_answered_other_documents_are_not_pooled(write_run: Write) -> None:
    base = load_run(write_run("base", {}, {"kv": [0.0] * 10, "nq_open": [0.0] * 10}))
    one = load_run(write_run("a-seed0", {}, {"kv": [1.0] * 10, "nq_open": [0.0] * 10}))
    two = load_run(write_run("a-seed1", {}, {"kv": [1.0] * 8, "nq_open": [0.0] * 10}))
    pooled = judge(base, [one, two])[-1]
    assert [row.name for row in pooled.rows] == ["nq_open"]
    assert pooled.warnings == ("kv: not pooled, not all seeds answered the same documents",)


def test_a_gated_task_that_could_not_be_pooled_is_missing_from_the_recipes_verdict(
    write_run: Write,
) -> None:
    good = [1.0, 0.0] * 200
    scores = {"nq_open": good, "gsm8k": good}
    base = load_run(write_run("base", {}, scores))
    one = load_run(write_run("a-seed0", {}, scores))
    two = load_run(write_run("a-seed1", {}, scores | {"gsm8k": good[:-2]}))
    found = judge(base, [one, two], Gate(margin=0.05))
    assert [verdict.gate for verdict in found] == ["passed", "passed", "no evidence"]
    assert "general ability was not compared in whole: gsm8k" in found[-1].sentence
    assert found[-1].warnings == ("gsm8k: not pooled, not all seeds answered the same documents",)


def test_a_gated_task_that_no_seed_has_is_missing_from_the_recipes_verdict(
    write_run: Write,
) -> None:
    good = [1.0, 0.0] * 200
    base = load_run(write_run("base", {}, {"nq_open": good, "gsm8k": good}))
    seeds = [load_run(write_run(f"a-seed{n}", {}, {"nq_open": good})) for n in (0, 1)]
    pooled = judge(base, seeds, Gate(margin=0.05))[-1]
    assert pooled.gate == "no evidence"
    assert "general ability was not compared in whole: gsm8k" in pooled.sentence


def runs_of_gains(write: Write, gains: tuple[int, ...], count: int) -> list[Path]:
    """Write a base that knows nothing, and a seed for every number of questions gained."""
    base = write("base", {}, {"kv": [0.0] * count})
    seeds = [
        write(f"a-seed{n}", {}, {"kv": [1.0] * gain + [0.0] * (count - gain)})
        for n, gain in enumerate(gains)
    ]
    return [base, *seeds]


def test_seeds_that_differ_more_than_the_change_ask_for_seeds_and_for_no_questions(
    write_run: Write,
) -> None:
    base, *seeds = load_runs(runs_of_gains(write_run, (0, 300, 30), 400))
    pooled = judge(base, seeds)[-1]
    (row,) = pooled.rows
    assert (row.outcome, row.needed) == ("inconclusive", None)
    assert row.note == (
        "needs more seeds: so far apart as these 3 are, no number of questions would show a change "
        "of +27.5 points"
    )
    assert f"kv: {row.note}" in remarks(pooled)
    assert not any("80 % power" in line for line in remarks(pooled))


def test_seeds_that_agree_ask_for_nothing_that_would_not_help(write_run: Write) -> None:
    base, *seeds = load_runs(runs_of_gains(write_run, (3, 3, 3), 60))
    single, pooled = judge(base, seeds)[0], judge(base, seeds)[-1]
    assert single.rows[0].needed is not None
    (row,) = pooled.rows
    assert (row.outcome, row.needed, row.note) == ("inconclusive", None, "")


def test_the_margin_is_what_seeds_of_a_gated_task_must_agree_within(write_run: Write) -> None:
    scores = {"base": 200, "a-seed0": 160, "a-seed1": 200, "a-seed2": 240}
    base, *seeds = load_runs(
        [write_run(name, {}, {"kv": [1.0] * n + [0.0] * (400 - n)}) for name, n in scores.items()]
    )
    (row,) = judge(base, seeds, Gate(tasks={"kv": 0.01}))[-1].rows
    assert (row.outcome, row.needed) == ("inconclusive", None)
    assert row.note.endswith("no number of questions would pass the margin")


def test_what_seeds_alone_leave_open_is_their_own_spread_not_the_questions() -> None:
    rng = np.random.default_rng(2)
    luck = rng.normal(scale=0.5, size=(3, 4_000))
    apart = np.array([[-0.1], [0.0], [0.1]])
    # 4.30 is t of two degrees of freedom; the seeds' standard deviation is 0.1.
    assert seeds_alone(apart + luck) == pytest.approx(4.303 * 0.1 / 3**0.5, rel=0.15)
    found = [seeds_alone(rng.normal(scale=0.5, size=(3, 40))) for _ in range(400)]
    assert sum(reach > 0 for reach in found) / 400 < 0.08
    assert seeds_alone(np.zeros((3, 1))) == 0.0
