"""A request against the volume's bounds, and a user's values against the volume's dtype."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError, OutOfBoundsError, TooLargeError
from precomp.geometry import Bbox
from precomp.grid import ChunkGrid
from precomp.interfaces import Slices3
from precomp.volume.indexing import Request

__all__ = [
    "allocate",
    "as_array",
    "as_slice",
    "as_voxels",
    "check_bounds",
    "crop",
    "cut",
    "fitting",
    "inside",
]


def check_bounds(minpt: Sequence[int], maxpt: Sequence[int], grid: ChunkGrid, advice: str) -> None:
    """Raise OutOfBoundsError, showing both boxes, where the box leaves the volume."""
    if not inside(minpt, maxpt, grid):
        bounds = Bbox(grid.offset, grid.stop)
        raise OutOfBoundsError(f"{Bbox(minpt, maxpt)} is not inside the volume's bounds {bounds}; {advice}")


def inside(minpt: Sequence[int], maxpt: Sequence[int], grid: ChunkGrid) -> bool:
    """Tell whether no corner of the box leaves the volume; an empty box has corners too."""
    (x0, y0, z0), (x1, y1, z1), (a0, b0, c0), (a1, b1, c1) = minpt, maxpt, grid.offset, grid.stop
    return a0 <= x0 and b0 <= y0 and c0 <= z0 and x1 <= a1 and y1 <= b1 and z1 <= c1


def crop(request: Request, grid: ChunkGrid) -> tuple[Request, Slices3]:
    """Cut the request down to the volume; also return which part of its array is left."""
    return cut(request, grid.offset, grid.stop)


def cut(request: Request, minpt: Sequence[int], maxpt: Sequence[int]) -> tuple[Request, Slices3]:
    """Cut the request down to a box; also return which part of its array is left."""
    lows, highs, kept = [], [], []
    for lo, hi, step, low, high in zip(request.minpt, request.maxpt, request.step, minpt, maxpt, strict=True):
        skipped = max(0, -((lo - low) // step))
        first = lo + skipped * step
        stop = min(hi, high)
        if first >= stop:  # nothing is left of this axis: an empty place inside
            first = stop = min(max(lo, low), high)
        lows.append(first)
        highs.append(stop)
        kept.append(slice(skipped, skipped - ((first - stop) // step)))
    (x0, y0, z0), (x1, y1, z1), (x, y, z) = lows, highs, kept
    return request._replace(minpt=(x0, y0, z0), maxpt=(x1, y1, z1)), (x, y, z)


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialised array in Fortran order. Raises TooLargeError where memory does not do."""
    try:
        return np.empty(shape, dtype, order="F")
    except (MemoryError, ValueError) as error:
        raise _too_large(shape, dtype, "read") from error


def _too_large(shape: tuple[int, ...], dtype: np.dtype[Any], verb: str) -> TooLargeError:
    return TooLargeError(
        f"an array of shape {shape} and {dtype} takes {math.prod(shape) * dtype.itemsize:,} bytes, more "
        f"than there is; {verb} smaller boxes in turn, or a coarser mip"
    )


def as_array(value: Any) -> NDArray[Any]:
    """Return `value` as an array. Raises ArgumentError where it is none, such as a ragged list."""
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentError("a masked array has no values where it is masked; give them with array.filled(0)")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ArgumentError(f"expected an array or a scalar: {error}") from error


def as_voxels(value: Any, shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return `value` as an array of `shape` (x, y, z, channel) without copying it.

    A scalar is spread and must fit the dtype; an array must have the volume's dtype (in any byte
    order) and the shape, or the shape without the channel axis where there is one channel. Raises
    ArgumentError, and TooLargeError where numpy cannot count so many voxels.
    """
    array = as_array(value)
    if array.ndim == 0:
        scalar = fitting(array[()], dtype, "the value to write")
        try:
            return np.broadcast_to(scalar, shape)
        except ValueError as error:
            raise _too_large(shape, dtype, "write") from error
    if array.dtype.newbyteorder("=") != dtype:
        raise ArgumentError(
            f"the volume holds {dtype}, the array {array.dtype}; convert it, for example with "
            f"array.astype('{dtype}') where all its values fit"
        )
    if array.ndim == 3 and shape[3] == 1:
        array = array[..., np.newaxis]
    if array.shape != shape:
        raise ArgumentError(
            f"the box has the shape {shape}, the array {np.shape(value)}; they must be equal (of one channel "
            "the last axis may be left out): reshape or cut the array"
        )
    return array


def as_slice(value: Any, name: str, axis: int, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a slice across `axis` as an array of `shape` (x, y, z, channel), which is 1 along that axis.

    It has the other two axes in their order, then channels, which may be left out where there is one;
    a slice that was read, which has all axes, will do too, and a scalar is spread. Raises
    ArgumentError, whose text starts with the slice's `name`, `z = 5`.
    """
    x, y, z, channels = shape
    try:
        array = as_array(value)
        if array.ndim and array.shape != (x, y, z, channels):
            plane = tuple(length for number, length in enumerate((x, y, z)) if number != axis)
            array = np.expand_dims(_with_channels(array, plane, channels, axis), axis)
        return as_voxels(array, (x, y, z, channels), dtype)
    except ArgumentError as error:
        raise ArgumentError(f"{name}: {error}") from error


def _with_channels(array: NDArray[Any], plane: tuple[int, ...], channels: int, axis: int) -> NDArray[Any]:
    expected = [(*plane, channels)] + [plane] * (channels == 1)
    if array.shape in expected:
        return array if array.ndim == 3 else array[..., np.newaxis]
    names = "xyz".replace("xyz"[axis], "")
    order = f"first axis {names[0]}, second {names[1]}" + (", channels last" if channels > 1 else "")
    advice = "reshape or cut the image"
    if array.ndim > 1 and array.swapaxes(0, 1).shape in expected:
        advice = "this one fits when transposed: pass np.swapaxes(image, 0, 1)"
    raise ArgumentError(f"expected a slice of shape {expected[-1]}, {order}, got {array.shape}; {advice}")


def fitting(value: Any, dtype: np.dtype[Any], what: str) -> Any:
    """Return a scalar in `dtype`. Raises ArgumentError, naming `what` it is, where it does not fit."""
    if type(value) is int and value == 0:
        return dtype.type(0)
    try:
        if np.iscomplexobj(value) or np.asarray(value).dtype.kind in "mM":
            raise TypeError("voxels are real numbers")
        with np.errstate(all="ignore"):
            converted = np.asarray(value).astype(dtype)[()]
        if dtype.kind == "f":
            # A float need not be exact in fewer bits, but must not become infinite.
            fits = math.isinf(value) or not math.isinf(converted)
        else:
            fits = int(converted) == value  # as Python ints: numpy compares large ones as floats
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"{what}: {value!r} is no value for {dtype}: {error}") from error
    if not fits:
        raise ArgumentError(f"{what}: {value!r} does not fit {dtype}; choose a value that does")
    return converted
