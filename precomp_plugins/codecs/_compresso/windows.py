"""The mask of `compresso` as it is stored, small windows of voxels as the bits of a number.

What is asked of each voxel and its neighbour is asked of all voxels of a window at once.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["Windows"]


@attrs.frozen(eq=False)
class Windows:
    """A mask of shape `size` in windows of `steps` voxels, both x, y, z.

    Voxel (x, y, z) of a window is the bit x + steps[0] * (y + steps[1] * z).

    Attributes:
        bits: of the windows, an array (z, y, x) of unsigned integers.
        size: of the mask.
        steps: of a window.
    """

    bits: NDArray[Any]
    size: Sequence[int]
    steps: Sequence[int]

    def inside(self) -> NDArray[Any]:
        """The bits that are voxels of the mask, not beyond its end."""
        found = np.full_like(self.bits, self._pattern([range(step) for step in self.steps]))
        for axis, (size, step) in enumerate(zip(self.size, self.steps, strict=True)):
            if rest := size % step:
                last = self.bits.ndim - 1 - axis
                found[(slice(None),) * last + (-1,)] &= self._layers(axis, range(rest))
        return found

    def before(self, axis: int) -> NDArray[Any]:
        """The bit of each voxel's neighbour before it along an axis (0 is x); 1 where there is none."""
        step, apart = self.steps[axis], int(np.prod(self.steps[:axis], dtype=int))
        last = self._layers(axis, range(step - 1, step))
        neighbours = np.full_like(self.bits, last)
        cut = (slice(None),) * (self.bits.ndim - 1 - axis)
        neighbours[(*cut, slice(1, None))] = self.bits[(*cut, slice(-1))]
        bits: NDArray[Any] = (self.bits & ~last) << self.bits.dtype.type(apart)
        bits |= (neighbours & last) >> self.bits.dtype.type(apart * (step - 1))
        return bits

    def places(self, bits: NDArray[Any]) -> NDArray[np.int64]:
        """Where the bits of windows are set, as places x + nx * (y + ny * z) in the mask, ascending."""
        at = np.flatnonzero(bits)
        data = bits.reshape(-1)[at].view(np.uint8).reshape(len(at), bits.itemsize)
        each = np.unpackbits(data, axis=1, bitorder="little")
        window, bit = np.nonzero(each)
        z, y, x = np.unravel_index(at[window], self.bits.shape)
        (sx, sy, sz), (nx, ny, _) = self.steps, self.size
        x, y, z = x * sx + bit % sx, y * sy + bit // sx % sy, z * sz + bit // (sx * sy)
        return np.sort(x + nx * (y + ny * z))

    def at(self, x: NDArray[Any], y: NDArray[Any], z: NDArray[Any]) -> NDArray[np.bool_]:
        """What the mask says of voxels."""
        sx, sy, sz = self.steps
        bit = x % sx + sx * (y % sy + sy * (z % sz))
        bits = self.bits[z // sz, y // sy, x // sx] >> bit.astype(self.bits.dtype)
        found: NDArray[np.bool_] = (bits & self.bits.dtype.type(1)).astype(np.bool_)
        return found

    def last_slice(self) -> Any:
        """The bits of a window in the last slab that are voxels of the last slice."""
        place = (self.size[2] - 1) % self.steps[2]
        return self._layers(2, range(place, place + 1))

    def _layers(self, axis: int, wanted: range) -> Any:
        """The bits of a window whose place along an axis is among those wanted."""
        places = [range(step) for step in self.steps]
        places[axis] = wanted
        return self._pattern(places)

    def _pattern(self, places: Sequence[range]) -> Any:
        (xs, ys, zs), (nx, ny, _) = places, self.steps
        return self.bits.dtype.type(sum(1 << x + nx * (y + ny * z) for x in xs for y in ys for z in zs))
