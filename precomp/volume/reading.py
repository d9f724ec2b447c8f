"""How the voxels of a scale are read, be they in chunks or at a service of boxes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from precomp.engine.boxes import BoxPlan, keep_only
from precomp.grid import Plan
from precomp.progress import Tick
from precomp.volume import voxels
from precomp.volume.box_io import BoxIO
from precomp.volume.indexing import Request
from precomp.volume.scale_io import ScaleIO

__all__ = ["Reading"]


class Reading(NamedTuple):
    """How voxels are read.

    Attributes:
        io: of the scale.
        background: what stands for voxels outside the volume.
        fill: what a missing chunk becomes; None: it raises EmptyVolumeError.
        segids: if given, all other voxels become zero.
    """

    io: ScaleIO | BoxIO
    background: Any
    fill: Any
    segids: Sequence[int] | None = None

    def plan(self, request: Request) -> Plan | BoxPlan:
        """Return the chunks, or the boxes, of a request."""
        io = self.io
        if isinstance(io, BoxIO):
            return io.plan(request)
        return io.grid.plan(request.minpt, request.maxpt, request.step)

    def read(
        self,
        request: Request,
        plan: Any,
        out: NDArray[Any],
        workers: int,
        tick: Tick | None = None,
    ) -> None:
        """Put the voxels of a request, whose `plan` is given, into `out`, shape (x, y, z, channel).

        Raises EmptyVolumeError, ChunkDecodeError, TooLargeError, StoreError, and what a service raises.
        """
        if isinstance(self.io, BoxIO):
            background, segids = self.background, self.segids
            if segids is not None and int(background) not in segids:
                background = 0
            self.io.read(request, plan, out, background=background, workers=workers, segids=segids, tick=tick)
            return
        voxels.read(
            self.io,
            request,
            plan,
            background=self.background,
            fill=self.fill,
            workers=workers,
            tick=tick,
            out=out,
        )
        if self.segids is not None:
            keep_only(out, self.segids)
