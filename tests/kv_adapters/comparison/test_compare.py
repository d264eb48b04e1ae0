"""What joins, what does not, and what it means."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.compare import compare, verdict
from kv_adapters.comparison.runs import load_run
from kv_tasks.errors import RunError

Write = Callable[..., Path]
N = 40


def half(share: float) -> list[float]:
    return [1.0] * round(N * share) + [0.0] * round(N * (1 - share))


def test_a_group_pools_its_tasks_and_stands_before_them(write_run: Write) -> None:
    base = load_run(write_run("base", {1: half(0.5), 10: half(0.1)}))
    tuned = load_run(write_run("tuned", {1: half(0.5), 10: half(0.6)}))
    group, first, middle = compare(base, tuned)
    assert [row.name for row in (group, first, middle)] == ["mdqa", "mdqa_01", "mdqa_10"]
    assert (group.member_of, middle.member_of) == (None, "mdqa")
    assert (group.difference.documents, group.difference.questions) == (2 * N, N)
    assert middle.difference.difference == pytest.approx(0.5)
    assert (middle.outcome, first.outcome, group.outcome) == (
        "improved", "inconclusive", "improved",
    )  # fmt: skip


def test_general_ability_holds_only_if_the_margin_is_proven(write_run: Write) -> None:
    few = {"nq_open": half(0.5)}
    base, same = load_run(write_run("base", {}, few)), load_run(write_run("same", {}, few))
    (row,) = compare(base, same)
    assert row.outcome == "inconclusive"
    many = {"nq_open": [1.0, 0.0] * 20_000}
    base, same = load_run(write_run("base2", {}, many)), load_run(write_run("same2", {}, many))
    assert compare(base, same)[0].outcome == "held"
    worse = load_run(write_run("worse", {}, {"nq_open": [0.0] * N}))
    (row,) = compare(load_run(write_run("base3", {}, {"nq_open": half(0.8)})), worse)
    assert row.outcome == "regressed"


def test_the_verdict_says_what_changed_and_what_was_not_looked_at(write_run: Write) -> None:
    base = load_run(write_run("base", {1: half(0.5), 10: half(0.1)}, {"kv": half(0.0)}))
    tuned = load_run(write_run("tuned", {1: half(0.5), 10: half(0.1)}, {"kv": half(0.9)}))
    sentence = verdict(compare(base, tuned))
    assert sentence == (
        "tuned: improved: kv (+90.0 points); inconclusive: mdqa (+0.0 points); general ability "
        "was not evaluated (mmlu, hellaswag, gsm8k, triviaqa, nq_open)."
    )


def test_what_does_not_join_is_counted(write_run: Write) -> None:
    base = load_run(write_run("base", {1: [1.0, 0.0, 1.0]}))
    fewer = load_run(write_run("fewer", {1: [1.0, 0.0]}))
    (row,) = compare(base, fewer)
    assert row.difference.documents == 2
    assert row.unmatched == ("mdqa_01: 1 prompts only in base",)


def test_runs_of_other_prompts_or_tasks_are_refused(write_run: Write) -> None:
    base = load_run(write_run("base", {1: [1.0]}))
    with pytest.raises(RunError, match="no task in common"):
        compare(base, load_run(write_run("foreign", {2: [1.0]})))
    folder = write_run("templated", {1: [1.0]})
    (file,) = folder.glob("samples_*")
    file.write_text(file.read_text().replace('"prompt_hash": "p', '"prompt_hash": "other'))
    with pytest.raises(RunError, match="were chat template"):
        compare(base, load_run(folder))


def test_the_command_prints_table_and_verdict_and_writes_both_files(
    write_run: Write, tmp_path: Path
) -> None:
    base = write_run("base", {1: half(0.5), 10: half(0.1)})
    tuned = write_run("tuned", {1: half(0.5), 10: half(0.6)})
    numbers, table = tmp_path / "c.json", tmp_path / "c.md"
    arguments = ["compare", str(base), str(tuned), "--json", str(numbers), "--markdown", str(table)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "improved: mdqa (+25.0 points)" in done.output
    (rows,) = json.loads(numbers.read_text())
    assert [row["name"] for row in rows] == ["mdqa", "mdqa_01", "mdqa_10"]
    assert rows[0]["low"] < rows[0]["difference"] < rows[0]["high"]
    assert table.read_text().count("\n") == 5
