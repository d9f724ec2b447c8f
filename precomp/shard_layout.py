"""How many bits a sharding takes, and what comes of them: chunks, minishards, shards and memory.

Plain numbers; the format is in `precomp.engine.shards`.
"""

import math
from collections.abc import Sequence

import attrs

__all__ = ["MEMORY", "SHARD_BYTES", "ShardLayout", "choose_bits", "morton_bits"]

SHARD_BYTES = 2**29
"""Of the decoded chunks of a shard, where nothing else is said."""

MEMORY = 2**31
"""That the writing of one shard may take, where nothing else is said."""

_COPIES = 3  # of a shard while it is written: the new chunks, the old file, the new file
_EACH = 2**10  # bytes for a chunk in the works besides: its key, its number, its places, entries of indices
_MINISHARD = 9  # bits: an index of 512 chunks is 12 KiB, some 3 KiB as gzip


def morton_bits(grid: Sequence[int]) -> int:
    """Return how many bits number the chunks of a grid.

    >>> morton_bits((6, 3, 2))
    6
    """
    return sum((length - 1).bit_length() for length in grid)


def choose_bits(
    grid: Sequence[int], chunk_bytes: int, shard_bytes: int = SHARD_BYTES, memory: int = MEMORY
) -> tuple[int, int, int]:
    """Return preshift_bits, minishard_bits and shard_bits for chunks numbered by their Morton code.

    A shard gets as many chunks as have at most `shard_bytes` decoded and take at most `memory` when it is
    written; one at the least. Of those, runs of up to 512 neighbours make a minishard, whose index is read at
    once.

    >>> choose_bits((512, 512, 64), 2**18)
    (9, 2, 13)
    """
    bits = morton_bits(grid)
    chunks = max(1, min(shard_bytes // chunk_bytes, memory // (_COPIES * chunk_bytes + _EACH)))
    in_shard = min(bits, chunks.bit_length() - 1)
    preshift = min(in_shard, _MINISHARD)
    return preshift, in_shard - preshift, bits - in_shard


@attrs.frozen
class ShardLayout:
    """What the sharding of a scale amounts to; as text it says why the bits are what they are.

    Attributes:
        grid: chunks along x, y, z.
        chunk_bytes: of a decoded chunk.
        preshift_bits: of the sharding; likewise the next two.
        minishard_bits: see there.
        shard_bits: see there.
        hashed: True where a hash spreads neighbours over the shards, so that numbers below are means.
    """

    grid: tuple[int, int, int]
    chunk_bytes: int
    preshift_bits: int
    minishard_bits: int
    shard_bits: int
    hashed: bool

    @property
    def chunks(self) -> int:
        """Of the scale."""
        return math.prod(self.grid)

    @property
    def shards(self) -> int:
        """At the most; those that would hold nothing do not exist."""
        return min(self.chunks, 1 << self._used[0])

    @property
    def chunks_per_shard(self) -> int:
        """At the most, or in the mean where `hashed`."""
        return self._chunks_per(self._used[0])

    @property
    def chunks_per_minishard(self) -> int:
        """At the most, or in the mean where `hashed`."""
        return self._chunks_per(sum(self._used))

    @property
    def _used(self) -> tuple[int, int]:
        """How many of shard_bits and minishard_bits tell chunks apart; the grid may have too few for all."""
        bits = max(0, morton_bits(self.grid) - self.preshift_bits)
        minishard = min(self.minishard_bits, bits)
        if self.hashed:  # all bits of the hash do, up to one for each run of chunks
            return min(self.shard_bits, bits), max(0, min(self.minishard_bits, bits - self.shard_bits))
        return min(self.shard_bits, bits - minishard), minishard

    def _chunks_per(self, used: int) -> int:
        if self.hashed:
            return -(-self.chunks >> used)
        return min(self.chunks, 1 << (morton_bits(self.grid) - used))

    @property
    def shard_bytes(self) -> int:
        """Of the decoded chunks of a shard."""
        return self.chunks_per_shard * self.chunk_bytes

    @property
    def index_bytes(self) -> int:
        """Of a minishard's index before compression."""
        return 24 * self.chunks_per_minishard

    @property
    def memory(self) -> int:
        """Bytes that the writing of one shard takes, or about, were its chunks stored as they are."""
        return _COPIES * self.shard_bytes + _EACH * self.chunks_per_shard

    def __str__(self) -> str:
        """Say what comes of the bits, and why they are so where they are those that would be chosen."""
        x, y, z = self.grid
        about = "about" if self.hashed else "up to"
        return (
            f"{x} x {y} x {z} chunks of {_size(self.chunk_bytes)}, "
            f"{morton_bits(self.grid)} bits to number them. "
            f"{self.preshift_bits} preshift_bits and {self.minishard_bits} minishard_bits make minishards of "
            f"{about} {self.chunks_per_minishard} chunks, with an index of {_size(self.index_bytes)}; with "
            f"{self.shard_bits} shard_bits there are up to {self.shards} shards of {about} "
            f"{self.chunks_per_shard} chunks, {_size(self.shard_bytes)} decoded. To write into one takes "
            f"up to {_COPIES} times that in memory, {_size(self.memory)}; less where chunks shrink."
        ) + (_REASONS if self._is_chosen else "")

    @property
    def _is_chosen(self) -> bool:
        bits = self.preshift_bits, self.minishard_bits, self.shard_bits
        return not self.hashed and bits == choose_bits(self.grid, self.chunk_bytes)


def _size(nbytes: int) -> str:
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if nbytes >= 1 << bits:
            return f"{nbytes / (1 << bits):.3g} {unit}"
    return f"{nbytes} bytes"


_REASONS = (
    " sharding=True chooses these bits: as many chunks to a shard as have at most "
    f"{_size(SHARD_BYTES)} decoded and take at most {_size(MEMORY)} when it is written, one at the least; "
    f"and at most {1 << _MINISHARD} of them to a minishard, so that its index is quickly read."
)
