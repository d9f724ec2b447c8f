"""Where an id lies: its hash, its minishard, its shard and the shard's file name.

Source: Neuroglancer's `precomputed/sharded.md`; the hash is the public domain MurmurHash3_x86_128.
"""

import numpy as np
from numpy.typing import NDArray

from precomp.info import ShardingSpec

__all__ = ["Ids", "Locator", "by_value", "murmurhash3", "murmurhash3_all"]

Ids = NDArray[np.uint64]

_MASK = 0xFFFFFFFF
_C1, _C2, _C3 = 0x239B961B, 0xAB0E9789, 0x38B34AE5
_F1, _F2 = 0x85EBCA6B, 0xC2B2AE35
_LENGTH = 8  # bytes of an id


def _mixed(h: int) -> int:
    h = (h ^ (h >> 16)) * _F1 & _MASK
    h = (h ^ (h >> 13)) * _F2 & _MASK
    return h ^ (h >> 16)


def murmurhash3(number: int) -> int:
    """Return the low 64 bits of MurmurHash3_x86_128, seed 0, of the number's 8 little-endian bytes.

    >>> hex(murmurhash3(12345))
    '0x1d31307e3a65e510'
    """
    low, high = number & _MASK, number >> 32
    k = low * _C1 & _MASK
    h1 = ((k << 15 | k >> 17) & _MASK) * _C2 & _MASK ^ _LENGTH
    k = high * _C2 & _MASK
    h2 = ((k << 16 | k >> 16) & _MASK) * _C3 & _MASK ^ _LENGTH
    # The other two words have no bytes of the number in them: only the length.
    h1 = h1 + h2 + 2 * _LENGTH & _MASK
    h2, h3 = _mixed(h2 + h1 & _MASK), _mixed(_LENGTH + h1 & _MASK)
    h1 = _mixed(h1) + h2 + 2 * h3 & _MASK
    return h1 | (h2 + h1 & _MASK) << 32


def _all_mixed(h: Ids) -> Ids:
    h = (h ^ (h >> np.uint64(16))) * np.uint64(_F1) & np.uint64(_MASK)
    h = (h ^ (h >> np.uint64(13))) * np.uint64(_F2) & np.uint64(_MASK)
    return h ^ (h >> np.uint64(16))


def murmurhash3_all(numbers: Ids) -> Ids:
    """Return the same of many numbers at once."""
    mask, length = np.uint64(_MASK), np.uint64(_LENGTH)
    k = (numbers & mask) * np.uint64(_C1) & mask
    k = (k << np.uint64(15) | k >> np.uint64(17)) & mask
    h1 = k * np.uint64(_C2) & mask ^ length
    k = (numbers >> np.uint64(32)) * np.uint64(_C2) & mask
    k = (k << np.uint64(16) | k >> np.uint64(16)) & mask
    h2 = k * np.uint64(_C3) & mask ^ length
    h1 = h1 + h2 + length + length & mask
    h2, h3 = _all_mixed(h2 + h1 & mask), _all_mixed(length + h1 & mask)
    h1 = _all_mixed(h1) + h2 + h3 + h3 & mask
    return h1 | (h2 + h1 & mask) << np.uint64(32)


class Locator:
    """Says of an id in which shard and minishard it lies, and how a shard is called.

    Attributes:
        spec: the sharding.
        minishards: of one shard.
        index_length: bytes of a shard's own index, which come before everything else.
    """

    def __init__(self, spec: ShardingSpec) -> None:
        self.spec = spec
        self.minishards = 1 << spec.minishard_bits
        self.index_length = 16 * self.minishards
        self._digits = -(-spec.shard_bits // 4)
        self._shift, self._bits = spec.preshift_bits, spec.minishard_bits
        self._hashed = spec.hash != "identity"
        self._minishard, self._shard = self.minishards - 1, (1 << spec.shard_bits) - 1

    def locate(self, number: int) -> tuple[int, int]:
        """Return the shard and the minishard of an id."""
        h = number >> self._shift
        if self._hashed:
            h = murmurhash3(h)
        return h >> self._bits & self._shard, h & self._minishard

    def locate_all(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return shards and minishards of many ids."""
        h = _shifted(ids, self._shift)
        if self._hashed:
            h = murmurhash3_all(h)
        return _shifted(h, self._bits) & np.uint64(self._shard), h & np.uint64(self._minishard)

    def name(self, shard: int) -> str:
        """Return a shard's file name without its suffix: `0f`; one of 0 shard_bits is called `0`."""
        return f"{shard:0{self._digits}x}"


def _shifted(numbers: Ids, bits: int) -> Ids:
    return numbers >> np.uint64(bits) if bits < 64 else np.zeros_like(numbers)


def by_value(numbers: Ids) -> list[tuple[int, NDArray[np.intp]]]:
    """Return each value that occurs with the places where it does, both ascending."""
    if not len(numbers):
        return []
    order = numbers.argsort(kind="stable")
    ordered = numbers[order]
    firsts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    values = ordered[np.append(0, firsts)]
    return list(zip(values.tolist(), np.split(order, firsts), strict=True))
