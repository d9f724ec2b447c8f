"""Slice by slice through a volume: whole slabs of chunks are read and written behind single slices."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from precomp.errors import AlignmentError, ArgumentError, OutOfBoundsError
from precomp.geometry import Bbox
from precomp.volume import voxels
from precomp.volume.indexing import whole_number
from precomp.volume.requests import allocate, as_array, as_voxels

if TYPE_CHECKING:
    from precomp.volume.access import Access

__all__ = ["SlabWriter", "slices"]

_AXES = ("x", "y", "z")


def axis_number(axis: Any) -> int:
    """Return 0, 1 or 2 for x, y or z, or for the number itself. Raises ArgumentError."""
    if axis in _AXES:
        return _AXES.index(axis)
    if axis in (0, 1, 2):
        return int(axis)
    raise ArgumentError(f"axis: expected 'x', 'y' or 'z', got {axis!r}")


def slices(vol: "Access", axis: Any, box: Bbox, mip: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (coordinate, slice) along `axis`; every chunk is fetched once, the next slab in advance."""
    number, io = axis_number(axis), vol._layer.scale(mip)
    slabs = _slabs(vol, number, box, mip)
    if not slabs:
        return
    shape = (*map(int, max(slabs, key=lambda slab: slab.volume()).size3()), io.info.num_channels)
    # Two arrays in turn: what malloc would keep of those freed in another thread is a third.
    buffers = [allocate(shape, io.info.dtype) for _ in slabs[:2]]

    def fetch(place: int) -> NDArray[Any]:
        request = vol._request(io, slabs[place])
        part = buffers[place % 2][tuple(slice(length) for length in request.shape)]
        return vol._fetch(io, request, out=part)

    with ThreadPoolExecutor(1, thread_name_prefix="precomp-slices") as pool:
        coming = pool.submit(fetch, 0)
        for place, slab in enumerate(slabs):
            here = coming.result()
            if place + 1 < len(slabs):
                coming = pool.submit(fetch, place + 1)
            for offset in range(here.shape[number]):
                # A copy, as the slab after next goes to the same place.
                image = here[(slice(None),) * number + (offset,)].copy(order="F")
                yield int(slab.minpt[number]) + offset, image[..., 0] if image.shape[2] == 1 else image


class SlabWriter:
    """Takes single slices and writes whole slabs of chunks; a context manager.

    Slices come slab by slab, within a slab in any order; a slab is as thick as a chunk. A full slab is
    written in the background while the next one fills, so two slabs are in memory at most.

    At the end of the `with` block all slabs are on their way and waited for. Where slices of the last
    one are missing, what is there is written if the volume allows non_aligned_writes, else an ArgumentError
    names them. After an error in the block only whole slabs have been written.
    """

    def __init__(self, vol: "Access", axis: Any, box: Bbox, mip: int) -> None:
        """Raises AlignmentError where `box` is off the chunk grid, OutOfBoundsError, ArgumentError."""
        self._vol, self._mip, self._box = vol, mip, box
        self._axis = axis_number(axis)
        io = vol._layer.scale(mip)
        if not voxels.plan_box(io, box).whole and not vol._settings.non_aligned_writes:
            raise AlignmentError(f"{voxels.misaligned(io, box)}; choose such a bbox for the slabs")
        self._dtype, self._channels = io.info.dtype, io.info.num_channels
        self._slabs = _slabs(vol, self._axis, box, mip)
        self._written: set[int] = set()
        self._number: int | None = None  # of the slab that fills
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="precomp-slabs")
        self._storing: Future[None] | None = None

    def __enter__(self) -> "SlabWriter":
        """Return the writer itself."""
        return self

    def write(self, coordinate: int, image: ArrayLike) -> None:
        """Take one slice: shape of the other two axes, then channels where there are several.

        Raises OutOfBoundsError, and ArgumentError for a wrong shape or dtype, for a slice whose slab is
        written already, and, naming them, for slices left out of the slab before; a failed write of an
        earlier slab is raised here too.
        """
        name = _AXES[self._axis]
        place = whole_number(coordinate, name)
        number = self._slab_of(place)
        if number in self._written:
            raise ArgumentError(f"{name} = {place}: its slab {self._slabs[number]} has been written already")
        if number != self._number:
            self._check_complete(f"slices of the next slab came, {name} = {place}")
            self._begin(number)
        offset = place - self._slabs[number].minpt[self._axis]
        where: list[Any] = [slice(None)] * 3
        where[self._axis] = slice(offset, offset + 1)
        target = self._buffer[tuple(where)]
        target[...] = as_voxels(self._thick(image), target.shape, self._dtype)
        self._seen[offset] = True
        if self._seen.all():
            self._store([self._slabs[number]], self._buffer)

    def close(self) -> None:
        """Write what is left and wait for it; what `with` does at its end."""
        try:
            if self._number is not None and self._vol._settings.non_aligned_writes:
                self._store(self._runs(), self._buffer)
            self._wait()
            self._check_complete("the writer was closed")
        finally:
            self._pool.shutdown()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the writer; after an error drop the slab that is not full."""
        if error is None:
            self.close()
        else:
            self._pool.shutdown()

    def _thick(self, image: ArrayLike) -> NDArray[Any]:
        """The slice as a box of one voxel along the axis; a scalar as it is."""
        array = as_array(image)
        if array.ndim not in (0, 2, 3):
            raise ArgumentError(f"expected a slice of 2 axes, or 3 with channels, got shape {array.shape}")
        flat = array[..., np.newaxis] if array.ndim == 2 else array
        return np.expand_dims(flat, self._axis) if flat.ndim else flat

    def _slab_of(self, place: int) -> int:
        for number, slab in enumerate(self._slabs):
            if slab.minpt[self._axis] <= place < slab.maxpt[self._axis]:
                return number
        raise OutOfBoundsError(f"{_AXES[self._axis]} = {place} is not inside {self._box}")

    def _begin(self, number: int) -> None:
        slab = self._slabs[number]
        self._buffer = allocate((*map(int, slab.size3()), self._channels), self._dtype)
        self._seen = np.zeros(self._buffer.shape[self._axis], bool)
        self._number = number

    def _store(self, boxes: list[Bbox], buffer: NDArray[Any]) -> None:
        assert self._number is not None
        self._wait()  # for the slab before, so that two are in memory at most
        start = self._slabs[self._number].minpt
        self._written.add(self._number)
        self._number = None
        del self._buffer
        self._storing = self._pool.submit(self._put, boxes, start, buffer)

    def _put(self, boxes: list[Bbox], start: Any, buffer: NDArray[Any]) -> None:
        for box in boxes:
            self._vol._write(box, buffer[(box - start).to_slices()], self._mip)

    def _wait(self) -> None:
        storing, self._storing = self._storing, None
        if storing is not None:
            storing.result()

    def _missing(self) -> list[int]:
        start = 0 if self._number is None else int(self._slabs[self._number].minpt[self._axis])
        return [] if self._number is None else [start + int(z) for z in np.flatnonzero(~self._seen)]

    def _check_complete(self, event: str) -> None:
        missing = self._missing()
        if missing and self._number is not None:
            shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            raise ArgumentError(
                f"{_AXES[self._axis]} = {shown}: {event}, and these slices of the slab "
                f"{self._slabs[self._number]} are missing; write all slices of a slab"
            )

    def _runs(self) -> list[Bbox]:
        """The boxes of neighbouring slices that the slab in hand has."""
        assert self._number is not None
        slab, axis = self._slabs[self._number], self._axis
        edges = np.flatnonzero(np.diff(np.concatenate([[False], self._seen, [False]]).astype(np.int8)))
        return [
            _cut(slab, axis, *(int(slab.minpt[axis] + edge) for edge in run)) for run in edges.reshape(-1, 2)
        ]


def _slabs(vol: "Access", axis: int, box: Bbox, mip: int) -> list[Bbox]:
    """The box in slabs that end where the chunks do."""
    grid = vol._layer.scale(mip).grid
    offset, thickness = grid.offset[axis], grid.chunk[axis]
    low, high = int(box.minpt[axis]), int(box.maxpt[axis])
    first = (low - offset) // thickness * thickness + offset
    starts = range(first, high, thickness)
    return [_cut(box, axis, max(low, start), min(high, start + thickness)) for start in starts]


def _cut(box: Bbox, axis: int, low: int, high: int) -> Bbox:
    minpt, maxpt = list(box.minpt), list(box.maxpt)
    minpt[axis], maxpt[axis] = low, high
    return Bbox(minpt, maxpt)
