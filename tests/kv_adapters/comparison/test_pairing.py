"""Every document is either paired or named with the reason why not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kv_adapters.comparison.pairing import Unmatched, missing_tasks, pair
from kv_adapters.comparison.runs import load_run
from kv_tasks.errors import RunError

Write = Callable[..., Path]
TASK = "mdqa_01"


def test_pairs_hold_the_same_prompt_whatever_the_order_of_lines(write_run: Write) -> None:
    base, other = write_run("base", {1: [1.0, 0.0, 0.0]}), write_run("other", {1: [0.0, 0.0, 1.0]})
    (file,) = other.glob("samples_*")
    file.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    found = pair(load_run(base), load_run(other), TASK)
    assert [(p.base.doc_id, p.base.score, p.other.score) for p in found.pairs] == [
        (0, 1.0, 0.0), (1, 0.0, 0.0), (2, 0.0, 1.0),
    ]  # fmt: skip
    assert found.unmatched == ()


def test_documents_that_do_not_join_are_named_with_the_reason(write_run: Write) -> None:
    base, other = write_run("base", {1: [1.0] * 4}), write_run("other", {1: [1.0] * 5})
    (file,) = other.glob("samples_*")
    text = file.read_text().replace('"pmdqa_011"', '"another prompt"')
    file.write_text(text.replace('"doc_hash": "d2"', '"doc_hash": "another document"'))
    found = pair(load_run(base), load_run(other), TASK)
    assert [p.base.doc_id for p in found.pairs] == [0, 3]
    assert found.unmatched == (
        Unmatched(TASK, "that differ between base and other", (1,)),
        Unmatched(TASK, "only in base", (2,)),
        Unmatched(TASK, "only in other", (2, 4)),
    )
    assert str(found.unmatched[2]) == "mdqa_01: 2 prompts only in other: 2, 4"


def test_a_long_list_of_names_is_counted_whole_and_shown_in_part() -> None:
    text = str(Unmatched("t", "only in base", tuple(range(14_000))))
    assert text == "t: 14000 prompts only in base: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 13990 more"


def test_runs_without_a_common_prompt_or_metric_are_refused(write_run: Write) -> None:
    base, other = load_run(write_run("base", {1: [1.0]})), write_run("other", {1: [1.0]})
    (file,) = other.glob("samples_*")
    whole = file.read_text()
    file.write_text(whole.replace('"prompt_hash": "p', '"prompt_hash": "other'))
    with pytest.raises(RunError, match="no prompt of base is also in other.*date that the chat"):
        pair(base, load_run(other), TASK)
    file.write_text(whole.replace('"filter": "none"', '"filter": "strict"'))
    with pytest.raises(RunError, match="best_subspan_em,none and other has best_subspan_em,strict"):
        pair(base, load_run(other), TASK)


def test_tasks_of_one_run_alone_or_without_samples_are_named(write_run: Write) -> None:
    base = write_run("base", {1: [1.0], 5: [1.0]}, {"lone": [1.0]})
    other = write_run("other", {1: [1.0], 5: [1.0]})
    next(other.glob("samples_mdqa_05_*")).unlink()
    assert missing_tasks(load_run(base), load_run(other)) == [
        "lone: only in base",
        "mdqa_05: no samples in other; run lm_eval with --log_samples",
    ]


def test_a_group_of_one_run_alone_is_named_once(write_run: Write) -> None:
    base = write_run("base", {1: [1.0], 5: [1.0]}, {"lone": [1.0]})
    other = write_run("other", {}, {"lone": [1.0]})
    assert missing_tasks(load_run(base), load_run(other)) == ["mdqa (2 tasks): only in base"]
