"""A unit's data, general ability under the harness's own names included, and its files."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from lm_eval.tasks import TaskManager

from kv_adapters.evaluation.plan import Unit
from kv_adapters.evaluation.record import fitted
from kv_adapters.evaluation.truncation import Fit
from kv_adapters.evaluation.units import _publish, _use_chat_template, _with_local_data
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


def test_a_samples_file_that_lacks_rows_is_named_and_nothing_is_published(tmp_path: Path) -> None:
    (tmp_path / "results_2026.json").write_text("{}")
    (tmp_path / "samples_kv_2026.jsonl").write_text("{}\n")
    unit = cast(Unit, SimpleNamespace(label="base"))
    with pytest.raises(RunError, match="base · kv: 1 of 2 samples written"):
        _publish(tmp_path, {"kv": 2}, tmp_path / "out", unit)
    assert not list((tmp_path / "out").glob("*"))


def test_the_chat_template_is_used_unasked_where_all_tasks_are_of_this_project() -> None:
    def used(task: str) -> bool:
        return _use_chat_template(
            cast(Unit, SimpleNamespace(chat_template="auto", task=task)), backend
        )

    backend: Any = SimpleNamespace(lm=SimpleNamespace(tokenizer=SimpleNamespace(chat_template="x")))
    assert used("mdqa_pos")
    assert used("kv_simple_4k")
    assert not used("hellaswag")
    assert not used("a_task_of_the_users_own")


def test_every_input_counts_in_a_units_digest_but_the_path_of_its_adapter() -> None:
    values: dict[str, Any] = {field.name: "x" for field in fields(Unit)}
    unit = Unit(**values)
    for name in values.keys() - {"adapter"}:
        changed: dict[str, Any] = {name: "y"}
        assert replace(unit, **changed).digest != unit.digest, name
    assert replace(unit, adapter=Path("elsewhere")).digest == unit.digest


def test_nothing_is_said_of_prompts_that_nobody_measured() -> None:
    assert fitted(None, {})["truncated"] is None
    assert fitted(Fit(prompts=1, longest=2, context=3), {})["truncated"] == 0
