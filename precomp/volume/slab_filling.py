"""The slab that a writer has in hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.volume.slab_layout import across

__all__ = ["Filling"]


class Filling:
    """A slab that fills: its voxels, and which slices of it came. Coordinates are the volume's."""

    def __init__(self, number: int, axis: int, low: int, voxels: NDArray[Any]) -> None:
        """`voxels`, shape (x, y, z, channel), are the place for slices from coordinate `low` on."""
        self.number = number
        self._axis, self._low, self._voxels = axis, low, voxels
        self._seen = np.zeros(voxels.shape[axis], bool)

    def take(self, place: int, image: NDArray[Any]) -> None:
        """Copy one slice to its place; the second of a place counts."""
        self.voxels(place, place + 1)[...] = image
        self._seen[place - self._low] = True

    def voxels(self, low: int, high: int) -> NDArray[Any]:
        """Return the voxels of the slices from `low` to `high` (exclusive)."""
        return self._voxels[across(self._axis, low - self._low, high - self._low)]

    @property
    def full(self) -> bool:
        """Whether all slices came."""
        return bool(self._seen.all())

    @property
    def there(self) -> list[tuple[int, int]]:
        """The runs (start, stop) of slices that came."""
        return self._runs(self._seen)

    @property
    def missing(self) -> list[tuple[int, int]]:
        """The runs (start, stop) of slices that did not."""
        return self._runs(~self._seen)

    def _runs(self, chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
        edges = self._low + np.flatnonzero(np.diff(chosen.astype(np.int8), prepend=0, append=0))
        return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
