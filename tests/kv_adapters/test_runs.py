"""Reading harness output, whole, partial and damaged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kv_adapters.runs import load_run
from kv_tasks.errors import RunError

Write = Callable[..., Path]


def test_a_run_has_its_tasks_groups_and_provenance(write_run: Write) -> None:
    run = load_run(write_run("base", {1: [1.0, 0.0], 10: [0.0, 0.0]}, {"other": [1.0]}))
    assert run.groups == {"mdqa": ("mdqa_01", "mdqa_10")}
    assert [s.score for s in run.tasks["mdqa_01"].samples] == [1.0, 0.0]
    assert run.tasks["mdqa_01"].metric == "best_subspan_em"
    assert run.tasks["mdqa_10"].samples[1].gold_position == 10
    assert run.provenance["chat template"] == "yes"
    assert run.provenance["model"] == "tiny"


def test_a_task_without_questions_of_its_own_counts_documents(write_run: Write) -> None:
    run = load_run(write_run("base", {}, {"other": [1.0, 0.0]}))
    assert [s.question_id for s in run.tasks["other"].samples] == ["other:0", "other:1"]
    assert run.tasks["other"].samples[0].gold_position is None


def test_the_folder_that_lm_eval_makes_for_the_model_is_found(write_run: Write) -> None:
    folder = write_run("inner", {1: [1.0]})
    outer = folder.parent / "outer"
    outer.mkdir()
    folder.rename(outer / "model")
    assert load_run(outer).tasks.keys() == {"mdqa_01"}
    (outer / "second").mkdir()
    (outer / "second" / "results_x.json").write_text("{}")
    with pytest.raises(RunError, match="holds several runs; name one of: .*model, .*second"):
        load_run(outer)


def test_the_newest_results_of_a_task_count(write_run: Write) -> None:
    folder = write_run("base", {1: [0.0, 0.0]})
    for file in list(folder.iterdir()):
        newer = file.with_name(file.name.replace("2026", "2027"))
        newer.write_text(file.read_text().replace('"best_subspan_em": 0.0', '"best_subspan_em": 1'))
    assert [s.score for s in load_run(folder).tasks["mdqa_01"].samples] == [1.0, 1.0]


def test_a_task_with_two_filters_is_read_on_its_headline_alone(write_run: Write) -> None:
    folder = write_run("base", {}, {"gsm8k": [1.0, 0.0]})
    (file,) = folder.glob("samples_*")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    doubled = [
        row | {"filter": name} for row in rows for name in ("strict-match", "flexible-extract")
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in doubled))
    task = load_run(folder).tasks["gsm8k"]
    assert (task.metric, task.filter, len(task.samples)) == ("exact_match", "strict-match", 2)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="absent: no such folder"):
        load_run(tmp_path / "absent")
    with pytest.raises(RunError, match=r"no results_\*.json"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "text", "message"),
    [
        ("results_*", '{"results": ', "not JSON"),
        ("results_*", "[]", "no results of lm_eval"),
        ("samples_*", '{"doc_id": 0', "line 1: not a JSON object"),
        ("samples_*", "", "empty"),
        ("samples_*", '{"metrics": ["x"]}', r"no numeric metric; found \['x'\]"),
        ("samples_*", '{"metrics": ["x"], "x": 1}', "no sample with 'x'"),
    ],
)
def test_a_damaged_file_is_named(write_run: Write, pattern: str, text: str, message: str) -> None:
    folder = write_run("base", {1: [1.0]})
    (file,) = folder.glob(pattern)
    file.write_text(text)
    with pytest.raises(RunError, match=message) as caught:
        load_run(folder)
    assert file.name in str(caught.value)


def test_results_without_samples_say_which_flag_was_missing(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0]})
    next(folder.glob("samples_*")).unlink()
    with pytest.raises(RunError, match="--log_samples"):
        load_run(folder)
