"""What the harness aggregates with, beyond its own mean."""

from collections.abc import Sequence


def mean_of_known(values: Sequence[float | None]) -> float | str:
    """Return the mean of the values that are not None, "N/A" when there are none.

    So the harness writes what it does not know; a NaN would be no JSON.

    A document has a value for the metrics of its own depth or data set and None for the
    others; all documents carry all metrics, or the harness would weight groups wrongly.
    """
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else "N/A"


def total(values: Sequence[float]) -> float:
    """Return the sum, of all processes' documents where several evaluate a task."""
    return sum(values)


def by_depth(parts: Sequence[tuple[float | None, float]]) -> dict[str, float | None]:
    """Return ``depth_1_of_5`` to ``depth_5_of_5``: the mean score of each fifth of the haystack.

    Args:
        parts: (depth from 0 to 1, score) of what a document asks for; None is no depth.
    """
    fifths: dict[str, float | None] = {}
    for fifth in range(5):
        here = [s for depth, s in parts if depth is not None and min(4, int(depth * 5)) == fifth]
        fifths[f"depth_{fifth + 1}_of_5"] = sum(here) / len(here) if here else None
    return fifths
