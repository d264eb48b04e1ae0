"""Several seeds of a recipe: their spread, and what they say together."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.runs import load_run, load_runs
from kv_adapters.comparison.seeds import families_of_seeds, over_seeds
from kv_adapters.comparison.verdict import judge

Write = Callable[..., Path]


def test_labels_that_end_in_a_seed_are_one_recipe() -> None:
    labels = ["demo-seed0", "demo-seed1", "other-seed0", "plain", "demo-seed12"]
    assert families_of_seeds(labels) == {"demo, 3 seeds": [0, 1, 4]}


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
    assert pooled.warnings == ("kv: not pooled, the seeds answered other documents",)
