"""General ability under the harness's own names, with data in a folder of the user's."""

from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager

from kv_adapters.evaluation.units import _with_local_data

HUB = ("hub", "Rowan", "hellaswag")


def test_a_name_is_left_alone_where_the_user_has_no_such_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    assert _with_local_data(None, "hellaswag") == "hellaswag"
    tmp_path.joinpath(*HUB).mkdir(parents=True)
    assert _with_local_data(None, "gsm8k") == "gsm8k"
    assert _with_local_data(None, "kv_simple") == "kv_simple"


@pytest.mark.parametrize(
    ("name", "tasks", "group"),
    [("hellaswag", 1, None), ("mmlu", 57, "mmlu")],
)
def test_a_task_reads_the_users_data(
    shared_data: Path, name: str, tasks: int, group: str | None
) -> None:
    manager = TaskManager()
    loaded = manager.load([_with_local_data(manager, name)])
    assert len(loaded["tasks"]) == tasks
    assert group is None or group in loaded["groups"]
    paths = {task.config.dataset_path for task in loaded["tasks"].values()}
    assert all(path.startswith(str(shared_data.resolve())) for path in paths)
