"""Round trips: every dtype, channels, shape and memory order comes back, axis by axis."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp.interfaces import ChunkSpec
from precomp.testing.codec.base import CodecKit

__all__ = ["RoundTripTests"]

_THREADS = 8


def _strided(chunk: NDArray[Any]) -> NDArray[Any]:
    wide = np.zeros([2 * length for length in chunk.shape], chunk.dtype)
    part = wide[::2, 1::2, ::2, 1::2]
    part[...] = chunk
    return part


def _read_only(chunk: NDArray[Any]) -> NDArray[Any]:
    copy = chunk.copy(order="F")
    copy.flags.writeable = False
    return copy


_ORDERS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "Fortran order": np.asfortranarray,
    "C order": np.ascontiguousarray,
    "a strided view": _strided,
    "a reversed view": lambda chunk: np.ascontiguousarray(chunk[::-1, :, ::-1])[::-1, :, ::-1],
    "read-only": _read_only,
}


class RoundTripTests(CodecKit):
    """`decode` undoes `encode`."""

    def test_round_trip(self) -> None:
        """Every dtype, number of channels and shape, truncated at the edges too."""
        for what, codec, spec, chunk in self.cases():
            self.expect(f"decode after encode, {what}", codec.decode(codec.encode(chunk), spec), chunk)

    def test_a_whole_chunk(self) -> None:
        """Of the scale's full size, once for each dtype."""
        first = {dtype: (dtype, channels) for dtype, channels in reversed(self.kinds())}
        for what, codec, spec, chunk in self.cases([(64, 64, 64)], list(first.values())):
            self.expect(f"decode after encode, {what}", codec.decode(codec.encode(chunk), spec), chunk)

    def test_any_chunk(self) -> None:
        """Of any size up to 9; the smallest one that fails is reported."""
        kinds = st.sampled_from(self.kinds())
        sides = st.integers(1, 9)

        @settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
        @given(kinds, st.tuples(sides, sides, sides), st.integers(0, 2**32 - 1))
        def check(kind: tuple[np.dtype[Any], int], size: tuple[int, int, int], seed: int) -> None:
            dtype, channels = kind
            codec, spec = self.make_codec(dtype.name, channels), ChunkSpec((*size, channels), dtype)
            chunk = self.sample(spec.shape, dtype, seed)
            what = f"decode after encode, {self.plugin.encoding}, {dtype}, shape {spec.shape}"
            self.expect(what, codec.decode(codec.encode(chunk), spec), chunk)

        check()

    def test_every_memory_order(self) -> None:
        """The caller's array may lie in memory in any way, and is not changed."""
        for what, codec, spec, chunk in self.cases([(7, 5, 3), (6, 6, 6)]):
            for order, lay_out in _ORDERS.items():
                given = lay_out(chunk)
                data = bytes(codec.encode(given))
                assert given.tobytes() == chunk.tobytes(), f"encode of {what}, {order}: it changed the chunk"
                self.expect(f"decode after encode of {order}, {what}", codec.decode(data, spec), chunk)

    def test_every_kind_of_buffer(self) -> None:
        """Stores and compressors return bytes, bytearrays and memoryviews; they are not changed."""
        for what, codec, spec, chunk in self.cases([(7, 5, 3)]):
            data = bytes(codec.encode(chunk))
            for kind in (bytes, bytearray, memoryview):
                given = kind(data)
                self.expect(f"decode of a {kind.__name__}, {what}", codec.decode(given, spec), chunk)
                assert bytes(given) == data, f"decode of a {kind.__name__}, {what}: it changed the data"
            part = memoryview(b"x" + data + b"x")[1:-1]
            self.expect(f"decode of a part of a memoryview, {what}", codec.decode(part, spec), chunk)

    def test_golden(self) -> None:
        """Bytes of another origin hold the voxels that they should, and so do the codec's own."""
        if not self.golden:
            pytest.skip("needs `golden`")
        sizes = [chunk.shape[:3] for _, chunk in self.golden]
        assert any(min(size) > 1 and len(set(size)) == 3 for size in sizes), (
            f"golden: found chunks of {sizes}; axes that are swapped both ways show only where x, y and z "
            "are above 1 and different, so add one of 2 x 3 x 4"
        )
        for number, (data, chunk) in enumerate(self.golden):
            spec = ChunkSpec(chunk.shape, chunk.dtype)
            codec = self.make_codec(chunk.dtype.name, chunk.shape[3])
            what = f"{self.plugin.encoding}, golden[{number}], {chunk.dtype}, shape {chunk.shape}"
            self.expect(f"decode of {what}", codec.decode(data, spec), chunk)
            self.expect(f"decode after encode, {what}", codec.decode(codec.encode(chunk), spec), chunk)

    def test_encode_does_not_lend_the_chunk(self) -> None:
        """A result that shares the caller's memory must be read-only; none may share a later result's."""
        for what, codec, spec, chunk in self.cases([(7, 5, 3)]):
            mine = chunk.copy(order="F")
            encoded = codec.encode(mine)
            shared = np.shares_memory(np.frombuffer(encoded, np.uint8), mine)
            lent = shared and not memoryview(encoded).readonly
            assert not lent, f"encode of {what}: it returned the chunk's own memory, writable"
            before = bytes(encoded)
            codec.encode(self.sample(spec.shape, spec.dtype, 99))
            assert bytes(encoded) == before, f"encode of {what}: the next encode changed what it returned"

    def test_decode_does_not_share_its_results(self) -> None:
        """A decoded chunk stays as it is when another one is decoded."""
        for what, codec, spec, chunk in self.cases([(7, 5, 3)]):
            other = bytes(codec.encode(self.sample(spec.shape, spec.dtype, 99)))
            first = codec.decode(bytes(codec.encode(chunk)), spec)
            codec.decode(other, spec)
            self.expect(f"the chunk decoded before the last one, {what}", first, chunk)

    def test_many_threads(self) -> None:
        """One codec serves all workers at once."""
        dtype, channels = self.kinds()[0]
        codec = self.make_codec(dtype.name, channels)

        def work(me: int) -> None:
            for number in range(10):
                shape = (me + 1, number + 1, 5, channels)
                chunk = self.sample(shape, dtype, 10 * me + number)
                data = codec.encode(chunk)
                what = f"decode after encode in one of many threads, {self.plugin.encoding}, shape {shape}"
                self.expect(what, codec.decode(data, ChunkSpec(shape, dtype)), chunk)

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(work, range(_THREADS)))
