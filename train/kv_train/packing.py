"""Several questions over one context in one pass, equal to separate rows.

K rows that share a context are packed as ``context + suffix 1 + ... + suffix K``. Every
suffix attends to the context and to itself, never to another suffix, and its positions go on
where the context ends. Loss and gradient are then those of K separate rows to float rounding,
while the context is computed once: of K (P + S) tokens, P + K S remain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from kv_train.attention import CONTEXT, PADDING, Layout
from kv_train.tokens import IGNORED, Row


@dataclass(frozen=True)
class Pack:
    """One shared context with its suffixes.

    Attributes:
        context: token ids that all rows have in common, length P.
        suffixes: the rest of each row, lengths S_1..S_K.
        labels: of each suffix, as long as it: the token where it is trained, else IGNORED.
        depths: of each row's gold, 0 to 1, None where a row does not say.
        kind: of the rows.
        kl: of the rows, see :class:`kv_train.tokens.Row`.
    """

    context: tuple[int, ...]
    suffixes: tuple[tuple[int, ...], ...]
    labels: tuple[tuple[int, ...], ...]
    depths: tuple[float | None, ...]
    kind: str | None = None
    kl: float = 0.0

    def __len__(self) -> int:
        return len(self.context) + sum(map(len, self.suffixes))

    @property
    def rows(self) -> tuple[int, ...]:
        """Tokens of each row, were it alone: its context and its suffix."""
        return tuple(len(self.context) + len(suffix) for suffix in self.suffixes)


def pack_rows(rows: Iterable[Row], *, questions_per_pack: int) -> list[Pack]:
    """Pack consecutive rows of one ``context_id``, at most ``questions_per_pack`` together.

    Mixed sections may use one name for contexts of theirs; held-out rows say their ``kind``.
    """
    packs = []
    for _, group in groupby(rows, key=lambda row: (row.context_id, row.kind, row.kl)):
        members = list(group)
        packs += [
            pack(members[start : start + questions_per_pack])
            for start in range(0, len(members), questions_per_pack)
        ]
    return packs


def pack(rows: Sequence[Row]) -> Pack:
    """Split rows into their longest common token prefix and their suffixes.

    At least one prompt token stays in each suffix: it predicts the answer's first token.
    """
    limit = min(row.prompt_length for row in rows) - 1
    first = rows[0].input_ids
    shared = 0
    while shared < limit and all(row.input_ids[shared] == first[shared] for row in rows):
        shared += 1
    return Pack(
        context=first[:shared],
        suffixes=tuple(row.input_ids[shared:] for row in rows),
        labels=tuple(row.labels[shared:] for row in rows),
        depths=tuple(row.depth for row in rows),
        kind=rows[0].kind,
        kl=rows[0].kl,
    )


@dataclass(frozen=True)
class Collator:
    """Make a batch of packs: right-padded, with the layout that attention needs."""

    pad_token_id: int

    def __call__(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """Return ``input_ids``, ``position_ids``, ``labels`` (B, T) and ``layout``.

        Where a pack is held to the base model, ``kl`` (B,), too.
        """
        width = max(map(len, packs))
        laid = [_lay(item) for item in packs]
        ids, positions, labels, segments = (
            torch.tensor([row + [filler] * (width - len(row)) for row in column])
            for column, filler in zip(
                zip(*laid, strict=True), (self.pad_token_id, 0, IGNORED, PADDING), strict=True
            )
        )
        causal = min(len(p.context) if len(p.suffixes) > 1 else width for p in packs)
        held = {"kl": torch.tensor([p.kl for p in packs])} if any(p.kl for p in packs) else {}
        return {
            "input_ids": ids,
            "position_ids": positions,
            "labels": labels,
            "layout": Layout(segments, positions, causal),
            **held,
        }


def _lay(item: Pack) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return the pack's token ids, positions, labels and segments, each of len(item)."""
    shared = len(item.context)
    ids, positions = list(item.context), list(range(shared))
    labels, segments = [IGNORED] * shared, [CONTEXT] * shared
    alone = len(item.suffixes) == 1
    for number, (suffix, targets) in enumerate(
        zip(item.suffixes, item.labels, strict=True), start=1
    ):
        ids += suffix
        positions += range(shared, shared + len(suffix))
        labels += targets
        segments += [CONTEXT if alone else number] * len(suffix)
    return ids, positions, labels, segments
