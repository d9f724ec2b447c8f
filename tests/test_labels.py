"""Masks, small numbers and labels of boxes, against plain numpy."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import ENCODINGS, blobs, indices, make_segments
from volumes import make, parts

from precomp import Bbox, CloudVolume, VolumeCutout
from precomp.errors import ArgumentError, ChunkDecodeError, EmptyVolumeError, OutOfBoundsError
from precomp.memory import MemoryStore, open_shared

SIZE = (50, 41, 37)
OFFSET = (-5, 3, -100)


def expect_numbers(found: tuple[VolumeCutout, dict[int, int]], voxels: Any) -> None:
    """Small numbers that stand for these voxels, and are those that the docs promise."""
    small, numbers = found
    labels = np.unique(voxels)
    labels = labels[labels != 0]
    assert numbers == {0: 0} | {label: number for number, label in enumerate(labels.tolist(), 1)}
    assert list(numbers) == [0, *labels.tolist()]
    assert small.dtype == np.min_scalar_type(len(labels))
    np.testing.assert_array_equal(np.array(list(numbers), voxels.dtype)[small], voxels)


@pytest.fixture(scope="module")
def volumes() -> list[tuple[CloudVolume, Any]]:
    made = []
    for encoding, dtypes in ENCODINGS.items():
        for number, dtype in enumerate(dtypes):
            channels = 2 if encoding in ("raw", "compressed_segmentation", "npz") and number % 2 else 1
            for sharding in (None, True):
                for lru_bytes in (0, 10**6):
                    vol = make_segments(
                        dtype=dtype,
                        channels=channels,
                        encoding=encoding,
                        sharding=sharding,
                        lru_bytes=lru_bytes,
                    )
                    vol[...] = voxels = blobs((*SIZE, channels), dtype, seed=number)
                    made.append((vol, voxels))
    return made


@settings(max_examples=300)
@given(data=st.data(), part=st.one_of(parts(SIZE), st.just(tuple(slice(0, n, 1) for n in SIZE))))
def test_against_numpy(volumes: Any, data: st.DataObject, part: tuple[slice, ...]) -> None:
    vol, whole = data.draw(st.sampled_from(volumes))
    channels = data.draw(st.sampled_from([slice(0, vol.num_channels), slice(0, 1)]))
    index, voxels = (*indices(part, OFFSET), channels), whole[(*part, channels)]
    label = int(data.draw(st.sampled_from(np.unique(whole).tolist())))
    found = vol.unique(index)
    assert found.dtype == voxels.dtype
    np.testing.assert_array_equal(found, np.unique(voxels))
    mask = vol.download(index, label=label)
    assert isinstance(mask, VolumeCutout)
    assert (mask.dtype, mask.flags.f_contiguous) == (np.bool_, True)
    np.testing.assert_array_equal(mask, voxels == label)
    expect_numbers(vol.download(index, renumber=True), voxels)
    some = [label, 4711]
    expect_numbers(vol.download(index, renumber=True, segids=some), np.where(voxels == label, voxels, 0))


def test_what_comes_back_is_a_cutout() -> None:
    vol = make_segments()
    vol[...] = blobs(vol.shape)
    box = Bbox((0, 10, -90), (20, 30, -80))
    for cut in (vol.download(box, label=1), vol.download(box, renumber=True)[0]):
        assert (cut.bounds, cut.mip, cut.layer_type, cut.layer) == (box, 0, "segmentation", "b")
        assert cut.flags.f_contiguous
    stepped = vol.download(np.s_[0:20:2, 10:30, -90:-80], label=1)
    assert (stepped.shape, stepped.bounds) == ((10, 20, 10, 1), None)


def test_any_mip() -> None:
    vol = make_segments(max_mip=1, encoding="compressed_segmentation")
    vol[...] = 1
    vol.mip = 1
    vol[...] = voxels = blobs(vol.shape, grain=3)
    vol.mip = 0
    box = vol.mip_bounds(1)
    np.testing.assert_array_equal(vol.unique(box, mip=1), np.unique(voxels))
    np.testing.assert_array_equal(vol.download(box, mip=[16, 16, 40], label=0), voxels == 0)
    expect_numbers(vol.download(box, 1, renumber=True), voxels)
    assert vol.unique(vol.bounds).tolist() == [1]


@pytest.mark.parametrize("count", [255, 256, 65535, 65536])
def test_numbers_grow_as_labels_come(count: int) -> None:
    vol = make_segments(size=(64, 64, 64), voxel_offset=(0, 0, 0), parallel=4)
    labels = 10**12 + np.arange(count, dtype=np.uint64)
    voxels = np.zeros(64**3, np.uint64)
    voxels[: len(labels)] = labels[np.random.default_rng(0).permutation(len(labels))]
    vol[...] = voxels = voxels.reshape(64, 64, 64, 1)
    expect_numbers(vol.download(vol.bounds, renumber=True), voxels)


def test_numbers_do_not_depend_on_chunks_and_threads() -> None:
    voxels = blobs((*SIZE, 1), count=200, grain=3)
    found = []
    for chunk_size, parallel in (((16, 16, 16), 1), ((16, 16, 16), 8), ((64, 64, 64), 1), ((5, 7, 3), 8)):
        vol = make_segments(chunk_size=chunk_size, parallel=parallel)
        vol[...] = voxels
        found.append(vol.download(vol.bounds, renumber=True))
    for small, numbers in found[1:]:
        assert numbers == found[0][1]
        np.testing.assert_array_equal(small, found[0][0])


# What is not there, and what is outside


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "compresso"])
@pytest.mark.parametrize("sharding", [None, True])
def test_missing_chunks(encoding: str, sharding: Any) -> None:
    vol = make_segments(encoding=encoding, sharding=sharding, background_color=7)
    vol[-5:11, 3:19, -100:-84] = voxels = blobs((16, 16, 16, 1), count=4)
    asked: list[Callable[[], Any]] = [
        lambda: vol.unique(vol.bounds),
        lambda: vol.download(vol.bounds, label=7),
        lambda: vol.download(vol.bounds, renumber=True),
    ]
    for ask in asked:
        with pytest.raises(EmptyVolumeError, match=r"8_8_40/.*fill_missing=True"):
            ask()
    vol.fill_missing = True
    whole = np.full(vol.shape, 7, np.uint64)
    whole[:16, :16, :16] = voxels
    np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(whole))
    np.testing.assert_array_equal(vol.download(vol.bounds, label=7), whole == 7)
    expect_numbers(vol.download(vol.bounds, renumber=True), whole)
    kept = np.where(whole == 7, 0, whole)
    ids = np.unique(voxels).tolist()
    expect_numbers(vol.download(vol.bounds, renumber=True, segids=ids), kept)
    assert vol.unique(np.s_[-5:11, 3:19, -100:-84]).tolist() == np.unique(voxels).tolist()


@pytest.mark.parametrize("encoding", ["raw", "crackle"])
def test_outside_is_background(encoding: str) -> None:
    vol = make_segments(encoding=encoding, background_color=9)
    vol[...] = voxels = blobs(vol.shape, count=5)
    index = np.s_[-10:0, 0:50:3, -110:-95]
    for ask in (lambda: vol.unique(index), lambda: vol.download(index, label=1)):
        with pytest.raises(OutOfBoundsError, match="bounded=False"):
            ask()
    vol.bounded = False
    around = np.full((60, 60, 60, 1), 9, np.uint64)
    around[5:55, 3:44, 10:47] = voxels
    there = around[0:10, 0:50:3, 0:15]
    np.testing.assert_array_equal(vol[index], there)
    np.testing.assert_array_equal(vol.unique(index), np.unique(there))
    np.testing.assert_array_equal(vol.download(index, label=9), there == 9)
    expect_numbers(vol.download(index, renumber=True), there)
    ids = np.unique(voxels).tolist()
    expect_numbers(vol.download(index, renumber=True, segids=ids), np.where(there == 9, 0, there))
    nowhere = np.s_[500:510, 0:5, 0:5]
    assert vol.unique(nowhere).tolist() == [9]
    assert vol.download(nowhere, label=9).all()
    vol.autocrop = True
    assert vol.unique(index).tolist() == np.unique(voxels[:5, 0:47:3, :5]).tolist()
    assert vol.download(index, label=1).bounds is None
    assert vol.download(np.s_[-10:0, 0:50, -110:-95], label=1).bounds == Bbox((-5, 3, -100), (0, 44, -95))


def test_an_empty_box() -> None:
    vol = make_segments(encoding="compresso")
    box = np.s_[0:0, 5:9, -90:-80]
    assert vol.unique(box).tolist() == []
    assert vol.unique(box).dtype == np.uint64
    assert vol.download(box, label=3).shape == (0, 4, 10, 1)
    small, numbers = vol.download(box, renumber=True)
    assert (small.shape, small.dtype, numbers) == ((0, 4, 10, 1), np.uint8, {0: 0})
    vol.bounded, vol.background_color = False, 9
    outside = np.s_[0:0, 5:100, -90:-80]
    assert vol.unique(outside).tolist() == []
    assert vol.download(outside, renumber=True)[1] == {0: 0}


def test_a_label_that_no_voxel_can_have() -> None:
    vol = make_segments(dtype="uint8")
    vol[...] = 255
    assert not vol.download(vol.bounds, label=256).any()
    assert not vol.download(vol.bounds, label=2**64 - 1).any()
    assert vol.download(vol.bounds, label=255).all()


def test_labels_of_floats() -> None:
    vol = make_segments(dtype="float32", size=(4, 4, 4))
    vol[...] = voxels = np.array([0, 1, 2**24, 0.5], np.float32).reshape(4, 1, 1, 1) * np.ones(
        (4, 4, 4, 1), "f4"
    )
    np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(voxels))
    assert not vol.download(vol.bounds, label=2**24 + 1).any()
    np.testing.assert_array_equal(vol.download(vol.bounds, label=2**24), voxels == 2**24)
    kept = vol.download(vol.bounds, segids=[1, 2**24 + 1])
    np.testing.assert_array_equal(kept, np.where(voxels == 1, voxels, 0))


def test_an_image_has_values_too() -> None:
    vol = make("mem://labels/image/a", channels=3)
    vol[...] = voxels = np.random.default_rng(0).integers(100, 110, vol.shape, np.uint8)
    assert vol.unique(vol.bounds).tolist() == np.unique(voxels).tolist()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"label": 7, "segids": [7]}, "segids: a mask shows one label"),
        ({"label": 7, "renumber": True}, "renumber: a mask of one label has nothing to renumber"),
        ({"label": -1}, "label: expected ids from 0 to"),
        ({"label": 2**64}, "label: expected ids from 0 to"),
        ({"label": 1.5}, "label: expected a whole number, got 1.5"),
        ({"label": [7]}, r"label: expected a whole number, got \[7\]"),
        ({"label": True}, "label: expected a whole number, got True"),
    ],
)
def test_what_makes_no_sense(asked: Any, message: str) -> None:
    vol = make_segments(fill_missing=True)
    with pytest.raises(ArgumentError, match=message):
        vol.download(vol.bounds, **asked)


@pytest.mark.parametrize("asked", [{"label": 7}, {"renumber": True}, {"segids": 7}])
def test_an_image_has_no_labels(asked: Any) -> None:
    vol = make("mem://labels/image/b", fill_missing=True)
    with pytest.raises(ArgumentError, match=f"{next(iter(asked))}: an image layer has no"):
        vol.download(vol.bounds, **asked)


# What it costs


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the chunks that are asked for, one by one."""
    keys: list[str] = []
    get = MemoryStore.get

    def counting(self: MemoryStore, key: str, byte_range: Any = None) -> Any:
        keys.append(key)
        return get(self, key, byte_range)

    monkeypatch.setattr(MemoryStore, "get", counting)
    return keys


ASKED: list[Callable[[CloudVolume], Any]] = [
    lambda vol: vol.unique(vol.bounds),
    lambda vol: vol.download(vol.bounds, label=7),
    lambda vol: vol.download(vol.bounds, renumber=True),
]


@pytest.mark.parametrize("ask", ASKED, ids=["unique", "label", "renumber"])
@pytest.mark.parametrize("encoding", ["raw", "png", "compressed_segmentation", "compresso"])
def test_every_chunk_is_fetched_once(fetched: list[str], encoding: str, ask: Any) -> None:
    vol = make_segments(encoding=encoding, dtype=ENCODINGS[encoding][1], parallel=3)
    vol[...] = blobs(vol.shape, vol.dtype)
    fetched.clear()
    ask(vol)
    assert len(fetched) == len(set(fetched)) == len(vol.exists(vol.bounds))


def no_voxels(monkeypatch: pytest.MonkeyPatch, vol: CloudVolume) -> None:
    def decode(*args: Any) -> Any:
        raise AssertionError("voxels were decoded")

    codec = type(vol._layer.scale(0).codec)  # type: ignore[union-attr]
    for name in ("decode", "decode_into"):
        monkeypatch.setattr(codec, name, decode)


@pytest.mark.parametrize("encoding", ["compressed_segmentation", "compresso", "crackle"])
@pytest.mark.parametrize("sharding", [None, True])
def test_unique_decodes_nothing(monkeypatch: pytest.MonkeyPatch, encoding: str, sharding: Any) -> None:
    vol = make_segments(size=(64, 48, 32), encoding=encoding, sharding=sharding, chunk_size=(32, 16, 16))
    vol[...] = voxels = blobs(vol.shape, grain=7)
    no_voxels(monkeypatch, vol)
    np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(voxels))
    inner = np.s_[-5:27, 19:35, -100:-84]
    np.testing.assert_array_equal(vol.unique(inner), np.unique(voxels[:32, 16:32, :16]))
    with pytest.raises(ChunkDecodeError, match="voxels were decoded"):
        vol.unique(np.s_[-4:27, 20:34, -100:-84])


def test_chunks_in_memory_are_used_and_none_is_added(fetched: list[str]) -> None:
    vol = make_segments(encoding="compressed_segmentation", lru_bytes=10**7)
    vol[...] = voxels = blobs(vol.shape)
    vol.unique(vol.bounds)
    assert vol._layer.cache.nbytes == 0
    vol[...]
    fetched.clear()
    np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(voxels))
    assert not fetched
    vol[-5:11, 3:19, -100:-84] = 5
    assert 5 in vol.unique(vol.bounds)
    assert len(fetched) == 1


def test_memory_is_bounded() -> None:
    vol = make_segments(size=(256, 256, 128), chunk_size=(64, 64, 64), encoding="raw", parallel=2)
    vol[...] = blobs(vol.shape)
    voxels, size = 256 * 256 * 128, 8 * 256 * 256 * 128
    tracemalloc.start()
    try:
        for ask, most in zip(ASKED, (size / 4, voxels + size / 4, voxels + size / 2), strict=True):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            ask(vol)
            assert tracemalloc.get_traced_memory()[1] - before < most
    finally:
        tracemalloc.stop()


# What is damaged


@pytest.mark.parametrize("encoding", ["compressed_segmentation", "compresso", "crackle"])
@pytest.mark.parametrize("sharding", [None, True])
def test_a_damaged_chunk_is_named(encoding: str, sharding: Any) -> None:
    vol = make_segments(size=(32, 16, 16), encoding=encoding, sharding=sharding)
    vol[...] = blobs(vol.shape)
    store, key = vol._layer.scale(0).objects.store, "8_8_40/11-27_3-19_-100--84"  # type: ignore[union-attr]
    blob = store.get(key)
    assert blob is not None
    store.put(key, blob._replace(data=bytes(blob.data)[:-3], version=None, size=None))
    for ask in ASKED:
        with pytest.raises(ChunkDecodeError, match=key):
            ask(vol)


def test_a_damaged_copy_is_fetched_again(tmp_path: Path) -> None:
    vol = make_segments(
        "mem://labels/copies/a", encoding="compressed_segmentation", cache=str(tmp_path / "kept")
    )
    vol[...] = voxels = blobs(vol.shape)
    for _ in range(2):
        np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(voxels))
    assert vol.cache.num_files() == len(vol.exists(vol.bounds))
    for file in (tmp_path / "kept" / "8_8_40").iterdir():
        file.write_bytes(file.read_bytes()[:-3])
    np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(voxels))
    open_shared("labels/copies/a").delete([*open_shared("labels/copies/a").list("8_8_40/")])
    np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(voxels))
