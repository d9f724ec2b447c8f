"""Encoding as plain loops, for numba to compile (see compiled.py). Python runs them too, slowly.

Each block gets its indices and then its table, sorted, unless an earlier one has the same: as the library
does it, byte for byte. Counts and places are in words of 32 bits from the channel's start, as in the stream.
"""

from typing import Any

import numpy as np

from precomp_plugins.codecs._cseg.stream import Triple

__all__ = ["HELPERS", "TOO_FAR", "encode"]

TOO_FAR = -1

_TABLES_END = 2**24
_FACTOR = 0x9E3779B97F4A7C15  # odd, its bits in no order


def encode(voxels: Any, size: Triple, steps: tuple[int, int], block: Triple, words: Any) -> int:
    """Encode a channel; return how many words it has, or TOO_FAR where a table is beyond what can be told.

    Args:
        voxels: the labels, one dimension; those along x next to each other.
        size: voxels of the channel along x, y, z.
        steps: how far two neighbours along y, and two along z, are from each other in `voxels`.
        block: voxels of a block, 2**16 at most in all.
        words: uint32, where the stream goes: room for any channel of this size.
    """
    nx, ny, nz = -(-size[0] // block[0]), -(-size[1] // block[1]), -(-size[2] // block[2])
    total, each = nx * ny * nz, block[0] * block[1] * block[2]
    bits = _bits_for(each)
    slots = np.empty(1 << bits, voxels.dtype), np.empty(1 << bits, np.int32), np.zeros(1 << bits, np.int64)
    table_bits = _bits_for(total)
    tables = np.zeros(1 << table_bits, np.int64), np.zeros(1 << table_bits, np.int32)
    names, numbers = np.empty(each, voxels.dtype), np.empty(each, np.int32)
    ranks, found = np.empty(each, np.int32), np.empty(each, np.int32)
    end = 2 * total
    for number in range(total):
        gx, gy, gz = number % nx, number // nx % ny, number // nx // ny
        inside = (
            min(block[0], size[0] - gx * block[0]),
            min(block[1], size[1] - gy * block[1]),
            min(block[2], size[2] - gz * block[2]),
        )
        corner = gx * block[0] + steps[0] * gy * block[1] + steps[1] * gz * block[2]
        count = _number(voxels, corner, steps, inside, block, number + 1, slots, bits, names, found)
        width = 0
        while 1 << width < count:
            width = max(1, 2 * width)
        values = end
        if width > 0:
            _sort(names, numbers, ranks, count)
            end += (each * width + 31) // 32
            _pack(found, ranks, inside, block, width, words[values:end])
        table = _find(names, count, words, tables, end)
        if table == end:
            end = _write(names, count, words, end)
        if table >= _TABLES_END:
            return TOO_FAR
        words[2 * number] = np.uint32(table | width << 24)
        words[2 * number + 1] = np.uint32(values)
    return end


def _bits_for(count: int) -> int:
    """Return of how many bits a hash is, such that half of the slots stay empty at the least."""
    bits = 4
    while 1 << bits < 2 * count:
        bits += 1
    return bits


def _number(
    voxels: Any,
    corner: int,
    steps: tuple[int, int],
    inside: Triple,
    block: Triple,
    stamp: int,
    slots: tuple[Any, Any, Any],
    bits: int,
    names: Any,
    found: Any,
) -> int:
    """Number the labels of a block as they come; return how many there are.

    `names` gets the labels, `found` the number of each voxel, x fastest. `slots` keep labels by their hash,
    with their number and the `stamp` of the block that they are of.
    """
    labels, ids, stamps = slots
    count, last, current = 0, voxels[corner], 0
    for z in range(inside[2]):
        for y in range(inside[1]):
            place = corner + steps[0] * y + steps[1] * z
            line, numbered = voxels[place : place + inside[0]], found[block[0] * (y + block[1] * z) :]
            for x in range(inside[0]):
                label = line[x]
                if label != last or count == 0:
                    last = label
                    slot = np.int64((np.uint64(label) * np.uint64(_FACTOR)) >> np.uint64(64 - bits))
                    while stamps[slot] == stamp and labels[slot] != label:
                        slot = (slot + 1) & (len(labels) - 1)
                    if stamps[slot] != stamp:
                        stamps[slot], labels[slot], ids[slot] = stamp, label, count
                        names[count] = label
                        count += 1
                    current = ids[slot]
                numbered[x] = current
    return count


def _sort(names: Any, numbers: Any, ranks: Any, count: int) -> None:
    """Sort the labels, by Shell's way, as there are few; `ranks` tells which place each number has then."""
    for k in range(count):
        numbers[k] = k
    gap = count // 2
    while gap > 0:
        for i in range(gap, count):
            name, number, j = names[i], numbers[i], i
            while j >= gap and names[j - gap] > name:
                names[j], numbers[j] = names[j - gap], numbers[j - gap]
                j -= gap
            names[j], numbers[j] = name, number
        gap //= 2
    for k in range(count):
        ranks[numbers[k]] = k


def _pack(found: Any, ranks: Any, inside: Triple, block: Triple, width: int, packed: Any) -> None:
    """Pack the indices of a block; those beyond the chunk's edge are zero."""
    packed[:] = 0
    for z in range(inside[2]):
        for y in range(inside[1]):
            first = block[0] * (y + block[1] * z)
            numbered, at, shift = found[first:], width * first >> 5, width * first & 31
            gathered = np.uint64(0)
            for x in range(inside[0]):
                gathered |= np.uint64(ranks[numbered[x]]) << np.uint64(shift)
                shift += width
                if shift >= 32:
                    packed[at] |= np.uint32(gathered & np.uint64(0xFFFFFFFF))
                    gathered >>= np.uint64(32)
                    at, shift = at + 1, shift - 32
            if shift > 0:
                packed[at] |= np.uint32(gathered)


def _find(names: Any, count: int, words: Any, tables: tuple[Any, Any], end: int) -> int:
    """Return where there is a table of just these labels; where there is none, `end`, kept for it."""
    places, counts = tables
    mixed = np.uint64(count)
    for k in range(count):
        mixed = (mixed ^ np.uint64(names[k])) * np.uint64(_FACTOR)
        mixed ^= mixed >> np.uint64(29)
    slot = np.int64(mixed & np.uint64(len(places) - 1))
    while counts[slot] > 0:
        if counts[slot] == count and _is_there(names, count, words, places[slot]):
            place: int = places[slot]
            return place
        slot = (slot + 1) & (len(places) - 1)
    places[slot], counts[slot] = end, count
    return end


def _is_there(names: Any, count: int, words: Any, place: int) -> bool:
    for k in range(count):
        if words[place] != np.uint32(names[k] & names.dtype.type(0xFFFFFFFF)):
            return False
        place += 1
        if names.itemsize == 8:
            if words[place] != np.uint32(np.uint64(names[k]) >> np.uint64(32)):
                return False
            place += 1
    return True


def _write(names: Any, count: int, words: Any, end: int) -> int:
    """Write a table and return its end."""
    for k in range(count):
        words[end] = np.uint32(names[k] & names.dtype.type(0xFFFFFFFF))
        end += 1
        if names.itemsize == 8:
            words[end] = np.uint32(np.uint64(names[k]) >> np.uint64(32))
            end += 1
    return end


HELPERS = (_bits_for, _number, _sort, _pack, _is_there, _find, _write)
"""What `encode` calls, each after those that it calls itself."""
