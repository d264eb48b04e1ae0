"""Which names are evaluated together."""

import pytest

from kv_adapters.evaluation.task_names import single_protocol


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
