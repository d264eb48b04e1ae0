"""Runs of other bases, or in the wrong order, are compared and said to be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_adapters.comparison.doubts import doubts
from kv_adapters.comparison.runs import Run, load_run, load_runs
from kv_adapters.comparison.tables import as_json, markdown
from kv_adapters.comparison.verdict import judge
from kv_tasks.errors import RunError

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
        ({"base_sha256": ONE, "adapter_sha256": "a"}, {"arguments": "pretrained=x,peft=y"}, []),
    ],
)  # fmt: skip
def test_other_bases_are_noticed_and_nothing_else(
    write_run: Write, base: dict[str, str], other: dict[str, str], said: list[str]
) -> None:
    one = load_run(recorded(write_run("one", {1: [1.0]}), **base))
    two = load_run(recorded(write_run("two", {1: [1.0]}), **other))
    found = doubts(one, two)
    assert len(found) == len(said)
    assert all(part in line for part, line in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": {"mdqa_01": 3}}, "version 3 of the task"),
        ({"configs": {"mdqa_01": {"generation_kwargs": {"max_gen_toks": 5}}}}, '{"max_gen'),
        ({"configs": {"mdqa_01": {"generation_kwargs": {"max_gen_toks": 100.0}}}}, ""),
        ({"configs": {"mdqa_01": {}}, "versions": {}}, ""),
    ],
)
def test_answers_that_were_generated_or_scored_otherwise_are_noticed(
    write_run: Write, changed: dict[str, Any], said: str
) -> None:
    known = {
        "versions": {"mdqa_01": 2},
        "configs": {"mdqa_01": {"generation_kwargs": {"max_gen_toks": 100}}},
    }
    runs = []
    for name, settings in (("one", known), ("two", known | changed)):
        folder = write_run(name, {1: [1.0]})
        (file,) = folder.glob("results_*.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
        runs.append(load_run(folder))
    found = doubts(*runs)
    assert len(found) == bool(said)
    assert all(said in line for line in found)


@pytest.mark.parametrize(
    ("base", "other", "said"),
    [
        ({"base_sha256": ONE, "adapter_sha256": "a"}, {"base_sha256": ONE}, "name the base first"),
        ({"arguments": "pretrained=x,peft=y"}, {"arguments": "pretrained=x"},
         "name the base first"),
        ({"base_sha256": ONE}, {"base_sha256": TWO, "adapter_sha256": "a"},
         "an adapter of another base model"),
    ],
)  # fmt: skip
def test_what_nobody_compares_on_purpose_is_refused(
    write_run: Write, base: dict[str, str], other: dict[str, str], said: str
) -> None:
    """An exit code of 0 would let a deployment pass that nothing was measured of."""
    one = recorded(write_run("one", {1: [1.0]}), **base)
    two = recorded(write_run("two", {1: [1.0]}), **other)
    with pytest.raises(RunError, match=said):
        judge(*_split(load_runs([one, two])))


def test_a_run_that_answers_as_the_base_throughout_measured_no_adapter(write_run: Write) -> None:
    base = write_run("base", {}, {"hellaswag": [1.0] * 900 + [0.0] * 100})
    copy = Path(shutil.copytree(base, base.with_name("adapter")))
    reference, other = load_runs([base, copy])
    (verdict,) = judge(reference, [other])
    assert verdict.gate == "no evidence"
    assert verdict.sentence == (
        "adapter: every answer is the base's own; nothing of an adapter was measured."
    )
    assert verdict.doubts == (
        "all 1000 answers of adapter are those of base, to the letter: the adapter was not "
        "applied, or does nothing; kv-adapters verify tells which",
    )
    (file,) = copy.glob("samples_*")
    file.write_text(file.read_text().replace('["Bob.base"], "filter"', '["Bob"], "filter"', 1))
    (verdict,) = judge(*_split(load_runs([base, copy])))
    assert (verdict.gate, verdict.doubts) == ("passed", ())


def test_answers_that_only_one_run_lacks_are_a_difference(write_run: Write) -> None:
    """Of an adapter that lost most of its answers, those left may well be the base's."""
    base = write_run("base", {}, {"gsm8k": [1.0] * 9})
    copy = Path(shutil.copytree(base, base.with_name("adapter")))
    (file,) = copy.glob("samples_*")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[1:]:
        line["filtered_resps"] = ["[invalid]"]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert doubts(*load_runs([base, copy])) == []


def test_one_seed_that_was_not_applied_leaves_the_recipe_unmeasured(write_run: Write) -> None:
    base = write_run("base", {}, {"hellaswag": [1.0] * 900 + [0.0] * 100})
    copy = Path(shutil.copytree(base, base.with_name("a-seed0")))
    other = write_run("a-seed1", {}, {"hellaswag": [1.0] * 900 + [0.0] * 100})
    reference, *seeds = load_runs([base, copy, other])
    *_, pooled = judge(reference, seeds)
    assert pooled.gate == "no evidence"
    assert pooled.sentence == (
        "a, 2 seeds: every answer of a-seed0 is the base's own; nothing of an adapter was measured."
    )


def _split(runs: list[Run]) -> tuple[Run, list[Run]]:
    return runs[0], runs[1:]


def test_other_backends_and_precisions_are_said_where_both_are_known(write_run: Write) -> None:
    def run(name: str, backend: str, **arguments: str) -> Run:
        return load_run(recorded(write_run(name, {1: [1.0]}), arguments, backend=backend))

    vllm, half = run("a", "vllm", dtype="float32"), run("b", "hf", dtype="torch.bfloat16")
    same, auto = run("c", "vllm", dtype="torch.float32"), run("d", "vllm", dtype="auto")
    assert doubts(vllm, half) == [
        "a was computed by vllm, b by hf; part of what changed may be their doing",
        "a was computed by float32, b by bfloat16; part of what changed may be their doing",
    ]
    assert doubts(vllm, same) == doubts(vllm, auto) == []
    coarse = run("e", "vllm", dtype="auto", quantization="fp8", kv_cache_dtype="auto")
    assert doubts(auto, coarse) == [
        "d was computed by unquantized weights, e by quantization=fp8; part of what changed may be "
        "their doing"
    ]


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
