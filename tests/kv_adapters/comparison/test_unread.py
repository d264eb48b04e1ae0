"""A model that stopped answering is told from one that answers wrongly."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kv_adapters.comparison.compare import compare
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.tables import as_json, remarks
from kv_adapters.comparison.verdict import judge

Write = Callable[..., Path]


def answering(folder: Path, answers: Sequence[object]) -> Path:
    """Let a run's one task have these filtered responses."""
    (file,) = folder.glob("samples_*")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row, answer in zip(rows, answers, strict=True):
        row["filtered_resps"] = answer if isinstance(answer, list) else [answer]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def runs(write: Write, base: Sequence[object], other: Sequence[object]) -> list[Path]:
    scores = {"gsm8k": [0.0] * len(base)}
    return [
        answering(write(name, {}, scores), answers)
        for name, answers in (("base", base), ("other", other))
    ]


@pytest.mark.parametrize("nothing", ["[invalid]", "", " \n"])
def test_answers_that_could_no_longer_be_read_are_counted(write_run: Write, nothing: str) -> None:
    folders = runs(write_run, [nothing] * 7 + ["5"] * 33, [nothing] * 37 + ["5"] * 3)
    base, other = map(load_run, folders)
    (verdict,) = judge(base, [other])
    said = "no answer could be read in 7 of the base's 40 documents and 37 of the adapter's"
    assert f"gsm8k: {said}" in remarks(verdict)
    assert as_json([verdict])["verdicts"][0]["rows"][0]["unread"] == said


@pytest.mark.parametrize(
    ("base", "other"),
    [
        ([""] * 19 + ["5"] * 21, [""] * 23 + ["5"] * 17),
        (["[invalid]"] * 40, ["[invalid]"] * 40),
        ([[[-1.0, False], [-2.0, True]]] * 40, [[["", False], ["", True]]] * 40),
        ([None] * 40, [[["[invalid]"], "5"]] * 40),
    ],
    ids=["few", "same", "choices", "odd"],
)  # fmt: skip
def test_a_change_that_is_not_clear_and_tasks_that_write_no_answer_are_passed_over(
    write_run: Write, base: list[object], other: list[object]
) -> None:
    one, two = map(load_run, runs(write_run, base, other))
    ((row,), _) = compare(one, two)
    assert row.unread == ""


def test_documents_of_one_question_count_once(write_run: Write) -> None:
    curve = {place: [0.0] * 4 for place in (1, 2, 5, 10)}
    base, other = write_run("base", curve), write_run("other", curve)
    for file in other.glob("samples_*"):
        file.write_text(
            file.read_text().replace('"filtered_resps": ["Bob"]', '"filtered_resps": [""]')
        )
    group = compare(load_run(base), load_run(other))[0][0]
    # Four questions, all changed: two of sixteen ways are as far, for any number of documents.
    assert (group.name, group.difference.documents, group.unread) == ("mdqa", 16, "")
