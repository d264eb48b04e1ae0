"""Half-right answers, and answers that grew or shrank, are told beside the score."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kv_adapters.comparison.compare import compare
from kv_adapters.comparison.runs import load_run
from kv_adapters.comparison.tables import as_json, remarks
from kv_adapters.comparison.verdict import judge

Write = Callable[..., Path]


def run(write: Write, name: str, task: str, rows: Sequence[dict[str, Any]]) -> Path:
    """Write a run of one task whose rows have these keys."""
    folder = write(name, {}, {task: [0.0] * len(rows)})
    (file,) = folder.glob("samples_*")
    written = [json.loads(line) for line in file.read_text().splitlines()]
    lines = [json.dumps(row | own) + "\n" for row, own in zip(written, rows, strict=True)]
    file.write_text("".join(lines))
    return folder


def said(folders: Sequence[Path]) -> str:
    base, other = map(load_run, folders)
    ((row,), _) = compare(base, other)
    (verdict,) = judge(base, [other])
    assert as_json([verdict])["verdicts"][0]["rows"][0]["form"] == row.form
    assert (f"{row.name}: {row.form}" in remarks(verdict)) == bool(row.form)
    return row.form


def values(*shares: float) -> list[dict[str, Any]]:
    return [{"value_match": share} for share in shares]


def test_a_value_that_is_found_without_its_dictionary_is_told(write_run: Write) -> None:
    base = run(write_run, "base", "kv_simple", values(0.0, 0.0, 1.0, 0.0))
    other = run(write_run, "other", "kv_simple", values(1.0, 1.0, 1.0, 0.0))
    assert said([base, other]) == (
        "of the values asked for, 0.25 are right in the base's answers and 0.75 in the adapter's"
    )


def test_values_that_changed_as_the_score_did_are_not(write_run: Write) -> None:
    folders = [run(write_run, name, "kv_simple", values(0.5, 0.5)) for name in ("base", "other")]
    assert said(folders) == ""


def test_a_sweep_of_one_haystack_says_so(write_run: Write) -> None:
    def asked(name: str, *haystacks: int) -> Path:
        rows = [{"doc": {"question_id": f"kv-sweep:eval:0:4096t:{n}:{key}"}}
                for n in haystacks for key in (1, 2)]  # fmt: skip
        return run(write_run, name, "kv_sweep_4k", rows)

    one = said([asked("base", 0), asked("other", 0)])
    assert one == "all keys are of one haystack: the interval says nothing of another"
    two = said([asked("base2", 0, 1), asked("other2", 0, 1)])
    assert two == "all keys are of 2 haystacks: the interval says nothing of others"


@pytest.mark.parametrize(
    ("task", "other", "expected"),
    [
        (
            "mdqa",
            "two words\nand a second line that no score reads",
            "the median of the adapter's answers is 2 words, of the base's 5; longer answers can "
            "only raise this score",
        ),
        ("mdqa", "a sentence of five words", ""),
        ("gsm8k", "", ""),
        ("gsm8k", "two words", ""),
    ],
    ids=["shorter", "as long", "empty", "another score"],
)  # fmt: skip
def test_the_length_of_answers_is_told_where_a_score_depends_on_it(
    write_run: Write, task: str, other: str, expected: str
) -> None:
    metric = {"metrics": ["best_subspan_em"], "best_subspan_em": 0.0} if task == "mdqa" else {}
    folders = [
        run(write_run, name, task, [{"filtered_resps": [text], **metric}] * 3)
        for name, text in (("base", "a sentence of five words"), ("other", other))
    ]
    assert said(folders) == expected
