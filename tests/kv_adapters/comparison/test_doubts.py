"""Runs of other bases, or in the wrong order, are compared and said to be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.doubts import doubts
from kv_adapters.comparison.runs import load_run, load_runs
from kv_adapters.comparison.tables import as_json, markdown
from kv_adapters.comparison.verdict import judge

Write = Callable[..., Path]
ONE, TWO = "1" * 64, "2" * 64


def recorded(folder: Path, arguments: Any = None, **record: str) -> Path:
    """Let a run say what it is of."""
    (file,) = folder.glob("results_*.json")
    results = json.loads(file.read_text()) | {"kv_adapters": record}
    results["config"]["model_args"] = arguments
    file.write_text(json.dumps(results))
    return folder


@pytest.mark.parametrize(
    ("base", "other", "said"),
    [
        ({"base_sha256": ONE}, {"base_sha256": ONE, "adapter_sha256": "a"}, []),
        ({"base_sha256": ONE, "adapter_sha256": "a"},
         {"base_sha256": ONE, "adapter_sha256": "b"}, []),
        ({}, {}, []),
        ({}, {"base_sha256": TWO, "adapter_sha256": "a"}, []),
        ({"base_sha256": ONE}, {"base_sha256": TWO}, ["different base models"]),
        ({"base_sha256": ONE, "adapter_sha256": "a"}, {"base_sha256": ONE}, ["look swapped"]),
        ({"arguments": "pretrained=x,peft=y"}, {"arguments": "pretrained=x"}, ["look swapped"]),
        ({"base_sha256": ONE, "adapter_sha256": "a"}, {"arguments": "pretrained=x,peft=y"}, []),
        ({"base_sha256": ONE, "adapter_sha256": "a"}, {"base_sha256": TWO},
         ["different base models", "look swapped"]),
    ],
)  # fmt: skip
def test_other_bases_and_swapped_arguments_are_noticed_and_nothing_else(
    write_run: Write, base: dict[str, str], other: dict[str, str], said: list[str]
) -> None:
    one = load_run(recorded(write_run("one", {1: [1.0]}), **base))
    two = load_run(recorded(write_run("two", {1: [1.0]}), **other))
    found = doubts(one, two)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


def test_a_doubt_stands_on_the_screen_in_the_table_in_the_numbers_and_on_the_page(
    write_run: Write, tmp_path: Path
) -> None:
    base = recorded(write_run("base", {1: [1.0, 0.0]}), base_sha256=ONE)
    seeds = [
        recorded(write_run(f"merged-seed{n}", {1: [1.0, 1.0]}), base_sha256=TWO) for n in (0, 1)
    ]
    reference, *others = load_runs([base, *seeds])
    verdicts = judge(reference, others)
    said = "base and merged-seed0 are of different base models (111111111111 and 222222222222)"
    assert said in markdown(verdicts[0])
    assert [len(verdict["doubts"]) for verdict in as_json(verdicts)["verdicts"]] == [1, 1, 2]
    arguments = [str(base), *map(str, seeds)]
    done = CliRunner().invoke(app, ["compare", *arguments])
    assert done.output.count(said) == 1
    done = CliRunner().invoke(app, ["report", *arguments, "--out", str(tmp_path / "r")])
    assert f"warning: {said}" in done.output
    assert said in (tmp_path / "r" / "report.html").read_text()
