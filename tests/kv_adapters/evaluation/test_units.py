"""A unit's data, general ability under the harness's own names included, and its files."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from lm_eval.tasks import TaskManager

from kv_adapters.evaluation.plan import Unit
from kv_adapters.evaluation.units import _publish, _with_local_data
from kv_tasks.errors import RunError

HUB = ("hub", "Rowan", "hellaswag")


def test_a_name_is_left_alone_where_the_user_has_no_such_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_TASKS_DATA", str(tmp_path))
    assert _with_local_data(None, "hellaswag") == "hellaswag"
    tmp_path.joinpath(*HUB).mkdir(parents=True)
    assert _with_local_data(None, "gsm8k") == "gsm8k"
    assert _with_local_data(None, "kv_simple") == "kv_simple"


def test_a_task_reads_the_users_data(shared_data: Path) -> None:
    manager = TaskManager()
    (task,) = manager.load([_with_local_data(manager, "hellaswag")])["tasks"].values()
    assert task.config.dataset_path.startswith(str(shared_data.resolve()))


def test_samples_of_a_task_whose_name_begins_anothers_are_not_taken_for_its_own(
    tmp_path: Path,
) -> None:
    scratch, target = tmp_path / "scratch", tmp_path / "out"
    (scratch / "model").mkdir(parents=True)
    (scratch / "model" / "results_2026.json").write_text("{}")
    rows = {"kv_simple": 2, "kv_simple_4k": 3}
    for task, count in rows.items():
        (scratch / "model" / f"samples_{task}_2026.jsonl").write_text("{}\n" * count)
    unit = cast(Unit, SimpleNamespace(label="base"))
    _publish(scratch, rows, target, unit)
    found = {file.name: len(file.read_text().splitlines()) for file in target.glob("samples*")}
    assert found == {"samples_kv_simple_2026.jsonl": 2, "samples_kv_simple_4k_2026.jsonl": 3}
    (scratch / "model" / "samples_kv_simple_2026.jsonl").unlink()
    with pytest.raises(RunError, match="base · kv_simple: 0 of 2 samples written"):
        _publish(scratch, rows, target, unit)
