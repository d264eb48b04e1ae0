"""Several questions over one context in one pass, equal to separate rows.

K rows that share a context are packed as ``context + suffix 1 + ... + suffix K``. Every
suffix attends to the context and to itself, never to another suffix, and its positions go on
where the context ends. Loss and gradient are then those of K separate rows to float rounding,
while the context is computed once: of K (P + S) tokens, P + K S remain.

transformers detects restarting positions as packed sequences when no mask says otherwise, and
would cut the suffixes off their context; the explicit 4D mask prevents that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from kv_train.tokens import IGNORED, Row


@dataclass(frozen=True)
class Pack:
    """One shared context with its suffixes.

    Attributes:
        context: token ids that all rows have in common, length P.
        suffixes: the rest of each row, lengths S_1..S_K.
        answer_starts: index in each suffix at which the answer begins.
    """

    context: tuple[int, ...]
    suffixes: tuple[tuple[int, ...], ...]
    answer_starts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.context) + sum(map(len, self.suffixes))


def pack_rows(rows: Iterable[Row], *, questions_per_pack: int) -> list[Pack]:
    """Pack consecutive rows of one ``context_id``, at most ``questions_per_pack`` together."""
    packs = []
    for _, group in groupby(rows, key=lambda row: row.context_id):
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
        answer_starts=tuple(row.prompt_length - shared for row in rows),
    )


def attention_mask(packs: Sequence[Pack], width: int) -> torch.Tensor:
    """Return who attends to whom: bool (B, 1, width, width), True where row sees column.

    Padding sees itself alone, so that no row of the softmax is empty.
    """
    mask = torch.zeros(len(packs), 1, width, width, dtype=torch.bool)
    for number, item in enumerate(packs):
        view = mask[number, 0]
        shared = len(item.context)
        view[:shared, :shared] = _causal(shared)
        start = shared
        for suffix in item.suffixes:
            end = start + len(suffix)
            view[start:end, :shared] = True
            view[start:end, start:end] = _causal(len(suffix))
            start = end
        padding = torch.arange(start, width)
        view[padding, padding] = True
    return mask


def _causal(size: int) -> torch.Tensor:
    return torch.ones(size, size, dtype=torch.bool).tril()


@dataclass(frozen=True)
class Collator:
    """Make a batch of packs: right-padded, with positions and the mask that packing needs."""

    pad_token_id: int

    def __call__(self, packs: Sequence[Pack]) -> dict[str, Any]:
        """Return ``input_ids``, ``position_ids``, ``labels`` (B, T) and ``attention_mask``.

        The mask is left out where every pack holds one row and none is padded: plain causal
        attention is the same then, and faster.
        """
        width = max(map(len, packs))
        ids = torch.full((len(packs), width), self.pad_token_id)
        positions = torch.zeros_like(ids)
        labels = torch.full_like(ids, IGNORED)
        for number, item in enumerate(packs):
            row_ids, row_positions, row_labels = _layout(item)
            ids[number, : len(item)] = torch.tensor(row_ids)
            positions[number, : len(item)] = torch.tensor(row_positions)
            labels[number, : len(item)] = torch.tensor(row_labels)
        batch = {"input_ids": ids, "position_ids": positions, "labels": labels}
        if any(len(item.suffixes) > 1 or len(item) < width for item in packs):
            batch["attention_mask"] = attention_mask(packs, width)
        return batch


def _layout(item: Pack) -> tuple[list[int], list[int], list[int]]:
    """Return the pack's token ids, positions and labels, each of length len(item)."""
    shared = len(item.context)
    ids, positions = list(item.context), list(range(shared))
    labels = [IGNORED] * shared
    for suffix, answer in zip(item.suffixes, item.answer_starts, strict=True):
        ids += suffix
        positions += range(shared, shared + len(suffix))
        labels += [IGNORED] * answer + list(suffix[answer:])
    return ids, positions, labels
