"""A user's own tasks, of ``eval --include-path``: what is there, and what it may hold."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kv_adapters.evaluation.task_names import config_checksum
from kv_tasks.errors import UsageError, reason_of
from kv_tasks.files import sha256_files


def included(folder: Path | None, names: Sequence[str]) -> dict[str, str]:
    """Return the checksum of the folder, for those names asked for that are tasks in it.

    Args:
        folder: with YAML files as the harness reads them, None for none.
        names: of tasks and groups.

    Raises:
        UsageError: a file cannot be read, the folder holds none of the names or one of this
            project's, or a group in it has a task of this project as a member: a group is asked
            in one pass, by the protocol of the harness's own tasks.
    """
    if folder is None:
        return {}
    there, members = _tasks_in(folder), _members_in(folder)
    if ours := sorted(name for name in there if config_checksum(name) is not None):
        raise UsageError(
            f"--include-path {folder}: {ours[0]} is a task of this project; give yours another name"
        )
    asked = [name for name in names if name in there]
    if not asked:
        raise UsageError(
            f"--include-path {folder}: holds none of the tasks {', '.join(names)}; it has "
            f"{', '.join(sorted(there))}"
        )
    for group in asked:
        for member in _leaves(members.get(group, ()), members):
            if config_checksum(member) is not None:
                raise UsageError(
                    f"--tasks {group}: this group of --include-path {folder} holds {member}, a "
                    "task of this project; take it out and name it beside: "
                    f"--tasks {group},{member}"
                )
    return dict.fromkeys(asked, _checksum(folder))


def _tasks_in(folder: Path) -> frozenset[str]:
    """Return the names of tasks and groups, as the harness finds them."""
    from lm_eval.tasks import TaskManager

    found = folder.is_dir() and TaskManager(include_path=str(folder), include_defaults=False)
    if not found or not (found.all_tasks or _yaml(folder)):
        raise UsageError(
            f"--include-path {folder}: no folder with YAML files of tasks; name the one of yours"
        )
    return frozenset(found.all_tasks)


def _members_in(folder: Path) -> dict[str, Sequence[Any]]:
    """Return the members of each group; the harness passes over a file that it cannot read."""
    from lm_eval.tasks._yaml_loader import load_yaml

    members: dict[str, Sequence[Any]] = {}
    for file in _yaml(folder):
        try:
            config = load_yaml(file, resolve_func=False)
        except Exception as error:
            raise UsageError(
                f"--include-path {folder}: {file}: cannot be read: {reason_of(error)}"
            ) from error
        if isinstance(config, dict) and isinstance(config.get("group"), str):
            members[config["group"]] = _listed(config.get("task"))
    return members


def _yaml(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))


def _leaves(listed: Sequence[Any], members: dict[str, Sequence[Any]]) -> Iterator[str]:
    """Yield the names of all members, and of the members of groups among them."""
    for member in listed:
        if isinstance(member, dict):
            yield from _leaves(_listed(member.get("task")), members)
        elif isinstance(member, str):
            yield member
            yield from _leaves(members.get(member, ()), members)


def _listed(task: Any) -> Sequence[Any]:
    return task if isinstance(task, list) else [task]


def _checksum(folder: Path) -> str:
    """Return a SHA-256 of all files of the folder, data beside the tasks included."""
    hidden = (".", "__pycache__")
    return sha256_files(
        folder,
        (
            file
            for file in sorted(folder.rglob("*"))
            if file.is_file()
            and not any(part.startswith(hidden) for part in file.relative_to(folder).parts)
        ),
    )
