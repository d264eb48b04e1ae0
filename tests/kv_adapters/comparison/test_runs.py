"""Reading harness output, whole, partial and damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kv_adapters.comparison.runs import load_run, load_runs
from kv_adapters.comparison.verdict import judge
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


def test_a_task_of_a_known_name_without_the_known_filter_costs_no_other_task(
    write_run: Write,
) -> None:
    folder = write_run("base", {1: [1.0]}, {"gsm8k": [1.0, 0.0]})
    (file,) = folder.glob("samples_gsm8k_*")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row | {"filter": "mine"}) + "\n" for row in rows))
    run = load_run(folder)
    assert list(run.tasks) == ["mdqa_01"]
    assert "no rows of filter 'strict-match', the headline of gsm8k" in run.unfit["gsm8k"]


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
        ("samples_*", '{"metrics": ["x"]}', r"no numeric metric of .* found \['x'\]"),
        ("samples_*", '{"metrics": ["x"], "x": 1}', "no score by 'x'"),
        ("results_*", '{"results": {}, "config": null}', "'config' is None"),
    ],
)
def test_a_damaged_file_is_named(write_run: Write, pattern: str, text: str, message: str) -> None:
    folder = write_run("base", {1: [1.0]})
    (file,) = folder.glob(pattern)
    file.write_text(text)
    with pytest.raises(RunError, match=message) as caught:
        load_run(folder)
    assert file.name in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"doc_id": 0', '"doc_id": [0]', r"doc_id is \[0\], not int"),
        ('"doc_hash": "d0"', '"doc_hash": {}', "doc_hash is {}, not str"),
        ('"prompt_hash": "pmdqa_010"', '"prompt_hash": null', "prompt_hash is None, not str"),
        ('_em": 1.0', f'_em": 1{400 * "0"}', "too large"),
        ('"gold_position": 1', '"gold_position": Infinity', "infinity"),
        ('["best_subspan_em"]', '[["best_subspan_em"]]', "no numeric metric"),
    ],
)
def test_a_damaged_row_is_named(write_run: Write, old: str, new: str, message: str) -> None:
    folder = edit(write_run("base", {1: [1.0]}), "samples_*", old, new)
    with pytest.raises(RunError, match=message) as caught:
        load_run(folder)
    assert "samples_mdqa_01_" in str(caught.value)


def test_results_without_samples_say_which_flag_was_missing(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0]})
    next(folder.glob("samples_*")).unlink()
    with pytest.raises(RunError, match="--log_samples"):
        load_run(folder)


def edit(folder: Path, pattern: str, old: str, new: str) -> Path:
    """Replace text in the one file of a run; fail where there is nothing to replace."""
    (file,) = folder.glob(pattern)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return folder


def test_a_file_cut_in_a_line_between_lines_or_written_twice_is_refused(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0] * 5})
    (file,) = folder.glob("samples_*")
    whole = file.read_text()
    file.write_text(whole[:-40])
    with pytest.raises(RunError, match="line 5: not a JSON object"):
        load_run(folder)
    file.write_text("".join(whole.splitlines(keepends=True)[:3]))
    with pytest.raises(RunError, match="3 documents, its results count 5"):
        load_run(folder)
    file.write_text(whole * 2)
    with pytest.raises(RunError, match="document 0 is there 2 times"):
        load_run(folder)
    file.write_bytes(b"\xff" + whole.encode())
    with pytest.raises(RunError, match="cut or damaged"):
        load_run(folder)


@pytest.mark.parametrize("score", ["NaN", "37.5", "-1.0"])
def test_scores_that_are_no_share_of_one_are_refused(write_run: Write, score: str) -> None:
    folder = edit(write_run("base", {1: [1.0]}), "samples_*", 'em": 1.0', f'em": {score}')
    with pytest.raises(RunError, match="is outside 0 to 1"):
        load_run(folder)


def test_a_metric_of_which_less_is_better_is_not_the_headline(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0]})
    edit(folder, "samples_*", '["best_subspan_em"]', '["loss", "best_subspan_em"]')
    edit(folder, "samples_*", '"target_hash"', '"loss": 0.5, "target_hash"')
    edit(folder, "results_*", '"best_subspan_em": true', '"loss": false, "best_subspan_em": true')
    assert load_run(folder).tasks["mdqa_01"].metric == "best_subspan_em"
    edit(folder, "results_*", '"best_subspan_em": true', '"best_subspan_em": false')
    with pytest.raises(RunError, match="no numeric metric of which more is better"):
        load_run(folder)


def test_a_task_whose_newest_results_lack_samples_is_named(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0], 10: [1.0]})
    next(folder.glob("samples_mdqa_01_*")).unlink()
    run = load_run(folder)
    assert run.tasks.keys() == {"mdqa_10"}
    assert run.without_samples == ("mdqa_01",)


def test_documents_of_foreign_tasks_are_read_as_far_as_they_go(write_run: Write) -> None:
    folder = write_run("base", {}, {"other": [1.0, 0.0]})
    edit(folder, "samples_*", '"answers": ["Ada"]', '"answers": {"text": ["x"]}')
    edit(folder, "samples_*", '"question": ', '"question_id": null, "q": ')
    first, second = load_run(folder).tasks["other"].samples
    assert (first.question_id, second.question_id) == ("other:0", "other:1")
    assert (first.answers, first.question) == (("Ada",), "prompt")


def test_settings_that_differ_between_evaluations_are_all_shown(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0]})
    for file in write_run("later", {5: [1.0]}).iterdir():
        newer = folder / file.name.replace("2026", "2027")
        newer.write_text(file.read_text().replace('"limit": 3', '"limit": null'))
    run = load_run(folder)
    assert run.provenance["limit"] == "3 | none"
    assert run.provenance["evaluation time"] == "3 seconds"
    assert run.provenance["evaluated"].startswith("2026-01-02")
    assert "to 2027-01-02" in run.provenance["evaluated"]


def test_runs_of_one_name_are_told_apart_by_the_ends_of_their_paths(write_run: Write) -> None:
    first, second = write_run("a", {1: [1.0]}), write_run("tuned", {1: [1.0]})
    nested = first.parent / "elsewhere" / "tuned"
    nested.parent.mkdir()
    second.rename(nested)
    again = write_run("b", {1: [1.0]}).rename(first.parent / "tuned")
    assert [run.label for run in load_runs([first, nested])] == ["a", "tuned"]
    assert [run.label for run in load_runs([nested, again])] == [
        "elsewhere/tuned",
        f"{again.parent.name}/tuned",
    ]
    with pytest.raises(RunError, match="tuned: is named twice"):
        load_runs([again, again])


def test_our_own_record_is_part_of_the_provenance_and_counts_are_added(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0]})
    record = {
        "base_sha256": "abc", "command": "kv-adapters eval", "packages": {"vllm": "0.32.0"},
        "truncated": 0, "skipped": 2, "prompt_tokens": 1_000, "cached_tokens": 250,
    }  # fmt: skip
    for file in write_run("later", {5: [1.0]}).iterdir():
        (folder / file.name.replace("2026", "2027")).write_text(file.read_text())
    for file in folder.glob("results_*"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"kv_adapters": record}))
    found = load_run(folder).provenance
    assert found["base checksum"] == "abc"
    assert found["packages"] == "vllm 0.32.0"
    assert (found["prompts cut"], found["documents left out"]) == ("0", "4")
    assert found["prompt tokens"] == "2,000"
    assert found["found in the prefix cache"] == "500 (25%)"


def test_of_multiple_choice_the_answer_is_every_choice_s_log_likelihood(write_run: Write) -> None:
    folder = write_run("base", {1: [1.0]})
    (file,) = folder.glob("samples_*")
    row = json.loads(file.read_text())
    choices = [["-4.5", "False"], ["-1.25", "True"]]
    file.write_text(json.dumps(row | {"filtered_resps": choices}) + "\n")
    (sample,) = load_run(folder).tasks["mdqa_01"].samples
    assert (sample.response, sample.chance) == ("log-likelihoods -4.5, -1.25", 0.5)


def test_a_prompt_is_read_from_its_file_when_it_is_asked_for(write_run: Write) -> None:
    run = load_run(write_run("base", {1: [1.0, 0.0, 1.0]}))
    for sample in run.tasks["mdqa_01"].samples:
        assert sample.prompt() == "prompt"
        assert sample.row()["doc_id"] == sample.doc_id


def rescored(folder: Path, task: str, **metrics: list[Any]) -> Path:
    """Give a task other metrics, a value a document each."""
    (file,) = folder.glob(f"samples_{task}_*")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for n, row in enumerate(rows):
        row |= {"metrics": list(metrics)} | {name: values[n] for name, values in metrics.items()}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return changed(folder, higher_is_better={task: dict.fromkeys(metrics, True)})


def changed(folder: Path, **sections: Any) -> Path:
    """Change what a run's results say, section by section."""
    (file,) = folder.glob("results_*.json")
    results = json.loads(file.read_text())
    for name, values in sections.items():
        old = results.get(name)
        results[name] = old | values if isinstance(old, dict) else values
    file.write_text(json.dumps(results))
    return folder


def test_the_first_metric_whose_scores_are_all_from_0_to_1_counts(write_run: Write) -> None:
    """RULER says -1 for every length that was not asked for."""
    folder = write_run("base", {}, {"niah": [1.0, 0.0]})
    rescored(folder, "niah", **{"4096": [-1, -1], "8192": [1.0, 0.0]})
    task = load_run(folder).tasks["niah"]
    assert (task.metric, [sample.score for sample in task.samples]) == ("8192", [1.0, 0.0])


def test_a_task_that_cannot_be_compared_does_not_lose_the_others(write_run: Write) -> None:
    folders = [write_run(name, {}, {"wiki": [1.0], "other": [1.0]}) for name in ("base", "same")]
    base, same = (load_run(rescored(f, "wiki", perplexity=[[12.5, 3]])) for f in folders)
    assert base.tasks.keys() == {"other"}
    (verdict,) = judge(base, [same])
    assert [row.name for row in verdict.rows] == ["other"]
    assert any(line.startswith("wiki: ") and "no numeric" in line for line in verdict.warnings)
    alone = rescored(write_run("alone", {}, {"wiki": [1.0]}), "wiki", bleu=[37.0])
    with pytest.raises(RunError, match="no score by 'bleu'.*outside 0 to 1"):
        load_run(alone)


def test_a_task_of_other_prompts_does_not_lose_the_others(write_run: Write) -> None:
    base = load_run(write_run("base", {}, {"one": [1.0], "two": [1.0]}))
    folder = write_run("other", {}, {"one": [1.0], "two": [1.0]})
    (file,) = folder.glob("samples_two_*")
    file.write_text(file.read_text().replace('"prompt_hash": "p', '"prompt_hash": "q'))
    (verdict,) = judge(base, [load_run(folder)])
    assert [row.name for row in verdict.rows] == ["one"]
    assert any("two: no prompt of base is also in other" in line for line in verdict.warnings)


@pytest.mark.parametrize(
    "second",
    [
        {"config": {"model_args": "pretrained=x,lora_local_path=y"}},
        {"config": {"model_args": {"pretrained": "x"}}, "kv_adapters": {"adapter_sha256": "5"}},
    ],
)
def test_results_of_several_models_in_one_folder_are_refused(
    write_run: Write, second: dict[str, Any]
) -> None:
    folder = changed(write_run("base", {1: [0.0]}), config={"model_args": "pretrained=x"})
    other = changed(write_run("later", {}, {"nq_open": [1.0]}), **second)
    for file in other.iterdir():
        file.rename(folder / file.name.replace("2026", "2027"))
    with pytest.raises(RunError, match="results of several models .*folder of its own"):
        load_run(folder)


def test_what_results_of_other_origin_say_oddly_is_left_out(write_run: Write) -> None:
    folder = changed(
        write_run("base", {1: [0.0]}),
        kv_adapters={
            "prompt_tokens": 10,
            "cached_tokens": 10**400,
            "generated_tokens": "many",
        },
        total_evaluation_time_seconds=10**400,
        group_subtasks={"a": ["b", "mdqa_01"], "b": ["a"], "c": "mdqa_01"},
        **{"n-samples": {"mdqa_01": 3}},
    )
    (file,) = folder.glob("samples_*")
    file.write_text(file.read_text().replace('"gold_position": 1', '"gold_position": [1, 2]'))
    run = load_run(folder)
    assert run.provenance["prompt tokens"] == "10"
    assert "found in the prefix cache" not in run.provenance
    assert run.provenance["evaluation time"] == "0 seconds"
    assert run.tasks["mdqa_01"].samples[0].gold_position is None
    assert "mdqa_01" in run.groups["a"]
