"""transformers.Trainer with logits for the answer positions only.

Full logits at 4K tokens cost 0.8 GB (49K vocabulary) to 2.5 GB (152K) a copy; the answers'
some 30 tokens a question need a hundredth of that.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.utils.data import Sampler
from transformers import Trainer

from kv_train.attention import PADDING
from kv_train.sharing import ThenEmpty
from kv_train.tokens import IGNORED


def answer_loss(
    model: torch.nn.Module, batch: Mapping[str, Any], items: torch.Tensor | float | None
) -> torch.Tensor:
    """Return the cross-entropy over the answer tokens, a scalar.

    Packs with a weight ``kl`` add their :func:`divergence` in place of it.

    Args:
        model: causal language model whose forward takes ``logits_to_keep``.
        batch: what :class:`kv_train.packing.Collator` makes; ``labels`` (B, T) unshifted.
        items: answer tokens of the whole optimizer step, by which the sum is divided, so
            that every answer token weighs the same however packs are accumulated.
    """
    labels = batch["labels"]
    if items is None:
        items = (labels[:, 1:] != IGNORED).sum()
    total = torch.zeros((), device=labels.device)
    if "kl" in batch:
        total = divergence(model, batch)
        labels = labels.masked_fill(batch["kl"][:, None] > 0, IGNORED)
    if "kl" not in batch or (labels != IGNORED).any():
        logits, targets, _ = answer_logits(model, {**batch, "labels": labels})
        total = total + cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
    return total / items


def divergence(model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """Return how far the adapter leads from its base on packs that are to be as they were.

    Args:
        model: PEFT's, whose adapter can be switched off.
        batch: with ``kl`` (B,), the weight of each pack.

    Returns:
        The sum over packs of the weight times the Kullback-Leibler divergence of the next token,
        from base to adapter, in nats, summed over the pack's tokens; a scalar.
    """
    inputs = _inputs(batch)
    with torch.no_grad(), model.disable_adapter():
        base = log_softmax(model(**inputs, use_cache=False).logits.float(), dim=-1)
    found = log_softmax(model(**inputs, use_cache=False).logits.float(), dim=-1)
    tokens = kl_div(found, base, reduction="none", log_target=True).sum(dim=-1)
    there = batch["layout"].segments.to(tokens.device) != PADDING
    weighed: torch.Tensor = tokens * there * batch["kl"][:, None]
    return weighed.sum()


def _inputs(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the model reads of a batch."""
    return {name: value for name, value in batch.items() if name not in ("labels", "kl")}


def answer_logits(
    model: torch.nn.Module, batch: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits where an answer token is predicted, and what is to be predicted there.

    Returns:
        logits fp32 (B, L, vocabulary); targets (B, L), IGNORED where a row of the batch has
        none; the L columns of ``labels`` that the targets come from.
    """
    labels = batch["labels"]
    # Position t predicts token t + 1; keep the positions at which any row has a target.
    kept = (labels[:, 1:] != IGNORED).any(dim=0).nonzero()[:, 0]
    logits = model(**_inputs(batch), logits_to_keep=kept, use_cache=False).logits
    return logits.float(), labels[:, kept + 1], kept + 1


def answer_scores(
    model: torch.nn.Module, batch: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how well each question of each pack is answered.

    Greedy decoding writes an answer exactly if and only if every one of its tokens is the
    likeliest after those before it, so one pass over prompt and answer tells.

    Returns:
        exact: (B, K), 1.0 where the model would write the answer word for word, else 0.0;
        losses: (B, K, 2), the sum over its tokens and their number, which is 0 where a pack
        has fewer than K questions.
    """
    logits, targets, columns = answer_logits(model, batch)
    nll = cross_entropy(logits.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
    asked = targets != IGNORED
    wrong = asked & (logits.argmax(dim=-1) != targets)
    # A row alone is all context (segment 0): its one question is number 1 as well.
    owner = batch["layout"].segments.to(targets.device)[:, columns].clamp(min=1) - 1
    questions = int(owner.max()) + 1

    def per_question(values: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(len(values), questions, device=values.device)
        return sums.scatter_add_(1, owner, values.float())

    losses = torch.stack([per_question(nll), per_question(asked)], dim=-1)
    return (per_question(wrong) == 0).float(), losses


class AnswerTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose loss is :func:`answer_loss` and whose evaluation :func:`answer_scores`.

    Args:
        order: of the places of ``train_dataset`` in an epoch; Trainer's own unless given.
        arguments: of Trainer.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, *, order: ThenEmpty | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._order = order
        # Count the answer tokens of a whole step, whatever the model's forward accepts.
        self.model_accepts_loss_kwargs = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int] | None:
        if self._order is not None:
            return self._order
        shuffled: Sampler[int] | None = super()._get_train_sampler(train_dataset)
        return shuffled

    def _run_epoch(self, **arguments: Any) -> None:
        """Train an epoch, unless a checkpoint that was gone on from holds the last step already.

        Trainer stops after a step only: in the middle of an epoch it would make one too many.
        """
        if self._order is not None:
            # Through what skips the batches of a resumed epoch accelerate does not reach it.
            self._order.set_epoch(arguments["epoch"])
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(**arguments)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of one batch, see :func:`answer_loss`."""
        loss = answer_loss(model, inputs, num_items_in_batch)
        # Gradients are averaged over processes, but the answer tokens counted are everybody's.
        return loss * int(self.accelerator.num_processes)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, torch.Tensor, torch.Tensor]:
        """Return no loss, and :func:`answer_scores` as predictions and labels."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            return None, *answer_scores(model, inputs)
