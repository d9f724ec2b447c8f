"""What the encodings that store a chunk as one picture share.

The picture's rows, joined, are the chunk's voxels in Fortran order of [x, y, z]; the channels are the
picture's interleaved components (Neuroglancer's `volume.md`). Written are x columns and y*z rows where the
format allows; read is every width and height with the right product.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import ChunkSpec

__all__ = ["from_picture", "picture_size", "to_picture"]


def picture_size(encoding: str, x: int, y: int, z: int, most: int) -> tuple[int, int]:
    """Width and height of at most `most`: whole rows of x side by side if need be, else any division."""
    voxels = x * y * z
    widths: Iterable[int] = chain(range(x, most + 1, x), range(min(voxels, most), 0, -1))
    for width in widths:
        height, rest = divmod(voxels, width)
        if not rest and height <= most:
            return width, height
    raise ArgumentError(
        f"{encoding}: a chunk of {x} x {y} x {z} voxels fits no image of at most {most} x {most} pixels; "
        "choose a smaller chunk_size or the encoding raw"
    )


def to_picture(encoding: str, chunk: NDArray[Any], most: int) -> NDArray[Any]:
    """Return a chunk (x, y, z, channel) as (row, column, channel) in C order.

    Raises ArgumentError where it fits no picture whose sides are at most `most`.
    """
    x, y, z, channels = chunk.shape
    width, height = picture_size(encoding, x, y, z, most)
    return np.ascontiguousarray(chunk.transpose(2, 1, 0, 3)).reshape(height, width, channels)


def from_picture(picture: NDArray[Any], spec: ChunkSpec) -> NDArray[Any]:
    """Return the voxels (x, y, z, channel) of a picture in C order."""
    x, y, z, channels = spec.shape
    return picture.reshape(z, y, x, channels).transpose(2, 1, 0, 3)
