"""The report's figures, one file a kind.

To add one, write a module with a function ``draw(scene: Scene) -> list[Drawing]`` and add it to
:data:`KINDS`; a kind that has nothing to show returns nothing.
"""

from collections.abc import Callable

from kv_adapters.reports.figures import depth_length, general, positions, reasoning
from kv_adapters.reports.figures.scene import Drawing, Scene

KINDS: tuple[Callable[[Scene], list[Drawing]], ...] = (
    positions.draw, depth_length.draw, reasoning.draw, general.draw,
)  # fmt: skip


def draw_all(scene: Scene) -> list[Drawing]:
    """Draw every kind that the runs have data for."""
    return [drawing for draw in KINDS for drawing in draw(scene)]
