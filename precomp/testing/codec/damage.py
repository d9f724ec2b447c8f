"""Damaged data: an error or, where it cannot be seen, a chunk of the right shape; never a crash."""

import random
import tracemalloc
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec, Codec
from precomp.testing.checks import shown
from precomp.testing.codec.base import CodecKit

__all__ = ["DamageTests", "flipped"]

_MOST_CUTS = 150
_FLIPS = 150
_MOST_MEMORY = 2**24  # bytes that damaged data of a small chunk may claim


def _decoded(codec: Codec, data: Buffer, spec: ChunkSpec) -> NDArray[Any] | None:
    """Return the chunk, or None where the data is refused; any exception will do."""
    try:
        return codec.decode(data, spec)
    except Exception:  # noqa: BLE001  the contract leaves the class of the error to the codec
        return None


class DamageTests(CodecKit):
    """What is stored may be anything."""

    def test_truncation(self) -> None:
        """A chunk that ends early is refused, at whatever byte."""
        for what, codec, spec, chunk in self.cases([(7, 5, 3)]):
            data = bytes(codec.encode(chunk))
            every, size = len(data) // _MOST_CUTS + 1, len(data)
            for cut in {*range(0, size, every), *range(max(size - 20, 0), size)}:
                found = _decoded(codec, data[:cut], spec)
                assert found is None, (
                    f"decode of the first {cut} of {len(data)} bytes, {what}: expected an error, "
                    "found a chunk"
                )

    def test_more_than_a_chunk(self) -> None:
        """Bytes after the end show that this is something else."""
        if not self.refuses_more:
            pytest.skip("refuses_more is False")
        for what, codec, spec, chunk in self.cases([(7, 5, 3)]):
            data = bytes(codec.encode(chunk))
            for more in (b"\0", b"x" * 100, data):
                found = _decoded(codec, data + more, spec)
                assert found is None, (
                    f"decode of {len(data)} bytes and {shown(more)}, {what}: expected an error, found a chunk"
                )

    def test_a_chunk_of_another_size(self) -> None:
        """Is refused: the number of voxels is known from the chunk's place."""
        if not self.tells_size:
            pytest.skip("tells_size is False")
        for what, codec, spec, chunk in self.cases([(7, 5, 3), (6, 6, 6)]):
            data = bytes(codec.encode(chunk))
            x, y, z, channels = spec.shape
            others = [(x + 1, y, z), (x, y - 1, z), (x, y, 1), (x, y, 2 * z), (64, 64, 64)]
            for size in others:
                found = _decoded(codec, data, ChunkSpec((*size, channels), spec.dtype))
                assert found is None, (
                    f"decode of {what}, as a chunk of {size}: expected an error, found shape {found.shape}"
                )

    def test_garbage(self) -> None:
        """Any bytes at all; nothing is refused."""
        rng = random.Random(0)
        sizes = [0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 64, 100, 1000]
        garbage = [rng.randbytes(size) for size in sizes] + [bytes(100), b"\xff" * 100]
        for what, codec, spec, _ in self.cases([(7, 5, 3)]):
            assert _decoded(codec, b"", spec) is None, f"decode of no bytes at all, {what}: expected an error"
            self.survives(what, codec, spec, garbage)

    def test_flipped_bits(self) -> None:
        """A damaged chunk is refused or has the right shape, and claims no memory beyond reason."""
        rng = random.Random(0)
        for what, codec, spec, chunk in self.cases([(7, 5, 3)]):
            data = bytes(codec.encode(chunk))
            self.survives(what, codec, spec, (flipped(data, rng) for _ in range(_FLIPS)))

    def survives(self, what: str, codec: Codec, spec: ChunkSpec, damaged: Iterable[bytes]) -> None:
        """Assert that each is refused, or decodes to the right shape and dtype with little memory."""
        __tracebackhide__ = True
        tracemalloc.start()
        try:
            for data in damaged:
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                found = _decoded(codec, data, spec)
                peak = tracemalloc.get_traced_memory()[1] - before
                assert peak < _MOST_MEMORY, (
                    f"decode of {len(data)} damaged bytes, {what}: it took {peak:,} bytes of memory; "
                    "check sizes before memory is allocated for them"
                )
                if found is None:
                    continue
                assert isinstance(found, np.ndarray), f"decode of damaged bytes, {what}: found {found!r}"
                assert (found.shape, found.dtype) == (spec.shape, spec.dtype), (
                    f"decode of {shown(data)}, {what}: found {found.dtype}, shape {found.shape}"
                )
        finally:
            tracemalloc.stop()


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Return the data with some bits flipped."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 5])):
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)
