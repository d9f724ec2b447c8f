"""Single voxels of a channel: each looked up by the head, the index and the table of its block."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp_plugins.codecs._cseg.stream import Triple, Words

__all__ = ["voxels_at"]


def voxels_at(
    words: Words, size: Triple, block: Triple, points: NDArray[np.int64], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the labels at points (n, 3) of a channel; ValueError where one leads out of the stream.

    `size`: voxels of the chunk.
    """
    nx, ny, nz = (-(-n // b) for n, b in zip(size, block, strict=True))
    first, end, label_words = 2 * nx * ny * nz, len(words), dtype.itemsize // 4
    if first > end:
        raise ValueError(
            f"compressed_segmentation: expected {first // 2} blocks in a channel, found {end} words"
        )
    (x, y, z), (ix, iy, iz) = (points // block).T, (points % block).T
    heads = words[:first].reshape(-1, 2)[x + nx * (y + ny * z)].astype(np.int64)
    widths, tables, values = heads[:, 0] >> 24, heads[:, 0] & 0xFFFFFF, heads[:, 1]
    packed = widths > 0
    if not np.isin(widths, (0, 1, 2, 4, 8, 16, 32)).all():
        raise ValueError("compressed_segmentation: a block's indices have an impossible width")
    stop = values + -(-prod(block) * widths // 32)
    if tables.min() < first or (packed & ((values < first) | (stop > end))).any():
        raise ValueError("compressed_segmentation: a block points out of the stream")
    bits = (ix + block[0] * (iy + block[1] * iz)) * widths
    indices = words[np.where(packed, values + bits // 32, 0)].astype(np.int64)
    places = tables + label_words * (indices >> bits % 32 & (1 << widths) - 1)
    if int(places.max()) + label_words > end:
        raise ValueError("compressed_segmentation: an index points out of the stream")
    labels: NDArray[Any] = words[places].astype(dtype)
    if label_words == 2:
        labels |= words[places + 1].astype(dtype) << dtype.type(32)
    return labels
