"""A made-up block of brain: neurites cut by sections, as an electron microscope would show them.

Neurites are tubes that run along z, wander and fill the plane: a voxel belongs to the tube whose
surface is nearest, and where two are about equally near there is a membrane.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["make_tissue"]

_PITCH = 34  # voxels between neighbouring neurites, on average
_MEMBRANE = 1.8  # voxels from its middle to its edge

Floats = NDArray[np.float32]


def make_tissue(shape: Sequence[int], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Return an image and its segmentation, both of `shape` (x, y, z) and in Fortran order.

    Labels count from 1; 0 is the middle of a membrane. The same seed gives the same voxels.
    """
    tissue = _Tissue.grow((shape[2], shape[1], shape[0]), seed)
    image = np.empty(tissue.shape, np.uint8)
    labels = np.empty(tissue.shape, np.uint32)

    def section(z: int) -> None:
        image[z], labels[z] = tissue.section(z)

    with ThreadPoolExecutor() as pool:
        list(pool.map(section, range(tissue.shape[0])))
    return image.T, labels.T


@attrs.frozen
class _Tissue:
    """What is drawn once; sections follow from it, each on its own. All arrays are in order z, y, x.

    Attributes:
        shape: sections, rows, columns.
        seed: of the grain, which differs in each section.
        paths: middle of every neurite in every section, (z, neurite, 2), row and column.
        radii: of every neurite, (neurite,).
        grey: of its cytoplasm, (neurite,).
        mitochondria: radius of the dark body inside it, (z, neurite); 0 for none.
        knots: of three smooth fields (two bend the membranes, one shades), (3, z, a, b).
    """

    shape: tuple[int, int, int]
    seed: int
    paths: Floats
    radii: Floats
    grey: Floats
    mitochondria: Floats
    knots: Floats

    @classmethod
    def grow(cls, shape: tuple[int, int, int], seed: int) -> "_Tissue":
        rng = np.random.default_rng(seed)
        depth, height, width = shape
        # Half a pitch beyond the block on all sides, so that its border is filled too.
        grid = np.mgrid[0 : height + _PITCH : _PITCH, 0 : width + _PITCH : _PITCH].reshape(2, -1).T
        count = len(grid)
        along_z = _spline(depth, 24)
        wander = np.tensordot(along_z, rng.normal(0, 0.4 * _PITCH, (along_z.shape[1], count, 2)), 1)
        paths = grid + rng.uniform(-0.4, 0.4, (count, 2)) * _PITCH + wander
        radii = rng.lognormal(0, 0.6, count) * 0.2 * _PITCH
        middle, half = rng.uniform(0, depth, count), rng.uniform(8, 40, count)
        profile = 1 - ((np.arange(depth)[:, None] - middle) / half) ** 2
        mitochondria = np.sqrt(np.maximum(profile, 0)) * radii * (rng.random(count) < 0.4)
        knots = rng.normal(size=(3, along_z.shape[1], height // 20 + 4, width // 20 + 4))
        knots = np.einsum("zk,fkab->fzab", along_z, knots)
        floats = (a.astype(np.float32) for a in (paths, radii, rng.normal(0, 7, count), mitochondria, knots))
        return cls(shape, seed, *floats)

    def section(self, z: int) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """Return the grey values and the labels of one section."""
        _, height, width = self.shape
        down, across = _spline(height, 20), _spline(width, 20)
        bands = np.einsum("ya,fab->fyb", down, self.knots[:, z])
        bend_y, bend_x, shade = np.einsum("fyb,bx->fyx", bands, across.T.copy())
        rows = np.arange(height, dtype=np.float32)[:, None] + 11 * bend_y
        columns = np.arange(width, dtype=np.float32) + 11 * bend_x
        nearest, gap, label = self._partition(z, rows, columns)
        rng = np.random.default_rng((self.seed, z))
        # Cytoplasm, mottled; in it mitochondria with a dark rim; over all membranes; then the microscope.
        grey = 158 + 9 * shade + np.append(np.float32(0), self.grey)[label]
        grain = rng.standard_normal(grey.shape, np.float32)
        grey += 9 * _smoothed(grain)
        reach = np.append(np.float32(-1e9), self.mitochondria[z] - self.radii)[label] - nearest
        grey -= 42 * np.clip(reach, 0, 1) + 26 * np.clip(1.5 - abs(reach - 1), 0, 1)
        grey -= 92 * np.clip(_MEMBRANE + 0.5 - gap / 2, 0, 1)
        grey += rng.normal(0, 2.5) + 7 * grain
        label[gap < _MEMBRANE] = 0
        return np.clip(grey, 0, 255).astype(np.uint8), label

    def _partition(self, z: int, rows: Floats, columns: Floats) -> tuple[Floats, Floats, NDArray[np.uint32]]:
        """Return the distance to the nearest neurite, how much farther the next one is, and the label.

        Distances are to surfaces, so negative inside. A neurite is looked for in a window around its
        middle only, which holds all that can be nearest to it.
        """
        nearest = np.full(rows.shape, 1e6, np.float32)
        second = nearest.copy()
        label = np.zeros(rows.shape, np.uint32)
        for number, ((y, x), radius) in enumerate(zip(self.paths[z], self.radii, strict=True), 1):
            half = int(radius + 1.3 * _PITCH)
            top, left = max(0, int(y) - half), max(0, int(x) - half)
            window = np.s_[top : max(0, int(y) + half), left : max(0, int(x) + half)]
            dy, dx = rows[window] - y, columns[window] - x
            distance = np.sqrt(dy * dy + dx * dx) - radius
            best, runner_up = nearest[window], second[window]
            np.minimum(runner_up, np.maximum(best, distance), out=runner_up)
            label[window][distance < best] = number
            np.minimum(best, distance, out=best)
        return nearest, second - nearest, label


def _spline(length: int, step: int) -> Floats:
    """Return the matrix (length, knots) of cubic B-splines, `step` apart: knots to smooth values."""
    place = np.arange(length) / step
    away = abs(place[:, None] - np.arange(-1, length // step + 3))
    inner = 2 / 3 - away**2 * (1 - away / 2)
    outer = np.clip(2 - away, 0, None) ** 3 / 6
    return np.where(away < 1, inner, outer).astype(np.float32)


def _smoothed(grain: Floats) -> Floats:
    """Return the sum of each voxel and its neighbours, scaled back to unit variance."""
    for axis in (0, 1):
        grain = grain + np.roll(grain, 1, axis) + np.roll(grain, 2, axis)
    return grain / np.float32(3)
