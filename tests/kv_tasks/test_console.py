"""How a command ends: with one line where a person chose a path, with a traceback otherwise."""

import errno
import os
import sys
from pathlib import Path

import pytest
import typer

from kv_tasks import console
from kv_tasks.errors import DataError
from kv_tasks.files import write_text


def ended(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Return the exit code and standard error of a program that raises ``error``."""
    app = console.program("A program.")

    @app.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["program"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stop:
        console.run(app)
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["EISDIR", "ENOTDIR", "EEXIST", "ENOENT", "EACCES", "ENOSPC", "EROFS", "ENAMETOOLONG"]
)
def test_a_path_that_cannot_be_used_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = getattr(errno, name)
    error = OSError(number, os.strerror(number), "out/train.jsonl")
    code, said = ended(error, monkeypatch, capsys)
    assert code == 3
    assert said.startswith(f"error: out/train.jsonl: {os.strerror(number)}; ")
    assert said.count("\n") == 1


def test_a_file_that_cannot_take_its_place_is_named_and_not_its_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path, "text")
    _, said = ended(caught.value, monkeypatch, capsys)
    assert said == f"error: {tmp_path}: Is a directory; name a file\n"


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), ValueError("a slip")])
def test_what_no_path_explains_keeps_its_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = ended(error, monkeypatch, capsys)
    assert code == 3
    assert said.startswith("Traceback ")


def test_a_named_failure_is_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = DataError("rows.jsonl, line 2: not an object; [fetch] it")
    assert ended(error, monkeypatch, capsys) == (3, f"error: {error}\n")


def test_wrong_usage_is_two_or_what_the_program_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(typer.BadParameter("no"), monkeypatch, capsys)[0] == 2
