"""What vLLM answers with the adapter, beside what it should: judged from log-probabilities.

All numbers are mean absolute differences over a probe prompt's tokens, in nats. Every prompt is
judged by itself, so that a fault of short prompts alone does not drown in the long one's tokens,
and the worst is shown. The measure of rounding is how far vLLM and transformers disagree on the
base model itself, in the precision that is served; whatever the adapter is said to do must stand
out from that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kv_adapters.checks.check import Check, judged

# Two right implementations in bf16 differ by hundredths of a nat a token, a wrong one by nats.
LIMIT = 0.1
# Disagreement on the base below this is not taken for the measure: one prompt may be lucky.
LEAST = 0.005
# The adapter may add as much rounding as the base has, once more.
ALLOWED = 2.0
SILENT = "vLLM serves the base model's answers: see the checks targets and effect, or train longer"

Readings = Sequence[np.ndarray]
"""One array a prompt: log-probabilities, (tokens - 1,) or (entries,)."""


@dataclass(frozen=True)
class Reference:
    """What transformers and PEFT compute: log-probabilities of every prompt's tokens."""

    base: Readings
    adapter: Readings


@dataclass(frozen=True)
class Served:
    """What one vLLM engine computes.

    Attributes:
        base, adapter: log-probabilities of every prompt's tokens, one model a batch.
        mixed_base: the base's again, in a batch where every second row is the adapter's.
        next_base, next_adapter: log-probabilities of the next token, by the prefix cache.
        next_changed: after the adapter's B matrices were set to zero at the same path.
    """

    base: Readings
    adapter: Readings
    mixed_base: Readings
    next_base: Readings
    next_adapter: Readings
    next_changed: Readings


def distances(one: Readings, other: Readings) -> np.ndarray:
    """Return the mean absolute difference of every prompt, in nats, (prompts,)."""
    return np.array([np.abs(a - b).mean() for a, b in zip(one, other, strict=True)])


def live_checks(reference: Reference, served: Served) -> Iterator[Check]:
    """Judge what was measured."""
    on_base = distances(served.base, reference.base)
    rounding = max(LEAST, on_base.max())
    lengths = ", ".join(str(len(reading) + 1) for reading in served.base)
    yield judged(
        "base agrees", on_base.max() <= LIMIT, f"vLLM and transformers within {LIMIT:g} nats",
        f"{_worst(on_base)} on prompts of {lengths} tokens",
        "vLLM computes this base model wrongly here: another version, dtype or backend",
    )  # fmt: skip
    effect = distances(served.adapter, served.base)
    # One prompt is enough: an adapter need not have something to say about all.
    yield judged(
        "adapter differs", effect.max() > ALLOWED * rounding,
        f"from the base by more than {ALLOWED * rounding:.4f} nats", f"{effect.max():.4f}", SILENT,
    )  # fmt: skip
    apart = distances(served.adapter, reference.adapter)
    yield judged(
        "adapter agrees", apart.max() <= ALLOWED * rounding,
        f"vLLM and PEFT within {ALLOWED * rounding:.4f} nats", _worst(apart),
        "vLLM does not apply these weights as they were trained: evaluate with --backend hf",
    )  # fmt: skip
    yield _near(
        "base unmixed", distances(served.mixed_base, served.base), rounding, effect,
        "base rows unchanged in a batch with adapter rows",
        "base rows get the adapter's weights: see that VLLM_PLUGINS is not set, "
        "so that kv_adapters_cpu_lora is loaded",
    )  # fmt: skip
    yield _near(
        "change served", distances(served.next_changed, served.next_base), rounding,
        distances(served.next_adapter, served.next_base),
        "new weights at the same path served as new",
        "the engine keeps old weights or old key-values: restart it after a change",
    )  # fmt: skip


def _near(
    name: str, apart: np.ndarray, rounding: float, effect: np.ndarray, expected: str, mend: str
) -> Check:
    """Judge rows that should be the base's: much nearer to it than to the adapter's."""
    # An adapter without effect fails for that; what is left of it here is rounding alone.
    limits = np.maximum(LEAST, np.minimum(ALLOWED * rounding, effect / 2))
    worst = int(np.argmax(apart / limits))
    return judged(
        name, bool((apart <= limits).all()),
        f"{expected}, within {limits[worst]:.4f} nats", _worst(apart), mend,
    )  # fmt: skip


def _worst(apart: np.ndarray) -> str:
    each = ", ".join(f"{number:.4f}" for number in apart)
    return f"{apart.max():.4f} (by prompt {each})"
