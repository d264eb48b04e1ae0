"""What joins, what does not, and what it means."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.compare import Comparison, compare, judged
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.statistics import Difference
from kv_tasks.errors import RunError

Write = Callable[..., Path]
N = 40


def half(share: float) -> list[float]:
    return [1.0] * round(N * share) + [0.0] * round(N * (1 - share))


def test_a_group_pools_its_tasks_and_stands_before_them(write_run: Write) -> None:
    base = load_run(write_run("base", {1: half(0.5), 10: half(0.1)}))
    tuned = load_run(write_run("tuned", {1: half(0.5), 10: half(0.6)}))
    (group, first, middle), _ = compare(base, tuned)
    assert [row.name for row in (group, first, middle)] == ["mdqa", "mdqa_01", "mdqa_10"]
    assert (group.member_of, middle.member_of) == (None, "mdqa")
    assert (group.difference.documents, group.difference.questions) == (2 * N, N)
    assert middle.difference.difference == pytest.approx(0.5)
    assert (middle.outcome, first.outcome, group.outcome) == (
        "improved", "inconclusive", "improved",
    )  # fmt: skip


def test_a_group_asked_in_part_has_no_row_and_its_members_have(write_run: Write) -> None:
    base = load_run(write_run("base", {1: half(0.5), 10: half(0.1), 20: half(0.3)}))
    tuned = load_run(write_run("tuned", {1: half(0.5), 10: half(0.6)}))
    rows, _ = compare(base, tuned)
    # The adapter's run has a group of that name too, of fewer tasks.
    assert [(row.name, row.member_of) for row in rows] == [("mdqa_01", None), ("mdqa_10", None)]


def test_a_group_that_only_the_adapter_was_asked_by_name_is_a_row(write_run: Write) -> None:
    scores = dict.fromkeys(("a", "b"), half(0.5))
    base = load_run(write_run("base", {}, scores))
    tuned = replace(load_run(write_run("tuned", {}, scores)), groups={"both": ("a", "b")})
    assert [row.name for row in compare(base, tuned)[0]] == ["both", "a", "b"]


def test_members_of_a_group_of_ours_asked_one_by_one_are_pooled(write_run: Write) -> None:
    names = [f"mdqa_pos_5docs_0{place}" for place in (1, 3, 5)]
    base, tuned = (
        load_run(write_run(label, {}, dict.fromkeys(names, half(share))))
        for label, share in (("base", 0.5), ("tuned", 0.6))
    )
    assert [row.name for row in compare(base, tuned)[0]] == ["mdqa_pos_5docs", *names]
    fewer = load_run(write_run("fewer", {}, dict.fromkeys(names[:2], half(0.6))))
    assert [row.name for row in compare(base, fewer)[0]] == names[:2]


def test_what_does_not_join_is_counted(write_run: Write) -> None:
    base = load_run(write_run("base", {1: [1.0, 0.0, 1.0]}))
    fewer = load_run(write_run("fewer", {1: [1.0, 0.0]}))
    ((row,), _) = compare(base, fewer)
    assert row.difference.documents == 2
    assert [lost.summary for lost in row.lost] == ["mdqa_01: 1 prompts only in base"]


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
    assert done.exit_code == 2, done.output
    assert "improved: mdqa (+25.0 points)" in done.output
    found = json.loads(numbers.read_text())
    assert found["exit_code"] == 2
    (verdict,) = found["verdicts"]
    rows = verdict["rows"]
    assert [row["name"] for row in rows] == ["mdqa", "mdqa_01", "mdqa_10"]
    assert rows[0]["low"] < rows[0]["difference"] < rows[0]["high"]
    assert rows[0]["p_value"] <= rows[0]["p_adjusted"]
    text = table.read_text()
    assert text.startswith(verdict["sentence"])
    assert text.count("\n| ") == 5


def test_holms_correction_counts_top_rows_and_members_each_as_a_family(write_run: Write) -> None:
    lone = {"kv": half(0.5)}
    base = load_run(write_run("base", {1: half(0.5), 10: half(0.1)}, lone))
    tuned = load_run(write_run("tuned", {1: half(0.5), 10: half(0.6)}, lone))
    rows = {row.name: row for row in compare(base, tuned)[0]}
    # The smaller p-value of two is doubled, the larger is 1 already.
    for name in ("mdqa", "mdqa_10"):
        assert rows[name].p_adjusted == pytest.approx(2 * rows[name].difference.p_value)
    assert (rows["kv"].p_adjusted, rows["mdqa_01"].p_adjusted) == (1.0, 1.0)


def of_p_value(p_value: float) -> Comparison:
    """Return a gain, not judged yet, that is as likely by chance."""
    difference = Difference(
        documents=100, questions=100, base=0.4, other=0.5, difference=0.1,
        low=0.01, high=0.2, p_value=p_value, spread=0.5, method="",
    )  # fmt: skip
    return Comparison(
        name="x", member_of=None, adapter="a", metric="m", kind="superiority", margin=None,
        decides=False, difference=difference, p_adjusted=None, outcome="inconclusive", note="",
        needed=None, unread="", form="", pairs=(), lost=(),
    )  # fmt: skip


def test_holms_correction_goes_down_step_by_step_and_turns_no_order() -> None:
    def adjusted(*p_values: float) -> list[float | None]:
        return [row.p_adjusted for row in judged([of_p_value(p_value) for p_value in p_values])]

    assert adjusted(0.01, 0.03) == pytest.approx([0.02, 0.03])
    assert adjusted(0.02, 0.03, 0.04) == pytest.approx([0.06, 0.06, 0.06])


def test_a_small_p_value_that_the_family_swallows_is_inconclusive_and_says_so(
    write_run: Write,
) -> None:
    gained = [1.0] * 7 + [0.0] * 33
    nothing = {f"kv_{n}": [0.0] * 40 for n in range(9)}
    base = load_run(write_run("base", {}, nothing | {"lone": [0.0] * 40}))
    tuned = load_run(write_run("tuned", {}, nothing | {"lone": gained}))
    row = compare(base, tuned)[0][-1]
    assert row.difference.p_value == pytest.approx(2 * 0.5**7)
    assert (row.outcome, row.p_adjusted) == ("inconclusive", pytest.approx(20 * 0.5**7))
    assert row.note == "p = 0.016 alone, 0.156 in its family"
