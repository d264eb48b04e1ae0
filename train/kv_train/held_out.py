"""Retrieval accuracy on held-out prompts while training goes on, by depth of the gold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import EvalPrediction

from kv_train.packing import Pack

Log = Sequence[Mapping[str, Any]]
"""The lines of a training's ``log.jsonl``."""

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

        These are of the first kind of prompts; each other has its ``exact_match_KIND``.

        Args:
            prediction: what :func:`kv_train.trainer.answer_scores` gave for all packs.
        """
        exact = np.asarray(prediction.predictions)
        losses, tokens = np.moveaxis(np.asarray(prediction.label_ids), -1, 0)
        kinds = np.array([item.kind or "" for item in self.packs])
        asked, first = tokens > 0, kinds[0]
        chosen = asked & (kinds == first)[:, None]
        found = {
            "loss": float(losses[chosen].sum() / tokens[chosen].sum()),
            "exact_match": float(exact[chosen].mean()),
        }
        parts = self._parts(exact.shape[1])
        for part in range(PARTS):
            if (inside := chosen & (parts == part)).any():
                found[f"exact_match_depth_{part + 1}"] = float(exact[inside].mean())
        for kind in dict.fromkeys(kinds[kinds != first]):
            found[f"exact_match_{kind}"] = float(exact[asked & (kinds == kind)[:, None]].mean())
        return found

    def _parts(self, width: int) -> np.ndarray:
        """Return the part of the haystack of every question, -1 where it is not known."""
        parts = np.full((len(self.packs), width), -1)
        for number, item in enumerate(self.packs):
            for question, depth in enumerate(item.depths):
                if depth is not None:
                    parts[number, question] = min(int(depth * PARTS), PARTS - 1)
        return parts


def other_kinds(entry: Mapping[str, Any]) -> list[str]:
    """Return the kinds of prompts that a line of the log has accuracies of, beside the first."""
    prefix = "eval_exact_match_"
    return sorted(
        key.removeprefix(prefix)
        for key in entry
        if key.startswith(prefix) and not key.startswith(f"{prefix}depth_")
    )


def answer_losses(log: Log) -> list[tuple[int, float]]:
    """Return (step, nats an answer token) of each step in which answers were trained.

    Where rows are held to the base model, a step's loss is that and their divergence.
    """
    key = "answer_loss" if any("answer_loss" in entry for entry in log) else "loss"
    return [(entry["step"], entry[key]) for entry in log if key in entry]
