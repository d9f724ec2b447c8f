"""What a caller may write for a corner, a size or a slice, read into plain numbers or an ArgumentError."""

import math
import operator
from typing import Any

from precomp.errors import ArgumentError
from precomp.geometry.vec import Vec, holds_elements, number

__all__ = ["axis_number", "corner", "items", "slice_ends", "triple", "whole"]


def axis_number(axis: Any) -> int:
    """Return 0, 1 or 2 for 'x', 'y' or 'z', or for the number itself; all else is an ArgumentError."""
    if isinstance(axis, str):
        number = ("x", "y", "z").index(axis) if axis in ("x", "y", "z") else -1
    else:
        try:
            number = -1 if isinstance(axis, bool) else operator.index(axis)
        except TypeError:  # no whole number; an array of several, say
            number = -1
    if not 0 <= number < 3:
        raise ArgumentError(f"axis: expected 'x', 'y' or 'z', or 0, 1 or 2, found {axis!r}")
    return number


def items(value: Any, name: str, expected: str) -> tuple[Any, ...]:
    """Return the elements of `value`; an ArgumentError says what was `expected` where it has none."""
    if not holds_elements(value):
        raise ArgumentError(f"{name}: found {value!r} ({type(value).__name__}); expected {expected}")
    return tuple(value)


def corner(value: Any, name: str) -> Vec:
    """Return `value` as a Vec of three finite numbers."""
    try:
        vec = Vec(value)
    except ArgumentError as error:
        raise ArgumentError(f"{name}: {error}") from error
    if len(vec) != 3 or math.inf in map(abs, vec):
        raise ArgumentError(f"{name} is {vec!r}; expected three finite numbers x, y, z")
    return vec


def triple(value: Any, name: str) -> Vec:
    """Return `value`, or three times the one number that it is, as a Vec of three finite numbers."""
    return corner(value if holds_elements(value) else [value] * 3, name)


def whole(value: Any, name: str) -> int:
    """Return `value`, a whole number, as an int; anything fractional or infinite is an ArgumentError."""
    if value % 1 != 0:
        raise ArgumentError(f"{name} is {value!r}; expected a whole number of voxels: round it first")
    return int(value)


def slice_ends(item: Any, axis: str) -> tuple[Any, Any]:
    """Return start and stop of a slice or of one voxel's index."""
    if not isinstance(item, slice):
        voxel = whole(number(item, f"index {axis}"), f"index {axis}")
        return voxel, voxel + 1
    if item.start is None or item.stop is None:
        raise ArgumentError(f"{axis}: {item} is open; a box needs absolute numbers at both ends")
    if item.step is not None and number(item.step, f"the step along {axis}") < 1:
        raise ArgumentError(f"{axis}: the step of {item} is below 1; expected 1 or more")
    start = number(item.start, f"the start along {axis}")
    return start, max(start, number(item.stop, f"the stop along {axis}"))
