"""Exact attention over a shared context, without a mask where causal attention says it all.

In a pack, K suffixes follow one context. The context attends causally to itself: the fast
kernels do that without a mask, and compute half of the square. Only the suffixes' rows need a
mask, a strip of (K S) x (P + K S) instead of a square of (P + K S) x (P + K S). A sliding
window is a band in the same mask, per layer, for models that have one.

Positions, not places in the pack, decide what a window holds: every suffix goes on where the
context ends.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from kv_tasks.errors import ModelError

NAME = "kv_shared_context"
# Not cuDNN: given a mask, torch 2.11 to 2.13 choose it on an H100, and its backward makes NaN of
# Qwen2.5's large activations at some lengths (github.com/pytorch/pytorch/issues/196678).
_MASKED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
CONTEXT, PADDING = 0, -1


@dataclass(frozen=True)
class Layout:
    """What each token of a batch of packs is.

    Attributes:
        segments: int (B, T): 0 in the context or in a row alone, k in suffix k, -1 in padding.
        positions: int (B, T): position of each token in its own row.
        prefix: causal attention is right for the first ``prefix`` tokens of every pack: its
            context, or all T for a row alone, since what pads it comes after it.
    """

    segments: torch.Tensor
    positions: torch.Tensor
    prefix: int
    _masks: dict[tuple[int, int | None], torch.Tensor] = field(default_factory=dict, repr=False)

    def causal_rows(self, window: int | None) -> int:
        """Return how many of the first tokens need no mask: causal attention is theirs."""
        return self.prefix if window is None else min(self.prefix, window)

    def mask(self, start: int, window: int | None, device: torch.device) -> torch.Tensor:
        """Return who attends to whom, for the rows from ``start``: bool (B, 1, T - start, T).

        Made once for all layers that share a window.
        """
        if (start, window) not in self._masks:
            # Computed where it is used: of 4,800 tokens it has millions of cells.
            made = visible(self.segments.to(device), self.positions.to(device), start, window)
            self._masks[start, window] = made[:, None]
        return self._masks[start, window]

    def forget_masks(self) -> None:
        """Free what :meth:`mask` keeps; another call makes it again."""
        self._masks.clear()


def visible(
    segments: torch.Tensor, positions: torch.Tensor, start: int = 0, window: int | None = None
) -> torch.Tensor:
    """Return the one rule of a pack: bool (B, T - start, T), True where a row sees a column.

    A token sees what comes before it in the context and in its own suffix, itself included,
    no further back than ``window`` positions. Padding sees padding, so that no row is empty.
    """
    place = torch.arange(segments.shape[1], device=segments.device)
    earlier = place[None, start:, None] >= place[None, None, :]
    rows, columns = segments[:, start:, None], segments[:, None, :]
    seen = earlier & ((columns == rows) | (columns == CONTEXT))
    if window is not None:
        seen &= positions[:, start:, None] - positions[:, None, :] < window
    return seen


def shared_context_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layout: Layout,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attend in a pack; see the module.

    Args:
        module: the attention layer.
        query: (B, heads, T, D).
        key: (B, key-value heads, T, D).
        value: like ``key``.
        attention_mask: unused; ``layout`` says it all.
        layout: of the batch.
        sliding_window: the layer's, in tokens.
        **kwargs: dropout, scaling and whatever the layer says beside.

    Returns:
        (B, T, heads, D) and no weights.

    Raises:
        ModelError: the layer wants what this attention does not compute.
    """
    for unknown in ("softcap", "s_aux", "position_bias"):
        if kwargs.get(unknown) is not None:
            raise ModelError(f"{type(module).__name__}: {unknown} is not supported in training")
    tokens = query.shape[2]
    window = None if sliding_window is None or sliding_window >= tokens else sliding_window
    start = layout.causal_rows(window)
    parts = []
    if start:
        head = (tensor[:, :, :start] for tensor in (query, key, value))
        parts.append(sdpa_attention_forward(module, *head, None, is_causal=True, **kwargs)[0])
    if start < tokens:
        mask = layout.mask(start, window, query.device)
        rest = query[:, :, start:]
        with sdpa_kernel(_MASKED):
            parts.append(
                sdpa_attention_forward(module, rest, key, value, mask, is_causal=False, **kwargs)[0]
            )
    return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)), None


AttentionInterface.register(NAME, shared_context_attention)
