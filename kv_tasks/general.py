"""Where the general-ability tasks' data lies; YAML names these as ``!function kv_tasks.general.x``.

The harness takes whatever such a name stands for. Here it is the text for a task's
``dataset_path``: the hub's name, or a folder of the user's (see :mod:`kv_tasks.hub`).
"""

from kv_tasks.hub import dataset_path

DATA_SETS = {
    "mmlu": "cais/mmlu",
    "hellaswag": "Rowan/hellaswag",
    "gsm8k": "openai/gsm8k",
    "triviaqa": "mandarjoshi/trivia_qa",
    "nq_open": "google-research-datasets/nq_open",
}
_SAME_DATA = {"mmlu_generative": "mmlu"}


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
