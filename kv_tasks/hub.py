"""Data sets of the hub, or the same data set in a folder of the user's.

With ``KV_TASKS_DATA`` set, a data set ORG/NAME is read from its folder hub/ORG/NAME if that
exists, so that tasks run without a network. Otherwise the name goes to the datasets library,
which knows the hub's cache and ``HF_HUB_OFFLINE``.
"""

import os
from pathlib import Path


def dataset_path(name: str) -> str:
    """Return what ``datasets.load_dataset`` is to be given for the data set ``name``."""
    if chosen := os.environ.get("KV_TASKS_DATA"):
        folder = Path(chosen) / "hub" / name
        if folder.is_dir():
            return str(folder.resolve())
    return name
