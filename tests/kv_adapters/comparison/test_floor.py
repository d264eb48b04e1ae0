"""A base with nothing to lose, or less than the margin, is no evidence that nothing was lost."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kv_adapters.comparison.compare import compare
from kv_adapters.comparison.gate import non_inferiority
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.statistics import Difference

from .test_gate import MANY, outcome

Write = Callable[..., Path]


@pytest.mark.parametrize("right", [0, 1, 3])
def test_a_base_near_zero_is_no_evidence(write_run: Write, right: int) -> None:
    scores = [1.0] * right + [0.0] * (MANY - right)
    assert outcome(write_run, scores, scores) == "no evidence"


def test_a_base_near_chance_is_no_evidence(write_run: Write) -> None:
    right = [1.0] * 255 + [0.0] * 745
    folders = [write_run(name, {}, {"mmlu_law": right * 20}) for name in ("base", "same")]
    for folder in folders:
        (file,) = folder.glob("samples_*")
        choices = json.dumps([[-1.0, False]] * 4)
        file.write_text(file.read_text().replace('["Ada"], "filter"', f'{choices}, "filter"')
                        .replace('["Bob"], "filter"', f'{choices}, "filter"'))  # fmt: skip
    base, same = map(load_run, folders)
    ((row,), _) = compare(base, same)
    assert row.outcome == "no evidence"
    assert row.note == "the base's 0.255 is within two standard errors of chance (0.250)"


@pytest.mark.parametrize("right", [40, 75])
def test_a_base_that_could_lose_all_within_the_margin_is_no_evidence(
    write_run: Write, right: int
) -> None:
    base, nothing = [1.0] * right + [0.0] * (2 * MANY - right), [0.0] * 2 * MANY
    assert outcome(write_run, base, nothing) == "no evidence"


def test_a_base_above_zero_by_more_than_the_margin_is_evidence(write_run: Write) -> None:
    scores = [1.0] * 150 + [0.0] * (2 * MANY - 150)
    assert outcome(write_run, scores, scores) == "passed"


def test_a_base_near_zero_is_no_evidence_however_often_each_question_was_answered() -> None:
    found = Difference(
        documents=3000, questions=100, base=0.03, other=0.03, difference=0.0,
        low=-0.005, high=0.005, p_value=1.0, spread=0.1, method="",
    )  # fmt: skip
    pairs: list[Any] = [SimpleNamespace(base=SimpleNamespace(chance=0.0))]
    assert non_inferiority(found, 0.01, pairs)[0] == "no evidence"
