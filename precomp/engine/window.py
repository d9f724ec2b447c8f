"""A box of voxels within a chunk that is an array: which bytes hold it, and their way into an array."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.engine.rows import copy_rows
from precomp.interfaces import Buffer, ByteRange, ChunkSpec, Layout, Slices3

__all__ = ["Window", "misplaced", "window_of"]

_Strides = tuple[int, int, int, int]
_MOST_RANGES = 64  # an info may claim millions of channels: nothing is planned for each of so many


class Window(NamedTuple):
    """The bytes of a box: one range, or one for each channel where much lies between the channels.

    Attributes:
        layout: of the chunk.
        strides: bytes from one wanted voxel to the next along x, y, z and channel.
        first: where the first wanted voxel begins.
        length: from there to the end of the last one, of all channels or, where `apart`, of one.
        apart: how many ranges there are.
    """

    layout: Layout
    strides: _Strides
    first: int
    length: int
    apart: int

    def ranges(self) -> list[ByteRange]:
        """The bytes to read, in the order in which `paste` takes them."""
        starts = (self.first + channel * self.strides[3] for channel in range(self.apart))
        return [ByteRange(start, start + self.length) for start in starts]

    def paste(self, parts: Sequence[Buffer], target: NDArray[Any]) -> None:
        """Copy the voxels of the ranges' bytes into `target`, which has the shape of the box."""
        dtype, strides = self.layout.dtype, self.strides
        if self.apart == 1:
            copy_rows(target, np.ndarray(target.shape, dtype, parts[0], 0, strides))
            return
        x, y, z, _ = target.shape
        for channel, data in enumerate(parts):
            copy_rows(target[..., channel : channel + 1], np.ndarray((x, y, z, 1), dtype, data, 0, strides))


def window_of(
    layout: Layout, source: Slices3, channels: slice, shape: tuple[int, ...], request_cost: int
) -> Window:
    """Return where a box lies: `source` and `channels` within the chunk, with `shape` of the result.

    `request_cost` is what one more range costs, as bytes that are read along in the same time.
    """
    # Plain arithmetic on ints, as this is done for every chunk and every single voxel.
    dtype, (sx, sy, sz, sc), start, _ = layout
    x, y, z = source
    first = start + x.start * sx + y.start * sy + z.start * sz + channels.start * sc
    nx, ny, nz, count = shape
    if x.step != 1 or y.step != 1 or z.step != 1 or channels.step != 1:
        # A step of which there is only one may be larger than numpy can count.
        sx, sy = sx * x.step if nx > 1 else 0, sy * y.step if ny > 1 else 0
        sz, sc = sz * z.step if nz > 1 else 0, sc * channels.step if count > 1 else 0
    length = (nx - 1) * sx + (ny - 1) * sy + (nz - 1) * sz + dtype.itemsize
    if count == 1:
        return Window(layout, (sx, sy, sz, sc), first, length, 1)
    if 1 < count <= _MOST_RANGES and sc - length > request_cost:
        return Window(layout, (sx, sy, sz, sc), first, length, count)
    return Window(layout, (sx, sy, sz, sc), first, length + (count - 1) * sc, 1)


def misplaced(layout: Any, spec: ChunkSpec) -> str:
    """Say what is wrong with a stranger's layout of chunks of `spec`; '' where nothing is."""
    return next(_faults(layout, spec), "")


def _faults(layout: Any, spec: ChunkSpec) -> Iterator[str]:
    if not isinstance(layout, Layout):
        yield f"expected a precomp.interfaces.Layout or None, found {type(layout).__name__}"
        return
    dtype, strides, start, size = layout
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf":
        yield f"expected a dtype of numbers, found {dtype!r}"
        return
    numbers = [*strides, start, size] if isinstance(strides, tuple) and len(strides) == 4 else []
    if not numbers or not all(type(number) is int and number >= 0 for number in numbers):
        yield f"expected four strides, a start and a size, ints from 0 on, found {layout}"
        return
    steps = zip(spec.shape, strides, strict=True)
    end = start + sum((length - 1) * stride for length, stride in steps) + dtype.itemsize
    if end > size:
        yield f"the last voxel of {spec.shape} would end at byte {end} of {size}"
