"""A service of boxes of voxels: which requests a box takes, and what comes back checked."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.errors import PluginError
from precomp.interfaces import FiltersSegments, SplitsBoxes, SupportsCutout

__all__ = ["Box", "BoxPlan", "Boxes", "holds", "keep_only"]

Int3 = tuple[int, int, int]


class Box(NamedTuple):
    """Voxels `minpt` to `maxpt` (exclusive)."""

    minpt: Int3
    maxpt: Int3

    @property
    def shape(self) -> Int3:
        """Voxels along x, y, z."""
        (x0, y0, z0), (x1, y1, z1) = self
        return x1 - x0, y1 - y0, z1 - z0


class BoxPlan(tuple[Box, ...]):
    """The boxes of one request; see precomp.engine.workers.Parts."""

    __slots__ = ()

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[Box]:
        """Yield the boxes number `start` to `stop` (exclusive)."""
        return iter(self[start:stop])


@attrs.frozen
class Boxes:
    """A service, and the place it serves.

    Attributes:
        service: what the protocol's plugin opened.
        place: the layer's cloudpath, for errors.
    """

    service: SupportsCutout
    place: str

    @property
    def workers(self) -> int | None:
        """How many threads the service (see UsesWorkers) would have; None where it does not say."""
        wanted: int | None = getattr(self.service, "workers", None)
        return wanted

    def plan(self, mip: int, box: Box) -> BoxPlan:
        """Return the boxes to be read or written one by one. Raises PluginError where they do not fill it."""
        if 0 in box.shape:
            return BoxPlan()
        if not isinstance(self.service, SplitsBoxes):
            return BoxPlan((box,))
        parts = BoxPlan(Box(_ints(low), _ints(high)) for low, high in self.service.split(mip, *box))
        inside = all(
            a <= low < high <= b
            for part in parts
            for a, b, low, high in zip(*box, part.minpt, part.maxpt, strict=True)
        )
        # What no part covers would be whatever stood in the memory of the result.
        if not inside or sum(math.prod(part.shape) for part in parts) != math.prod(box.shape):
            raise PluginError(
                f"{self.place}: the service split {box} into {len(parts)} boxes that do not fill it; report "
                "it to the authors of the plugin"
            )
        return parts

    def read(
        self, mip: int, box: Box, channels: int, dtype: np.dtype[Any], segids: Sequence[int] | None
    ) -> NDArray[Any]:
        """Return the voxels of a box; of these `segids` only, where they are given.

        Raises PluginError where the service returns another shape or dtype, and what it raises.
        """
        voxels: NDArray[Any]
        filtered = segids is not None and isinstance(self.service, FiltersSegments)
        if filtered:
            voxels = self.service.read_segments(mip, *box, segids)  # type: ignore[attr-defined]
        else:
            voxels = self.service.read_box(mip, *box)
        expected = (*box.shape, channels)
        if voxels.shape != expected or voxels.dtype != dtype:
            raise PluginError(
                f"{self.place}: expected voxels of shape {expected} and {dtype} for mip {mip} of {box}, the "
                f"service gave {voxels.shape} and {voxels.dtype}; call refresh_info() if the info was edited "
                "or the layer is another one now, else report it to the authors of the plugin"
            )
        if segids is not None and not filtered:
            voxels = voxels.copy(order="F")
            keep_only(voxels, segids)
        return voxels


def keep_only(voxels: NDArray[Any], segids: Sequence[int]) -> None:
    """Set every voxel to zero that is none of `segids`, in place."""
    wanted = np.array([one for one in sorted(set(segids)) if holds(voxels.dtype, one)], voxels.dtype)
    for z in range(voxels.shape[2]):  # what numpy needs besides is several times as large as its argument
        plane = voxels[:, :, z]
        plane[~np.isin(plane, wanted)] = 0


def holds(dtype: np.dtype[Any], label: int) -> bool:
    """Whether a voxel can have a label that is not negative."""
    if dtype.kind in "iu":
        return label <= int(np.iinfo(dtype).max)
    return int(dtype.type(label)) == label


def _ints(point: Sequence[int]) -> Int3:
    x, y, z = point
    return x, y, z
