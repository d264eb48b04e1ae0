"""What vLLM answers with the adapter, beside what it should: judged from log-probabilities.

All numbers are mean absolute differences, in nats, over the tokens of the probe prompts. The
measure of rounding is how far vLLM and transformers disagree on the base model itself, in the
precision that is served; whatever the adapter is said to do must stand out from that.
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


def distance(one: Readings, other: Readings) -> float:
    """Return the mean absolute difference over all entries, in nats."""
    return float(np.abs(np.concatenate(list(one)) - np.concatenate(list(other))).mean())


def live_checks(reference: Reference, served: Served) -> Iterator[Check]:
    """Judge what was measured."""
    on_base = distance(served.base, reference.base)
    rounding = max(LEAST, on_base)
    lengths = ", ".join(str(len(reading) + 1) for reading in served.base)
    yield judged(
        "base agrees", on_base <= LIMIT, f"vLLM and transformers within {LIMIT:g} nats",
        f"{on_base:.4f} on prompts of {lengths} tokens",
        "vLLM computes this base model wrongly here: another version, dtype or backend",
    )  # fmt: skip
    effect = distance(served.adapter, served.base)
    yield judged(
        "adapter differs", effect > ALLOWED * rounding,
        f"from the base by more than {ALLOWED * rounding:.4f} nats", f"{effect:.4f}", SILENT,
    )  # fmt: skip
    apart = distance(served.adapter, reference.adapter)
    yield judged(
        "adapter agrees", apart <= ALLOWED * rounding,
        f"vLLM and PEFT within {ALLOWED * rounding:.4f} nats", _by_prompt(served, reference, apart),
        "vLLM does not apply these weights as they were trained: evaluate with --backend hf",
    )  # fmt: skip
    yield _near(
        "base unmixed", distance(served.mixed_base, served.base), rounding, effect,
        "base rows unchanged in a batch with adapter rows",
        "base rows get the adapter's weights: see that VLLM_PLUGINS is not set, "
        "so that kv_adapters_cpu_lora is loaded",
    )  # fmt: skip
    yield _near(
        "change served", distance(served.next_changed, served.next_base), rounding,
        distance(served.next_adapter, served.next_base),
        "new weights at the same path served as new",
        "the engine keeps old weights or old key-values: restart it after a change",
    )  # fmt: skip


def _near(
    name: str, apart: float, rounding: float, effect: float, expected: str, mend: str
) -> Check:
    """Judge rows that should be the base's: much nearer to it than to the adapter's."""
    # An adapter without effect fails for that; what is left of it here is rounding alone.
    limit = max(LEAST, min(ALLOWED * rounding, effect / 2))
    return judged(
        name, apart <= limit, f"{expected}, within {limit:.4f} nats", f"{apart:.4f}", mend
    )


def _by_prompt(served: Served, reference: Reference, apart: float) -> str:
    pairs = zip(served.adapter, reference.adapter, strict=True)
    each = ", ".join(f"{distance([one], [other]):.4f}" for one, other in pairs)
    return f"{apart:.4f} (by prompt {each})"
