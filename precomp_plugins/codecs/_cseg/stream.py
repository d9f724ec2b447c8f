"""The stream of `compressed_segmentation`, taken apart and checked, without a library.

Per channel a grid of headers, x fastest, and what they point to, in words of 32 bits from the channel's
start: a table of labels, and indices into it, packed into 0 to 32 bits each. Nothing tells how long a
table is, so an index is checked against the stream's end.

Source: Neuroglancer's `sliceview/compressed_segmentation/README.md`.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer

__all__ = ["Channel", "Triple", "Words", "channel_words", "check_headers", "open_channel"]

Triple = tuple[int, int, int]
Words = NDArray[np.uint32]

_WIDTHS = (0, 1, 2, 4, 8, 16, 32)
_NEVER = 2**40  # words; no stream has so many


def channel_words(data: Buffer, channels: int) -> list[Words]:
    """Return what each channel's offsets count from, up to the end of the stream."""
    if len(data) % 4 or len(data) < 4 * channels:
        raise ValueError(
            f"compressed_segmentation: expected whole words of 4 bytes, {channels} at least, "
            f"found {len(data)} bytes"
        )
    words: Words = np.frombuffer(data, "<u4")
    starts = words[:channels].tolist()
    if starts[0] != channels or not all(channels <= start <= len(words) for start in starts):
        raise ValueError(
            f"compressed_segmentation: expected {channels} offsets from {channels} to {len(words)}, "
            f"the first {channels}, found {starts}"
        )
    return [words[start:] for start in starts]


class Channel(NamedTuple):
    """The blocks that a box of a channel touches, all of them checked.

    Attributes:
        words: of the channel.
        heads: two words for each block, shape (z, y, x, 2).
        total: number of blocks in the channel.
        block: voxels x, y, z of a block.
        size: voxels x, y, z of the blocks, cut off at the chunk's edge.
        label_words: of 4 bytes, in a label.
    """

    words: Words
    heads: Words
    total: int
    block: Triple
    size: Triple
    label_words: int

    @property
    def wide(self) -> bool:
        """Whether a block has indices of 32 bits. All widths are known to be possible."""
        return bool(self.heads[..., 0].max() >> 24 == 32)

    def body(self) -> Words:
        """Return the words of these blocks alone: their headers before all that headers point to.

        Both offsets become smaller by the headers that are left out.
        """
        heads = self.heads.reshape(-1, 2)
        if len(heads) == self.total:
            return self.words
        fewer = heads - np.uint32(2 * (self.total - len(heads)))
        return np.concatenate([fewer.reshape(-1), self.words[2 * self.total :]])

    def indices(self, place: Triple) -> NDArray[np.int64]:
        """Unpack the indices of a block (x, y, z), without the padding at the chunk's edge."""
        x, y, z = place
        head, values = self.heads[z, y, x].tolist()
        width = head >> 24
        shape = [min(b, n - i * b) for b, n, i in zip(self.block, self.size, place, strict=True)]
        if not width:
            return np.zeros(shape, np.int64)
        voxels = prod(self.block)
        packed = self.words[values : values - (-voxels * width // 32), np.newaxis]
        each = packed >> np.arange(0, 32, width, dtype=np.uint32) & np.uint32(2**width - 1)
        whole = each.reshape(-1)[:voxels].reshape(self.block, order="F")
        return whole[: shape[0], : shape[1], : shape[2]].astype(np.int64)

    def decode(self, out: NDArray[Any]) -> None:
        """Decode all blocks into `out`, of this `size`, block by block: slow, right for every stream."""
        for x, y, z in self.places():
            places = self.indices((x, y, z)) * self.label_words + int(self.heads[z, y, x, 0] & 0xFFFFFF)
            labels = self.words[places].astype(out.dtype)
            if self.label_words == 2:
                labels |= self.words[places + 1].astype(out.dtype) << out.dtype.type(32)
            corner = [i * b for i, b in zip((x, y, z), self.block, strict=True)]
            out[tuple(slice(c, c + n) for c, n in zip(corner, labels.shape, strict=True))] = labels

    def places(self) -> Iterator[Triple]:
        """Where the blocks are, x, y, z."""
        nz, ny, nx, _ = self.heads.shape
        return ((x, y, z) for z, y, x in product(range(nz), range(ny), range(nx)))

    def check(self) -> None:
        """Raise ValueError where a block points out of the stream."""
        first, end = 2 * self.total, len(self.words)
        used, tabled = _sizes(self.block, self.label_words)
        widths, tables, values = self.heads[..., 0] >> 24, self.heads[..., 0] & 0xFFFFFF, self.heads[..., 1]
        stop, wrong = values + used[widths], False
        if values.min() < first or stop.max() > end:
            if stop.max() >= _NEVER:
                raise ValueError("compressed_segmentation: a block's indices have an impossible width")
            # A block of one label has no indices, wherever they are said to be.
            wrong = bool(((widths > 0) & ((values < first) | (stop > end))).any())
        if wrong or tables.min() < first:
            raise ValueError("compressed_segmentation: a block points out of the stream")
        # An index is smaller than 2**width; where that does not tell, all are looked at.
        most = tables + tabled[widths]
        if most.max() <= end:
            return
        for z, y, x in np.argwhere(most > end).tolist():
            last = int(self.indices((x, y, z)).max()) + 1
            if int(tables[z, y, x]) + last * self.label_words > end:
                raise ValueError("compressed_segmentation: an index points out of the stream")


@cache
def _sizes(block: Triple, label_words: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many words the indices of a block have, and its table at the most, by the width of an index."""
    used, tabled = np.full(256, _NEVER), np.full(256, _NEVER)
    for width in _WIDTHS:
        used[width] = -(-prod(block) * width // 32)
        tabled[width] = label_words << width
    return used, tabled


def check_headers(words: Words, blocks: int) -> None:
    """Raise ValueError where a channel is too short for the headers of its blocks."""
    if 2 * blocks > len(words):
        raise ValueError(
            f"compressed_segmentation: expected {blocks} blocks in a channel, found {len(words)} words"
        )


def open_channel(
    words: Words, size: Triple, block: Triple, label_words: int, box: Sequence[tuple[int, int]]
) -> Channel:
    """Check and return the blocks of a channel that `box` touches; it is a range of blocks along x, y, z.

    `size`: voxels of the chunk. Raises ValueError for a damaged stream.
    """
    nx, ny, nz = (-(-n // b) for n, b in zip(size, block, strict=True))
    total = nx * ny * nz
    check_headers(words, total)
    x, y, z = (slice(*ends) for ends in box)
    heads = np.ascontiguousarray(words[: 2 * total].reshape(nz, ny, nx, 2)[z, y, x])
    inside = [min(stop * b, n) - start * b for (start, stop), b, n in zip(box, block, size, strict=True)]
    channel = Channel(words, heads, total, block, (inside[0], inside[1], inside[2]), label_words)
    channel.check()
    return channel
