"""Whole raw volumes, as fast as numpy reads and writes them. Part of the limit."""

import functools
import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from precomp.bench.layer import Layer
from precomp.bench.peers.bare import write_file

__all__ = ["CORES", "aligned", "read_whole", "share", "write_whole"]

T = TypeVar("T")

CORES = os.cpu_count() or 1
_PAGE = 4096
_WIDEST = 64  # bytes of one element, in a copy of rows


class _Step(NamedTuple):
    """A chunk: its file, and where it is in the array of wide elements (z, y, x)."""

    name: str
    shape: tuple[int, int, int]
    place: tuple[slice, slice, slice]


def read_whole(layer: Layer, folder: str) -> NDArray[Any]:
    """Read all chunks of a raw volume; (x, y, z, 1) in Fortran order."""
    out = np.empty((*layer.shape, 1), layer.dtype, order="F")
    wide = _widened(layer, out)

    def paste(steps: Sequence[_Step]) -> None:
        scratch = aligned(math.prod(layer.chunk) * out.itemsize, "uint8")
        for name, shape, place in steps:
            stored = scratch[: math.prod(shape) * wide.itemsize]
            file = os.open(folder + name, os.O_RDONLY)
            os.preadv(file, [stored.data], 0)
            os.close(file)
            wide[place] = stored.view(wide.dtype).reshape(shape)

    share(paste, _steps(layer), CORES)
    return out


def write_whole(layer: Layer, folder: str, voxels: NDArray[Any]) -> None:
    """Write all chunks of a raw volume."""
    wide = _widened(layer, voxels)

    def store(steps: Sequence[_Step]) -> None:
        for name, _, place in steps:
            write_file(folder + name, np.ascontiguousarray(wide[place]))

    share(store, _steps(layer), CORES)


def share(work: Callable[[Sequence[T]], None], items: Sequence[T], threads: int) -> None:
    """Do `work` with one run of neighbours for each thread."""
    threads = min(threads, len(items))
    if threads <= 1:
        work(items)
        return
    ends = [len(items) * number // threads for number in range(threads + 1)]
    list(_pool().map(work, [items[a:b] for a, b in itertools.pairwise(ends)]))


def aligned(count: int, dtype: str) -> NDArray[Any]:
    """Return an array that begins where a page does.

    A large one of malloc begins 16 bytes later, where some processors copy the pages of a file at a fifth of
    the speed: their `rep movsb` is slow where the target is a few bytes ahead of the source, within the page.
    """
    size = count * np.dtype(dtype).itemsize
    room = np.empty(size + _PAGE, np.uint8)
    start = -room.ctypes.data % _PAGE
    return room[start : start + size].view(dtype)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CORES)


def _width(layer: Layer) -> int:
    """Bytes of the widest element that rows of the volume and of each chunk consist of."""
    size = np.dtype(layer.dtype).itemsize
    return math.gcd(layer.shape[0] * size, layer.chunk[0] * size, _WIDEST)


def _widened(layer: Layer, voxels: NDArray[Any]) -> NDArray[Any]:
    """Return the volume as (z, y, x) with several voxels of a row in one element: numpy copies it faster."""
    return voxels[..., 0].T.view(f"V{_width(layer)}")


@functools.cache
def _steps(layer: Layer) -> list[_Step]:
    voxels = _width(layer) // np.dtype(layer.dtype).itemsize
    steps = []
    for name, (low, high) in layer.chunks(layer.whole):
        place = (
            slice(low[2], high[2]),
            slice(low[1], high[1]),
            slice(low[0] // voxels, high[0] // voxels),
        )
        z, y, x = (part.stop - part.start for part in place)
        steps.append(_Step(name, (z, y, x), place))
    return steps
