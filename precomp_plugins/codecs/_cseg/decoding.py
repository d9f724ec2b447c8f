"""Decoding as plain loops, for numba to compile (see compiled.py). Python runs them too, slowly.

Nothing is trusted: a stream that points out of itself ends in a number below zero. Counts and places are in
words of 32 bits from the channel's start, as in the stream.
"""

from typing import Any

import numpy as np

from precomp_plugins.codecs._cseg.stream import Triple

__all__ = ["BAD_INDEX", "BAD_PLACE", "BAD_WIDTH", "HELPERS", "decode"]

BAD_WIDTH, BAD_PLACE, BAD_INDEX = -1, -2, -3


def decode(
    words: Any,
    grid: Triple,
    block: Triple,
    start: Triple,
    size: Triple,
    out: Any,
    steps: tuple[int, int],
    labels: Any,
) -> int:
    """Decode a box of a channel; return 0, or what is wrong with the stream, BAD_WIDTH and the like.

    Args:
        words: uint32, at least two for each block.
        grid: blocks of the channel along x, y, z.
        block: voxels of a block.
        start: the box's first voxel.
        size: voxels of the box.
        out: where the labels go, one dimension; those along x next to each other.
        steps: how far two neighbours along y, and two along z, are from each other there.
        labels: memory for 16 labels.
    """
    first = 2 * grid[0] * grid[1] * grid[2]
    for gz in range(start[2] // block[2], (start[2] + size[2] - 1) // block[2] + 1):
        for gy in range(start[1] // block[1], (start[1] + size[1] - 1) // block[1] + 1):
            for gx in range(start[0] // block[0], (start[0] + size[0] - 1) // block[0] + 1):
                head = 2 * (gx + grid[0] * (gy + grid[1] * gz))
                width: Any = np.int64(words[head] >> 24)
                table: Any = np.int64(words[head] & 0xFFFFFF)
                values: Any = np.int64(words[head + 1])
                used = (block[0] * block[1] * block[2] * width + 31) // 32
                if width > 32 or (width & (width - 1)) != 0:
                    return BAD_WIDTH
                if table < first or (width > 0 and (values < first or values + used > len(words))):
                    return BAD_PLACE
                known = _read_labels(words, table, width, labels)
                if known < 1:
                    return BAD_INDEX
                corner = (gx * block[0], gy * block[1], gz * block[2])
                wrong = _paste(
                    words,
                    (values, used),
                    (table, known, width),
                    corner,
                    block,
                    start,
                    size,
                    out,
                    steps,
                    labels,
                )
                if wrong != 0:
                    return wrong
    return 0


def _read_labels(words: Any, table: int, width: int, labels: Any) -> int:
    """Read up to 16 labels of a table, and return how many its block may have and the stream has room for."""
    label_words = labels.itemsize // 4
    known: int = min((len(words) - table) // label_words, 1 << width)
    for k in range(min(known, 16)):
        labels[k] = _label(words, table + k * label_words, labels)
    return known


def _label(words: Any, place: int, labels: Any) -> Any:
    label = labels.dtype.type(words[place])
    if labels.itemsize == 8:
        label |= labels.dtype.type(words[place + 1]) << labels.dtype.type(32)
    return label


def _paste(
    words: Any,
    packed: tuple[int, int],
    table: Triple,
    corner: Triple,
    block: Triple,
    start: Triple,
    size: Triple,
    out: Any,
    steps: tuple[int, int],
    labels: Any,
) -> int:
    """Write a block's voxels inside the box; return 0, or BAD_INDEX.

    `packed`: where its indices are, and how many words; `table`: where its labels are, how many, and the bits
    of an index; `corner`: its first voxel.
    """
    (values, used), (_, known, width) = packed, table
    x, x_end = max(start[0], corner[0]), min(start[0] + size[0], corner[0] + block[0])
    y, y_end = max(start[1], corner[1]), min(start[1] + size[1], corner[1] + block[1])
    z, z_end = max(start[2], corner[2]), min(start[2] + size[2], corner[2] + block[2])
    length = x_end - x
    in_window = length * width <= 32 and width <= 4 and known == 1 << width
    zero, one, mask = labels[0], labels[1], np.uint64((1 << width) - 1)
    for k in range(z, z_end):
        for j in range(y, y_end):
            bit = width * (x - corner[0] + block[0] * (j - corner[1] + block[1] * (k - corner[2])))
            place = x - start[0] + steps[0] * (j - start[1]) + steps[1] * (k - start[2])
            line = out[place : place + length]
            if width == 0:
                for i in range(length):
                    line[i] = zero
            elif in_window:
                at = bit >> 5
                window = np.uint64(words[values + at])
                if at + 1 < used:
                    window |= np.uint64(words[values + at + 1]) << np.uint64(32)
                window >>= np.uint64(bit & 31)
                if width == 1:
                    for i in range(length):
                        line[i] = one if (window >> np.uint64(i)) & np.uint64(1) else zero
                else:
                    for i in range(length):
                        line[i] = labels[np.int64(window & mask)]
                        window >>= np.uint64(width)
            elif _look_up(words, values, bit, table, labels, line) != 0:
                return BAD_INDEX
    return 0


def _look_up(words: Any, values: int, bit: int, table: Triple, labels: Any, line: Any) -> int:
    """Fill a line, whatever its indices are; return 0, or BAD_INDEX."""
    start, known, width = table
    for i in range(len(line)):
        index = np.int64(words[values + (bit >> 5)]) >> (bit & 31) & ((1 << width) - 1)
        if index >= known:
            return BAD_INDEX
        line[i] = _label(words, start + index * (labels.itemsize // 4), labels)
        bit += width
    return 0


HELPERS = (_label, _read_labels, _look_up, _paste)
"""What `decode` calls, each after those that it calls itself."""
