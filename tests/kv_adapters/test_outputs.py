"""A place that cannot be written to is named before the work, and trying it leaves nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kv_adapters.cli import app
from kv_tasks.errors import UsageError
from kv_tasks.files import check_out

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("command", "flag", "place", "message"),
    [
        ("compare", "--json", "folder", "is a folder; name a file"),
        ("compare", "--json", "file/x.json", "file is a file; name a path in a folder"),
        ("compare", "--markdown", "/proc/nope/x.md", "cannot be written"),
        ("report", "--out", "file", "file is a file; name a path in a folder"),
        ("report", "--out", "/proc/nope", "cannot be written"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named_with_its_flag_before_runs_are_read(
    tmp_path: Path, command: str, flag: str, place: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    target = str(tmp_path / place)
    done = CliRunner().invoke(app, [command, "no-base", "no-run", flag, target])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith(f"{flag} {target}: ")
    assert message in str(done.exception)


def test_trying_a_place_leaves_nothing_there(tmp_path: Path) -> None:
    check_out(tmp_path / "new" / "x.json", flag="--json")
    check_out(tmp_path / "new" / "report", folder=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.json").write_text("old")
    check_out(tmp_path / "x.json", flag="--json")
    assert (tmp_path / "x.json").read_text() == "old"
