"""One scale of a layer at a service of boxes: any box is read and written, without chunks between."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.engine.boxes import Box, Boxes, BoxPlan
from precomp.engine.workers import for_each
from precomp.errors import AlignmentError
from precomp.geometry import Bbox
from precomp.grid import ChunkGrid
from precomp.info import VolumeInfo
from precomp.interfaces import Slices3
from precomp.progress import Tick
from precomp.volume.indexing import Request, triple
from precomp.volume.requests import check_bounds, inside

__all__ = ["BoxIO"]


class _Spot(NamedTuple):
    """The wanted voxels of one box: where they are in it, and in the array of the request."""

    source: Slices3
    target: Slices3


class BoxIO:
    """What it takes to read and write one scale. Immutable, safe to share between threads.

    Attributes:
        info: of the layer.
        dtype: of a voxel.
        grid: of the chunks that the info tells: bounds, and what slabs are cut by. Nothing is stored so.
    """

    def __init__(self, info: VolumeInfo, mip: int, boxes: Boxes) -> None:
        self.info = info
        self.dtype = info.dtype
        self.grid = ChunkGrid.of(info.scales[mip])
        self._mip, self._boxes = mip, boxes

    @property
    def workers(self) -> int | None:
        """How many threads the service would have; None where it does not say."""
        return self._boxes.workers

    def plan(self, request: Request) -> BoxPlan:
        """Return the boxes that hold the wanted voxels inside the volume."""
        lows, highs = [], []
        for lo, hi, step, low, high in zip(
            request.minpt, request.maxpt, request.step, self.grid.offset, self.grid.stop, strict=True
        ):
            first, stop = _first(lo, step, low), min(hi, high)
            count = -((first - stop) // step) if first < stop else 0
            lows.append(first)
            highs.append(first + (count - 1) * step + 1 if count else first)
        return self._boxes.plan(self._mip, Box(triple(lows, "box"), triple(highs, "box")))

    def read(
        self,
        request: Request,
        plan: BoxPlan,
        voxels: NDArray[Any],
        *,
        background: Any,
        workers: int,
        segids: Sequence[int] | None = None,
        tick: Tick | None = None,
    ) -> None:
        """Put the voxels of `request` into `voxels`, shape (x, y, z, channel).

        `plan` is that of the request; `segids`: all other voxels become zero. What lies outside the volume
        becomes `background`. Raises what the service raises.
        """
        if not voxels.size:
            return
        if not inside(request.minpt, request.maxpt, self.grid):
            voxels[...] = background

        def fetch(box: Box) -> None:
            spot = _spot(request, box)
            if spot is not None:
                voxels[spot.target] = self._get(box, segids)[(*spot.source, request.channels)]

        for_each(plan, lambda: fetch, workers, tick, reads=True)

    def write(
        self,
        request: Request,
        plan: BoxPlan,
        voxels: NDArray[Any],
        *,
        partly: bool,
        workers: int,
        tick: Tick | None = None,
    ) -> None:
        """Store `voxels`, shape of `request`. `partly` allows to read boxes that are written in part.

        `plan` is that of the request. Raises OutOfBoundsError and AlignmentError before anything is
        written, and what the service raises.
        """
        advice = "a write has to lie inside; cut it, or set autocrop=True"
        check_bounds(request.minpt, request.maxpt, self.grid, advice)
        if not voxels.size:
            return
        put = self._whole(request, voxels)
        if request.step != (1, 1, 1) or request.channels != slice(0, self.info.num_channels, 1):
            if not partly:
                raise AlignmentError(
                    "a write with steps, or of some channels only, leaves voxels of its box as they are; "
                    "write a whole box, or set non_aligned_writes=True (slower: boxes are read first)"
                )
            put = self._partly(request, voxels)
        for_each(plan, lambda: put, workers, tick)

    def erase(self, box: Bbox, workers: int, tick: Tick | None = None) -> None:
        """Store zeros in a box. Raises OutOfBoundsError, and what the service raises."""
        minpt, maxpt = triple(box.minpt, "box"), triple(box.maxpt, "box")
        check_bounds(minpt, maxpt, self.grid, "choose a box inside")
        zero, channels = self.dtype.type(0), self.info.num_channels

        def put(part: Box) -> None:
            zeros = np.broadcast_to(zero, (*part.shape, channels))  # which takes no memory
            self._boxes.service.write_box(self._mip, part.minpt, zeros)

        for_each(self._boxes.plan(self._mip, Box(minpt, maxpt)), lambda: put, workers, tick)

    def _get(self, box: Box, segids: Sequence[int] | None = None) -> NDArray[Any]:
        return self._boxes.read(self._mip, box, self.info.num_channels, self.dtype, segids)

    def _whole(self, request: Request, voxels: NDArray[Any]) -> Callable[[Box], None]:
        def put(box: Box) -> None:
            spot = _spot(request, box)
            if spot is not None:
                part = np.asarray(voxels[spot.target], self.dtype)  # of another byte order, maybe
                self._boxes.service.write_box(self._mip, box.minpt, part)

        return put

    def _partly(self, request: Request, voxels: NDArray[Any]) -> Callable[[Box], None]:
        def put(box: Box) -> None:
            spot = _spot(request, box)
            if spot is not None:
                there = self._get(box).copy(order="F")
                there[(*spot.source, request.channels)] = voxels[spot.target]
                self._boxes.service.write_box(self._mip, box.minpt, there)

        return put


def _first(start: int, step: int, low: int) -> int:
    """The first of `start`, `start + step`, ... that is not below `low`."""
    return start if start >= low else start - ((start - low) // step) * step


def _spot(request: Request, box: Box) -> _Spot | None:
    """Where the wanted voxels of a box are; None where it has none, as steps may jump over it."""
    source, target = [], []
    for lo, hi, step, low, high in zip(
        request.minpt, request.maxpt, request.step, box.minpt, box.maxpt, strict=True
    ):
        first, stop = _first(lo, step, low), min(hi, high)
        count = -((first - stop) // step) if first < stop else 0
        if not count:
            return None
        source.append(slice(first - low, stop - low, step))
        target.append(slice((first - lo) // step, (first - lo) // step + count))
    (a, b, c), (x, y, z) = source, target
    return _Spot((a, b, c), (x, y, z))
