"""A user's own tasks, of ``eval --include-path``: what is there, and what it may hold."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kv_adapters.evaluation.task_names import config_checksum
from kv_tasks import console
from kv_tasks.errors import UsageError, reason_of
from kv_tasks.files import sha256_files


def included(folder: Path | None, names: Sequence[str], out: Path) -> dict[str, str]:
    """Return the checksum of the folder, for those names asked for that are tasks in it.

    Args:
        folder: with YAML files as the harness reads them, None for none.
        names: of tasks and groups.
        out: where results go, which are no part of the tasks if they lie in the folder.

    Raises:
        UsageError: the folder holds none of the names, or one of this project's, or a group in
            it has a task of this project as a member: a group is asked in one pass, by the
            protocol of the harness's own tasks.
    """
    if folder is None:
        return {}
    there = _tasks_in(folder)
    members = _members_in(folder)
    if ours := sorted(name for name in there if config_checksum(name) is not None):
        raise UsageError(
            f"--include-path {folder}: {ours[0]} is a task of this project; give yours another name"
        )
    asked = [name for name in names if name in there]
    if not asked:
        raise UsageError(
            f"--include-path {folder}: holds none of the tasks {', '.join(names)}; it has "
            f"{', '.join(sorted(there)) or 'none at all'}"
        )
    for group in asked:
        for member in sorted(_within(group, members)):
            if config_checksum(member) is not None:
                raise UsageError(
                    f"--tasks {group}: this group of --include-path {folder} holds {member}, a "
                    "task of this project; take it out and name it beside: "
                    f"--tasks {group},{member}"
                )
    return dict.fromkeys(asked, _checksum(folder, out))


def _tasks_in(folder: Path) -> frozenset[str]:
    """Return the names of tasks and groups, as the harness finds them."""
    from lm_eval.tasks import TaskManager

    found = folder.is_dir() and TaskManager(include_path=str(folder), include_defaults=False)
    if not found or not (found.all_tasks or any(_yaml(folder))):
        raise UsageError(
            f"--include-path {folder}: no folder with YAML files of tasks; name the one of yours"
        )
    return frozenset(found.all_tasks)


def _members_in(folder: Path) -> dict[str, Sequence[Any]]:
    """Return the members of each group; say which files the harness passes over without a word."""
    from lm_eval.tasks._yaml_loader import load_yaml

    members: dict[str, Sequence[Any]] = {}
    for file in _yaml(folder):
        try:
            config = load_yaml(file, resolve_func=False)
        except ValueError:
            continue  # YAML, and no task
        except Exception as error:  # noqa: BLE001 - includes are files of any kind
            console.warn(f"{file}: no task, since it cannot be read: {reason_of(error)}")
            continue
        if isinstance(config.get("group"), str):
            members.setdefault(config["group"], _listed(config.get("task")))
    return members


def _yaml(folder: Path) -> Iterator[Path]:
    return (file for file in _files(folder) if file.suffix == ".yaml")


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files but hidden ones, in order."""
    hidden = (".", "__pycache__")
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.is_file() and not any(part.startswith(hidden) for part in parts):
            yield file


def _within(group: str, members: dict[str, Sequence[Any]]) -> set[str]:
    """Return the names of all members, and of the members of groups among them."""
    found: set[str] = set()
    waiting = list(members.get(group, ()))
    while waiting:
        member = waiting.pop()
        if isinstance(member, dict):
            waiting += _listed(member.get("task"))
        elif isinstance(member, str) and member not in found:
            found.add(member)
            waiting += members.get(member, ())
    return found


def _listed(task: Any) -> Sequence[Any]:
    return task if isinstance(task, list) else [task]


def _checksum(folder: Path, out: Path) -> str:
    """Return a SHA-256 of all files of the folder, data beside the tasks included."""
    files: Iterable[Path] = _files(folder)
    if folder.resolve() in out.resolve().parents:
        files = [file for file in files if not file.resolve().is_relative_to(out.resolve())]
    return sha256_files(folder, files)
