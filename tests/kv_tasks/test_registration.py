"""Registering copies the tasks into the harness, and an old copy refuses to run."""

import errno
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager
from typer.testing import CliRunner

from kv_tasks import mdqa, registration
from kv_tasks._version import __version__
from kv_tasks.cli import app
from kv_tasks.errors import DataError
from kv_tasks.paths import task_configs
from kv_tasks.registration import MARKER, refuse_stale, register, status, unregister


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a harness's tasks folder with a task of its own in it."""
    folder = tmp_path / "lm_eval" / "tasks"
    (folder / "hellaswag").mkdir(parents=True)
    (folder / "hellaswag" / "hellaswag.yaml").write_text("task: hellaswag\n")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_stale(root: Path, **changes: str) -> Path:
    marker = register(root) / MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | changes))
    return root / "kv_tasks" / "mdqa_pos_synth" / "mdqa_pos_synth_01.yaml"


def test_registering_copies_real_files_and_the_harness_finds_them(root: Path) -> None:
    assert status(root).state == "not registered"
    folder = register(root)
    assert folder == root / "kv_tasks"
    copied = tree(folder)
    assert json.loads(copied.pop(MARKER))["version"] == __version__
    assert copied == tree(task_configs())
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    manager = TaskManager(include_path=str(root), include_defaults=False)
    name = "mdqa_pos_synth_5docs_03"
    assert manager.task_index[name].yaml_path == folder / "mdqa_pos_synth" / f"{name}.yaml"
    assert manager.load([name])["tasks"][name].eval_docs[0]["gold_position"] == 3
    assert status(root).state == "current"


def test_registering_again_replaces_the_copy_and_leaves_nothing_beside_it(root: Path) -> None:
    (register(root) / "left_over.yaml").write_text("task: left_over\n")
    register(root)
    assert not (root / "kv_tasks" / "left_over.yaml").exists()
    assert sorted(path.name for path in root.iterdir()) == ["hellaswag", "kv_tasks"]
    assert [path.name for path in root.parent.iterdir()] == ["tasks"]


@pytest.mark.parametrize("marker", [None, "{}", "not json", '{"distribution": "other"}'])
def test_a_folder_that_is_not_ours_is_left_alone(root: Path, marker: str | None) -> None:
    (root / "kv_tasks").mkdir()
    (root / "kv_tasks" / "mine.yaml").write_text("task: mine\n")
    if marker is not None:
        (root / "kv_tasks" / MARKER).write_text(marker)
    before = tree(root)
    with pytest.raises(DataError, match="left alone"):
        register(root)
    assert unregister(root) is None
    assert tree(root) == before


def test_a_harness_that_has_a_family_itself_gets_no_second_one(root: Path) -> None:
    (root / "mdqa_pos").mkdir()
    with pytest.raises(DataError, match=r"mdqa_pos: the harness has .* --include_path"):
        register(root)
    assert not (root / "kv_tasks").exists()


def test_a_link_to_a_registered_folder_is_not_replaced(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(register(root), elsewhere)
    (root / "kv_tasks").symlink_to(elsewhere)
    with pytest.raises(DataError, match="left alone"):
        register(root)
    assert unregister(root) is None
    assert (elsewhere / MARKER).is_file()


def test_unregistering_removes_our_folder_only(root: Path) -> None:
    before = tree(root)
    register(root)
    assert unregister(root) == root / "kv_tasks"
    assert tree(root) == before
    assert unregister(root) is None


def test_a_failed_swap_brings_the_earlier_copy_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(root)
    before = tree(root)
    replace = Path.replace

    def fail_on_the_draft(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_the_draft)
    with pytest.raises(OSError, match="No space left"):
        register(root)
    assert tree(root) == before


@pytest.mark.parametrize("command", [register, unregister])
def test_a_read_only_harness_gives_one_error_with_the_way_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    register(root)

    def refuse(**_: Any) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(DataError, match="--include_path") as caught:
        command(root)
    assert "Read-only file system" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"version": "0.0.1"}, {"sha256": "0" * 64}])
def test_a_task_from_an_old_copy_refuses_to_run(root: Path, changes: dict[str, str]) -> None:
    source = make_stale(root, **changes)
    assert status(root).state == "stale"
    with pytest.raises(DataError, match="kv-tasks register") as caught:
        mdqa.load(corpus="encyclopedia", documents=5, gold_position=1, config_source=str(source))
    own = status(root).expected
    assert str(own) in str(caught.value)
    assert str(status(root).found) in str(caught.value)
    register(root)
    refuse_stale(str(source))


def test_the_harness_meets_the_refusal(root: Path) -> None:
    make_stale(root, version="0.0.1")
    manager = TaskManager(include_path=str(root), include_defaults=False)
    with pytest.raises(DataError, match=r"0\.0\.1"):
        manager.load(["mdqa_pos_synth_01"])


@pytest.mark.parametrize("source", [None, "inline", "mdqa_pos/mdqa_pos_01.yaml"])
def test_tasks_that_are_not_registered_copies_run(source: str | None) -> None:
    refuse_stale(source)
    refuse_stale(str(task_configs() / "mdqa_pos" / "mdqa_pos_01.yaml"))


def test_the_digest_follows_every_yaml_file_and_no_readme(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(task_configs(), tmp_path / "copy"))
    digest = registration._digest(copy)
    assert digest == registration._digest(task_configs())
    (copy / "mdqa_pos" / "README.md").write_text("other words")
    assert registration._digest(copy) == digest
    with (copy / "mdqa_pos" / "_mdqa_pos_yaml").open("a") as template:
        template.write("# changed\n")
    assert registration._digest(copy) != digest


def test_the_commands_say_what_they_did(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "_harness_tasks", lambda: root)
    runner = CliRunner()
    folder = str(root / "kv_tasks")

    def call(command: str) -> tuple[str, str]:
        result = runner.invoke(app, [command], catch_exceptions=False)
        assert result.exit_code == 0
        return result.stdout.strip(), result.stderr.strip()

    assert call("status")[0] == f"not registered: {folder}"
    assert call("register")[0] == folder
    assert call("status")[0].startswith(f"current: {folder}")
    assert call("path") == (str(task_configs()), "")
    make_stale(root, version="0.0.1")
    assert call("status")[0].startswith(f"stale: {folder} is of 0.0.1")
    out, err = call("path")
    assert out == str(task_configs())
    assert "kv-tasks register" in err
    assert call("unregister")[0] == folder
    assert "nothing is registered" in call("unregister")[1]
