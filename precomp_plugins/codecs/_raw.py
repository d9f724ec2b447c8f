"""The encoding `raw`: a chunk's voxels as they are, without a header.

Little endian, Fortran order of [x, y, z, channel] (channel slowest), as the Neuroglancer
specification's `volume.md` says.
"""

import sys
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec, Layout

__all__ = ["Raw"]

_LITTLE = sys.byteorder == "little"


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if _LITTLE and dtype.isnative else dtype.newbyteorder("<")


def _native(stored: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Stored voxels as the caller's dtype: a copy only for bool and on a big-endian machine."""
    if dtype.kind == "b":
        # Masks of 0 and 255 exist; numpy relies on a bool's byte being 0 or 1.
        bits: NDArray[Any] = stored.view(np.uint8) != 0
        return bits
    return stored if stored.dtype is dtype else stored.astype(dtype, copy=False)


@attrs.frozen
class Raw:
    """Codec and HasLayout of the encoding `raw`."""

    def encode(self, chunk: NDArray[Any]) -> memoryview:
        """Return the chunk's bytes: its own memory, read-only, where that already is in stored order."""
        stored = chunk.astype(_stored(chunk.dtype), order="F", copy=False)
        return stored.reshape(-1, order="F").view(np.uint8).data.toreadonly()

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return `data` as an array, without a copy; ValueError where its length is wrong."""
        if len(data) != spec.nbytes:
            raise ValueError(
                f"raw: expected {spec.nbytes} bytes ({spec.dtype}, shape {spec.shape}), found {len(data)}"
            )
        stored = np.ndarray(spec.shape, _stored(spec.dtype), data, order="F")
        return _native(stored, spec.dtype)

    def layout(self, spec: ChunkSpec) -> Layout:
        """Where the voxels lie: x fastest, channel slowest. A bool is a byte that is 0 or anything else."""
        x, y, z, _ = spec.shape
        stored = np.dtype(np.uint8) if spec.dtype.kind == "b" else _stored(spec.dtype)
        voxel = stored.itemsize
        return Layout(stored, (voxel, x * voxel, x * y * voxel, x * y * z * voxel), 0, spec.nbytes)
