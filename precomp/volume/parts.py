"""A request part by part, where all of it at once would take too much memory in the volume's dtype."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.engine.workers import for_each
from precomp.grid import ChunkGrid
from precomp.interfaces import Slices3
from precomp.volume.box_io import BoxIO
from precomp.volume.indexing import Int3, Request, triple
from precomp.volume.reading import Reading
from precomp.volume.requests import allocate, cut
from precomp.volume.scale_io import ScaleIO

__all__ = ["Part", "PartPlan", "read_parts"]

# Bytes of voxels: what stays in the processor's cache, what shards far away give in few requests, and what a
# service of boxes gives in one.
_CHUNKS, _SHARDS, _BOXES = 2**22, 2**24, 2**26

Visit = Callable[[Slices3, NDArray[Any]], object]


class Part(NamedTuple):
    """A part of a request.

    Attributes:
        request: that it is.
        target: where its voxels go in the array of the whole request.
    """

    request: Request
    target: Slices3


class PartPlan:
    """The parts of a request, x fastest; see precomp.engine.workers.Parts.

    Each is one or several whole chunks, as far as the request goes, so that every chunk is in one part.
    """

    def __init__(self, request: Request, grid: ChunkGrid, most: int) -> None:
        """`request` lies inside the volume; a part has at most `most` voxels or is one chunk."""
        self._request, self._grid = request, grid
        self._size = _size(request, grid, most)
        first, counts = [], []
        for low, high, offset, size in zip(
            request.minpt, request.maxpt, grid.offset, self._size, strict=True
        ):
            start = low - (low - offset) % size
            first.append(start)
            counts.append(-((start - high) // size) if low < high else 0)
        self._first, self._counts = triple(first, "parts"), triple(counts, "parts")

    def __len__(self) -> int:
        """How many parts there are; where the request has steps some may be empty."""
        return math.prod(self._counts)

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[Part]:
        """Yield the parts number `start` to `stop` (exclusive)."""
        stop = len(self) if stop is None else min(stop, len(self))
        nx, ny, _ = self._counts
        for number in range(start, stop):
            place = number % nx, number // nx % ny, number // (nx * ny)
            low = [a + n * size for a, n, size in zip(self._first, place, self._size, strict=True)]
            high = [a + size for a, size in zip(low, self._size, strict=True)]
            yield Part(*cut(self._request, low, high))


def _size(request: Request, grid: ChunkGrid, most: int) -> Int3:
    """Voxels along x, y, z from one part to the next."""
    size = list(grid.chunk)
    length = [high - low for low, high in zip(request.minpt, request.maxpt, strict=True)]
    grown = True
    while grown:
        grown = False
        for axis in range(3):
            others = math.prod(min(size[other], length[other]) for other in range(3) if other != axis)
            if size[axis] < length[axis] and 2 * size[axis] * others <= most:
                size[axis] *= 2
                grown = True
    return triple(size, "parts")


def read_parts(
    reading: Reading, request: Request, visit: Visit, workers: int, bar: Callable[[PartPlan], Any]
) -> None:
    """Read a request that lies inside the volume, and call `visit(target, voxels)` for every part of it.

    `target` is where the voxels, shape (x, y, z, channel), lie in the array of the request; their memory
    serves the next part. Parts are read by `workers` threads at once, of which each has one in memory.
    `bar` makes a context that shows progress. Raises as `Reading.read`.
    """
    plan = PartPlan(request, reading.io.grid, _most(reading.io, request))
    inner = max(workers // max(len(plan), 1), 1)

    def make_task() -> Callable[[Part], None]:
        room: NDArray[Any] = np.empty(0, reading.io.dtype)

        def task(part: Part) -> None:
            nonlocal room
            shape = part.request.shape
            count = math.prod(shape)
            if not count:
                return
            if room.size < count:
                room = allocate((count,), reading.io.dtype)
            voxels = room[:count].reshape(shape, order="F")
            reading.read(part.request, reading.plan(part.request), voxels, inner)
            visit(part.target, voxels)

        return task

    with bar(plan) as tick:
        for_each(plan, make_task, workers, tick, reads=True)


def _most(io: ScaleIO | BoxIO, request: Request) -> int:
    shards = None if isinstance(io, BoxIO) else io.shards
    most = _CHUNKS if shards is None or shards.is_near else _SHARDS
    return (_BOXES if isinstance(io, BoxIO) else most) // (io.dtype.itemsize * max(request.shape[3], 1))
