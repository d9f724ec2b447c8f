"""A layer of an array that fits in memory: its voxels, its type, its coarser mips."""

import math
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from precomp.errors import ArgumentError
from precomp.info import CREATABLE_DATA_TYPES
from precomp.volume.coordinates import exact
from precomp.volume.requests import as_array

if TYPE_CHECKING:
    from precomp.volume.facade import CloudVolume

_SLAB = 2**20  # coarse voxels that are made at a time

__all__ = ["as_new_layer", "downsample", "fill"]


def as_new_layer(arr: ArrayLike, layer_type: str | None) -> tuple[NDArray[Any], str]:
    """Return the voxels, shape (x, y, z, channel), and the type of layer that suits them where None is given.

    Raises ArgumentError where `arr` has not 3 or 4 axes, or a data type that new layers do not have.
    """
    array = as_array(arr)
    voxels = array[..., np.newaxis] if array.ndim == 3 else array
    if voxels.ndim != 4:
        raise ArgumentError(f"arr: expected 3 or 4 axes (x, y, z, channel), got shape {array.shape}")
    if voxels.dtype.name not in CREATABLE_DATA_TYPES:
        raise ArgumentError(
            f"arr: expected one of the data types that viewers show, {', '.join(CREATABLE_DATA_TYPES)}, "
            f"got {voxels.dtype}; convert it, for example with arr.astype('uint8') where all its values fit"
        )
    if layer_type is None:
        layer_type = "segmentation" if voxels.dtype.name in ("uint32", "uint64") else "image"
    return voxels, layer_type


def fill(vol: "CloudVolume", voxels: NDArray[Any]) -> None:
    """Write and save a new layer. `voxels`: all of mip 0, 4D; a coarser mip is made from the one before."""
    if vol._layer.boxes is not None:  # a service has to know of a layer before it takes voxels
        vol.commit_info()
        _fill_mips(vol, voxels)
        return
    _fill_mips(vol, voxels)
    vol.commit_info()  # last: a layer that is there is there whole
    vol.commit_provenance()


def _fill_mips(vol: "CloudVolume", voxels: NDArray[Any]) -> None:
    vol[...] = voxels
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
    shrink = _mode if layer_type == "segmentation" else _mean
    shrunk: NDArray[Any] = np.empty((*size, voxels.shape[3]), voxels.dtype, order="F")
    thickness = max(1, _SLAB // math.prod(shrunk.shape[:2]))
    for low in range(0, size[2], thickness):  # sums are wide, and there is one voxel of each block at a time
        begin = (start[0], start[1], start[2] + low * factor[2])
        slab = shrunk[:, :, low : low + thickness]
        steps = product(*map(range, reversed(factor)))
        slab[...] = shrink([_member(voxels, factor, begin, slab.shape[:3], step) for step in steps])
    return shrunk


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


def _mean(members: list[tuple[NDArray[Any], NDArray[np.bool_]]]) -> NDArray[Any]:
    dtype = members[0][0].dtype
    wide = {"i": np.int64, "u": np.uint64}.get(dtype.kind, np.float64)
    count: NDArray[Any] = np.maximum(sum(inside.astype(wide) for _, inside in members), 1)
    inner = [np.where(inside, values, 0).astype(wide) for values, inside in members]
    mean: NDArray[Any]
    if wide is np.float64:
        with np.errstate(invalid="ignore"):  # infinite voxels of both signs
            mean = sum(inner) / count
    else:
        # Quotients and rests apart: the sum of eight 64-bit voxels needs more than 64 bits.
        rests = sum(values % count for values in inner)
        mean = sum(values // count for values in inner) + (2 * rests + count) // (2 * count)
    return np.asfortranarray(mean.astype(dtype))


def _mode(members: list[tuple[NDArray[Any], NDArray[np.bool_]]]) -> NDArray[Any]:
    best, votes = members[0][0].copy(order="F"), np.zeros(members[0][0].shape, np.int16)
    for label, inside in members:
        found = sum(((other == label) & there).astype(np.int16) for other, there in members)
        better = inside & (np.asarray(found) > votes)
        best[better] = label[better]
        votes[better] = np.asarray(found)[better]
    return best
