"""The compressors gzip, br and zstd: whole streams only, never more than asked for, readable by others."""

import gzip as std_gzip
import io
import itertools
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import ModuleType, SimpleNamespace

import brotli
import numpy as np
import pluggy
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from precomp import hookspecs
from precomp.errors import ArgumentError, MissingDependencyError
from precomp.hookspecs import CompressorPlugin
from precomp.interfaces import Compressor
from precomp_plugins.compressors import br as br_module
from precomp_plugins.compressors import gzip as gzip_module
from precomp_plugins.compressors import zstd as zstd_module

MODULES: dict[str, ModuleType] = {"gzip": gzip_module, "br": br_module, "zstd": zstd_module}
NAMES = list(MODULES)
SUFFIXES = {"gzip": (".gz",), "br": (".br",), "zstd": (".zstd", ".zst")}
LEVELS = {"gzip": range(4), "br": range(12), "zstd": range(1, 20)}
OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": std_gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
}


def declared(name: str) -> CompressorPlugin:
    """The compressor of that name, asked for as the core asks: through pluggy."""
    manager = pluggy.PluginManager("precomp")
    manager.add_hookspecs(hookspecs)
    manager.register(MODULES[name])
    manager.check_pending()
    ((plugin,),) = manager.hook.precomp_register_compressors()
    assert isinstance(plugin, CompressorPlugin)
    return plugin


def make(name: str, level: int | None = None) -> Compressor:
    return declared(name).build(level)


COMPRESSORS = {name: make(name) for name in NAMES}
each = pytest.mark.parametrize("name", NAMES)
any_name = st.sampled_from(NAMES)


def text(size: int, seed: int = 0) -> bytes:
    """Bytes that compress about to a half."""
    return np.random.default_rng(seed).integers(0, 16, size, np.uint8).tobytes()


def frames_without_size(data: bytes) -> bytes:
    """A zstd frame as a stream writer makes it, which does not know the size beforehand."""
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


# -------------------------------------------------------------- declarations


@each
def test_declarations(name: str) -> None:
    plugin = declared(name)
    assert (plugin.name, plugin.suffixes) == (name, SUFFIXES[name])
    assert plugin.install_hint == (None if name == "gzip" else "pip install 'precomp[compress]'")


@pytest.mark.parametrize(("name", "package"), [("br", "brotli"), ("zstd", "zstandard")])
def test_a_missing_package_says_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'precomp\[compress\]'") as caught:
        make(name)
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_brotli_that_cannot_limit_its_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    old = SimpleNamespace(Decompressor=type("Decompressor", (), {"process": None}))
    monkeypatch.setitem(sys.modules, "brotli", old)
    with pytest.raises(MissingDependencyError, match=r"brotli 1\.2.*pip install 'precomp\[compress\]'"):
        make("br")


@each
def test_every_level_is_read_back_and_others_are_refused(name: str) -> None:
    data = b" ".join(b"%d" % (number * number) for number in range(3000))
    for level in LEVELS[name]:
        compressor = make(name, level)
        assert bytes(compressor.decompress(compressor.compress(data), len(data))) == data
    assert len(make(name, LEVELS[name][-1]).compress(data)) < len(make(name, LEVELS[name][0]).compress(data))
    for level in (LEVELS[name][0] - 1, LEVELS[name][-1] + 1):
        with pytest.raises(ArgumentError, match=rf"level of {name}: expected .* {LEVELS[name][-1]} .*found"):
            make(name, level)


# ---------------------------------------------------------------- whole streams


@settings(deadline=None, max_examples=150)
@given(any_name, st.binary(max_size=2000), st.integers(1, 300), st.integers(0, 5))
def test_round_trip_within_the_limit_and_no_further(name: str, data: bytes, repeat: int, spare: int) -> None:
    compressor = COMPRESSORS[name]
    content = data * repeat
    compressed = bytes(compressor.compress(content))
    assert compressor.decompress(compressed, len(content) + spare) == content
    assert OTHERS[name](compressed) == content
    for limit in {len(content) - 1, len(content) // 2, 0} - {-1, len(content)}:
        with pytest.raises(ValueError, match="expected"):
            compressor.decompress(compressed, limit)


@each
@pytest.mark.parametrize("size", [2**14, 2**15, 2**15 + 2**16, 2**17, 2**20])
def test_content_that_just_fills_a_librarys_buffer(name: str, size: int) -> None:
    compressor, data = COMPRESSORS[name], text(size)
    compressed = compressor.compress(data)
    assert compressor.decompress(compressed, size) == data
    with pytest.raises(ValueError):
        compressor.decompress(compressed, size - 1)


@each
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_buffer_is_taken(name: str, kind: Callable[[bytes], bytes]) -> None:
    compressor, data = COMPRESSORS[name], text(1000)
    compressed = compressor.compress(kind(data))
    assert compressor.decompress(kind(bytes(compressed)), len(data)) == data
    assert compressor.compress(memoryview(data).toreadonly()) == compressed


@each
def test_equal_data_give_equal_bytes(name: str) -> None:
    data = text(100_000)
    assert make(name).compress(data) == make(name).compress(bytearray(data))


def test_gzip_writes_no_time_and_no_name() -> None:
    flags_time_and_more = bytes(COMPRESSORS["gzip"].compress(b"abc"))[3:9]
    assert flags_time_and_more == bytes(6)


def test_zstd_writes_size_and_checksum() -> None:
    frame = zstandard.get_frame_parameters(bytes(COMPRESSORS["zstd"].compress(text(1000))))
    assert (frame.content_size, frame.has_checksum) == (1000, True)


@each
def test_one_compressor_serves_many_threads(name: str) -> None:
    compressor = COMPRESSORS[name]

    def work(seed: int) -> bool:
        data = text(20_000 + seed, seed)
        return bytes(compressor.decompress(compressor.compress(data), len(data))) == data

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(100)))


@each
@pytest.mark.parametrize("size", [0, 1, 60])
def test_truncation_at_every_byte_is_refused(name: str, size: int) -> None:
    compressor, data = COMPRESSORS[name], text(size)
    compressed = bytes(compressor.compress(data))
    for length in range(len(compressed)):
        with pytest.raises(ValueError):
            compressor.decompress(compressed[:length], size)


@each
@pytest.mark.parametrize("size", [0, 1, 60, 70_000])
def test_what_follows_the_stream_is_refused(name: str, size: int) -> None:
    compressor, data = COMPRESSORS[name], text(size)
    compressed = bytes(compressor.compress(data))
    for after in (b"\0", bytes(512), b"x", b"garbage" * 100, compressed[:3], compressed[:-1]):
        if after:
            with pytest.raises(ValueError):
                compressor.decompress(compressed + after, 10 * size)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_a_flipped_bit_is_refused_or_harmless(name: str) -> None:
    """Both carry a checksum. (Brotli has none.)"""
    compressor, data = COMPRESSORS[name], text(300)
    compressed = bytes(compressor.compress(data))
    for position, bit in itertools.product(range(len(compressed)), range(8)):
        damaged = bytearray(compressed)
        damaged[position] ^= 1 << bit
        with suppress(ValueError):
            assert compressor.decompress(damaged, 2 * len(data)) == data


@settings(deadline=None, max_examples=200)
@given(any_name, st.binary(max_size=200), st.data())
def test_garbage_never_gives_more_than_asked_for(name: str, garbage: bytes, data: st.DataObject) -> None:
    magic = data.draw(
        st.sampled_from([b"", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x0b"])
    )
    with suppress(ValueError):
        assert len(COMPRESSORS[name].decompress(magic + garbage, 100)) <= 100


@each
def test_nothing_is_no_stream(name: str) -> None:
    with pytest.raises(ValueError):
        COMPRESSORS[name].decompress(b"", 100)


# ------------------------------------------------------ streams of other writers


def test_gzip_reads_a_header_with_name_time_and_more() -> None:
    file = io.BytesIO()
    with std_gzip.GzipFile("chunk name", "wb", fileobj=file, mtime=12345) as writer:
        writer.write(text(1000))
    assert COMPRESSORS["gzip"].decompress(file.getvalue(), 1000) == text(1000)
    plain = bytes(COMPRESSORS["gzip"].compress(b"abc"))
    # RFC 1952: an extra field, a name, a comment and a checksum of the header.
    header = plain[:3] + bytes([4 + 8 + 16 + 2]) + plain[4:10] + b"\x02\x00xy" + b"name\0" + b"comment\0"
    full = header + struct.pack("<H", zlib.crc32(header) & 0xFFFF) + plain[10:]
    assert COMPRESSORS["gzip"].decompress(full, 3) == b"abc"


WRITERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", std_gzip.compress),
    ("gzip", lambda data: bytes(COMPRESSORS["gzip"].compress(data))),
    ("zstd", lambda data: bytes(COMPRESSORS["zstd"].compress(data))),
    ("zstd", frames_without_size),
]


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(WRITERS), st.lists(st.integers(0, 150_000), min_size=1, max_size=4), st.data())
def test_streams_of_several_members(
    writer: tuple[str, Callable[[bytes], bytes]], sizes: list[int], data: st.DataObject
) -> None:
    """Members (gzip) and frames (zstd) follow each other; longer and shorter than any window."""
    name, write = writer
    contents = [text(size, seed) for seed, size in enumerate(sizes)]
    stream = b"".join(map(write, contents))
    total = sum(sizes)
    assert COMPRESSORS[name].decompress(stream, total) == b"".join(contents)
    if total:
        with pytest.raises(ValueError, match=r"expected .*at most"):
            COMPRESSORS[name].decompress(stream, data.draw(st.integers(0, total - 1)))
    last = len(write(contents[-1]))
    cut = data.draw(st.integers(len(stream) - last + 1, len(stream) - 1))
    with pytest.raises(ValueError):
        COMPRESSORS[name].decompress(stream[:cut], total)


@pytest.mark.parametrize("writer", WRITERS)
def test_thousands_of_small_members(writer: tuple[str, Callable[[bytes], bytes]]) -> None:
    name, write = writer
    stream = write(b"a") * 20_000 + write(b"") * 20_000 + write(b"b")
    assert COMPRESSORS[name].decompress(stream, 20_001) == b"a" * 20_000 + b"b"


SKIPPABLE = struct.pack("<II", 0x184D2A53, 5) + b"notes"


def test_zstd_skips_skippable_frames() -> None:
    frame = bytes(COMPRESSORS["zstd"].compress(text(100)))
    for stream in (SKIPPABLE + frame, frame + SKIPPABLE, frame + SKIPPABLE * 2 + frame[:0]):
        assert COMPRESSORS["zstd"].decompress(stream, 100) == text(100)
    for stream in (SKIPPABLE, frame + SKIPPABLE[:-1], frame + SKIPPABLE[:6], SKIPPABLE[:4]):
        with pytest.raises(ValueError):
            COMPRESSORS["zstd"].decompress(stream, 100)


# ------------------------------------------------------------------------- bombs


def refused_within(compressor: Compressor, bomb: bytes, max_size: int) -> int:
    """Check that the bomb is refused; return the most memory allocated meanwhile."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected"):
            compressor.decompress(bomb, max_size)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def zstd_of_zeros(blocks: int, claimed: int | None) -> bytes:
    """A frame of `blocks` times 128 KiB in 4 bytes each (RFC 8878), with or without a size in its header."""
    window = b"\x58"  # 2 MiB
    header = b"\x00" + window if claimed is None else b"\xc0" + window + struct.pack("<Q", claimed)
    block = (128 * 1024) << 3 | 1 << 1
    body = block.to_bytes(3, "little") + b"\0"
    last = (block | 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd" + header + body * (blocks - 1) + last


def gzip_of_zeros(mebibytes: int) -> bytes:
    stream = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([stream.compress(bytes(2**20)) for _ in range(mebibytes)]) + stream.flush()


def br_of_zeros(mebibytes: int) -> bytes:
    stream = brotli.Compressor(quality=1)
    parts: list[bytes] = [stream.process(bytes(2**20)) for _ in range(mebibytes)]
    return b"".join(parts) + bytes(stream.finish())


GIB = 2**30 // 2**17  # in blocks of 128 KiB


BOMBS: dict[str, Callable[[], bytes]] = {
    "gzip, one member": lambda: gzip_of_zeros(256),
    "gzip, many members": lambda: gzip_of_zeros(16) * 640,
    "br": lambda: br_of_zeros(256),
    "zstd, no size": lambda: zstd_of_zeros(GIB, None),
    "zstd, true size": lambda: zstd_of_zeros(GIB, GIB * 2**17),
    "zstd, small size": lambda: zstd_of_zeros(GIB, 1000),
    "zstd, large size": lambda: zstd_of_zeros(1, 2**62),
    "zstd, many frames": lambda: zstd_of_zeros(1, None) * 10_000,
    "zstd, small frame first": lambda: frames_without_size(bytes(10)) + zstd_of_zeros(GIB, None),
}


@pytest.fixture(scope="module", params=BOMBS)
def bomb(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    name: str = request.param
    return name.partition(",")[0], BOMBS[name]()


@pytest.mark.parametrize("max_size", [0, 2**18])
def test_bombs_fail_with_little_memory(bomb: tuple[str, bytes], max_size: int) -> None:
    name, data = bomb
    assert refused_within(COMPRESSORS[name], data, max_size) < 2**21 + len(data)


def test_zstd_takes_no_more_memory_than_its_blocks_can_fill() -> None:
    """However large the limit is: 10 bytes of frame are not worth 64 GiB of buffer."""
    data = frames_without_size(b"0123456789")
    tracemalloc.start()
    try:
        assert COMPRESSORS["zstd"].decompress(data, 2**36) == b"0123456789"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_zeros_made_by_hand_are_zstd() -> None:
    """Else the bombs above would be refused for the wrong reason."""
    for claimed in (None, 3 * 2**17):
        assert COMPRESSORS["zstd"].decompress(zstd_of_zeros(3, claimed), 3 * 2**17) == bytes(3 * 2**17)


@pytest.mark.parametrize("claimed", [0, 1, 2**17 - 1, 2**17 + 1])
def test_zstd_refuses_a_header_that_lies_about_the_size(claimed: int) -> None:
    with pytest.raises(ValueError):
        COMPRESSORS["zstd"].decompress(zstd_of_zeros(1, claimed), 2**20)
