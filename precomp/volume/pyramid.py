"""The coarser mips of an array that fits in memory."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from precomp.volume.coordinates import exact

if TYPE_CHECKING:
    from precomp.volume.facade import CloudVolume

__all__ = ["downsample", "fill_mips"]


def fill_mips(vol: "CloudVolume", voxels: NDArray[Any]) -> None:
    """Write every mip below the finest, each made from the one before. `voxels`: all of mip 0, 4D."""
    for mip in vol.available_mips[1:]:
        fine, coarse = vol.mip_bounds(mip - 1), vol.mip_bounds(mip)
        ratio = [
            int(exact(b) / exact(a))
            for a, b in zip(vol.mip_resolution(mip - 1), vol.mip_resolution(mip), strict=True)
        ]
        start = [int(c) * f - int(o) for c, f, o in zip(coarse.minpt, ratio, fine.minpt, strict=True)]
        voxels = downsample(voxels, ratio, start, [int(n) for n in coarse.size3()], vol.layer_type)
        vol.mip = mip
        vol[...] = voxels
    vol.mip = 0


def downsample(
    voxels: NDArray[Any], factor: Sequence[int], start: Sequence[int], size: Sequence[int], layer_type: str
) -> NDArray[Any]:
    """Shrink an array (x, y, z, channel) to `size` blocks of `factor` voxels.

    The first block begins at voxel `start` of the array, which may be negative: blocks count only the
    voxels they share with the array. Images take the mean (integers round half up), segmentations
    the most frequent label, and of equally frequent ones the first in x, then y, then z.
    """
    members = [_member(voxels, factor, start, size, step) for step in product(*map(range, reversed(factor)))]
    return _mode(members) if layer_type == "segmentation" else _mean(members, voxels.dtype)


def _member(
    voxels: NDArray[Any],
    factor: Sequence[int],
    start: Sequence[int],
    size: Sequence[int],
    step: Sequence[int],
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """One voxel of every block, and whether it lies inside the array. `step` is z, y, x."""
    picked, inside = [], []
    for length, f, s, n, i in zip(voxels.shape[:3], factor, start, size, reversed(step), strict=True):
        place = s + i + f * np.arange(n)
        inside.append((place >= 0) & (place < length))
        picked.append(np.clip(place, 0, length - 1))
    x, y, z = inside
    return voxels[np.ix_(*picked)], (x[:, None, None] & y[:, None] & z)[..., None]


def _mean(members: list[tuple[NDArray[Any], NDArray[np.bool_]]], dtype: np.dtype[Any]) -> NDArray[Any]:
    exact = dtype.kind in "iu" and dtype.itemsize <= 4
    total: NDArray[Any] = np.zeros(members[0][0].shape, np.int64 if exact else np.float64)
    count: NDArray[Any] = np.zeros(members[0][1].shape, np.int64)
    for values, inside in members:
        total += np.where(inside, values, 0)
        count += inside
    count = np.maximum(count, 1)
    mean: NDArray[Any] = (2 * total + count) // (2 * count) if exact else total / count
    return np.asfortranarray(mean.astype(dtype))


def _mode(members: list[tuple[NDArray[Any], NDArray[np.bool_]]]) -> NDArray[Any]:
    best, votes = members[0][0].copy(order="F"), np.zeros(members[0][0].shape, np.int16)
    for label, inside in members:
        found = sum(((other == label) & there).astype(np.int16) for other, there in members)
        better = inside & (np.asarray(found) > votes)
        best[better] = label[better]
        votes[better] = np.asarray(found)[better]
    return best
