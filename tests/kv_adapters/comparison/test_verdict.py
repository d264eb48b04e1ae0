"""Which rows carry the verdict, and how the command fails or prints around it."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.compare import compare
from kv_adapters.comparison.gate import Gate
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.tables import HEADINGS, cells, markdown, readable, remarks, screen
from kv_adapters.comparison.verdict import judge
from kv_tasks.errors import MissingPackageError

Write = Callable[..., Path]
N = 40


def half(share: float) -> list[float]:
    return [1.0] * round(N * share) + [0.0] * round(N * (1 - share))


@pytest.mark.parametrize("order", [("mmlu", "mmlu_stem"), ("mmlu_stem", "mmlu")])
def test_the_widest_group_is_the_headline_in_whatever_order_groups_come(
    write_run: Write, order: tuple[str, ...]
) -> None:
    folder = write_run("base", {}, {name: half(0.5) for name in ("mmlu_a", "mmlu_b", "mmlu_c")})
    (file,) = folder.glob("results_*")
    results = json.loads(file.read_text())
    groups = {"mmlu": ["mmlu_stem", "mmlu_c"], "mmlu_stem": ["mmlu_a", "mmlu_b"]}
    results["group_subtasks"] = {name: groups[name] for name in order}
    file.write_text(json.dumps(results))
    rows, _ = compare(load_run(folder), load_run(folder))
    assert [(row.name, row.member_of) for row in rows] == [
        ("mmlu", None), ("mmlu_a", "mmlu"), ("mmlu_b", "mmlu"), ("mmlu_c", "mmlu"),
    ]  # fmt: skip


def test_a_missing_package_names_the_extra_to_install(
    write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_run("base", {1: half(0.5)})
    for name in ("compare", "intervals", "seeds", "statistics", "tables", "verdict"):
        monkeypatch.delitem(sys.modules, f"kv_adapters.comparison.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "statsmodels.regression.linear_model", None)
    done = CliRunner().invoke(app, ["compare", str(base), str(base)])
    assert isinstance(done.exception, MissingPackageError)
    assert 'pip install ".[report]"' in str(done.exception)


def test_a_folder_name_with_markup_is_printed_as_it_is(write_run: Write) -> None:
    base, odd = write_run("base", {1: half(0.5)}), write_run("lr[red]3", {1: half(0.9)})
    done = CliRunner().invoke(app, ["compare", str(base), str(odd)])
    assert "lr[red]3 against its base" in done.output


def test_the_sentence_says_what_changed_and_what_was_not_looked_at(write_run: Write) -> None:
    base = load_run(write_run("base", {1: half(0.5), 10: half(0.1)}, {"kv": half(0.0)}))
    tuned = load_run(write_run("tuned", {1: half(0.5), 10: half(0.1)}, {"kv": half(0.9)}))
    (found,) = judge(base, [tuned])
    assert found.sentence == (
        "tuned: improved: kv (+90.0 points); inconclusive: mdqa (+0.0 points); general ability "
        "was not evaluated (mmlu, hellaswag, gsm8k, triviaqa, nq_open)."
    )
    assert found.gate == "no evidence"


def test_general_ability_that_was_evaluated_is_not_called_missing(write_run: Write) -> None:
    base = load_run(write_run("base", {}, {"hellaswag": half(0.9)}))
    worse = load_run(write_run("worse", {}, {"hellaswag": half(0.1)}))
    (found,) = judge(base, [worse])
    assert found.sentence == "worse: general ability failed: hellaswag (-80.0 points)."


def test_documents_left_out_are_named_on_the_screen_and_in_the_numbers(
    write_run: Write, tmp_path: Path
) -> None:
    base, fewer = write_run("base", {1: half(0.5)}), write_run("fewer", {1: half(0.5)[:-2]})
    numbers = tmp_path / "c.json"
    done = CliRunner().invoke(app, ["compare", str(base), str(fewer), "--json", str(numbers)])
    assert "not compared: mdqa_01: 2 prompts only in base: 38, 39" in done.output
    ((row,),) = (verdict["rows"] for verdict in json.loads(numbers.read_text())["verdicts"])
    assert row["lost"] == [{"task": "mdqa_01", "reason": "only in base", "documents": [38, 39]}]


def test_a_number_of_questions_says_what_they_would_show_and_how_often(write_run: Write) -> None:
    base = load_run(write_run("base", {}, {"kv": half(0.3), "nq_open": half(0.5)}))
    other = load_run(write_run("other", {}, {"kv": half(0.4), "nq_open": half(0.5)}))
    (verdict,) = judge(base, [other])
    kv, nq_open = (row.needed for row in verdict.rows)
    assert remarks(verdict) == [
        f"kv: about {kv:,} questions would show a change of +10.0 points with 80 % power",
        f"nq_open: about {nq_open:,} questions would keep the interval within the margin with "
        "80 % power, if nothing was lost",
    ]


def test_a_p_value_stands_where_it_decides_and_nowhere_else(write_run: Write) -> None:
    base = load_run(write_run("base", {}, {"kv": half(0.3), "nq_open": half(0.5)}))
    other = load_run(write_run("other", {}, {"kv": half(0.9), "nq_open": half(0.4)}))
    (verdict,) = judge(base, [other])
    shown = [dict(zip(HEADINGS, cells(row), strict=True))["p"] for row in verdict.rows]
    assert shown == ["<0.001", ""]
    assert verdict.rows[1].difference.p_value < 1


@pytest.fixture
def mmlu(write_run: Write) -> tuple[Path, Path]:
    """Two runs of a group that is too large for a table."""
    tasks = {f"mmlu_{n}": half(0.5) for n in range(13)}
    folders = write_run("base", {}, tasks), write_run("same", {}, tasks)
    for folder in folders:
        (file,) = folder.glob("results_*")
        results = json.loads(file.read_text()) | {"group_subtasks": {"mmlu": list(tasks)}}
        file.write_text(json.dumps(results))
    return folders


def test_tasks_that_are_not_listed_are_named_on_the_screen_and_in_markdown_alone(
    mmlu: tuple[Path, Path],
) -> None:
    said = "mmlu: its 13 tasks are not listed; --json does"
    base, same = map(load_run, mmlu)
    (verdict,) = judge(base, [same])
    assert said in markdown(verdict)
    assert said in CliRunner().invoke(app, ["compare", *map(str, mmlu)]).output
    assert not any("not listed" in line for line in remarks(verdict))


def test_a_task_of_a_large_group_that_decides_is_listed(mmlu: tuple[Path, Path]) -> None:
    base, same = map(load_run, mmlu)
    (verdict,) = judge(base, [same], Gate(tasks={"mmlu": None, "mmlu_7": None}))
    assert [row.name for row in readable(verdict.rows)] == ["mmlu", "mmlu_7"]
    assert "mmlu: its 12 other tasks are not listed; --json does" in markdown(verdict)


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120])
def test_a_narrow_screen_goes_without_columns_and_cuts_no_number(
    width: int, write_run: Write
) -> None:
    base = load_run(write_run("base", {1: [1.0, 0.0] * 50, 2: [0.0] * 100}))
    other = load_run(write_run("other", {1: [1.0] * 100, 2: [1.0] * 100}))
    (verdict,) = judge(base, [other])
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen(verdict, width=width))
    shown = console.export_text()
    for row in verdict.rows:
        _, outcome, change, interval, *_ = cells(row)
        assert re.search(rf"{outcome} +{re.escape(change)} +{re.escape(interval)}", shown)
    assert ("docs" in shown) == (width >= 100)
