"""Boxes and points from one mip to another, in exact arithmetic."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

from precomp.errors import ArgumentError
from precomp.geometry import Bbox
from precomp.volume.indexing import triple

__all__ = ["box_around", "checked_resolution", "convert_box", "exact"]


def convert_box(box: Bbox, resolution: Sequence[float], to_resolution: Sequence[float]) -> Bbox:
    """Return the smallest box of whole voxels of `to_resolution` that covers `box` of `resolution` (nm)."""
    ratios = [exact(a) / exact(b) for a, b in zip(resolution, to_resolution, strict=True)]
    lows = [math.floor(exact(low) * ratio) for low, ratio in zip(box.minpt, ratios, strict=True)]
    highs = [math.ceil(exact(high) * ratio) for high, ratio in zip(box.maxpt, ratios, strict=True)]
    return Bbox(lows, highs)


def box_around(
    point: Sequence[float], size: Any, resolution: Sequence[float], to_resolution: Sequence[float]
) -> Bbox:
    """Return `size` voxels of `to_resolution` with `point`, in voxels of `resolution`, in the middle."""
    if not (hasattr(point, "__len__") and len(point) == 3 and all(map(_is_finite, point))):
        raise ArgumentError(f"point: expected three finite numbers (x, y, z), got {point!r}")
    lengths = triple(size, "size")
    if min(lengths) < 1:
        raise ArgumentError(f"size: must be at least 1 voxel along each axis, got {size!r}")
    ratios = [exact(a) / exact(b) for a, b in zip(resolution, to_resolution, strict=True)]
    middle = [math.floor(exact(p) * ratio) for p, ratio in zip(point, ratios, strict=True)]
    lows = [center - length // 2 for center, length in zip(middle, lengths, strict=True)]
    return Bbox(lows, [low + length for low, length in zip(lows, lengths, strict=True)])


def checked_resolution(value: Any) -> list[Any]:
    """Return three sizes of a voxel in nm. Raises ArgumentError where they are none."""
    sizes = list(value) if isinstance(value, Iterable) else []
    if len(sizes) != 3 or not all(_is_finite(size) and size > 0 for size in sizes):
        raise ArgumentError(f"coord_resolution: expected three numbers above 0, in nm, got {value!r}")
    return sizes


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def exact(value: Any) -> Fraction:
    """Return a length as the exact number that its text says."""
    # By its shortest decimal text: 4.6 nm is meant, not the double next to it.
    whole = isinstance(value, Integral)
    return Fraction(int(value)) if whole else Fraction(repr(float(value)))
