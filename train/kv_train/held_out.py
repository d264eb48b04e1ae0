"""Retrieval accuracy on held-out prompts while training goes on, by depth of the gold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import (
    EvalPrediction,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from kv_train.packing import Pack

# Parts of the haystack that a curve has a point for: enough to see a sag in the middle.
PARTS = 5


@dataclass(frozen=True)
class HeldOut:
    """Held-out packs, and what their answers say.

    Attributes:
        packs: evaluated in this order.
    """

    packs: Sequence[Pack]

    def metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """Return ``loss`` a token, ``exact_match``, and ``exact_match_depth_1`` to ``_5``.

        Args:
            prediction: what :func:`kv_train.trainer.answer_scores` gave for all packs.
        """
        exact = np.asarray(prediction.predictions)
        losses, tokens = np.moveaxis(np.asarray(prediction.label_ids), -1, 0)
        asked = tokens > 0
        found = {
            "loss": float(losses[asked].sum() / tokens[asked].sum()),
            "exact_match": float(exact[asked].mean()),
        }
        parts = self._parts(exact.shape[1])
        for part in range(PARTS):
            if (inside := asked & (parts == part)).any():
                found[f"exact_match_depth_{part + 1}"] = float(exact[inside].mean())
        return found

    def _parts(self, width: int) -> np.ndarray:
        """Return the part of the haystack of every question, -1 where it is not known."""
        parts = np.full((len(self.packs), width), -1)
        for number, item in enumerate(self.packs):
            for question, depth in enumerate(item.depths):
                if depth is not None:
                    parts[number, question] = min(int(depth * PARTS), PARTS - 1)
        return parts


class EvaluateAtEnd(TrainerCallback):  # type: ignore[misc]
    """Evaluate after the last step, whatever the cadence."""

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: object,
    ) -> None:
        """Ask for an evaluation when the last step is done."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True
