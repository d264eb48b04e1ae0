"""What tasks read of ``KV_TASKS_DATA``: other files in that folder are other questions."""

import os
from collections.abc import Iterable
from pathlib import Path

from kv_tasks.datafiles import PUBLISHED
from kv_tasks.files import sha256_files
from kv_tasks.flenqa_data import PLAIN
from kv_tasks.general import DATA_SETS


def data_checksum(*, own: bool) -> str | None:
    """Return a SHA-256 of the files in ``KV_TASKS_DATA`` that tasks may read, None without any.

    Args:
        own: whether of this project's tasks, or of the harness's own.
    """
    if not (chosen := os.environ.get("KV_TASKS_DATA")):
        return None
    root = Path(chosen)
    found = sorted(_published(root) if own else _hub(root))
    return sha256_files(root, found) if found else None


def _published(root: Path) -> Iterable[Path]:
    return (file for name in (*PUBLISHED, PLAIN) if (file := root / name).is_file())


def _hub(root: Path) -> Iterable[Path]:
    folders = (root / "hub" / name for name in DATA_SETS.values())
    return (file for folder in folders for file in folder.rglob("*") if file.is_file())
