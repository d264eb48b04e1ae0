"""The server as a child process, played by small scripts: what ends it, and what is left."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from kv_adapters.serving import process as serve_process
from kv_adapters.serving.plan import Server, free_port
from kv_adapters.serving.process import cause, running
from kv_tasks import console
from kv_tasks.errors import ServiceError, UsageError


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            "(Worker pid=7) WARNING 11-23 09:43 [a.py:1] limits can cause OSError: too many files\n"
            "(Worker pid=7) ERROR 11-23 09:43:53 [a.py:1063]     raise ValueError(\n"
            "(Worker pid=7) ERROR 11-23 09:43:53 [a.py:1063] ValueError: no memory\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n"
            "nanobind: leaked 4 instances!\n",
            "ValueError: no memory",
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "  Value error, max_model_len (9) is too great\n    For further information visit x\n",
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig "
            "Value error, max_model_len (9) is too great",
        ),
        ("usage: x\napi_server.py: error: argument --y\n", "api_server.py: error: argument --y"),
        ("".join(f"line {n}\n" for n in range(9)), "line 4 / line 5 / line 6 / line 7 / line 8"),
        ("", "it printed nothing"),
    ],
)  # fmt: skip
def test_the_first_error_of_a_log_is_the_cause(log: str, expected: str) -> None:
    assert cause(log) == expected


SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ValueError: too stubborn", flush=True)
time.sleep({seconds})
"""


def stubborn(seconds: float) -> list[str]:
    return [sys.executable, "-c", STUBBORN.format(seconds=seconds)]


def members(group: int) -> list[int]:
    """Return the living processes of a group."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if process.status() != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == group:
                found.append(process.pid)
    return found


def ended(group: int) -> bool:
    """Whether a group is gone; a killed process may take a moment."""
    deadline = time.monotonic() + 5
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not members(group)


def test_a_server_that_does_not_end_is_killed_with_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve_process, "GRACE", 0.5)
    log = tmp_path / "logs" / "server.log"
    with running(stubborn(600), os.environ, log) as child:
        group = child.process.pid
        while len(members(group)) < 2:
            time.sleep(0.05)
    assert child.process.returncode == -9
    assert ended(group)
    assert "stubborn" in log.read_text()


def test_a_server_that_ends_by_itself_is_one_error(tmp_path: Path) -> None:
    log, server = tmp_path / "log", Server(tmp_path, "tiny", {}, port=free_port("127.0.0.1", 0))
    with (
        pytest.raises(ServiceError, match="ended with exit code 0: ValueError: too stubborn; its"),
        running(stubborn(0), os.environ, log) as child,
    ):
        serve_process.wait_until_ready(child, server, timeout=60)
    assert ended(child.process.pid)


def test_what_was_logged_before_is_not_why_a_server_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = (
        "import time; print('KeyError: early', flush=True); time.sleep(1); print('OSError: late')"
    )
    with (
        pytest.raises(ServiceError, match="ended with exit code 0: OSError: late; its log"),
        running([sys.executable, "-c", script], os.environ, log) as child,
    ):
        while "early" not in log.read_text():
            time.sleep(0.05)
        serve_process.wait_for_end(child)


def test_a_server_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    server = Server(tmp_path, "tiny", {}, port=free_port("127.0.0.1", 0))
    with (
        pytest.raises(ServiceError, match=r"not ready after 0\.1 s; raise --timeout"),
        running(SLEEPER, os.environ, tmp_path / "log") as child,
    ):
        serve_process.wait_until_ready(child, server, timeout=0.1)
    assert ended(child.process.pid)


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="--log .*: cannot be written"),
        running(["true"], os.environ, tmp_path),
    ):
        pass


def test_a_closed_terminal_leaves_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody_reads(_: str) -> None:
        raise SystemExit(1)  # as rich does where the pipe is broken

    with running(SLEEPER, os.environ, tmp_path / "log") as child:
        monkeypatch.setattr(console, "note", nobody_reads)
    assert child.process.returncode == -15
    assert ended(child.process.pid)
