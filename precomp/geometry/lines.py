"""The lines of a chunk grid along one axis: every `chunk` voxels from `start` on."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["Line", "line_above", "line_below", "line_nearest"]

Line: TypeAlias = Callable[[Any, int, int], int]
"""From a coordinate to a line: `line(value, chunk, start)`."""


# These three take the floor or ceiling of `value` first; what follows is exact integer arithmetic.
def line_below(value: Any, chunk: int, start: int) -> int:
    """Return the last line at or below `value`."""
    steps: int = (math.floor(value) - start) // chunk
    return start + steps * chunk


def line_above(value: Any, chunk: int, start: int) -> int:
    """Return the first line at or above `value`."""
    return -line_below(-value, chunk, -start)


def line_nearest(value: Any, chunk: int, start: int) -> int:
    """Return the nearest line, the upper one of two as near."""
    steps: int = (math.floor(2 * value) - 2 * start + chunk) // (2 * chunk)
    return start + steps * chunk
