"""Where the general-ability tasks' data lies; YAML names these as ``!function kv_tasks.general.x``.

The harness takes whatever such a name stands for. Here it is the text for a task's
``dataset_path``. With ``KV_TASKS_DATA`` set, a data set ORG/NAME is read from its folder
hub/ORG/NAME if that exists, so that tasks run without a network. Otherwise the name goes to the
datasets library, which knows the hub's cache and ``HF_HUB_OFFLINE``.
"""

import os
from pathlib import Path

DATA_SETS = {
    "mmlu": "cais/mmlu",
    "hellaswag": "Rowan/hellaswag",
    "gsm8k": "openai/gsm8k",
    "triviaqa": "mandarjoshi/trivia_qa",
    "nq_open": "google-research-datasets/nq_open",
}
_SAME_DATA = {"mmlu_generative": "mmlu"}


def dataset_path(name: str) -> str:
    """Return what ``datasets.load_dataset`` is to be given for the data set ``name``."""
    if chosen := os.environ.get("KV_TASKS_DATA"):
        folder = Path(chosen) / "hub" / name
        if folder.is_dir():
            return str(folder.resolve())
    return name


def local_data(name: str) -> str | None:
    """Return the folder of the user's that holds the data of a task or group of the harness's own.

    None where there is none, and for a name that is no general-ability task's.
    """
    data = DATA_SETS.get(_SAME_DATA.get(name, name))
    return None if data is None or (path := dataset_path(data)) == data else path


def __getattr__(name: str) -> str:
    """Return the data path of a task, found anew each time."""
    if name not in DATA_SETS:
        raise AttributeError(
            f"kv_tasks.general: no data set {name!r}; there are {sorted(DATA_SETS)}"
        )
    return dataset_path(DATA_SETS[name])
