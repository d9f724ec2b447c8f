"""Segmentations for the tests: boxes of labels, in every encoding that holds them."""

import uuid
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp import CloudVolume

__all__ = ["ENCODINGS", "blobs", "indices", "make_segments"]

ENCODINGS: dict[str, tuple[str, ...]] = {
    "raw": ("uint8", "uint16", "uint32", "uint64", "int32"),
    "compressed_segmentation": ("uint32", "uint64"),
    "compresso": ("uint8", "uint16", "uint32", "uint64"),
    "crackle": ("uint8", "uint16", "uint32", "uint64"),
    "png": ("uint8", "uint16"),
    "npz": ("uint32", "uint64"),
}


def blobs(
    shape: Sequence[int], dtype: str = "uint64", grain: int = 8, count: int = 12, seed: int = 0
) -> NDArray[Any]:
    """Labels in boxes of `grain` voxels, shape (x, y, z, channel), of the dtype's whole range, and 0."""
    rng = np.random.default_rng(seed)
    names = rng.integers(1, np.iinfo(dtype).max, count, dtype, endpoint=True)
    names[:2] = 0, np.iinfo(dtype).max
    coarse = rng.integers(0, count, [*(-(-length // grain) for length in shape[:3]), shape[3]])
    fine = np.kron(coarse, np.ones((grain, grain, grain, 1), int))
    return names[fine[: shape[0], : shape[1], : shape[2]]]


def make_segments(
    path: object | None = None,
    size: Sequence[int] = (50, 41, 37),
    *,
    dtype: str = "uint64",
    channels: int = 1,
    encoding: str = "raw",
    chunk_size: Sequence[int] = (16, 16, 16),
    voxel_offset: Sequence[int] = (-5, 3, -100),
    max_mip: int = 0,
    sharding: Any = None,
    **options: Any,
) -> CloudVolume:
    """A committed, empty segmentation, in memory where no path is given."""
    with warnings.catch_warnings(action="ignore"):  # Neuroglancer does not know all of them
        info = CloudVolume.create_new_info(
            channels,
            "segmentation",
            dtype,
            encoding,
            (8, 8, 40),
            voxel_offset,
            size,
            chunk_size=chunk_size,
            max_mip=max_mip,
            sharding=sharding,
        )
    vol = CloudVolume(f"mem://{uuid.uuid4()}/a/b" if path is None else str(path), info=info, **options)
    vol.commit_info()
    return vol


def indices(part: Sequence[slice], offset: Sequence[int]) -> tuple[slice, ...]:
    """What is between the brackets of `vol[...]` for a part of the array that it holds."""
    return tuple(
        slice(axis.start + start, axis.stop + start, axis.step)
        for axis, start in zip(part, map(int, offset), strict=True)
    )
