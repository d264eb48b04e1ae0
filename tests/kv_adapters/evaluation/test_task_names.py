"""Which names are evaluated together."""

import shutil
from pathlib import Path

import pytest

from kv_adapters.evaluation import task_names
from kv_adapters.evaluation.task_names import config_checksum, single_protocol
from kv_tasks.paths import task_configs


@pytest.mark.parametrize("name", ["mdqa_pos", "kv_simple_8k", "mdqa_oracle", "gsm8k", "no_such"])
def test_a_name_of_one_kind_stays_whole(name: str) -> None:
    assert single_protocol([name]) == [name]


def test_a_group_of_the_harness_own_tasks_stays_whole() -> None:
    assert single_protocol(["kv_general"]) == ["kv_general"]


def test_a_group_that_mixes_both_is_evaluated_member_by_member() -> None:
    members = ["kv_paper_mdqa", "kv_paper_flenqa", "kv_paper_flenqa_cot", "kv_general"]
    assert single_protocol(["kv_paper"]) == members
    assert single_protocol(["kv_general", "kv_paper", "gsm8k"]) == [
        "kv_general",
        *members[:3],
        "gsm8k",
    ]


def test_a_task_is_the_same_wherever_its_files_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("kv_sweep_4k", "kv_multi_query", "flenqa_cot", "mdqa_pos")
    here = [config_checksum(name) for name in names]
    assert None not in here
    copy = shutil.copytree(task_configs(), tmp_path / "elsewhere")
    monkeypatch.setattr(task_names, "task_configs", lambda: copy)
    assert [config_checksum(name) for name in names] == here
    shared = copy / "kv_simple" / "_kv_simple_yaml"
    shared.write_text(shared.read_text().replace("max_gen_toks: 64", "max_gen_toks: 65"))
    now = [config_checksum(name) for name in names]
    assert [one == other for one, other in zip(here, now, strict=True)] == [False, True, True, True]
