"""How a command ends: with one line where a person chose a path, with a traceback otherwise."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from kv_tasks import console
from kv_tasks.errors import DataError, MissingPackageError, UsageError
from kv_tasks.files import check_out, write_text


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


def test_what_a_link_leads_to_is_written_and_no_pipe_is_replaced(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(tmp_path / "file")
    write_text(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="--out .*pipe: is a device or a pipe; name a file"):
        check_out(pipe)


@pytest.mark.parametrize("error", [ConnectionRefusedError(111, "refused"), ValueError("a slip")])
def test_what_no_path_explains_keeps_its_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = ended(error, monkeypatch, capsys)
    assert code == 3
    assert said.startswith("Traceback ")


def test_a_reader_that_leaves_does_not_change_the_exit_code() -> None:
    """As with ``| head``: Rich's own way out, 1, would say that a check failed."""
    program = (
        "from kv_tasks import console\n"
        "for n in range(9): console.out.print('a line'); console.err.print('progress')\n"
        "raise SystemExit(2)\n"
    )
    done = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.stdout and done.stderr
    done.stdout.close()
    said = done.stderr.read()
    assert done.wait() == 2
    assert said == b"progress\n" * 9


def test_a_command_may_be_started_without_any_output() -> None:
    program = "from kv_tasks import console; console.result('a line'); raise SystemExit(2)"
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{program}" >&-'], check=False)
    assert done.returncode == 2


def test_a_named_failure_is_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = DataError("rows.jsonl, line 2: not an object; [fetch] it")
    assert ended(error, monkeypatch, capsys) == (3, f"error: {error}\n")


def test_wrong_usage_is_two_or_what_the_program_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(typer.BadParameter("no"), monkeypatch, capsys)[0] == 2


def test_a_missing_package_is_named_even_by_an_import_that_names_none() -> None:
    """transformers says only that it could not import a module, and why in the error's cause."""
    with (
        pytest.raises(MissingPackageError, match=r'peft is not .*pip install "\.\[train\]"'),
        console.requires("train"),
    ):
        try:
            raise ModuleNotFoundError("No module named 'peft'", name="peft")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("Could not import module 'Trainer'") from error
    with pytest.raises(MissingPackageError, match="Trainer"), console.requires("train"):
        raise ModuleNotFoundError("Could not import module 'Trainer'")


def test_a_log_gets_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 20.0, 61.0, 61.0, 100.0, 122.0, 122.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))

    assert list(console.progress("abcd", total=4, named="prompts")) == list("abcd")

    assert capsys.readouterr().err.splitlines() == ["1 of 4 prompts done", "3 of 4 prompts done"]


def test_a_name_between_colons_is_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    console.result("ft:gpt-3.5-turbo-0125:acme:robot:9abc")
    assert capsys.readouterr().out == "ft:gpt-3.5-turbo-0125:acme:robot:9abc\n"


def test_of_several_processes_every_one_says_why_it_ends() -> None:
    """The first of them may wait for one that is gone without a word."""
    done = subprocess.run(
        [sys.executable, "-m", "kv_train", "run", "no-such-recipe"],
        env={**os.environ, "RANK": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert not done.stdout
