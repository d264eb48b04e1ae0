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


def __getattr__(name: str) -> str:
    """Return the data path of a task, found anew each time."""
    if name not in DATA_SETS:
        raise AttributeError(
            f"kv_tasks.general: no data set {name!r}; there are {sorted(DATA_SETS)}"
        )
    return dataset_path(DATA_SETS[name])
