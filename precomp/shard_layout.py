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

    A shard gets as many chunks as have at most `shard_bytes` decoded, and a third of `memory`; one at the
    least. Of those, runs of up to 512 neighbours make a minishard, whose index is read at once.

    >>> choose_bits((512, 512, 64), 2**18)
    (9, 2, 13)
    """
    bits = morton_bits(grid)
    chunks = max(1, min(shard_bytes, memory // _COPIES) // chunk_bytes)
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
        bits = morton_bits(self.grid) - self.preshift_bits
        used = self.shard_bits if self.hashed else bits - self.minishard_bits
        return min(self.chunks, 1 << max(0, min(self.shard_bits, used)))

    @property
    def chunks_per_shard(self) -> int:
        """At the most, or in the mean where `hashed`."""
        if self.hashed:
            return -(-self.chunks // self.shards)
        return min(self.chunks, 1 << max(0, morton_bits(self.grid) - self.shard_bits))

    @property
    def chunks_per_minishard(self) -> int:
        """At the most, or in the mean where `hashed`."""
        if self.hashed:
            return -(-self.chunks_per_shard >> self.minishard_bits)
        bits = morton_bits(self.grid) - self.shard_bits - self.minishard_bits
        return min(self.chunks_per_shard, 1 << max(0, bits))

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
        """Bytes that the writing of one shard takes at the most, were its chunks stored as they are."""
        return _COPIES * self.shard_bytes

    def __str__(self) -> str:
        """Say what comes of the bits."""
        x, y, z = self.grid
        about = "about" if self.hashed else "up to"
        return (
            f"{x} x {y} x {z} chunks of {_size(self.chunk_bytes)}, "
            f"{morton_bits(self.grid)} bits to number them. "
            f"{self.preshift_bits} preshift_bits and {self.minishard_bits} minishard_bits make minishards of "
            f"{about} {self.chunks_per_minishard} chunks, with an index of {_size(self.index_bytes)}; with "
            f"{self.shard_bits} shard_bits there are up to {self.shards} shards of {about} "
            f"{self.chunks_per_shard} chunks, {_size(self.shard_bytes)} decoded. To write into one takes "
            f"{_COPIES} times that in memory, {_size(self.memory)}, or less where chunks shrink."
        )


def _size(nbytes: int) -> str:
    for unit, bits in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if nbytes >= 1 << bits:
            return f"{nbytes / (1 << bits):.3g} {unit}"
    return f"{nbytes} bytes"
