"""`CompressorTests`: the whole contract of `precomp.interfaces.Compressor`."""

import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from precomp.hookspecs import CompressorPlugin
from precomp.interfaces import Compressor
from precomp.testing.checks import expect_error, shown

__all__ = ["CompressorTests"]

_TEXT = b"0123456789 a chunk of voxels, more or less " * 20
_SAMPLES = {
    "nothing": b"",
    "one byte": b"x",
    "text": _TEXT,
    "zeros": bytes(100_000),
    "noise": random.Random(0).randbytes(100_000),
}
_BOMB = 2**26  # bytes that a short stream claims
_SPARE = 2**24  # bytes of memory that a decompressor may use besides its result, for its window


class CompressorTests:
    """Every promise of a `Compressor`. Subclass it in a test module and give `plugin`:

        class TestXz(CompressorTests):
            plugin = precomp_register_compressors()[0]

    pytest then collects the tests.

    Attributes:
        plugin: the declaration to test.
    """

    plugin: ClassVar[CompressorPlugin]

    def make_compressor(self) -> Compressor:
        """Return the compressor at its default level."""
        return self.plugin.build()

    @pytest.fixture
    def compressor(self) -> Compressor:
        """The compressor at its default level."""
        return self.make_compressor()

    @pytest.mark.parametrize("name", _SAMPLES)
    def test_round_trip(self, compressor: Compressor, name: str) -> None:
        """Also with a limit that fits exactly, and from every kind of buffer."""
        data = _SAMPLES[name]
        for kind in (bytes, bytearray, memoryview):
            stream = bytes(compressor.compress(kind(data)))
            for limit in (len(data), len(data) + 1, 2**40):
                found = bytes(compressor.decompress(kind(stream), limit))
                equal = found == data
                assert equal, (
                    f"decompress after compress of {name}, a {kind.__name__}, max_size {limit}: "
                    f"expected {shown(data)}, found {shown(found)}"
                )

    @pytest.mark.parametrize("name", ["one byte", "text", "zeros", "noise"])
    def test_a_limit_that_is_too_small(self, compressor: Compressor, name: str) -> None:
        """By one byte, or by all: a ValueError, and not the first bytes."""
        data = _SAMPLES[name]
        stream = bytes(compressor.compress(data))
        for limit in {0, len(data) // 2, len(data) - 1}:
            what = f"decompress of {len(data)} bytes of {name} with max_size {limit}"
            expect_error(ValueError, what, compressor.decompress, stream, limit)

    def test_a_bomb(self, compressor: Compressor) -> None:
        """Is refused before its content is in memory."""
        bomb = bytes(compressor.compress(bytes(_BOMB)))
        what = f"decompress of {len(bomb)} bytes that become {_BOMB:,} with max_size 1000"
        tracemalloc.start()
        try:
            expect_error(ValueError, what, compressor.decompress, bomb, 1000)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < _SPARE + len(bomb), (
            f"{what}: it took {peak:,} bytes of memory; decompress at most max_size + 1 bytes, not all"
        )

    @pytest.mark.parametrize("name", ["nothing", "one byte", "text"])
    def test_truncation(self, compressor: Compressor, name: str) -> None:
        """A stream that ends early is a ValueError, at whatever byte."""
        stream = bytes(compressor.compress(_SAMPLES[name]))
        for cut in range(len(stream)):
            what = f"decompress of the first {cut} of {len(stream)} bytes"
            expect_error(ValueError, what, compressor.decompress, stream[:cut], 2**20)

    def test_more_than_a_stream(self, compressor: Compressor) -> None:
        """Garbage after the end is a ValueError."""
        stream = bytes(compressor.compress(_TEXT))
        for more in (b"\0", b"x", bytes(100), b"garbage" * 100):
            what = f"decompress of a stream and {shown(more)}"
            expect_error(ValueError, what, compressor.decompress, stream + more, 2**20)

    def test_damage(self, compressor: Compressor) -> None:
        """Garbage and flipped bits are a ValueError or, where they cannot be seen, no longer than asked."""
        rng = random.Random(0)
        stream = bytes(compressor.compress(_TEXT))
        damaged: list[bytes] = [rng.randbytes(size) for size in (1, 2, 10, 100, 1000)]
        for _ in range(300):
            flipped = bytearray(stream)
            flipped[rng.randrange(len(stream))] ^= 1 << rng.randrange(8)
            damaged.append(bytes(flipped))
        for data in damaged:
            what = f"decompress of the damaged stream {shown(data)}"
            try:
                found = compressor.decompress(data, 2 * len(_TEXT))
            except ValueError:
                continue
            except Exception as error:
                raise AssertionError(f"{what}: expected a ValueError, it raised {error!r}") from error
            assert len(found) <= 2 * len(_TEXT), f"{what}: {len(found)} bytes, more than max_size"

    def test_buffers_are_not_shared(self, compressor: Compressor) -> None:
        """What was returned stays as it is when the input changes and when the next call is made."""
        data = bytearray(_TEXT)
        stream = compressor.compress(data)
        before = bytes(stream)
        data[:] = bytes(len(data))
        compressor.compress(b"other")
        assert bytes(stream) == before, "compress: what it returned changed afterwards"
        given = bytearray(before)
        plain: Any = compressor.decompress(given, len(_TEXT))
        given[:] = bytes(len(given))
        compressor.decompress(bytes(compressor.compress(b"other")), 5)
        assert bytes(plain) == _TEXT, "decompress: what it returned changed afterwards"

    def test_many_threads(self, compressor: Compressor) -> None:
        """One compressor serves all workers at once."""

        def work(me: int) -> None:
            for number in range(20):
                data = b"%d of %d" % (number, me) * (100 * me + number)
                found = bytes(compressor.decompress(compressor.compress(data), len(data)))
                assert found == data, f"decompress after compress in one of many threads: {shown(found)}"

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
