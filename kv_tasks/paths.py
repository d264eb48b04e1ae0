"""Where the package's own files lie, in a wheel and in a checkout alike."""

import os
import re
from functools import cache
from pathlib import Path

import yaml

from kv_tasks.errors import DataError


def packaged(package_file: str, in_wheel: str, in_checkout: str) -> Path:
    """Return a folder that lies inside the package in a wheel, beside it in a checkout.

    Args:
        package_file: ``__file__`` of a module directly in the package.
        in_wheel: name of the folder inside the installed package.
        in_checkout: its path relative to the package's parent folder.

    Raises:
        DataError: when the folder is in neither place (a broken installation).
    """
    package = Path(package_file).resolve().parent
    candidates = (package / in_wheel, package.parent / in_checkout)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise DataError(f"{candidates[0]}: folder not found, nor {candidates[1]}; reinstall kv-tasks")


def task_configs() -> Path:
    """Return the folder of the harness's YAML files, for ``lm_eval --include_path``."""
    return packaged(__file__, "task_configs", "task_configs")


@cache
def group_members() -> dict[str, list[str]]:
    """Return this project's groups, each with its members: tasks, or further groups.

    Those that configure the harness's own tasks are left out.
    """
    found = {}
    for file in sorted(task_configs().glob("*/*.yaml")):
        text = file.read_text(encoding="utf-8")
        # Reading all YAML through the harness would mean to import it, which takes a second.
        if re.search(r"^group:", text, re.MULTILINE) and "!function" not in text:
            said = yaml.safe_load(text)
            found[said["group"]] = said["task"]
    return found


def cache_folder() -> Path:
    """Return where downloads and built documents are kept: $KV_TASKS_CACHE, or the user's cache."""
    if chosen := os.environ.get("KV_TASKS_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "kv-tasks"
