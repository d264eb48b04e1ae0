"""One process at a time for what a command makes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from kv_tasks import console
from kv_tasks.errors import RunError


@contextmanager
def alone(out: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a file or folder that is to be made against other processes that make it.

    The lock is a file beside ``out`` that nothing is left of: a folder cannot be deleted
    everywhere (NFS) while a lock within it is held.

    Args:
        out: what is made.
        wait: for another process that makes it, rather than stop.

    Raises:
        RunError: another process holds it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out.with_name(f".{out.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        if not wait:
            raise RunError(
                f"{out}: another process is making it; wait for it, or choose another --out"
            ) from error
        console.note(f"waiting for another process, which is making {out}")
        lock.acquire()
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
