"""What is on the page is a fair part of what changed; all of it is in the file."""

import json
from collections.abc import Callable
from pathlib import Path

from kv_adapters.comparison.runs import load_runs
from kv_adapters.comparison.verdict import judge
from kv_adapters.reports import changes

Write = Callable[..., Path]


def test_all_changes_are_written_and_the_page_has_some_from_every_task(
    write_run: Write, tmp_path: Path
) -> None:
    many = 800
    base = write_run("base", {1: [0.0] * many, 10: [0.0] * many, 20: [1.0] * 3})
    other = write_run("tuned", {1: [1.0] * many, 10: [1.0] * many, 20: [0.0] * 3})
    reference, *others = load_runs([base, other])
    verdicts = judge(reference, others)
    better, worse = changes.blocks(verdicts)
    assert (better.direction, better.total, len(better.shown)) == ("became right", 2 * many, 500)
    assert (worse.direction, worse.total, len(worse.shown)) == ("became wrong", 3, 3)
    assert {change.pair.base.task for change in better.shown} == {"mdqa_01", "mdqa_10"}
    assert changes.write_changes(verdicts, tmp_path) == 2 * many + 3
    rows = [json.loads(line) for line in (tmp_path / changes.FILE).read_text().splitlines()]
    assert {row["direction"] for row in rows} == {"became right", "became wrong"}
    assert rows[0].items() >= {"adapter": "tuned", "base": "Bob.base", "other": "Ada.tuned"}.items()
