"""The server as a child process: started, waited for, and ended with all that it started."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO, Any

from kv_adapters.serving.plan import Server
from kv_tasks import console
from kv_tasks.errors import ServiceError, UsageError

# Seconds: between two looks at the server, for an answer, for a clean end, for its last process.
POLL = 0.5
ANSWER = 10
GRACE = 10
LAST = 2
# An exception's or argparse's own line, after what vLLM puts before the lines of its log.
_ERROR = re.compile(
    r"(?:\(\w+ pid=\d+\) )?(?:ERROR \S+ \S+ \[\S+\] )?([\w.]+(?:Error|Exception|: error): .+)"
)
_LONGEST = 500


@dataclass(frozen=True)
class Child:
    """A process, the leader of a group of its own, and the file that it prints to."""

    process: subprocess.Popen[bytes]
    log: Path


def end_on_signals() -> None:
    """Let SIGTERM, and a terminal that closes, unwind this process and exit with 0."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # `nohup` ignores the second, and means it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: sys.exit(0))


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], log: Path | None
) -> Iterator[Child]:
    """Start a server; whatever ends the block ends all its processes.

    Raises:
        UsageError: the log cannot be written.
    """
    with _open_log(log) as stream:
        console.note(f"starting vLLM; its log: {stream.name}")
        # In a session of its own Ctrl-C reaches this process alone, which then ends the group.
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Child(process, Path(stream.name))
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process and its group to end, and kill what is left of them after a while."""
    try:
        if process.poll() is None:
            _say("stopping vLLM; Ctrl-C kills it at once")
        # All of them: while it loads, vLLM's first process waits for the others, deaf to signals.
        _signal(process, signal.SIGTERM)
        process.wait(GRACE)
        _wait_for_group(process.pid)
    except subprocess.TimeoutExpired:
        _say(f"vLLM did not end within {GRACE} s and is killed")
    finally:
        _signal(process, signal.SIGKILL)
        process.wait()


def wait_until_ready(child: Child, server: Server, timeout: float) -> int:
    """Return the server's context in tokens as soon as it answers for all its models.

    Raises:
        ServiceError: it ended, was not ready within ``timeout`` seconds, or serves other models.
    """
    started = time.monotonic()
    what = f"vLLM loads {server.base_name} and {len(server.adapters)} adapter(s)"
    with console.err.status(what) as line:
        while _get(server, "/health") is None:
            elapsed = time.monotonic() - started
            line.update(f"{what}: {elapsed:.0f} s")
            if child.process.poll() is not None:
                raise _ended(child)
            if elapsed > timeout:
                raise ServiceError(
                    f"vLLM was not ready after {timeout:g} s; raise --timeout, or see its log: "
                    f"{child.log}"
                )
            time.sleep(POLL)
    context = _context(server)
    console.note(f"ready after {time.monotonic() - started:.0f} s")
    return context


def wait_for_end(child: Child) -> None:
    """Stay until a signal ends this process.

    Raises:
        ServiceError: the server ended by itself.
    """
    # What was logged before did not end it.
    read = child.log.stat().st_size
    child.process.wait()
    raise _ended(child, since=read)


def cause(log: str) -> str:
    """Return the line of a log that says why vLLM ended: its first error, else its last lines.

    The first, since what follows is each process reporting the end of another.
    """
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if found := _ERROR.match(line):
            # Pydantic names the value on the line below.
            below = lines[number + 1 : number + 2]
            more = [text.strip() for text in below if text.startswith("  ")]
            return " ".join([found[1], *more])[:_LONGEST]
    return " / ".join(lines[-5:])[-_LONGEST:] or "it printed nothing"


def _ended(child: Child, since: int = 0) -> ServiceError:
    code = child.process.wait()
    how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
    reason = cause(child.log.read_bytes()[since:].decode(errors="replace"))
    return ServiceError(f"vLLM ended {how}: {reason}; its log: {child.log}")


def _context(server: Server) -> int:
    found = {model["id"]: model for model in (_get(server, "/v1/models") or {}).get("data", [])}
    missing = [name for name in server.models if name not in found]
    if missing:
        raise ServiceError(
            f"{server.url}: serves {', '.join(found) or 'nothing'}, without {', '.join(missing)}; "
            "is another server on this port?"
        )
    return int(found[server.base_name]["max_model_len"])


def _get(server: Server, path: str) -> dict[str, Any] | None:
    """Return a JSON answer, {} for an empty one, None where there is none yet."""
    # No proxy between, whatever the environment says.
    connection = HTTPConnection(server.connect_host, server.port, timeout=ANSWER)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {server.api_key}"})
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body or b"{}") if answer.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _signal(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, number)


def _wait_for_group(group: int) -> None:
    """Give the last of a group time to remove the shared memory of the others."""
    deadline = time.monotonic() + LAST
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(POLL / 5)


def _say(message: str) -> None:
    """Print a note if anybody still reads: the terminal may be what has just ended."""
    with suppress(OSError, SystemExit):  # rich exits where a pipe is broken
        console.note(message)


def _open_log(chosen: Path | None) -> IO[bytes]:
    if chosen is None:
        return tempfile.NamedTemporaryFile(prefix="kv-adapters-serve-", suffix=".log", delete=False)
    try:
        chosen.parent.mkdir(parents=True, exist_ok=True)
        return chosen.open("wb")
    except OSError as error:
        raise UsageError(f"--log {chosen}: cannot be written ({error.strerror})") from error
