"""Voxels at many points."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.points import Picks, PointTaker, reading_points
from precomp.engine.workers import Listed, for_each
from precomp.errors import ArgumentError, OutOfBoundsError
from precomp.geometry import Bbox
from precomp.grid import ChunkGrid
from precomp.volume.coordinates import exact
from precomp.volume.indexing import Request, triple
from precomp.volume.labels import Bar
from precomp.volume.reading import Reading
from precomp.volume.requests import allocate
from precomp.volume.scale_io import ScaleIO

__all__ = ["as_points", "check_inside", "to_voxels", "voxels_at"]

_FAR = 2**62  # beyond any volume, and no sum of two overflows
_NEAR = 1e-9  # of a number, so close to a whole one that rounding may have moved it past that
_REQUEST = 2**20  # voxels that a service sends in the time that another request takes

Array = NDArray[Any]
Voxels = NDArray[np.int64]


def as_points(points: Any) -> Array:
    """Return points as an array of numbers, shape (n, 3). Raises ArgumentError where they are none."""
    if not isinstance(points, np.ndarray):
        if not isinstance(points, Iterable):
            raise ArgumentError(f"points: expected points (x, y, z), got {points!r}")
        points = list(points)
    try:
        array = np.asarray(points)
    except ValueError as error:
        raise ArgumentError(f"points: expected three numbers (x, y, z) for each: {error}") from error
    if array.shape in ((0,), (3,)):
        array = array.reshape(-1, 3)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iuf":
        advice = "; pass points.T" if array.ndim == 2 and array.shape[0] == 3 else ""
        raise ArgumentError(
            f"points: expected numbers of shape (n, 3), a row (x, y, z) for each point, got {array.dtype}, "
            f"shape {array.shape}{advice}"
        )
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise ArgumentError(f"{_name(array, int(finite.argmin()))} is not finite; leave it out")
    return array


def _name(points: Array, number: int) -> str:
    return f"points[{number}] = {tuple(points[number].tolist())}"


def to_voxels(points: Array, resolution: Sequence[float], to_resolution: Sequence[float]) -> Voxels:
    """Return the voxels of `to_resolution` (nm) that points in voxels of `resolution` lie in, (n, 3)."""
    found = np.empty(points.shape, np.int64)
    for axis, (size, to_size) in enumerate(zip(resolution, to_resolution, strict=True)):
        values = points[:, axis]
        if values.dtype.kind == "f" and (np.abs(values) < 2**53).all() and (values == np.rint(values)).all():
            values = values.astype(np.int64)
        scaled = _floats if values.dtype.kind == "f" else _whole
        found[:, axis] = scaled(values, exact(size) / exact(to_size))
    return found


def _whole(values: Array, ratio: Fraction) -> Array:
    """Return the floor of whole numbers times `ratio`."""
    high = max(abs(int(values.min(initial=0))), int(values.max(initial=0)))
    if high * ratio.numerator < _FAR:
        scaled: Array = values.astype(np.int64) * ratio.numerator // ratio.denominator
        return scaled
    return _clipped(floor(value * ratio) for value in values.tolist())


def _floats(values: Array, ratio: Fraction) -> Array:
    """Return the floor of floats, taken for the decimal numbers that they show, times `ratio`."""
    rough = values.astype(np.float64) * float(ratio)
    scaled = np.floor(np.clip(rough, -float(_FAR), float(_FAR))).astype(np.int64)
    doubtful = np.abs(rough - np.rint(rough)) <= _NEAR * np.maximum(np.abs(rough), 1)
    scaled[doubtful] = _clipped(floor(exact(value) * ratio) for value in values[doubtful].tolist())
    return scaled


def _clipped(values: Iterator[int]) -> Voxels:
    return np.array([min(max(value, -_FAR), _FAR) for value in values], np.int64)


def check_inside(points: Array, voxels: Voxels, grid: ChunkGrid) -> None:
    """Raise OutOfBoundsError, naming the first point whose voxel is outside the volume."""
    inside = _inside(voxels, grid)
    if not inside.all():
        number = int(inside.argmin())
        raise OutOfBoundsError(
            f"{_name(points, number)}, voxel {tuple(voxels[number].tolist())}, is not inside the volume's "
            f"bounds {Bbox(grid.offset, grid.stop)}; leave it out, or set bounded=False to read background "
            "there"
        )


def _inside(voxels: Voxels, grid: ChunkGrid) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.all((voxels >= grid.offset) & (voxels < grid.stop), axis=1)
    return inside


def voxels_at(reading: Reading, voxels: Voxels, workers: int, bar: Bar) -> Array:
    """Return the volume's values at voxels (n, 3), shape (n, channel); outside it they are background.

    Raises as Reading.read.
    """
    io = reading.io
    channels = io.info.num_channels
    out = allocate((len(voxels), channels), io.dtype)
    inside = np.flatnonzero(_inside(voxels, io.grid))
    if len(inside) < len(voxels):
        out[...] = reading.background
    picks = Listed(_by_chunk(voxels, inside, io.grid))
    with bar(picks) as tick:
        if isinstance(io, ScaleIO):
            refs = Listed(one.ref for one in picks)
            taker = PointTaker(io.reader, {one.ref.key: one for one in picks}, out, reading.fill)
            if not io.reader.decoder.placed and io.batches is not None and io.batches.suits(refs):
                io.batches.read(refs, taker, workers, tick)
            else:
                for_each(refs, lambda: reading_points(taker), workers, tick, reads=True)
        else:
            for_each(
                picks, lambda: lambda one: _request(reading, voxels, one, out), workers, tick, reads=True
            )
    return out


def _by_chunk(voxels: Voxels, chosen: NDArray[np.intp], grid: ChunkGrid) -> Iterator[Picks]:
    """Yield the chosen voxels chunk by chunk."""
    if not len(chosen):
        return
    inner = voxels[chosen] - np.array(grid.offset)
    cells = inner // grid.chunk
    order = np.lexsort(cells.T)
    inner, cells, chosen = inner[order] % grid.chunk, cells[order], chosen[order]
    starts = np.flatnonzero((cells[1:] != cells[:-1]).any(axis=1)) + 1
    for first, stop in zip([0, *starts.tolist()], [*starts.tolist(), len(cells)], strict=True):
        some = voxels[chosen[first:stop]]
        low, high = some.min(axis=0).tolist(), (some.max(axis=0) + 1).tolist()
        (ref,) = grid.plan(low, high).refs()
        yield Picks(ref, inner[first:stop], chosen[first:stop])


def _request(reading: Reading, voxels: Voxels, picks: Picks, out: Array) -> None:
    """Ask a service of boxes for the voxels of what would be a chunk."""
    wanted, channels = voxels[picks.places], out.shape[1]
    for low, high, held in _boxes(wanted):
        request = Request(triple(low, "box"), triple(high, "box"), (1, 1, 1), slice(0, channels, 1))
        room = allocate(request.shape, out.dtype)
        reading.read(request, reading.plan(request), room, 1)
        out[picks.places[held]] = room[tuple((wanted[held] - low).T)]


def _boxes(voxels: Voxels) -> Iterator[tuple[Voxels, Voxels, slice]]:
    """Yield the boxes to ask for, as corners (x, y, z) and which of the voxels they hold.

    One around all of them, or one for each, where that takes less time.
    """
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    if len(voxels) == 1 or len(voxels) * _REQUEST >= int(np.prod(high - low, dtype=object)):
        yield low, high, slice(None)
        return
    for number, voxel in enumerate(voxels):
        yield voxel, voxel + 1, slice(number, number + 1)
