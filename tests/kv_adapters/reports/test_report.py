"""The page stands alone, shows what changed, and trusts nothing that a model wrote."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.runs import load_run
from kv_adapters.reports.figures.positions import by_depth, by_position
from kv_adapters.reports.figures.scene import points
from kv_adapters.reports.report import PAGE, write_report

Write = Callable[..., Path]
CURVE = {1: [1.0, 0.0, 1.0], 5: [0.0, 0.0, 1.0], 20: [1.0, 1.0, 1.0]}
BETTER = {1: [1.0, 1.0, 1.0], 5: [1.0, 1.0, 0.0], 20: [1.0, 1.0, 1.0]}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def page(write_run: Write, tmp_path: Path) -> Path:
    tuned = write_run("tuned", BETTER)
    for file in tuned.glob("samples_*"):
        file.write_text(
            file.read_text().replace('["Ada.tuned"], "filter"', f'["{HOSTILE}"], "filter"')
        )
    base = load_run(write_run("base", CURVE))
    return write_report(base, [load_run(tuned)], tmp_path / "report")


def test_the_page_needs_nothing_else(page: Path) -> None:
    html = page.read_text()
    assert not re.findall(r'(?:src|href)="(?!#)', html)
    assert "<svg" in html
    for suffix in ("png", "svg"):
        assert (page.parent / f"mdqa.{suffix}").stat().st_size > 1000


def test_what_a_model_wrote_is_escaped(page: Path) -> None:
    html = page.read_text()
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)" in html
    # The page's own, and no other.
    assert html.count("<script") == 1


def test_documents_that_changed_are_listed_both_ways(page: Path) -> None:
    html = page.read_text()
    assert "<strong>tuned: mdqa, became right</strong>: 3 documents" in html
    assert "<strong>tuned: mdqa, became wrong</strong>: 1 documents" in html
    assert "mdqa_05 #2, gold at 5" in html


def test_figures_have_a_text_alternative_with_the_numbers(page: Path) -> None:
    (label,) = re.findall(r'role="img" aria-label="([^"]+)"', page.read_text())
    assert "base: 0.67 at 1, 0.33 at 5, 1.00 at 20" in label


def test_ids_of_figures_are_unique_and_references_resolve(page: Path) -> None:
    html = page.read_text()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_the_same_runs_give_the_same_bytes(page: Path, write_run: Write, tmp_path: Path) -> None:
    folders = page.parent.parent
    again = write_report(
        load_run(folders / "base"), [load_run(folders / "tuned")], tmp_path / "again"
    )
    for file in page.parent.iterdir():
        assert file.read_bytes() == (again.parent / file.name).read_bytes(), file.name


def test_points_are_means_by_position_and_by_depth(write_run: Write) -> None:
    run = load_run(write_run("base", CURVE))
    samples = [sample for task in run.tasks.values() for sample in task.samples]
    found = points(samples, by_position)
    assert [(p.x, round(p.mean, 2), p.documents) for p in found] == [
        (1.0, 0.67, 3), (5.0, 0.33, 3), (20.0, 1.0, 3),
    ]  # fmt: skip
    assert [(p.x, p.documents) for p in points(samples, by_depth)] == [(0.125, 6), (0.875, 3)]
    assert all(p.low <= p.mean <= p.high for p in found)


def test_the_command_prints_the_pages_path(write_run: Write, tmp_path: Path) -> None:
    base, tuned = write_run("base", CURVE), write_run("tuned", BETTER)
    done = CliRunner().invoke(app, ["report", str(base), str(tuned), "--out", str(tmp_path / "r")])
    assert done.exit_code == 0, done.output
    assert done.output.strip().endswith(PAGE)


def test_every_run_has_its_curve_whatever_it_is_called(write_run: Write, tmp_path: Path) -> None:
    tuned, base = load_run(write_run("x", BETTER)), load_run(write_run("base", CURVE))
    html = write_report(tuned, [base, base], tmp_path / "report").read_text()
    (label,) = re.findall(r'role="img" aria-label="([^"]+)"', html)
    assert label.count("base: 0.67 at 1, 0.33 at 5, 1.00 at 20") == 2
    assert "reference: 1.00 at 1, 0.67 at 5, 1.00 at 20" in label


def test_a_task_that_only_the_second_adapter_shares_is_drawn(
    write_run: Write, tmp_path: Path
) -> None:
    base = load_run(write_run("base", CURVE, {"lone": [1.0]}))
    first, second = write_run("first", {}, {"lone": [1.0]}), write_run("second", BETTER)
    page = write_report(base, [load_run(first), load_run(second)], tmp_path / "report")
    assert (page.parent / "mdqa.svg").is_file()


def test_names_with_dollars_and_slashes_are_drawn_inside_the_folder(
    write_run: Write, tmp_path: Path
) -> None:
    folders = [write_run("base", CURVE), write_run("a$^$b", BETTER)]
    for folder in folders:
        (file,) = folder.glob("results_*")
        file.write_text(file.read_text().replace('{"mdqa": [', '{"../../mdqa": ['))
    base, odd = map(load_run, folders)
    page = write_report(base, [odd], tmp_path / "report")
    assert {file.suffix for file in page.parent.iterdir()} == {".html", ".jsonl", ".png", ".svg"}
    assert "a$^$b: 1.00 at 1" in page.read_text()


def test_the_page_says_what_inconclusive_means_for_a_recipe_and_lists_what_the_screen_does_not(
    write_run: Write, tmp_path: Path
) -> None:
    tasks = {f"mmlu_{n}": [1.0, 0.0] for n in range(13)}
    folders = [write_run(name, {}, tasks) for name in ("base", "same")]
    for folder in folders:
        (file,) = folder.glob("results_*")
        results = json.loads(file.read_text()) | {"group_subtasks": {"mmlu": list(tasks)}}
        file.write_text(json.dumps(results))
    base, same = map(load_run, folders)
    html = write_report(base, [same], tmp_path / "report").read_text()
    assert "mmlu: 13 tasks</summary>" in html
    assert "--json" not in html
    assert "too few documents, or\nfor a recipe too few seeds" in html
