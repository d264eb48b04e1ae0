"""Which task names are this project's, and groups that mix them with the harness's own.

A group is evaluated in one pass, with or without the chat template. One that holds tasks of
both kinds is therefore evaluated member by member.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from kv_tasks.errors import UsageError
from kv_tasks.paths import task_configs

_FUNCTION = re.compile(r'"[^"]*/(kv_tasks\.[\w.]+)"')


def single_protocol(names: Sequence[str]) -> list[str]:
    """Return task names, each mixed group replaced by its members, each name once."""
    found: dict[str, None] = {}
    for name in names:
        mixed = _kinds(name) == {"own", "harness"}
        found |= dict.fromkeys(single_protocol(_members(name)) if mixed else [name])
    return list(found)


def is_own(name: str) -> bool:
    """Say whether a task is this project's, or every member of a group is."""
    return _kinds(name) == {"own"}


def fixed_shots(number: int, task: str) -> UsageError:
    """Return the error for a number of few-shot examples that the harness would ignore."""
    return UsageError(
        f"--num-fewshot {number}: {task} has no examples by definition, and the harness would "
        "ignore the number; evaluate it in a command of its own, without the option"
    )


def config_checksum(name: str) -> str | None:
    """Return a SHA-256 of what the YAML of one of our tasks or groups says, members included.

    None for a task of the harness's own, which the harness's version stands for.
    """
    config = _config(name)
    if config is None:
        return None
    said = json.dumps(config, sort_keys=True, default=str)
    # The harness reads a function's name as a path beside the YAML; where that lies says nothing.
    digest = hashlib.sha256(_FUNCTION.sub(r'"\1"', said).encode())
    for member in _members(name) if "group" in config else ():
        digest.update((config_checksum(member) or member).encode())
    return digest.hexdigest()


def _kinds(name: str) -> set[str]:
    """Return what the tasks of a name are: ``own``, ``harness``, or both."""
    config = _config(name)
    if config is None:
        return {"harness"}
    if "group" not in config:
        return {"own"}
    return {kind for member in _members(name) for kind in _kinds(member)}


def _members(name: str) -> list[str]:
    config = _config(name) or {}
    return [m if isinstance(m, str) else m.get("task", m.get("group")) for m in config["task"]]


def _config(name: str) -> dict[str, Any] | None:
    """Return the YAML of one of our tasks or groups, None for a name that is not ours."""
    from lm_eval.tasks._yaml_loader import load_yaml

    families = (path for path in task_configs().iterdir() if path.is_dir())
    file = next((f for path in families if (f := path / f"{name}.yaml").is_file()), None)
    if file is None:
        return None
    config: dict[str, Any] = load_yaml(file, resolve_func=False)
    return config
