"""Voxels from one array to another, a row at a time."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["copy_rows"]


@lru_cache(maxsize=256)
def _row_type(nbytes: int) -> np.dtype[Any]:
    return np.dtype((np.void, nbytes))


def copy_rows(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Do `target[...] = source` for arrays of one shape (x, y, z, channel) and kind of voxel.

    Where x is contiguous in both, each row moves as one wide element: numpy copies rows of 64 bytes
    at twice the speed of 64 elements.
    """
    voxel, length = target.itemsize, target.shape[0]
    if length > 1 and target.strides[0] == voxel == source.strides[0] and target.dtype == source.dtype:
        row = _row_type(length * voxel)
        target.T.view(row)[...] = source.T.view(row)
    else:
        target[...] = source
