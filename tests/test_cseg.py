"""The encoding compressed_segmentation, against a model of its specification."""

import struct
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import ChunkSpec
from precomp_plugins.codecs._cseg import codec as module
from precomp_plugins.codecs._cseg import compiled, library
from precomp_plugins.codecs._cseg.codec import CompressedSegmentation

Array = NDArray[Any]
Triple = tuple[int, int, int]


@pytest.fixture(params=["library", "compiled"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the library's functions, and by our own as numba compiles them."""
    by_library = request.param == "library"
    monkeypatch.setattr(compiled, "_ENOUGH", 2**60 if by_library else 0)
    if by_library:
        monkeypatch.setattr(compiled, "_loaded", {})


def spec_of(chunk: Array) -> ChunkSpec:
    x, y, z, channels = chunk.shape
    return ChunkSpec((x, y, z, channels), chunk.dtype)


def model_decode(data: bytes, spec: ChunkSpec, block: Triple) -> Array:
    """Voxel by voxel, as the specification words it."""
    words = struct.unpack(f"<{len(data) // 4}I", data)
    grid = [-(-n // b) for n, b in zip(spec.shape, block, strict=False)]
    out = np.empty(spec.shape, spec.dtype)
    for x, y, z, c in product(*map(range, spec.shape)):
        channel = words[c]
        gx, gy, gz = (v // b for v, b in zip((x, y, z), block, strict=True))
        head = channel + 2 * (gx + grid[0] * (gy + grid[1] * gz))
        width, table, values = words[head] >> 24, words[head] & 0xFFFFFF, words[head + 1]
        ox, oy, oz = (v % b for v, b in zip((x, y, z), block, strict=True))
        bit = width * (ox + block[0] * (oy + block[1] * oz))
        index = words[channel + values + bit // 32] >> bit % 32 & (2**width - 1) if width else 0
        if spec.dtype == np.uint32:
            out[x, y, z, c] = words[channel + table + index]
        else:
            low, high = words[channel + table + 2 * index : channel + table + 2 * index + 2]
            out[x, y, z, c] = low | high << 32
    return out


def stream_of(chunk: Array, block: Triple, width: int) -> bytes:
    """One channel whose blocks all have indices of this width and share one table."""
    shape = chunk.shape[:3]
    grid = [-(-n // b) for n, b in zip(shape, block, strict=True)]
    labels, indices = np.unique(chunk[..., 0], return_inverse=True)
    whole = np.zeros([g * b for g, b in zip(grid, block, strict=True)], np.uint64)
    whole[: shape[0], : shape[1], : shape[2]] = indices.reshape(shape)
    table = labels.astype("<u8" if chunk.dtype == np.uint64 else "<u4").tobytes()
    heads, values = b"", b""
    start = 2 * grid[0] * grid[1] * grid[2]
    for z, y, x in product(*map(range, grid[::-1])):
        bx, by, bz = block
        flat = whole[x * bx : x * bx + bx, y * by : y * by + by, z * bz : z * bz + bz].reshape(-1, order="F")
        bits = sum(int(index) << width * number for number, index in enumerate(flat))
        size = 4 * -(-len(flat) * width // 32)
        place = start + len(table) // 4 + len(values) // 4
        heads += struct.pack("<II", start | width << 24, place)
        values += bits.to_bytes(size, "little")
    return struct.pack("<I", 1) + heads + table + values


def labels_of(shape: tuple[int, int, int, int], dtype: str, count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    names = rng.integers(0, np.iinfo(dtype).max, count, dtype, endpoint=True)
    return np.asfortranarray(names[rng.integers(0, count, shape)])


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize(("width", "count"), [(0, 1), (1, 2), (2, 4), (4, 13), (8, 90), (16, 300), (32, 300)])
def test_every_width_is_read_and_tables_may_be_shared(width: int, count: int, dtype: str) -> None:
    chunk = labels_of((11, 9, 6, 1), dtype, count)
    block = (8, 4, 5)
    data = stream_of(chunk, block, width)
    spec = spec_of(chunk)
    assert np.array_equal(model_decode(data, spec, block), chunk)  # the stream is right
    codec = CompressedSegmentation(block)
    assert np.array_equal(codec.decode(data, spec), chunk)
    part = np.zeros((5, 2, 1, 1), dtype)
    codec.decode_into(data, spec, (slice(6, 11), slice(7, 9), slice(4, 5), slice(0, 1)), part)
    assert np.array_equal(part, chunk[6:11, 7:9, 4:5])


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 3)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["uint32", "uint64"]),
    st.sampled_from([1, 2, 3, 40]),
    st.integers(0, 99),
)
def test_what_is_written_is_what_the_specification_says(
    shape: tuple[int, int, int, int], block: Triple, dtype: str, count: int, seed: int
) -> None:
    chunk = labels_of(shape, dtype, count, seed)
    codec, spec = CompressedSegmentation(block), spec_of(chunk)
    data = bytes(codec.encode(chunk))
    assert np.array_equal(model_decode(data, spec, block), chunk)
    assert np.array_equal(codec.decode(data, spec), chunk)


def test_a_box_needs_nothing_but_the_blocks_it_touches() -> None:
    """Damage elsewhere is not seen: it is not looked at."""
    chunk = labels_of((32, 32, 32, 2), "uint64", 9)
    codec, spec = CompressedSegmentation(), spec_of(chunk)
    damaged = bytearray(codec.encode(chunk))
    (second,) = struct.unpack_from("<I", damaged, 4)
    far = 4 * (second + 2 * (3 + 4 * (3 + 4 * 3)))  # the header of the last block, second channel
    damaged[far : far + 8] = b"\xff" * 8
    with pytest.raises(ValueError, match="width"):
        codec.decode(damaged, spec)
    part = np.zeros((10, 3, 5, 2), np.uint64)
    codec.decode_into(damaged, spec, (slice(7, 17), slice(0, 3), slice(14, 19), slice(0, 2)), part)
    assert np.array_equal(part, chunk[7:17, :3, 14:19])


def test_more_labels_in_a_block_than_16_bits_count_are_refused_when_written() -> None:
    chunk = np.arange(41**3, dtype=np.uint32).reshape((41, 41, 41, 1), order="F")
    codec = CompressedSegmentation((64, 64, 64))
    with pytest.raises(ArgumentError, match=r"a block has 68921 labels, at most 65536 .*block_size"):
        codec.encode(chunk)
    fewer = chunk % np.uint32(65_536)
    assert np.array_equal(codec.decode(codec.encode(fewer), spec_of(fewer)), fewer)


def test_more_labels_in_a_block_than_16_bits_count_are_read() -> None:
    chunk = np.arange(41**3, dtype=np.uint32).reshape((41, 41, 41, 1), order="F")
    head = struct.pack("<III", 1, 2 | 32 << 24, 2 + chunk.size)
    data = head + chunk.tobytes("F") + np.arange(chunk.size, dtype="<u4").tobytes()
    assert np.array_equal(CompressedSegmentation((41, 41, 41)).decode(data, spec_of(chunk)), chunk)


def test_a_chunk_whose_tables_lie_too_far_is_refused() -> None:
    chunk = np.arange(2**24, dtype=np.uint64).reshape((256, 256, 256, 1), order="F")
    with pytest.raises(ArgumentError, match=r"too many different labels .* smaller chunk_size"):
        CompressedSegmentation().encode(chunk)


@pytest.mark.parametrize(
    ("place", "word", "message"),
    [
        (0, 2, "the first 1, found"),
        (1, 66 | 3 << 24, "impossible width"),
        (1, 0xFFFFFF | 4 << 24, "an index points out"),
        (1, 1 | 4 << 24, "a block points out"),
        (2, 0xFFFFFFFF, "a block points out"),
        (2, 1, "a block points out"),
        (3, 0xFFFFFFFF, "an index points out"),
    ],
)
def test_damage_says_what_is_wrong(place: int, word: int, message: str) -> None:
    chunk = labels_of((8, 8, 8, 1), "uint64", 13)
    words = np.frombuffer(stream_of(chunk, (8, 8, 8), 4), "<u4")
    # The table behind the indices, so that it ends where the stream does.
    words = np.concatenate([[1, 66 | 4 << 24, 2], words[29:], words[3:29]]).astype("<u4")
    assert np.array_equal(CompressedSegmentation().decode(words.tobytes(), spec_of(chunk)), chunk)
    words[place] = word
    with pytest.raises(ValueError, match=message):
        CompressedSegmentation().decode(words.tobytes(), spec_of(chunk))


def test_boxes_of_grids_of_every_kind() -> None:
    """Grids of one block, of one row, of many; boxes with steps."""
    for shape in ((8, 8, 8, 1), (40, 3, 3, 2), (17, 18, 19, 3)):
        chunk = labels_of(shape, "uint32", 5)
        codec, spec = CompressedSegmentation(), spec_of(chunk)
        data = codec.encode(chunk)
        for box in (np.s_[::3, 1::2, ::2, :], np.s_[-1:, -1:, -1:, -1:], np.s_[3:3, :, :, :]):
            part = np.ones_like(chunk[box])
            codec.decode_into(data, spec, box, part)
            assert np.array_equal(part, chunk[box])


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_the_packages_own_way_is_the_same(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function within is an optimization; the wrapper around it serves where it is not found."""
    chunk = labels_of((19, 18, 17, 2), dtype, 9)
    codec, spec = CompressedSegmentation(), spec_of(chunk)
    data, box = codec.encode(chunk), np.s_[3:9, 8:16, ::2, :]
    for found in (library.decoder, lambda size: None):
        monkeypatch.setattr(module, "decoder", found)
        assert np.array_equal(codec.decode(data, spec), chunk)
        part = np.zeros_like(chunk[box])
        codec.decode_into(data, spec, box, part)
        assert np.array_equal(part, chunk[box])
    monkeypatch.setattr(module, "encoder", lambda size: None)
    assert codec.encode(chunk) == data
    monkeypatch.undo()
    chunk.setflags(write=False)
    assert codec.encode(chunk) == data


def test_the_function_within_is_found_and_judged() -> None:
    """In the builds that this is tested with; one that decodes wrongly is not used."""
    for size in (4, 8):
        decode = library.decoder(size)
        assert decode is not None
        assert not library._is_right(lambda *arguments: None, size)
        encode = library.encoder(size)
        assert encode is not None
        assert not library._encodes(lambda *arguments: b"", size)
