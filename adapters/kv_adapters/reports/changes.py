"""Documents that one model got right and the other did not, to be browsed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from kv_adapters.comparison.compare import Comparison
from kv_adapters.comparison.pairing import Pair
from kv_adapters.comparison.verdict import Verdict
from kv_adapters.reports.excerpts import Part, excerpt
from kv_tasks.files import write_jsonl

FILE = "changed.jsonl"
# Documents on the page, shared out among the blocks, so that it stays small enough to open.
SHOWN = 1_000
LEAST = 5
# Characters of an answer.
ANSWER = 1_000
Direction = Literal["became right", "became wrong"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


@dataclass(frozen=True)
class Change:
    """One document that changed."""

    adapter: str
    direction: Direction
    pair: Pair

    def parts(self) -> list[Part]:
        """Return its prompt with the gold marked."""
        row = self.pair.base.row()
        doc = row["doc"] if isinstance(row.get("doc"), dict) else {}
        return excerpt(self.pair.base.prompt(), doc)

    def as_json(self) -> dict[str, Any]:
        """Return it without its prompt."""
        base = self.pair.base
        return {
            "adapter": self.adapter, "direction": self.direction, "task": base.task,
            "doc_id": base.doc_id, "question": base.question, "gold_position": base.gold_position,
            "depth": base.depth, "answers": list(base.answers), "base": base.response,
            "other": self.pair.other.response, "base_score": base.score,
            "other_score": self.pair.other.score,
        }  # fmt: skip


@dataclass(frozen=True)
class Block:
    """The changes of one row in one direction: how many there are, and those on the page."""

    adapter: str
    name: str
    direction: Direction
    total: int
    shown: tuple[Change, ...]


def blocks(verdicts: Sequence[Verdict]) -> list[Block]:
    """Return what became right and what became wrong, for every top row of every adapter."""
    found = [
        (row, direction, changes)
        for verdict in verdicts
        for row in verdict.rows
        if row.member_of is None
        for direction in DIRECTIONS
        if (changes := _changes(row, direction))
    ]
    each = max(LEAST, SHOWN // max(1, len(found)))
    return [
        Block(row.adapter, row.name, direction, len(changes), tuple(spread(changes, each)))
        for row, direction, changes in found
    ]


def spread(changes: Sequence[Change], count: int) -> list[Change]:
    """Return ``count`` of the changes from all over the row, not from its first task alone."""
    if len(changes) <= count:
        return list(changes)
    return [changes[n * len(changes) // count] for n in range(count)]


def write_changes(verdicts: Sequence[Verdict], out: Path) -> int:
    """Write all changes, one a line; return how many."""

    def lines() -> Iterator[dict[str, Any]]:
        for verdict in verdicts:
            for row in verdict.rows:
                if row.member_of is None:
                    for direction in DIRECTIONS:
                        yield from (change.as_json() for change in _changes(row, direction))

    return write_jsonl(out / FILE, lines())


def _changes(row: Comparison, direction: Direction) -> list[Change]:
    sign = 1 if direction == "became right" else -1
    return [
        Change(row.adapter, direction, pair)
        for pair in row.pairs
        if sign * (pair.other.score - pair.base.score) > 0
    ]
