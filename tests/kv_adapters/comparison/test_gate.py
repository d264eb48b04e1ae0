"""General ability: held, lost, not known, or not to be known."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kv_adapters.comparison.compare import compare
from kv_adapters.comparison.gate import Gate, load_gate, superiority
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.statistics import Difference
from kv_adapters.comparison.verdict import exit_code, judge
from kv_tasks.errors import UsageError

Write = Callable[..., Path]
MANY = 4_000


def outcome(write: Write, base: list[float], other: list[float], **gate: object) -> str:
    one = load_run(write("base", {}, {"nq_open": base}))
    two = load_run(write("other", {}, {"nq_open": other}))
    ((row,), _) = compare(one, two, Gate(**gate))  # type: ignore[arg-type]
    return row.outcome


def test_sixty_documents_without_a_change_are_inconclusive_and_say_how_many_it_takes(
    write_run: Write,
) -> None:
    same = [1.0, 0.0] * 30
    base = load_run(write_run("base", {}, {"nq_open": same}))
    (found,) = judge(base, [load_run(write_run("same", {}, {"nq_open": same}))])
    (row,) = found.rows
    assert (row.outcome, found.gate) == ("inconclusive", "inconclusive")
    assert row.needed is not None
    assert 1_000 < row.needed < 20_000


def test_many_documents_without_a_change_pass(write_run: Write) -> None:
    assert outcome(write_run, [1.0, 0.0] * MANY, [1.0, 0.0] * MANY) == "passed"


def test_a_loss_beyond_the_margin_fails_and_a_wider_margin_lets_it_pass(write_run: Write) -> None:
    base, other = [1.0, 0.0] * 4_000, [1.0, 0.0] * 3_800 + [0.0] * 400
    assert outcome(write_run, base, other) == "failed"


def test_the_margin_of_a_task_is_its_own(write_run: Write) -> None:
    base, other = [1.0, 0.0] * 4_000, [1.0, 0.0] * 3_800 + [0.0] * 400
    assert outcome(write_run, base, other, tasks={"nq_open": 0.05}) == "passed"


def test_a_gain_passes_without_being_called_improved(write_run: Write) -> None:
    assert outcome(write_run, [1.0, 0.0] * 100, [1.0] * 200) == "passed"


def test_a_small_p_value_whose_interval_holds_zero_is_inconclusive_and_says_so() -> None:
    found = Difference(
        documents=100, questions=100, base=0.4, other=0.5, difference=0.1,
        low=-0.01, high=0.2, p_value=0.01, spread=0.5, method="",
    )  # fmt: skip
    assert superiority(found, 0.01) == ("inconclusive", "p = 0.010, and the interval holds zero")


def test_the_worst_row_decides_over_all_adapters(write_run: Write) -> None:
    good, few = [1.0, 0.0] * MANY, [1.0, 0.0] * 30
    base = load_run(write_run("base", {}, {"nq_open": good, "gsm8k": few}))
    same = load_run(write_run("same", {}, {"nq_open": good, "gsm8k": few}))
    worse = load_run(write_run("worse", {}, {"nq_open": good, "gsm8k": [0.0] * 60}))
    found = judge(base, [same, worse])
    assert [verdict.gate for verdict in found] == ["inconclusive", "failed"]
    assert (exit_code(found), exit_code(found[:1])) == (1, 2)


def test_members_of_a_gated_group_are_gated_like_it() -> None:
    gate = Gate(tasks={"mmlu": 0.02})
    assert gate.margin_of("mmlu") == gate.margin_of("mmlu_law") == 0.02
    assert gate.margin_of("hellaswag") is None


def test_a_name_falls_under_an_entry_up_to_an_underscore_and_under_no_other_beginning() -> None:
    gate = Gate(tasks={"arc": None})
    assert (gate.gated_by("arc_easy"), gate.gated_by("arcade")) == ("arc", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("margin: 2", "margin: .*less than 1.*found 2"),
        ("margins: 0.1", "margins: unknown key; allowed: margin, tasks, improve"),
        ("tasks: {mmlu: high}", "tasks.mmlu: .*found 'high'"),
        ("tasks: {gsm8k: 2}", "tasks.gsm8k: .*less than 1.*found 2"),
        ("tasks: {gsm8k: true}", "tasks.gsm8k: .*less than 1.*found True"),
        ("tasks: {gsm8k: 0}", "tasks.gsm8k: .*greater than 0.*found 0"),
        ("tasks: {gsm8k: -0.01}", "tasks.gsm8k: .*greater than 0.*found -0.01"),
        ("tasks: {gsm8k: .nan}", "tasks.gsm8k: .*finite number.*found nan"),
        ("tasks: {gsm8k: .inf}", "tasks.gsm8k: .*finite number.*found inf"),
        ("margin: .nan", "margin: .*finite number.*found nan"),
        ("tasks: [", "not YAML"),
        ("# nothing yet", "is empty; expected margin, tasks or improve"),
        ("task: {mmlu: }", "task: unknown key; allowed: margin, tasks, improve; found"),
        ("improve: mdqa_pos", "improve: expected a list, .*found 'mdqa_pos'"),
        ("improve: [a]\ntasks: {b: }\nimprove: []", "not YAML .*key 'improve' is there twice"),
        ("tasks: {mmlu: 0.1, mmlu: 0.2}", "key 'mmlu' is there twice"),
        ("improve: [mmlu_law]", "improve: mmlu_law falls under mmlu of tasks"),
    ],
)
def test_a_wrong_gate_file_is_named_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        load_gate(file)
    assert str(file) in str(caught.value)


def test_a_margin_may_be_written_as_people_write_small_numbers(tmp_path: Path) -> None:
    """YAML takes 1e-2 for text."""
    file = tmp_path / "gate.yaml"
    file.write_text("margin: 1e-2\ntasks: {gsm8k: 2e-2}")
    gate = load_gate(file)
    assert (gate.margin, gate.tasks["gsm8k"]) == (0.01, 0.02)


def test_a_gate_file_names_its_tasks_and_margins(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("margin: 0.02\ntasks:\n  mmlu:\n  my_task: 0.005\n")
    gate = load_gate(file)
    assert (gate.margin_of("mmlu"), gate.margin_of("my_task")) == (0.02, 0.005)
    assert gate.margin_of("gsm8k") is None


def code(*arguments: object) -> int:
    """Run the command as a CI job would."""
    command = [sys.executable, "-m", "kv_adapters.cli", "compare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=os.environ, check=False).returncode


def test_exit_codes_tell_ci_what_to_do(write_run: Write, tmp_path: Path) -> None:
    good, few = [1.0, 0.0] * MANY, [1.0, 0.0] * 30
    base, same = (write_run(name, {}, {"nq_open": good}) for name in ("base", "same"))
    worse = write_run("worse", {}, {"nq_open": [0.0] * 2 * MANY})
    little, less = (write_run(name, {}, {"nq_open": few}) for name in ("little", "less"))
    other, ungated = (write_run(name, {1: [1.0, 0.0]}) for name in ("other", "ungated"))
    assert code(base, same) == 0
    assert code(base, worse) == 1
    assert code(little, less) == 2
    assert code(other, ungated) == 2
    assert code(base, other) == 3
    assert code(other, other) == 3
    assert code(base, tmp_path / "absent") == 3
    assert code(base) == 3
    assert code(base, same, "--no-such-flag") == 3
    (file,) = same.glob("samples_*")
    file.unlink()
    file.mkdir()
    assert code(base, same) == 3


def grouped(folder: Path, **groups: list[str]) -> Path:
    """Add groups to what a run's results say."""
    (file,) = folder.glob("results_*.json")
    results = json.loads(file.read_text())
    results["group_subtasks"] |= groups
    file.write_text(json.dumps(results))
    return folder


def test_a_gated_task_counts_inside_a_group_that_is_not_gated(write_run: Write) -> None:
    good, bad = [1.0, 0.0] * MANY, [1.0, 0.0, 0.0, 0.0] * (MANY // 2)
    tasks = {"hellaswag": good, "arc": good, "nq_open": good}
    base = grouped(write_run("base", {}, tasks), suite=["hellaswag", "arc"], all=["suite"])
    worse = grouped(write_run("worse", {}, tasks | {"hellaswag": bad}), suite=["hellaswag", "arc"])
    (found,) = judge(load_run(base), [load_run(worse)])
    rows = {row.name: row for row in found.rows}
    assert rows.keys() == {"hellaswag", "arc", "nq_open"}
    assert (rows["hellaswag"].outcome, rows["hellaswag"].member_of) == ("failed", None)
    assert (rows["nq_open"].outcome, found.gate) == ("passed", "failed")


def test_a_gated_group_within_another_is_pooled_and_gated(write_run: Write) -> None:
    good = [1.0, 0.0] * MANY
    tasks = {"mmlu_law": good, "mmlu_logic": good, "nq_open": good}
    groups = {"mmlu": ["mmlu_law", "mmlu_logic"], "kv_general": ["mmlu", "nq_open"]}
    base, same = (grouped(write_run(name, {}, tasks), **groups) for name in ("base", "same"))
    (found,) = judge(load_run(base), [load_run(same)])
    top = [row.name for row in found.rows if row.member_of is None]
    assert top == ["mmlu", "nq_open"]
    assert found.gate == "passed"


def test_the_tasks_of_a_gated_group_are_judged_as_it_is(write_run: Write) -> None:
    tasks = {"one": [1.0, 0.0] * 200, "two": [1.0, 0.0] * 200}
    base, same = (
        load_run(grouped(write_run(name, {}, tasks), suite=["one", "two"]))
        for name in ("base", "same")
    )
    rows, _ = compare(base, same, Gate(tasks={"suite": 0.05}))
    assert [(row.kind, row.margin) for row in rows] == [("non-inferiority", 0.05)] * 3


def test_a_gated_task_that_one_run_lacks_is_no_evidence(write_run: Write) -> None:
    good = [1.0, 0.0] * MANY
    base = load_run(write_run("base", {}, {"nq_open": good, "gsm8k": good}))
    fewer = load_run(write_run("fewer", {}, {"nq_open": good}))
    (found,) = judge(base, [fewer])
    assert found.gate == "no evidence"
    assert "was not compared in whole: gsm8k" in found.sentence
    assert exit_code([found]) == 2


def test_a_gate_file_that_names_what_is_not_there_is_no_evidence(write_run: Write) -> None:
    good = [1.0, 0.0] * MANY
    base, same = (load_run(write_run(name, {}, {"nq_open": good})) for name in ("base", "same"))
    (found,) = judge(base, [same], Gate(tasks={"nq_open": None, "nq_opne": None}))
    assert (found.gate, "in whole: nq_opne" in found.sentence) == ("no evidence", True)
    (found,) = judge(base, [same], Gate(tasks={"nq_open": None}))
    assert found.gate == "passed"


def of_mmlu(write: Write, **groups: list[str]) -> tuple[Path, Path]:
    """Write a base, and a run that lost half of one small task of MMLU, too little to be seen."""
    good = {"mmlu_law": [1.0, 0.0] * 100, "mmlu_logic": [1.0, 0.0] * 1_000}
    groups |= {"mmlu": ["mmlu_law", "mmlu_logic"]}
    base = write("base", {}, good)
    worse = write("worse", {}, good | {"mmlu_law": [1.0, 0.0, 0.0, 0.0] * 50})
    return grouped(base, **groups), grouped(worse, **groups)


def test_a_task_that_a_gate_file_names_counts_beside_its_gated_group(write_run: Write) -> None:
    base, worse = map(load_run, of_mmlu(write_run))
    (alone,) = judge(base, [worse], Gate(tasks={"mmlu": 0.05}))
    assert (alone.gate, exit_code([alone])) == ("passed", 0)
    (found,) = judge(base, [worse], Gate(tasks={"mmlu": 0.05, "mmlu_law": 0.05}))
    assert {row.name: (row.outcome, row.decides) for row in found.rows} == {
        "mmlu": ("passed", True), "mmlu_law": ("failed", True), "mmlu_logic": ("passed", False),
    }  # fmt: skip
    assert (found.gate, exit_code([found])) == ("failed", 1)
    assert "general ability failed: mmlu_law (-25.0 points)" in found.sentence


def test_a_group_within_a_gated_one_counts_where_the_gate_file_names_it(write_run: Write) -> None:
    base, worse = map(load_run, of_mmlu(write_run, stem=["mmlu_law"]))
    (found,) = judge(base, [worse], Gate(tasks={"mmlu": 0.05, "stem": None}))
    assert [(row.name, row.member_of, row.decides) for row in found.rows] == [
        ("mmlu", None, True), ("stem", "mmlu", True),
        ("mmlu_law", "mmlu", False), ("mmlu_logic", "mmlu", False),
    ]  # fmt: skip
    assert "general ability failed: stem (-25.0 points)" in found.sentence


def test_a_task_whose_entry_another_row_stands_for_does_not_count_twice(write_run: Write) -> None:
    base, worse = map(load_run, of_mmlu(write_run, kv_general=["mmlu"]))
    (found,) = judge(base, [worse], Gate(tasks={"kv_general": 0.05, "mmlu": 0.05}))
    assert {row.name for row in found.rows if row.decides} == {"kv_general", "mmlu"}
    assert found.gate == "passed"


def test_an_entry_that_decides_no_row_is_no_evidence(write_run: Write) -> None:
    good = {"one": [1.0, 0.0] * 100, "nq_open": [1.0, 0.0] * 100}
    folders = [grouped(write_run(name, {}, good), suite=["one"]) for name in ("base", "same")]
    base, same = map(load_run, folders)
    (found,) = judge(base, [same], Gate(margin=0.05, tasks={"nq_open": None, "suite": None}))
    assert [row.outcome for row in found.rows if row.decides] == ["passed"]
    assert (found.gate, "in whole: suite" in found.sentence) == ("no evidence", True)


def test_a_task_of_a_gated_group_that_one_run_lacks_is_no_evidence(write_run: Write) -> None:
    good = [1.0, 0.0] * 100
    suite = ["one", "two", "three"]
    base = grouped(write_run("base", {}, dict.fromkeys(suite, good)), suite=suite)
    fewer = grouped(write_run("fewer", {}, dict.fromkeys(suite[:2], good)), suite=suite)
    (found,) = judge(load_run(base), [load_run(fewer)], Gate(tasks={"suite": 0.05}))
    assert found.rows[0].outcome == "passed"
    assert (found.gate, "in whole: suite" in found.sentence) == ("no evidence", True)


def test_a_name_of_the_gate_file_that_no_run_has_is_warned_of_with_what_is_like_it(
    write_run: Write,
) -> None:
    base, worse = map(load_run, of_mmlu(write_run))
    (found,) = judge(base, [worse], Gate(tasks={"mmllu": None, "mmlu": None, "xyz": None}))
    assert found.warnings == (
        "mmllu: the gate file names it, and neither run has it; did you mean mmlu or mmlu_law?",
        "xyz: the gate file names it, and neither run has it",
    )
    (found,) = judge(base, [worse])
    assert found.warnings == ()


def test_the_longest_name_that_fits_decides() -> None:
    gate = Gate(tasks={"mmlu": None, "mmlu_pro": 0.05})
    assert (gate.margin_of("mmlu_pro_law"), gate.margin_of("mmlu_law")) == (0.05, 0.01)


def test_a_written_choice_at_chance_is_no_evidence(write_run: Write) -> None:
    scores = [1.0, 0.0, 0.0, 0.0] * (MANY // 4)
    base, same = (
        load_run(write_run(name, {}, {"mmlu_law_generative": scores})) for name in ("base", "same")
    )
    ((row,), _) = compare(base, same)
    assert row.outcome == "no evidence"


@pytest.mark.parametrize("task", ["flenqa_synth_250", "kv_paper_flenqa_cot_3000"])
def test_of_true_and_false_one_half_is_chance(write_run: Write, task: str) -> None:
    scores = [1.0, 0.0] * (MANY // 2)
    base, same = (load_run(write_run(name, {}, {task: scores})) for name in ("base", "same"))
    ((row,), _) = compare(base, same, Gate(tasks={task: 0.03}))
    assert row.outcome == "no evidence"


@pytest.mark.parametrize("task", ["mmlu_pro_law", "mmlu_prox_de_law"])
def test_of_ten_written_choices_one_in_ten_is_chance(write_run: Write, task: str) -> None:
    scores = [1.0, 0.0, 0.0, 0.0] * 100
    base, same = (load_run(write_run(name, {}, {task: scores})) for name in ("base", "same"))
    ((row,), _) = compare(base, same, Gate(margin=0.05))
    assert row.outcome == "passed"
    assert base.tasks[task].samples[0].chance == 0.1


def test_professional_law_has_four_written_choices(write_run: Write) -> None:
    run = load_run(write_run("base", {}, {"mmlu_professional_law_generative": [1.0]}))
    assert run.tasks["mmlu_professional_law_generative"].samples[0].chance == 0.25


def test_rows_that_no_number_of_questions_would_settle_name_none(write_run: Write) -> None:
    base = load_run(write_run("base", {}, {"nq_open": [1.0, 0.0] * 4_000}))
    near = [0.0, 1.0] * 300 + [1.0, 0.0] * 3_652 + [0.0] * 96
    ((row,), _) = compare(base, load_run(write_run("near", {}, {"nq_open": near})))
    assert row.outcome == "inconclusive"
    assert row.needed is None
