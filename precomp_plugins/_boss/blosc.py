"""Boxes of voxels as the BOSS sends and takes them: blosc, of an array in C order, z, y, x."""

import struct
from typing import Any

import blosc
import numpy as np
from numpy.typing import NDArray

from precomp.errors import ChunkDecodeError
from precomp.retry import TransientError

__all__ = ["OVERHEAD", "pack", "unpack"]

OVERHEAD = 2**16  # bytes; a blosc buffer is 16 bytes longer than its content at most

# The header: four bytes of versions and flags, then sizes: plain, of a block, compressed.
# https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst
_HEADER = struct.Struct("<4xIII")

_TILE = 128  # voxels; 64 by 64 and 256 by 256 take longer to turn


def pack(voxels: NDArray[Any]) -> bytes:
    """Compress an array x, y, z."""
    zyx = _turned(voxels)
    packed: bytes = blosc.compress_ptr(zyx.ctypes.data, zyx.size, zyx.itemsize)
    return packed


def _turned(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return an array x, y, z as one of z, y, x in C order, not copied where it is that.

    An array in C order, as numpy makes them, is turned tile by tile, in an eighth of the time: numpy goes
    through all of its memory once for every z.
    """
    zyx = voxels.T
    if abs(voxels.strides[2]) >= abs(voxels.strides[0]):
        return np.ascontiguousarray(zyx)
    turned = np.empty(zyx.shape, zyx.dtype)
    for y in range(0, zyx.shape[1], _TILE):
        for x in range(0, zyx.shape[2], _TILE):
            tile = np.s_[:, y : y + _TILE, x : x + _TILE]
            turned[tile] = zyx[tile]
    return turned


def unpack(body: bytes, out: NDArray[Any], what: str) -> None:
    """Decompress into an array in C order.

    Its header is looked at first, since blosc believes it. Raises ChunkDecodeError, naming `what`, where it
    is of another size, and TransientError where it is cut short or damaged.
    """
    if len(body) < _HEADER.size:
        raise TransientError(f"the answer holds {len(body)} bytes, which is no blosc buffer")
    plain, _, packed = _HEADER.unpack_from(body)
    if packed != len(body):
        raise TransientError(f"the answer says that it has {packed} bytes, and {len(body)} came")
    if plain != out.nbytes:
        raise ChunkDecodeError(
            f"{what}: expected {out.nbytes} bytes of voxels, z, y, x {out.shape} of {out.dtype}, the answer "
            f"holds {plain}; open the volume anew, as the channel seems to be another one now"
        )
    try:
        done = blosc.decompress_ptr(body, out.ctypes.data)
    except Exception as error:  # blosc has an error of its own for all that it finds
        raise TransientError(f"the answer is damaged: {error}") from error
    if done != out.nbytes:
        raise TransientError(f"the answer is damaged: {done} of {out.nbytes} bytes could be decompressed")
