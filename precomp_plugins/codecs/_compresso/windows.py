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

    def voxels(self, bits: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the bits of windows voxel by voxel, shape (z, y, x)."""
        grid, steps = self.bits.shape, tuple(self.steps)[::-1]
        each = np.unpackbits(bits.view(np.uint8).reshape(bits.size, -1), axis=1, bitorder="little")
        each = each[:, : int(np.prod(steps))].reshape(*grid, *steps).transpose(0, 3, 1, 4, 2, 5)
        whole = each.reshape([n * step for n, step in zip(grid, steps, strict=True)])
        x, y, z = self.size
        return whole[:z, :y, :x].astype(np.bool_)

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
