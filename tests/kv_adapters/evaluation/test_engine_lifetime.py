"""A command that is killed takes its engine with it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


def engines(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return all processes below a command once one of them computes."""
    while process.poll() is None:
        below = psutil.Process(process.pid).children(recursive=True)
        if any(child.cpu_times().user > 1 and "Worker" in child.name() for child in below):
            return below
        time.sleep(0.1)
    raise AssertionError("it ended before its engine was up")


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_no_engine_is_left_behind(
    served_base: Path, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "kv_adapters.cli", "eval", "--base", str(served_base)]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [*command, "--tasks", "kv_simple_32dicts", "--limit", "100", "--out", tmp_path / "out"],
            stdout=said, stderr=said,
        )  # fmt: skip
        below = engines(process)
        process.send_signal(how)
        assert process.wait(timeout=60) == code
    _, alive = psutil.wait_procs(below, timeout=30)
    assert [child.name() for child in alive] == []
    assert not list(tmp_path.rglob("results_*.json"))
