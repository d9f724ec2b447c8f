"""Which labels a box of a channel has, from the tables of the blocks and the indices that are used of each.

A table alone does not tell: nothing says how long it is, several blocks may share it, and padding at the
chunk's edge, or a voxel outside the box, may be all that points to an entry. Indices of 1 to 4 bits are not
even unpacked: for each byte of them, a list says which indices it holds.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp_plugins.codecs._cseg.stream import Channel

__all__ = ["labels_of"]

_SLOW = 4  # blocks, of which one at the most may have its indices unpacked: else it is quicker to decode all
_AT_ONCE = 2**20  # voxels whose indices are looked at together
_SMALL = (1, 2, 4)  # bits of an index of which a byte holds several
_LARGE = (16, 32)

Bits = NDArray[np.bool_]


def labels_of(channel: Channel, wanted: Sequence[range], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return the labels of the voxels `wanted`, along x, y, z from the channel's first block on.

    Some may come several times. None where it is quicker to decode the voxels. The channel is one that was
    checked, and `wanted` is not empty.
    """
    chosen = [_by_block(part, block) for part, block in zip(wanted, channel.block, strict=True)]
    touched, whole = (_outer([test(one, axis=1) for one in chosen]) for test in (np.any, np.all))
    widths = channel.heads[..., 0] >> 24
    quick = whole & (widths <= _SMALL[-1]) if prod(channel.block) % 8 == 0 else np.zeros_like(whole)
    slow = touched & ~quick & (widths > 0)
    if _SLOW * np.count_nonzero(slow) > np.count_nonzero(touched):
        return None
    heads = channel.heads[touched & (widths == 0)]
    found = [_labels(channel, heads, np.zeros(len(heads), np.int64), dtype)]
    for width in _SMALL:
        alike = _some(channel, channel.heads[quick & (widths == width)])
        found += (_labels(channel, *_from_bytes(channel, heads, width), dtype) for heads in alike)
    for width in np.unique(widths[slow]).tolist():
        alike = _some(channel, np.argwhere(slow & (widths == width)))
        found += (_labels(channel, *_from_voxels(channel, at, chosen, width), dtype) for at in alike)
    return np.concatenate(found)


def _by_block(wanted: range, block: int) -> Bits:
    """Which voxels are wanted along one axis, a row for each block."""
    chosen = np.zeros(-(-wanted.stop // block) * block, np.bool_)
    chosen[wanted.start : wanted.stop : wanted.step] = True
    return chosen.reshape(-1, block)


def _outer(axes: Sequence[Bits]) -> Bits:
    """What is true along x, y and z, in the order z, y, x."""
    x, y, z = axes
    return z[:, np.newaxis, np.newaxis] & y[:, np.newaxis] & x


def _some(channel: Channel, blocks: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Some blocks at a time."""
    count = max(_AT_ONCE // prod(channel.block), 1)
    return (blocks[first : first + count] for first in range(0, len(blocks), count))


def _labels(
    channel: Channel, heads: NDArray[np.uint32], indices: NDArray[np.int64], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The labels that these indices have in the tables of these blocks, one by one."""
    places = (heads[:, 0] & 0xFFFFFF).astype(np.int64) + channel.label_words * indices
    labels: NDArray[Any] = channel.words[places].astype(dtype)
    if channel.label_words == 2:
        labels |= channel.words[places + 1].astype(dtype) << dtype.type(32)
    return labels


def _packed(channel: Channel, heads: NDArray[np.uint32], width: int) -> NDArray[np.uint8]:
    """The bytes of the indices of blocks, a row for each."""
    count = -(-prod(channel.block) * width // 32)
    places = heads[:, 1, np.newaxis].astype(np.int64) + np.arange(count)
    data: NDArray[np.uint8] = channel.words[places].view(np.uint8)
    return data


@cache
def _held(width: int) -> NDArray[np.uint16]:
    """For each byte the indices of `width` bits that it holds, as bits of a number."""
    each = np.arange(256)[:, np.newaxis] >> np.arange(0, 8, width) & (2**width - 1)
    held: NDArray[np.uint16] = np.bitwise_or.reduce(1 << each, axis=1).astype(np.uint16)
    return held


def _from_bytes(
    channel: Channel, heads: NDArray[np.uint32], width: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The indices that blocks use, all of whose voxels are wanted, each with the head of its block."""
    data = _packed(channel, heads, width)[:, : prod(channel.block) * width // 8]
    held = np.bitwise_or.reduce(_held(width)[data], axis=1)
    block, index = np.nonzero(held[:, np.newaxis] >> np.arange(2**width, dtype=np.uint16) & np.uint16(1))
    return heads[block], index


def _from_voxels(
    channel: Channel, places: NDArray[np.int64], chosen: Sequence[Bits], width: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The indices of wanted voxels of the blocks at `places` (z, y, x), each with its block's head."""
    heads = channel.heads[tuple(places.T)]
    if width in _LARGE:
        indices = [_of_one(channel, place, chosen) for place in places.tolist()]
        return np.repeat(heads, [len(one) for one in indices], axis=0), np.concatenate(indices)
    voxels = prod(channel.block)
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    each = _packed(channel, heads, width)[:, :, np.newaxis] >> shifts & np.uint8(2**width - 1)
    z, y, x = (chosen[axis][places[:, 2 - axis]] for axis in (2, 1, 0))
    wanted = z[:, :, np.newaxis, np.newaxis] & y[:, np.newaxis, :, np.newaxis] & x[:, np.newaxis, np.newaxis]
    names = (np.arange(len(heads)) << width)[:, np.newaxis] + each.reshape(len(heads), -1)[:, :voxels]
    used = np.zeros(len(heads) << width, np.bool_)
    used[names[wanted.reshape(len(heads), voxels)]] = True
    block, index = np.nonzero(used.reshape(len(heads), -1))
    return heads[block], index


def _of_one(channel: Channel, place: Sequence[int], chosen: Sequence[Bits]) -> NDArray[np.int64]:
    """The indices that the wanted voxels of one block (z, y, x) have, each once."""
    z, y, x = place
    indices = channel.indices((x, y, z))
    along = zip(chosen, (x, y, z), indices.shape, strict=True)
    inside = [wanted[at][:length] for wanted, at, length in along]
    return np.unique(indices[np.ix_(*inside)])
