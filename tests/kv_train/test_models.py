"""Base models: made once by whoever comes first, read once a command."""

import multiprocessing
import shutil
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from kv_tasks import files
from kv_tasks.errors import ModelError
from kv_train import models
from kv_train.alone import alone
from kv_train.models import base_checksum


def make(target: Path, holds: Event, may_end: Event) -> None:
    with alone(target):
        holds.set()
        assert may_end.wait(60)
        target.mkdir()
        (target / "config.json").write_text("{}")


def test_who_comes_second_waits_and_takes_what_the_first_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(models, "_fetch", lambda *_: pytest.fail("downloaded a second time"))
    spawn = multiprocessing.get_context("spawn")
    holds, may_end = spawn.Event(), spawn.Event()
    target = tmp_path / "models" / models.DEMO
    first = spawn.Process(target=make, args=(target, holds, may_end))
    first.start()
    assert holds.wait(60)
    told: list[str] = []

    def noted(message: str) -> None:
        told.append(message)
        may_end.set()

    monkeypatch.setattr(models.console, "note", noted)
    assert models.resolve_model(models.DEMO) == target
    first.join()
    assert told == [f"waiting for another process, which is making {target}"]
    assert [path.name for path in target.parent.iterdir()] == [models.DEMO]


def test_weights_are_read_once_until_they_change(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    read: list[str] = []
    sha256_file = files.sha256_file

    def counted(path: Path) -> str:
        read.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(files, "sha256_file", counted)
    once = base_checksum(base)
    assert read
    read.clear()
    assert base_checksum(base) == once
    assert read == []
    with (base / "config.json").open("a") as config:
        config.write("\n")
    assert base_checksum(base) != once


def test_a_tokenizer_that_would_be_read_without_its_chat_template_is_refused(
    tiny_base: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    assert models.resolve_model(str(base)) == base
    (base / "tekken.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tekken\.json: would be read in place of"):
        models.resolve_model(str(base))


def test_what_the_hubs_transport_raises_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, **options: Any) -> str:
        assert "tekken.json" in options["ignore_patterns"]
        raise ValueError("")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(ModelError, match=r"'org/name': .* did not give it \(ValueError\); check"):
        models.resolve_model("org/name")


@pytest.mark.parametrize("name", ["~nobody-of-that-name/model", "~/no-such-folder"])
def test_a_home_that_is_not_there_is_no_such_folder(name: str) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        models.resolve_model(name)
