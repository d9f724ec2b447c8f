"""Labels of a part of a chunk, told without decoding it, against those of the decoded voxels."""

import struct
from collections.abc import Callable
from typing import Any

import compresso
import crackle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp.interfaces import ChunkSpec, Slices4
from precomp_plugins.codecs._compresso.codec import Compresso
from precomp_plugins.codecs._crackle.codec import Crackle
from precomp_plugins.codecs._cseg.codec import CompressedSegmentation
from precomp_plugins.codecs._cseg.labels import labels_of
from precomp_plugins.codecs._cseg.stream import channel_words, open_channel

Array = NDArray[Any]


def spec_of(chunk: Array) -> ChunkSpec:
    x, y, z, channels = chunk.shape
    return ChunkSpec((x, y, z, channels), chunk.dtype)


def all_of(chunk: Array) -> Slices4:
    x, y, z, c = (slice(0, length) for length in chunk.shape)
    return x, y, z, c


@st.composite
def segments(draw: st.DrawFn, dtypes: tuple[str, ...], channels: tuple[int, ...] = (1,)) -> Array:
    """A chunk of boxes of labels, coarse or fine."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = [draw(st.integers(1, 21)) for _ in range(3)] + [draw(st.sampled_from(channels))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grain, count = draw(st.sampled_from([1, 2, 5, 8])), draw(st.sampled_from([1, 2, 3, 6, 40, 1000]))
    small = draw(st.booleans())
    names = rng.integers(0, 12 if small else np.iinfo(dtype).max, count, dtype, endpoint=True)
    coarse = rng.integers(0, count, [-(-length // grain) for length in shape[:3]] + shape[3:])
    fine = np.kron(coarse, np.ones((grain, grain, grain, 1), int))
    return np.asfortranarray(names[fine[: shape[0], : shape[1], : shape[2]]])


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, ...]) -> Slices4:
    """A part of a chunk, often all of an axis, at times with a step."""
    parts = []
    for length in shape:
        low = draw(st.one_of(st.just(0), st.integers(0, length - 1)))
        high = draw(st.one_of(st.just(length), st.integers(low + 1, length)))
        parts.append(slice(low, high, draw(st.sampled_from([1, 1, 1, 2, 9]))))
    x, y, z, c = parts
    return x, y, z, c


def expect(found: Array | None, voxels: Array) -> None:
    assert found is not None
    assert found.dtype == voxels.dtype
    np.testing.assert_array_equal(np.unique(found), np.unique(voxels))


# --- compressed_segmentation -------------------------------------------------------------------------

BLOCKS = [(8, 8, 8), (4, 4, 4), (3, 5, 2), (1, 1, 1), (16, 8, 1), (64, 64, 64)]


@given(chunk=segments(("uint32", "uint64"), (1, 2)), block=st.sampled_from(BLOCKS), data=st.data())
def test_a_box_of_compressed_segmentation(chunk: Array, block: Any, data: st.DataObject) -> None:
    codec, box = CompressedSegmentation(block), data.draw(boxes(chunk.shape))
    found = codec.labels_in(codec.encode(chunk), spec_of(chunk), box)
    if found is not None:
        expect(found, chunk[box])


@given(chunk=segments(("uint32", "uint64")), block=st.sampled_from(BLOCKS), data=st.data())
def test_blocks_that_are_cut(chunk: Array, block: Any, data: st.DataObject) -> None:
    """Also where so many are cut that the codec would rather decode."""
    from precomp_plugins.codecs._cseg import labels as module

    codec, box = CompressedSegmentation(block), data.draw(boxes(chunk.shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLOW", 0)
        patch.setattr(module, "_AT_ONCE", 1000)
        expect(codec.labels_in(codec.encode(chunk), spec_of(chunk), box), chunk[box])


def stream_of(indices: Array, table: Array, block: tuple[int, int, int], width: int) -> bytes:
    """One block, whose table may have what no index means."""
    assert indices.shape == block
    bits = sum(int(index) << width * at for at, index in enumerate(indices.reshape(-1, order="F")))
    words = -(-indices.size * width // 32)
    head = struct.pack("<III", 1, 2 + words | width << 24, 2)
    return head + bits.to_bytes(4 * words, "little") + table.astype(table.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32])
def test_entries_of_a_table_that_are_not_used(width: int, dtype: str) -> None:
    table = np.arange(100, 102 if width == 1 else 104, dtype=dtype)
    indices = np.full((4, 4, 4), 1)
    spec = ChunkSpec((4, 4, 4, 1), np.dtype(dtype))
    data = stream_of(indices, table, (4, 4, 4), width)
    words = channel_words(data, 1)[0]
    channel = open_channel(words, (4, 4, 4), (4, 4, 4), spec.dtype.itemsize // 4, [(0, 1)] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precomp_plugins.codecs._cseg.labels._SLOW", 0)
        found = labels_of(channel, [range(4)] * 3, spec.dtype)
    assert found is not None
    assert found.tolist() == [101]


@pytest.mark.parametrize("width", [1, 4, 8, 16])
def test_padding_at_the_edge_does_not_count(width: int) -> None:
    indices = np.zeros((4, 4, 4), int)
    indices[3], indices[:, 3], indices[..., 3] = 1, 1, 1  # outside a chunk of 3 x 3 x 3
    data = stream_of(indices, np.array([7, 9], np.uint32), (4, 4, 4), width)
    spec, codec = ChunkSpec((3, 3, 3, 1), np.dtype("uint32")), CompressedSegmentation((4, 4, 4))
    box = (slice(0, 3),) * 3 + (slice(0, 1),)
    assert (codec.decode(data, spec) == 7).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precomp_plugins.codecs._cseg.labels._SLOW", 0)
        found = codec.labels_in(data, spec, box)
    assert found is not None
    assert found.tolist() == [7]


def test_a_cut_box_is_rather_decoded() -> None:
    chunk = np.asfortranarray(np.random.default_rng(0).integers(0, 4, (32, 32, 32, 1)).astype(np.uint32))
    codec = CompressedSegmentation()
    data, spec = codec.encode(chunk), spec_of(chunk)
    x, y, _, c = all_of(chunk)
    assert codec.labels_in(data, spec, (x, y, slice(5, 6), c)) is None
    expect(codec.labels_in(data, spec, (x, y, slice(8, 24), c)), chunk[:, :, 8:24])


@given(chunk=segments(("uint32", "uint64"), (1, 2)), block=st.sampled_from(BLOCKS), seed=st.integers(0, 99))
def test_voxels_of_compressed_segmentation(chunk: Array, block: Any, seed: int) -> None:
    codec = CompressedSegmentation(block)
    points = np.random.default_rng(seed).integers(0, chunk.shape[:3], (20, 3))
    found = codec.decode_points(codec.encode(chunk), spec_of(chunk), points)
    assert found.dtype == chunk.dtype
    np.testing.assert_array_equal(found, chunk[tuple(points.T)])


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("width", [0, 1, 2, 4, 8, 16, 32])
def test_voxels_of_every_width(width: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    indices = rng.integers(0, min(2**width, 50), (5, 3, 4))
    table = rng.integers(0, np.iinfo(dtype).max, 50, dtype)
    data, spec = stream_of(indices, table, (5, 3, 4), width), ChunkSpec((5, 3, 4, 1), np.dtype(dtype))
    codec = CompressedSegmentation((5, 3, 4))
    points = np.argwhere(np.ones((5, 3, 4), bool))
    np.testing.assert_array_equal(codec.decode_points(data, spec, points)[:, 0], table[indices].ravel())


def test_voxels_of_a_damaged_stream() -> None:
    """Are those that are decoded, or an error; blocks that hold no point do not matter."""
    chunk, rng = rooms(holes=True), np.random.default_rng(0)
    codec, spec = CompressedSegmentation(), spec_of(chunk)
    stream, points = codec.encode(chunk), np.argwhere(np.ones(chunk.shape[:3], bool))
    same = refused = 0
    for _ in range(1500):
        data = bytearray(stream)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            expected = codec.decode(bytes(data), spec)
        except ValueError:
            with pytest.raises(ValueError):
                codec.decode_points(bytes(data), spec, points)
            refused += 1
            continue
        same += 1
        np.testing.assert_array_equal(codec.decode_points(bytes(data), spec, points), expected.reshape(-1, 1))
    assert min(same, refused) > 100


# --- compresso ---------------------------------------------------------------------------------------

UNSIGNED = ("uint8", "uint16", "uint32", "uint64")


@given(chunk=segments(UNSIGNED), connectivity=st.sampled_from([4, 6]), steps=st.sampled_from([4, 8]))
def test_all_of_a_compresso_chunk(chunk: Array, connectivity: int, steps: int) -> None:
    voxels = chunk[..., 0].copy(order="F")
    more = {"steps": (steps, steps, 1), "connectivity": connectivity}
    stream = compresso.compress(voxels, random_access_z_index=connectivity == 4, **more)
    found = Compresso().labels_in(stream, spec_of(chunk), all_of(chunk))
    if found is not None:
        expect(found, chunk)


def rooms(holes: bool = False) -> Array:
    chunk = np.zeros((32, 32, 4, 1), np.uint32)
    for number in range(16):
        x, y = divmod(number, 4)
        chunk[8 * x : 8 * x + 8, 8 * y : 8 * y + 8] = 100 + number
    if holes:
        chunk[10:14, 10:14] = 999
    return np.asfortranarray(chunk)


def test_compresso_tells_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [(Compresso().encode(chunk), chunk) for chunk in (rooms(), rooms(holes=True))]
    monkeypatch.setattr("precomp_plugins.codecs._helper.pool.decode_outside", None)
    for stream, chunk in streams:
        expect(Compresso().labels_in(stream, spec_of(chunk), all_of(chunk)), chunk)
        x, y, _, c = all_of(chunk)
        assert Compresso().labels_in(stream, spec_of(chunk), (x, y, slice(0, 3), c)) is None


@pytest.mark.parametrize("more", [1, 5])
def test_labels_that_a_compresso_stream_lists_in_vain(more: int) -> None:
    chunk, codec = rooms(), Compresso()
    stream = bytearray(codec.encode(chunk))
    (ids,) = struct.unpack_from("<Q", stream, 15)
    struct.pack_into("<Q", stream, 15, ids + more)
    stale = np.full(more, 4711, "<u4").tobytes()
    stream[36 + 4 * ids : 36 + 4 * ids] = stale
    np.testing.assert_array_equal(codec.decode(bytes(stream), spec_of(chunk)), chunk)
    assert codec.labels_in(bytes(stream), spec_of(chunk), all_of(chunk)) is None


# --- crackle -----------------------------------------------------------------------------------------


@given(chunk=segments(UNSIGNED), pins=st.booleans(), data=st.data())
def test_slices_of_a_crackle_chunk(chunk: Array, pins: bool, data: st.DataObject) -> None:
    stream = crackle.compress(chunk[..., 0].copy(order="F"), allow_pins=pins, parallel=1)
    box = data.draw(boxes(chunk.shape))
    found = Crackle().labels_in(stream, spec_of(chunk), box)
    whole = box[:2] == all_of(chunk)[:2]
    if whole and not pins and box[0].step == box[1].step == 1:
        assert found is not None
    if found is not None:
        expect(found, chunk[box])


def test_crackle_tells_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = rooms()
    chunk[..., 2, :] = 5
    stream = Crackle().encode(chunk)
    monkeypatch.setattr("precomp_plugins.codecs._helper.pool.decode_outside", None)
    x, y, _, c = all_of(chunk)
    for z in (slice(0, 4), slice(2, 3), slice(0, 4, 2)):
        expect(Crackle().labels_in(stream, spec_of(chunk), (x, y, z, c)), chunk[:, :, z])
    assert Crackle().labels_in(stream, spec_of(chunk), (slice(0, 31), y, slice(0, 4), c)) is None


def test_labels_that_a_crackle_stream_lists_in_vain() -> None:
    chunk, codec = rooms(), Crackle()
    stream = crackle.remap(codec.encode(chunk), {100 + n: 7 if n < 5 else 100 + n for n in range(16)})
    expected = np.where(chunk < 105, 7, chunk)
    np.testing.assert_array_equal(codec.decode(stream, spec_of(chunk)), expected)
    expect(codec.labels_in(stream, spec_of(chunk), all_of(chunk)), expected)
    x, y, _, c = all_of(chunk)
    top = rooms()
    top[:, :, 0] = 1
    stream = codec.encode(top)  # 1 is listed, and in no other slice
    expect(codec.labels_in(stream, spec_of(top), (x, y, slice(1, 4), c)), top[:, :, 1:])


# --- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [CompressedSegmentation(), Compresso()], ids=lambda one: type(one).__name__)
def test_what_is_told_of_damaged_data_is_what_is_decoded(codec: Any) -> None:
    """Or an error; where nothing but the decoder could tell, a chunk may be refused by that alone."""
    chunk, rng = rooms(holes=True), np.random.default_rng(0)
    stream, spec = bytes(codec.encode(chunk)), spec_of(chunk)
    told = 0
    for _ in range(1500):
        damaged = bytearray(stream)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        decode: Callable[[], Array] = lambda data=bytes(damaged): codec.decode(data, spec)  # noqa: E731
        try:
            found = codec.labels_in(bytes(damaged), spec, all_of(chunk))
        except ValueError:
            with pytest.raises(ValueError):
                decode()
            continue
        try:
            voxels = decode()
        except ValueError:
            continue
        if found is not None:
            told += 1
            expect(found, voxels)
    assert told > 100
