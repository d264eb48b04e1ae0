"""Files that appear whole or not at all, and the checksums by which they are known."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonlines

from kv_tasks.errors import DataError, UsageError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that becomes ``target`` on success.

    The caller creates a file or a folder at the yielded path. On an exception, a full disk
    or Ctrl-C nothing is left and an existing ``target`` is untouched. A folder replaces
    only a missing or empty folder: what a user already has there is never deleted here.
    """
    # What a link leads to is replaced, not the link.
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    draft = workshop / target.name
    try:
        yield draft
        draft.replace(target)
    except OSError as error:
        # A failed write does not say where; the command line shows this name.
        error.filename = error.filename or str(target)
        raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def sha256_files(root: Path, files: Iterable[Path]) -> str:
    """Return one SHA-256 for several files under ``root``: their names there and contents."""
    lines = (f"{file.relative_to(root)} {sha256_file(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_out(
    target: Path, *, flag: str = "--out", folder: bool = False, new: bool = False
) -> None:
    """Say before the work is done that its result could not be written.

    Args:
        target: what the command writes; nothing is left of the trial.
        flag: that named it, for the message.
        folder: whether that is a folder, which may be there.
        new: whether the folder appears whole, from drafts beside it, as none can that is worked in.

    Raises:
        UsageError: when there is a folder in a file's place, or a file in a folder's, or nothing
            can be written there.
    """
    whole = target.absolute()
    if new and not target.name:
        raise UsageError(f"{flag} {target}: is the folder that you are in; name a new one")
    try:
        if not folder and whole.is_dir():
            raise UsageError(f"{flag} {target}: is a folder; name a file")
        if not folder and whole.exists() and not whole.is_file():
            raise UsageError(f"{flag} {target}: is a device or a pipe; name a file")
        there = next(p for p in (*([whole] if folder else []), *whole.parents) if p.exists())
        if not there.is_dir():
            raise UsageError(f"{flag} {target}: {there} is a file; name a path in a folder")
        # Not os.access: to root everything looks writable.
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise UsageError(f"{flag} {target}: cannot be written ({error.strerror})") from error


def read_text(file: Path, option: str) -> str:
    """Return the text of a user's UTF-8 file, without the mark that some editors begin it with.

    Args:
        file: to read.
        option: that named it, for the message.

    Raises:
        DataError: when the file cannot be read as UTF-8 text.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{option} {file}: not a readable UTF-8 text file ({error}); name a .txt file"
        ) from error


def write_text(target: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with Unix line ends, atomically."""
    with atomic_path(target) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def write_jsonl(target: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSON lines, atomically and in constant memory; return their number."""
    count = 0
    with atomic_path(target) as draft, jsonlines.open(draft, "w") as writer:
        for row in rows:
            writer.write(row)
            count += 1
    return count


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
