"""Copies of the task YAML inside the installed harness, so that task names work as they are.

The harness finds tasks of its own folder without ``--include_path``. A copy can grow old: it
carries a marker with the version and digest it was made from, and a task that is loaded from
an old copy refuses to run. Only folders with the marker are ever replaced or removed.
"""

import errno
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from kv_tasks._version import DISTRIBUTION, __version__
from kv_tasks.errors import DataError, MissingPackageError
from kv_tasks.paths import task_configs

FOLDER = "kv_tasks"
MARKER = "registration.json"
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Marker:
    """What a registered copy was made from; ``sha256`` is of the YAML tree."""

    distribution: str
    version: str
    sha256: str

    def __str__(self) -> str:
        """Return the version and the beginning of the digest, as messages show them."""
        return f"{self.version} ({self.sha256[:12]})"


@dataclass(frozen=True)
class Status:
    """Whether a copy is registered in ``folder``, and whether it is that of this package."""

    folder: Path
    found: Marker | None
    expected: Marker

    @property
    def state(self) -> Literal["not registered", "current", "stale"]:
        """The finding in a word or two."""
        if self.found is None:
            return "not registered"
        return "current" if self.found == self.expected else "stale"


def status(tasks_root: Path | None = None) -> Status:
    """Compare the registered copy, if any, with this package.

    Args:
        tasks_root: the harness's ``tasks`` folder; that of the installed harness by default.
    """
    folder = (tasks_root or _harness_tasks()) / FOLDER
    return Status(folder, _marker_in(folder), _own_marker())


def register(tasks_root: Path | None = None) -> Path:
    """Copy the task YAML into the harness, in place of an earlier copy, and return the folder.

    Raises:
        DataError: when a folder of that name is not one of ours, or cannot be written, or the
            harness has a family of ours itself.
    """
    folder = (tasks_root or _harness_tasks()) / FOLDER
    if os.path.lexists(folder) and _marker_in(folder) is None:
        raise DataError(
            f"{folder}: exists without our {MARKER}, so it is left alone; move it away, or use "
            '`lm_eval --include_path "$(kv-tasks path)"`'
        )
    for family in sorted({path.parent.name for path in task_configs().glob("*/*.yaml")}):
        if (folder.parent / family).is_dir():
            raise DataError(
                f"{folder.parent / family}: the harness has tasks of these names already, and "
                'would mix both; use `lm_eval --include_path "$(kv-tasks path)"`, which takes ours'
            )
    with _workshop(folder) as workshop:
        draft = workshop / "new"
        shutil.copytree(task_configs(), draft, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        (draft / MARKER).write_text(json.dumps(asdict(_own_marker()), indent=2) + "\n", "utf-8")
        _swap(draft, folder, workshop / "old")
    return folder


def unregister(tasks_root: Path | None = None) -> Path | None:
    """Remove the registered copy and return its folder; None when nothing is registered.

    Raises:
        DataError: when the folder cannot be removed.
    """
    folder = (tasks_root or _harness_tasks()) / FOLDER
    if _marker_in(folder) is None:
        return None
    with _workshop(folder) as workshop:
        folder.replace(workshop / "old")
    return folder


def refuse_stale(config_source: str | None) -> None:
    """Refuse a task whose YAML is a registered copy of another version of this package.

    Args:
        config_source: path of the task's YAML, which the harness passes in the metadata; None
            or ``inline`` where a task has no file.

    Raises:
        DataError: naming both versions and the command that mends it.
    """
    if config_source is None:
        return
    # A copy holds one folder a family, so the marker lies two levels above a task's YAML.
    folder = Path(config_source).parent.parent
    found = _marker_in(folder)
    if found is None or found == (own := _own_marker()):
        return
    raise DataError(
        f"{folder}: registered copy is of {DISTRIBUTION} {found}, installed is {own}; "
        "run `kv-tasks register`"
    )


def _harness_tasks() -> Path:
    # find_spec locates the package without running it: importing the harness takes seconds.
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError("lm_eval: not installed; run `pip install lm-eval`")
    return Path(spec.submodule_search_locations[0]) / "tasks"


def _own_marker() -> Marker:
    return Marker(DISTRIBUTION, __version__, _digest(task_configs()))


def _marker_in(folder: Path) -> Marker | None:
    """Return the marker of a folder that is ours, None for any other or none."""
    if folder.is_symlink():
        return None
    try:
        marker = Marker(**json.loads((folder / MARKER).read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
    return marker if marker.distribution == DISTRIBUTION else None


def _digest(tree: Path) -> str:
    """Return the SHA-256 over the names and contents of a tree's YAML files."""
    digest = hashlib.sha256()
    # Included templates are named _..._yaml without a dot, hence the pattern.
    for path in sorted(tree.rglob("*yaml"), key=lambda p: p.relative_to(tree).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(tree).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


@contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder on the same disk that vanishes afterwards."""
    try:
        # Beside the harness's tasks, not among them: what a killed run leaves there would be
        # read as a second set of tasks.
        workshop = Path(tempfile.mkdtemp(prefix=f".{FOLDER}.", dir=folder.parent.parent))
        try:
            yield workshop
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); use "
            '`lm_eval --include_path "$(kv-tasks path)"` instead of registering'
        ) from error


def _swap(draft: Path, folder: Path, old: Path) -> None:
    """Put ``draft`` in place of ``folder``; on failure the earlier folder is back."""
    replaced = folder.exists()
    if replaced:
        folder.replace(old)
    try:
        draft.replace(folder)
    except BaseException:
        if replaced:
            old.replace(folder)
        raise
