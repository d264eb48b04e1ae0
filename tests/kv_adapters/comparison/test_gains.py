"""What a gate file asks to be gained, and what is said where it was not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kv_adapters.comparison.gate import Gate
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.verdict import judge

from .test_gate import MANY, grouped

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("change", "gate", "said"),
    [
        (+1, "passed", None),
        (-1, "failed", "the gate asks for a gain of arc, which was not shown"),
        (0, "inconclusive", "the gate asks for a gain of arc, which was not shown"),
        (None, "no evidence", "the gate asks for a gain of arc, which was not shown"),
    ],
)
def test_a_gate_may_ask_for_a_gain(
    write_run: Write, change: int | None, gate: str, said: str | None
) -> None:
    good = [1.0, 0.0] * MANY
    scores = {+1: [1.0] * 200, 0: [1.0, 0.0] * 100, -1: [0.0] * 200}
    before, after = {"nq_open": good}, {"nq_open": good}
    if change is not None:
        before["arc"], after["arc"] = scores[0], scores[change]
    base, other = (load_run(write_run(n, {}, t)) for n, t in (("base", before), ("other", after)))
    (found,) = judge(base, [other], Gate(improve=("arc",)))
    assert found.gate == gate
    assert "general ability held: nq_open" in found.sentence
    assert (said in found.sentence) if said else ("was not shown" not in found.sentence)
    assert found.unmet == (("arc",) if said else ())
    assert any("it has no row of its own" in line for line in found.warnings) == (change is None)


def test_a_gain_is_asked_for_by_the_name_of_a_row(write_run: Write) -> None:
    """A part of a name stands for nothing; a group does, and so do seeds together."""
    good = {"nq_open": [1.0, 0.0] * MANY}
    parts = ["arc_a", "arc_b"]
    base = grouped(write_run("base", {}, good | dict.fromkeys(parts, [0.0] * 100)), arc=parts)
    runs = [
        grouped(write_run(f"it-seed{n}", {}, good | dict.fromkeys(parts, [1.0] * 100)), arc=parts)
        for n in (0, 1)
    ]
    loaded = [load_run(folder) for folder in runs]
    asked = judge(load_run(base), loaded, Gate(improve=("arc",)))
    assert [verdict.gate for verdict in asked] == ["passed"] * 3
    base, other = (
        load_run(write_run(name, {}, good | dict.fromkeys(parts, [score] * 100)))
        for name, score in (("ungrouped", 0.0), ("other", 1.0))
    )
    (part,) = judge(base, [other], Gate(improve=("arc",)))
    assert part.gate == "no evidence"
    assert any("no row of its own here; name tasks" in line for line in part.warnings)


def test_a_gain_alone_passes_no_gate(write_run: Write) -> None:
    runs = [load_run(write_run(n, {}, {"arc": [s] * 200})) for n, s in (("a", 0.0), ("b", 1.0))]
    assert judge(runs[0], runs[1:], Gate(improve=("arc",)))[0].gate == "no evidence"
