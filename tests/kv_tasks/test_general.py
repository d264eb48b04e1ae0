"""A data set of the hub comes from the user's folder where it is there."""

from pathlib import Path

import datasets
import pytest

from kv_tasks.general import dataset_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    return tmp_path


def test_without_a_folder_the_name_goes_to_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KV_TASKS_DATA", raising=False)
    assert dataset_path("openai/gsm8k") == "openai/gsm8k"


@pytest.mark.parametrize("value", ["", "/no/such/folder"])
def test_an_empty_or_missing_folder_changes_nothing(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_DATA", value)
    assert dataset_path("openai/gsm8k") == "openai/gsm8k"


def test_a_data_set_in_the_folder_is_taken_and_others_are_not(folder: Path) -> None:
    (folder / "hub" / "openai" / "gsm8k").mkdir(parents=True)
    (folder / "hub" / "openai" / "file").write_text("no folder")
    assert dataset_path("openai/gsm8k") == str(folder / "hub" / "openai" / "gsm8k")
    assert dataset_path("openai/other") == "openai/other"
    assert dataset_path("openai/file") == "openai/file"


def test_a_relative_folder_gives_an_absolute_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "data" / "hub" / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("KV_TASKS_DATA", "data")
    assert dataset_path("org/name") == str((folder / "data" / "hub" / "org" / "name").resolve())


def test_the_datasets_library_reads_what_is_returned(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    (folder / "hub" / "org" / "name").mkdir(parents=True)
    (folder / "hub" / "org" / "name" / "test.jsonl").write_text('{"question": "why"}\n')
    found = datasets.load_dataset(dataset_path("org/name"), cache_dir=str(folder / "cache"))
    assert found["test"]["question"][:] == ["why"]
