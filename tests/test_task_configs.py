"""Every task file of the project: found by the harness, and what its name says."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from kv_tasks.dictionaries import Kind
from kv_tasks.errors import DataError
from kv_tasks.paths import task_configs

FILES = sorted(task_configs().rglob("*.yaml"))
CONFIGS = {path.stem: load_yaml(path) for path in FILES}
LEAVES = {name: config for name, config in CONFIGS.items() if "group" not in config}
GROUPS = {name: config for name, config in CONFIGS.items() if "group" in config}


def answer_tokens(config: dict[str, Any]) -> int:
    """Return what the module that a leaf names reserves for an answer."""
    module = importlib.import_module(config["custom_dataset"].__module__)
    if (constant := getattr(module, "ANSWER_TOKENS", None)) is not None:
        return int(constant)
    (budget,) = {kind.answer_tokens for kind in vars(module).values() if isinstance(kind, Kind)}
    return budget


def test_the_harness_finds_every_file_under_its_own_name() -> None:
    manager = TaskManager(include_path=str(task_configs()), include_defaults=False)
    assert set(manager.all_tasks) == set(CONFIGS)
    for path in FILES:
        config = CONFIGS[path.stem]
        assert config.get("group", config.get("task")) == path.stem, path


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_states_what_the_harness_would_guess(name: str) -> None:
    config = LEAVES[name]
    assert config["class"].__module__ == "kv_tasks.task"
    assert config["num_fewshot"] == 0
    assert "process_docs" not in config
    generation = config["generation_kwargs"]
    assert isinstance(generation["until"], list)
    assert generation["do_sample"] is False
    assert generation["max_gen_toks"] == answer_tokens(config)
    metrics = [entry["metric"] for entry in config["metric_list"]]
    assert metrics[-1] == "skipped"
    assert "seed" not in config["metadata"]


def test_a_version_is_the_last_of_the_familys_changelog() -> None:
    for path in FILES:
        changelog = (path.parent / "README.md").read_text("utf-8").rsplit("### Changelog", 1)[1]
        *_, last = re.findall(r"^\* version ([\d.]+): ", changelog, re.MULTILINE)
        assert str(CONFIGS[path.stem]["metadata"]["version"]) == last, path


def test_length_position_and_count_in_a_name_are_those_of_the_metadata() -> None:
    for name, config in LEAVES.items():
        metadata = config["metadata"]
        if found := re.search(r"_(\d+)k(_|$)", name):
            if "24k" not in name:
                assert metadata["tokens"] == int(found[1]) * 1024, name
        else:
            assert "tokens" not in metadata, name
        if found := re.search(r"_d(\d{3})$", name):
            assert metadata["depth"] == int(found[1]) / 100, name
        if found := re.search(r"mdqa\w*_(\d{2,3})$", name):
            assert metadata["gold_position"] == int(found[1]), name
        if found := re.search(r"_(\d+)docs", name):
            assert metadata["documents"] == int(found[1]), name
        if found := re.search(r"_(\d+)dicts", name):
            assert metadata["dictionaries"] == int(found[1]), name
        if name.endswith(("_template", "_plain")):
            assert metadata["template"] is name.endswith("_template"), name


def test_leaves_with_equal_data_have_equal_names() -> None:
    """The harness's caches are keyed by the task's name."""
    seen: dict[str, str] = {}
    for name, config in LEAVES.items():
        what = repr((config["custom_dataset"], config.get("doc_to_text"), config["metadata"]))
        assert seen.setdefault(what, name) == name


def test_groups_name_existing_tasks_and_average_over_documents() -> None:
    harness = TaskManager()
    for name, config in GROUPS.items():
        for member in config["task"]:
            if isinstance(member, dict):
                assert member.get("task", member.get("group")) in harness.all_tasks
            else:
                assert member in CONFIGS, f"{name}: {member}"
        for metric in config.get("aggregate_metric_list", []):
            assert metric["weight_by_size"] is True


def test_every_family_has_a_readme_that_names_its_tasks() -> None:
    for folder in sorted(path for path in task_configs().iterdir() if path.is_dir()):
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert "### Checklist" in text, folder
        for path in folder.glob("*.yaml"):
            if "group" in CONFIGS[path.stem] and folder.name != "kv_paper":
                assert f"`{path.stem}`" in text, path


def test_general_ability_reads_a_users_folder_or_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub" / "openai" / "gsm8k").mkdir(parents=True)
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    config = load_yaml(task_configs() / "kv_general" / "kv_general.yaml")
    paths = {m.get("task", m.get("group")): m["dataset_path"] for m in config["task"]}
    assert paths["gsm8k"] == str((tmp_path / "hub" / "openai" / "gsm8k").resolve())
    harness = TaskManager()
    for task in ("hellaswag", "triviaqa", "nq_open"):
        own = load_yaml(harness.task_index[task].yaml_path)
        assert paths[task] == own["dataset_path"]
    assert paths["mmlu"] == "cais/mmlu"


def test_general_ability_runs_from_a_folder_without_a_network(shared_data: Path) -> None:
    loaded = TaskManager(include_path=str(task_configs())).load(["kv_general"])["tasks"]
    assert len(loaded) == 57 + 4
    for name in ("gsm8k", "hellaswag", "triviaqa", "nq_open", "mmlu_astronomy"):
        task = loaded[name]
        task.build_all_requests(limit=1, rank=0, world_size=1)
        assert task.config.dataset_path.startswith(str(shared_data.resolve()))
        assert task.instances


def test_data_that_cannot_be_had_is_an_error_and_not_a_missing_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    manager = TaskManager(include_path=str(task_configs()), include_defaults=False)
    with pytest.raises(DataError, match="is not in it"):
        manager.load(["kv_uuid_75"])
