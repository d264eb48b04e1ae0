"""transformers.Trainer with logits for the answer positions only.

Full logits at 4K tokens cost 0.8 GB (49K vocabulary) to 2.5 GB (152K) a copy; the answers'
some 30 tokens a question need a hundredth of that.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from transformers import Trainer

from kv_train.divergence import divergence
from kv_train.sharing import ThenEmpty
from kv_train.tokens import IGNORED


def answer_loss(
    model: torch.nn.Module, batch: Mapping[str, Any], items: torch.Tensor | float | None
) -> torch.Tensor:
    """Return the sums of :func:`loss_sums` over a number of tokens, a scalar.

    Args:
        model: causal language model whose forward takes ``logits_to_keep``.
        batch: what :class:`kv_train.packing.Collator` makes; ``labels`` (B, T) unshifted.
        items: answer tokens of the whole optimizer step, those of held packs among them, by
            which the sum is divided, so that every answer token weighs the same however packs are
            accumulated; the batch's unless given.
    """
    if items is None:
        items = (batch["labels"][:, 1:] != IGNORED).sum()
    sums = loss_sums(model, batch)
    return (sums[0] + sums[2]) / items


def loss_sums(model: torch.nn.Module, batch: Mapping[str, Any]) -> torch.Tensor:
    """Return what a batch adds to a step's loss, and over how many tokens, (4,).

    Returns:
        The cross-entropy over the answer tokens of packs without a weight ``kl``, and the number
        of these tokens; the :func:`kv_train.divergence.divergence` of the others, and its weights.
    """
    labels = batch["labels"]
    answers, tokens, held, weights = torch.zeros(4, device=labels.device)
    if "kl" in batch:
        held, weights = divergence(model, batch)
        labels = labels.masked_fill(batch["kl"][:, None] > 0, IGNORED)
    if "kl" not in batch or (labels != IGNORED).any():
        logits, targets, _ = answer_logits(model, {**batch, "labels": labels})
        tokens = (targets != IGNORED).sum().float()
        answers = cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
    return torch.stack([answers, tokens, held, weights])


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
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "kl")}
    logits = model(**inputs, logits_to_keep=kept, use_cache=False).logits
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
        self._holds = any(pack.kl for pack in self.train_dataset or ())
        self._sums = torch.zeros(4)

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
            # accelerate does not reach the sampler behind what skips a resumed epoch's batches.
            self._order.set_epoch(arguments["epoch"])
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(**arguments)

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], *rest: Any, **named: Any
    ) -> torch.Tensor:
        """Train on one batch; its masks go with it, while Trainer keeps a whole step's batches."""
        loss: torch.Tensor = super().training_step(model, inputs, *rest, **named)
        inputs["layout"].forget_masks()
        return loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of one batch, see :func:`answer_loss`."""
        sums = loss_sums(model, inputs)
        self._sums = self._sums.to(sums.device) + sums.detach()
        assert num_items_in_batch is not None
        # Gradients are averaged over processes, but the answer tokens counted are everybody's.
        return (sums[0] + sums[2]) / num_items_in_batch * int(self.accelerator.num_processes)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, too, the two parts of a loss that has two, each a token of its own."""
        if "loss" in logs and self._holds:
            answers, tokens, held, weights = self._sums.tolist()
            logs |= {"answer_loss": answers / tokens} if tokens else {}
            logs |= {"divergence": held / weights} if weights else {}
        if "loss" in logs:
            self._sums.zero_()
        super().log(logs, start_time)

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
