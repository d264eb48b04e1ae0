"""Whose an adapter's folder and work folder are: reused, refused, replaced, never lost."""

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from kv_tasks.errors import DataError, RunError, UsageError
from kv_tasks.files import sha256_file
from kv_train.adapter import WEIGHTS, Base, read_manifest
from kv_train.cli import app
from kv_train.recipe_files import load_recipe
from kv_train.run import _identity, run


def test_a_finished_adapter_is_reused_and_another_is_not_overwritten(
    own_adapter: Path, tiny_recipe: Path
) -> None:
    written = (own_adapter / WEIGHTS).stat().st_mtime_ns
    run(load_recipe(str(tiny_recipe)), own_adapter)
    assert (own_adapter / WEIGHTS).stat().st_mtime_ns == written
    other = load_recipe(str(tiny_recipe), ["data.seed=1"])
    with pytest.raises(RunError, match="--overwrite"):
        run(other, own_adapter)
    assert (own_adapter / WEIGHTS).stat().st_mtime_ns == written
    run(other, own_adapter, overwrite=True)
    assert (own_adapter / WEIGHTS).stat().st_mtime_ns != written


@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer.json"])
def test_another_tokenizer_or_template_is_another_training(
    own_adapter: Path, tiny_recipe: Path, tiny_base: Path, tmp_path: Path, file: str
) -> None:
    changed = shutil.copytree(tiny_base, tmp_path / "base")
    recipe = load_recipe(str(tiny_recipe), [f"model={changed}"])
    assert run(recipe, tmp_path / "out")
    with (changed / file).open("a") as stream:
        stream.write("\n")
    with pytest.raises(RunError, match="is not the adapter of this recipe"):
        run(recipe, tmp_path / "out")


def test_another_base_under_the_same_name_is_another_training(
    tiny_recipe: Path, tiny_base: Path
) -> None:
    recipe = load_recipe(str(tiny_recipe))
    one, other = (
        _identity(recipe, Base("m", None, checksum), tiny_base, [[]]) for checksum in ("a", "b")
    )
    assert one != other


@pytest.mark.parametrize("options", [[], ["--seeds", "0,1"]])
def test_the_folder_that_the_user_is_in_is_refused(tiny_recipe: Path, options: list[str]) -> None:
    done = CliRunner().invoke(app, ["run", str(tiny_recipe), "--out", ".", *options])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception) == "--out .: is the folder that you are in; name a new one"


def test_what_is_no_adapter_is_never_deleted(tiny_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(tiny_recipe))
    thesis = tmp_path / "precious" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(RunError, match="precious: exists and is no finished adapter"):
        run(recipe, thesis.parent, overwrite=True)
    # Nor what lies where the work would go.
    thesis.parent.rename(tmp_path / "out.partial")
    with pytest.raises(RunError, match=r"out\.partial: .* holds something else"):
        run(recipe, tmp_path / "out", overwrite=True)
    assert [path.name for path in (tmp_path / "out.partial").iterdir()] == [thesis.name]


def test_a_place_where_nothing_can_be_written_is_named_before_anything_is_loaded(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "adapter"
    done = CliRunner().invoke(app, ["run", str(tiny_recipe), "--out", str(out)])
    assert str(done.exception) == f"--out {out}: {out.parent} is a file; name a path in a folder"


def test_two_trainings_never_share_a_folder(tiny_recipe: Path, tmp_path: Path) -> None:
    other = FileLock(tmp_path / ".out.lock")
    with other, pytest.raises(RunError, match=r"out: another process is making it"):
        run(load_recipe(str(tiny_recipe)), tmp_path / "out")
    assert not (tmp_path / "out.partial").exists()
    made = run(load_recipe(str(tiny_recipe)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


def test_a_failed_overwrite_leaves_the_old_adapter(own_adapter: Path, tiny_recipe: Path) -> None:
    written = sha256_file(own_adapter / WEIGHTS)
    broken = load_recipe(str(tiny_recipe), ["data.seed=1", "training.max_length=16"])
    with pytest.raises(DataError, match="more than the limit of 16"):
        run(broken, own_adapter, overwrite=True)
    assert sha256_file(own_adapter / WEIGHTS) == written


def test_a_kill_after_the_last_rename_leaves_nothing_behind(
    own_adapter: Path, tiny_recipe: Path
) -> None:
    work = own_adapter.with_name(f"{own_adapter.name}.partial")
    (work / "checkpoint-4").mkdir(parents=True)
    (work / "identity").write_text(read_manifest(own_adapter).identity)
    recipe = load_recipe(str(tiny_recipe))
    # What looks like that may be the work of one that replaces the adapter just now.
    other = FileLock(own_adapter.with_name(f".{own_adapter.name}.lock"))
    with other, pytest.raises(RunError, match="another process is making it"):
        run(recipe, own_adapter)
    assert work.exists()
    run(recipe, own_adapter)
    assert not work.exists()


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(
    own_adapter: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    link = tmp_path / "latest"
    link.symlink_to(own_adapter)
    recipe = load_recipe(str(tiny_recipe), ["data.seed=1"])
    assert run(recipe, link, overwrite=True) == own_adapter.resolve()
    assert link.is_symlink()
    assert read_manifest(link).identity == read_manifest(own_adapter).identity
    assert {path.name for path in tmp_path.iterdir()} == {link.name, own_adapter.name}


def test_nothing_of_a_training_that_took_no_step_ends_up_in_another(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    logs = tmp_path / "out.partial" / "runs"
    logs.mkdir(parents=True)
    (logs / "events.out.tfevents.1").write_text("of another recipe")
    (logs.parent / "identity").write_text("another")
    made = run(load_recipe(str(tiny_recipe)), tmp_path / "out")
    assert not (made / "runs").exists()


def test_steps_of_another_training_are_never_continued_or_deleted(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "out.partial" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    (checkpoint.parent / "identity").write_text("another")
    with pytest.raises(RunError, match="unfinished training of another recipe"):
        run(load_recipe(str(tiny_recipe)), tmp_path / "out")
    assert checkpoint.is_dir()
