"""Rows that are held to the base model: how far the adapter leads away from it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import kl_div, log_softmax

from kv_train.attention import CONTEXT, PADDING, Layout


def divergence(model: Any, batch: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how far an adapter leads from its base on the packs of a batch that are held.

    A context that several questions share counts once for each, as in rows of their own. The base
    answers without dropout.

    Args:
        model: PEFT's, whose adapter can be switched off.
        batch: what :class:`kv_train.packing.Collator` makes; with ``kl`` (B,), the weight of each
            pack, 0 where it is not held.

    Returns:
        The Kullback-Leibler divergence of the next token, from base to adapter, in nats, times the
        pack's weight, summed over tokens; and the sum of these weights. Scalars.
    """
    inputs, weights = _held(batch)
    training = model.training
    with torch.no_grad(), model.disable_adapter():
        base = log_softmax(model.eval()(**inputs, use_cache=False).logits.float(), dim=-1)
    found = log_softmax(model.train(training)(**inputs, use_cache=False).logits.float(), dim=-1)
    tokens = kl_div(found, base, reduction="none", log_target=True).sum(dim=-1)
    return (tokens * weights).sum(), weights.sum()


def _held(batch: Mapping[str, Any]) -> tuple[dict[str, Any], torch.Tensor]:
    """Return what the model reads of the packs that are held, and the weight of each token.

    Their longest decides how wide they are: logits of all tokens are large.
    """
    chosen = batch["kl"] > 0
    layout = batch["layout"]
    segments, positions = (x[chosen.cpu()] for x in (layout.segments, layout.positions))
    width = int((segments != PADDING).sum(dim=1).max())
    segments, positions = segments[:, :width], positions[:, :width]
    inputs = {name: batch[name][chosen][:, :width] for name in ("input_ids", "position_ids")}
    questions = segments.amax(dim=1, keepdim=True).clamp(min=1)
    copies = torch.where(segments == CONTEXT, questions, 1) * (segments != PADDING)
    weights = copies.to(chosen.device) * batch["kl"][chosen][:, None]
    return {**inputs, "layout": Layout(segments, positions, min(layout.prefix, width))}, weights
