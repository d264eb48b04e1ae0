"""transformers.Trainer with logits for the answer positions only, and a progress bar.

Full logits at 4K tokens cost 0.8 GB (49K vocabulary) to 2.5 GB (152K) a copy; the answers'
some 30 tokens a question need a hundredth of that.
"""

import time
from collections.abc import Mapping
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from kv_tasks import console
from kv_train.tokens import IGNORED


def answer_loss(
    model: torch.nn.Module, batch: Mapping[str, torch.Tensor], items: torch.Tensor | float | None
) -> torch.Tensor:
    """Return the cross-entropy over the answer tokens, a scalar.

    Args:
        model: causal language model whose forward takes ``logits_to_keep``.
        batch: what :class:`kv_train.packing.Collator` makes; ``labels`` (B, T) unshifted.
        items: answer tokens of the whole optimizer step, by which the sum is divided, so
            that every answer token weighs the same however packs are accumulated.
    """
    labels = batch["labels"]
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    # Position t predicts token t + 1; keep the positions at which any row has a target.
    kept = (labels[:, 1:] != IGNORED).any(dim=0).nonzero()[:, 0]
    logits = model(**inputs, logits_to_keep=kept, use_cache=False).logits
    targets = labels[:, kept + 1]
    total = cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / (items if items is not None else (targets != IGNORED).sum())


class AnswerTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose loss is :func:`answer_loss`."""

    loss_is_scaled_for_ga = True

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of one batch, see :func:`answer_loss`."""
        return answer_loss(model, inputs, num_items_in_batch)


class ProgressLine(TrainerCallback):  # type: ignore[misc]
    """One live line on standard error: step, loss, learning rate, tokens a second, time left."""

    def __init__(self, tokens_per_step: float) -> None:
        self._tokens_per_step = tokens_per_step
        self._started = 0.0
        self._first_step = 0
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps {task.fields[detail]}"),
            TimeRemainingColumn(),
            console=console.err,
        )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Show the bar."""
        self._started, self._first_step = time.monotonic(), state.global_step
        self._task = self._bar.add_task("", total=state.max_steps, detail="")
        self._bar.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Move the bar on; where nobody watches, print a line now and then instead."""
        if not logs or "loss" not in logs:
            return
        steps = state.global_step - self._first_step
        speed = steps * self._tokens_per_step / max(1e-9, time.monotonic() - self._started)
        detail = f"loss {logs['loss']:.3f} rate {logs['learning_rate']:.1e} {speed:,.0f} tokens/s"
        self._bar.update(self._task, completed=state.global_step, detail=detail)
        if not console.err.is_terminal and state.global_step % max(1, state.max_steps // 10) == 0:
            console.note(f"step {state.global_step}/{state.max_steps} {detail}")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the finished bar on the screen."""
        self._bar.stop()
