"""What the live checks make of readings: every prompt counts, however short."""

from dataclasses import replace

import numpy as np

from kv_adapters.checks.live import Readings, Reference, Served, live_checks

LENGTHS = (150, 460, 1500)


def readings(*levels: float) -> Readings:
    """Return prompts of three lengths whose tokens all lie at a level each."""
    return [np.full(length, level) for length, level in zip(LENGTHS, levels, strict=True)]


BASE, ADAPTER = readings(-2, -2, -2), readings(-1, -1, -1)
REFERENCE = Reference(BASE, ADAPTER)
SERVED = Served(BASE, ADAPTER, BASE, BASE, ADAPTER, BASE)


def failed(served: Served, reference: Reference = REFERENCE) -> list[str]:
    return [check.name for check in live_checks(reference, served) if check.status == "failed"]


def test_what_is_as_it_should_be_passes() -> None:
    assert failed(SERVED) == []


def test_a_fault_of_the_short_prompt_alone_is_not_averaged_away() -> None:
    # 0.3 nats on 150 tokens of 2,110 are 0.02 in the mean, below every limit.
    reference = Reference(readings(-2.04, -2, -2), readings(-1.04, -1, -1))
    off = readings(-0.7, -1, -1)
    assert failed(replace(SERVED, adapter=off), reference) == ["adapter agrees"]
    assert failed(replace(SERVED, base=readings(-2.34, -2, -2), mixed_base=readings(-2.34, -2, -2),
                          next_base=BASE), reference) == ["base agrees"]  # fmt: skip
    for level in (-1, -1.7):
        short = readings(level, -2, -2)
        assert failed(replace(SERVED, mixed_base=short)) == ["base unmixed"]
        assert failed(replace(SERVED, next_changed=short)) == ["change served"]


def test_an_adapter_may_be_silent_on_some_prompts_and_not_on_all() -> None:
    quiet = readings(-2, -2, -1)
    assert failed(replace(SERVED, adapter=quiet), Reference(BASE, quiet)) == []
    assert failed(replace(SERVED, adapter=BASE), Reference(BASE, BASE)) == ["adapter differs"]
    nearly = readings(-1.995, -2, -2)
    served = replace(SERVED, adapter=nearly, next_adapter=nearly)
    assert failed(served, Reference(BASE, nearly)) == ["adapter differs"]


def test_rounding_that_the_base_shows_is_allowed_to_the_adapter_twice() -> None:
    reference = Reference(readings(-2.04, -2, -2), readings(-1.07, -1.07, -1))
    assert failed(SERVED, reference) == []
    assert failed(SERVED, Reference(reference.base, readings(-1.09, -1, -1))) == ["adapter agrees"]
