"""Single voxels at many points, against plain numpy."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segments import ENCODINGS, blobs, make_segments
from volumes import make, noise

from precomp import CloudVolume, Vec
from precomp.errors import ArgumentError, ChunkDecodeError, EmptyVolumeError, OutOfBoundsError
from precomp.memory import MemoryStore, open_shared
from precomp.volume.coordinates import exact
from precomp.volume.points import to_voxels
from precomp_plugins._file.store import FileStore

SIZE = (50, 41, 37)
OFFSET = np.array([-5, 3, -100])


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[CloudVolume, Any]]:
    made = []
    for encoding, dtypes in ENCODINGS.items():
        for number, dtype in enumerate(dtypes):
            channels = 2 if encoding in ("raw", "compressed_segmentation", "npz") and number % 2 else 1
            for sharding in (None, True):
                for options in ({}, {"lru_bytes": 10**6}, {"compress": "gzip"}):
                    folder = tmp_path_factory.mktemp("points") if number % 2 else None
                    vol = make_segments(
                        None if folder is None else folder / "a" / "b",
                        dtype=dtype,
                        channels=channels,
                        encoding=encoding,
                        sharding=sharding,
                        chunk_size=(64, 64, 64) if number % 3 else (16, 16, 16),
                        **({} if sharding and "compress" in options else options),  # type: ignore[arg-type]
                    )
                    vol[...] = voxels = blobs((*SIZE, channels), dtype, grain=3, seed=number)
                    made.append((vol, voxels))
    return made


@settings(max_examples=300)
@given(data=st.data(), count=st.sampled_from([0, 1, 2, 3, 20, 500]), seed=st.integers(0, 2**32 - 1))
def test_against_numpy(volumes: Any, data: st.DataObject, count: int, seed: int) -> None:
    vol, voxels = data.draw(st.sampled_from(volumes))
    rng = np.random.default_rng(seed)
    points = np.stack([rng.integers(0, length, count) for length in SIZE], axis=1)
    if count == 20:
        points %= 3  # all in one corner, some twice
    found = vol.scattered_points(points + OFFSET)
    assert (type(found), found.dtype) == (np.ndarray, voxels.dtype)
    np.testing.assert_array_equal(found, voxels[tuple(points.T)])


@pytest.mark.parametrize(
    "points",
    [
        [(-5, 3, -100), (0, 10, -90), (-5, 3, -100)],
        [[-5.0, 3.9, -99.1], [0.5, 10, -90], [-5, 3.0, -100]],
        np.array([[-5, 3, -100], [0, 10, -90], [-5, 3, -100]], np.int16),
        [Vec(-5, 3, -100), Vec(0, 10, -90), Vec(-5, 3, -100)],
        (point for point in [(-5, 3, -100), (0, 10, -90), (-5, 3, -100)]),
        np.array([[-5, 0, -5], [3, 10, 3], [-100, -90, -100]]).T,
    ],
    ids=["tuples", "floats", "int16", "Vec", "generator", "transposed"],
)
def test_what_points_may_be(points: Any) -> None:
    vol = make_segments(dtype="uint32")
    vol[...] = voxels = blobs(vol.shape, "uint32", grain=2)
    expected = voxels[[0, 5, 0], [0, 7, 0], [0, 10, 0]]
    np.testing.assert_array_equal(vol.scattered_points(points), expected)


def test_one_point_and_none() -> None:
    vol = make_segments(channels=2, dtype="uint32")
    vol[...] = voxels = blobs(vol.shape, "uint32", grain=2)
    np.testing.assert_array_equal(vol.scattered_points((0, 10, -90)), voxels[[5], [7], [10]])
    assert vol.scattered_points([]).shape == (0, 2)
    assert vol.scattered_points(np.zeros((0, 3))).dtype == np.uint32


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (5, "expected points"),
        ([[1, 2]], r"shape \(n, 3\).*got int64, shape \(1, 2\)"),
        ([1, 2, 3, 4], r"shape \(n, 3\)"),
        (np.zeros((3, 7), int), r"shape \(3, 7\); pass points.T"),
        ([[1, 2, 3], [4, 5]], "expected three numbers"),
        ([["a", "b", "c"]], r"numbers of shape \(n, 3\).*got <U1"),
        ([[True, False, True]], r"got bool"),
        ([[0, 5, -90], [0, math.nan, -90]], r"points\[1\] = \(0.0, nan, -90.0\) is not finite"),
        ([[0, math.inf, -90]], r"points\[0\] = .* is not finite"),
    ],
)
def test_what_points_may_not_be(points: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make_segments(fill_missing=True).scattered_points(points)


# Coordinates


def test_points_are_in_voxels_of_mip_0() -> None:
    vol = make_segments(max_mip=1)
    vol[...] = 0
    vol.mip = 1
    vol[...] = voxels = blobs(vol.shape, grain=1)
    low = np.asarray(vol.voxel_offset)
    points = np.array([[-5, 3, -100], [-4, 4, -99], [43, 42, -64], [0, 10, -90]])
    there = tuple((points // (2, 2, 1) - low).T)
    np.testing.assert_array_equal(vol.scattered_points(points), voxels[there])
    np.testing.assert_array_equal(vol.scattered_points(points, mip=1), voxels[there])
    np.testing.assert_array_equal(vol.scattered_points(points, mip=(16, 16, 40)), voxels[there])
    assert not vol.scattered_points(points, mip=0).any()
    own = points // (2, 2, 1)
    np.testing.assert_array_equal(vol.scattered_points(own, coord_resolution=vol.resolution), voxels[there])
    nm = points * (8, 8, 40) + 7.5
    np.testing.assert_array_equal(vol.scattered_points(nm, coord_resolution=(1, 1, 1)), voxels[there])
    for wrong in (5, (1, 2), (1, 2, 0), (1, 2, math.nan), "abc"):
        with pytest.raises(ArgumentError, match="coord_resolution: expected three numbers"):
            vol.scattered_points(points, coord_resolution=wrong)  # type: ignore[arg-type]


lengths = st.one_of(st.integers(1, 64), st.sampled_from([0.5, 4.6, 9.2, 5.3, 0.1, 1 / 3, 40.0]))
places = st.one_of(
    st.integers(-(2**40), 2**40),
    st.sampled_from([2**62, 2**63 - 1, -(2**63)]),
    st.floats(-1e15, 1e15, allow_nan=False),
    st.decimals(-1000, 1000, places=2).map(float),
)


@given(st.lists(places, min_size=1, max_size=5), lengths, lengths)
def test_coordinates_are_exact(values: Sequence[Any], size: Any, to_size: Any) -> None:
    kind = np.int64 if all(isinstance(value, int) for value in values) else np.float64
    points = np.array([[value, 0, 0] for value in values], kind)
    found = to_voxels(points, (size, 1, 1), (to_size, 1, 1))[:, 0].tolist()
    ratio = exact(size) / exact(to_size)
    far = 2**62
    given = points[:, 0].tolist()
    expected = [math.floor(exact(value) * ratio) for value in given]
    assert found == [min(max(value, -far), far) for value in expected]


def test_outside_is_an_error_that_names_the_point() -> None:
    vol = make_segments(background_color=9, fill_missing=True, max_mip=1)
    for points in ([(0, 10, -90), (45, 10, -90)], [(0, 10, -90), (0, 2, -90), (-100, 0, 0)]):
        with pytest.raises(
            OutOfBoundsError, match=r"points\[1\] = \((45, 10|0, 2), -90\).*bounds Bbox.*bounded"
        ):
            vol.scattered_points(points)
    with pytest.raises(
        OutOfBoundsError, match=r"points\[0\] = \(46, 10, -90\), voxel \(23, 5, -90\), is not"
    ):
        vol.scattered_points([(46, 10, -90)], mip=1)
    for far in (2**62, 2**63, 1e300, -1e300):
        with pytest.raises(OutOfBoundsError, match=r"points\[0\]"):
            vol.scattered_points(np.array([[far, 0, 0]]))
    vol.bounded = False
    vol[...] = voxels = blobs(vol.shape)
    found = vol.scattered_points([(45, 10, -90), (0, 10, -90), (10**9, 0, 0), (2**62, 0, 0)])
    assert found.ravel().tolist() == [9, int(voxels[5, 7, 10, 0]), 9, 9]
    assert vol.scattered_points([(45, 10, -90)]).tolist() == [[9]]


# What it costs


@pytest.mark.parametrize("sharding", [None, True])
@pytest.mark.parametrize("encoding", ["raw", "png", "compressed_segmentation", "crackle"])
def test_each_chunk_is_fetched_once(monkeypatch: pytest.MonkeyPatch, encoding: str, sharding: Any) -> None:
    vol = make_segments(encoding=encoding, dtype=ENCODINGS[encoding][1], sharding=sharding, parallel=3)
    vol[...] = voxels = blobs(vol.shape, vol.dtype)
    fetched: Counter[tuple[str, Any]] = Counter()
    get = MemoryStore.get

    def counting(self: MemoryStore, key: str, byte_range: Any = None) -> Any:
        fetched[key, byte_range if sharding else None] += 1
        return get(self, key, byte_range)

    monkeypatch.setattr(MemoryStore, "get", counting)
    vol = CloudVolume(vol.cloudpath, parallel=3)
    vol[...]  # so that the indices of shards are known
    fetched.clear()
    rng = np.random.default_rng(0)
    points = np.stack([rng.integers(0, length, 2000) for length in SIZE], axis=1)
    np.testing.assert_array_equal(vol.scattered_points(points + OFFSET), voxels[tuple(points.T)])
    assert set(fetched.values()) == {1}
    if not sharding:
        assert len(fetched) == len(vol.exists(vol.bounds))
    elif encoding != "raw":
        assert len(fetched) < 4  # chunks that lie close are read at once


def test_few_voxels_of_a_plain_chunk_cost_no_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vol = make(tmp_path / "a" / "b", (256, 256, 64), dtype="uint16", channels=2, chunk_size=(256, 256, 64))
    vol[...] = voxels = noise(vol.shape, "uint16")
    read: list[list[int]] = []
    read_into = FileStore.read_into

    def counting(self: FileStore, key: str, size: int, parts: Any) -> bool:
        read.append([len(memory) for _, memory in parts])
        return read_into(self, key, size, parts)

    monkeypatch.setattr(FileStore, "read_into", counting)
    vol = CloudVolume(vol.cloudpath)
    points = np.array([[0, 0, 0], [255, 255, 63], [100, 7, 30]])
    found = vol.scattered_points(points + np.asarray(vol.voxel_offset))
    np.testing.assert_array_equal(found, voxels[tuple(points.T)])
    assert read == [[2] * 6]


@pytest.mark.parametrize(
    ("encoding", "far", "near"),
    [
        ("compressed_segmentation", [], []),
        ("crackle", [1, 28 * 121 * 1, 1], [8]),
        ("png", [128 * 128 * 64], [128 * 128 * 64]),
        ("compresso", [128 * 128 * 64], [8]),
    ],
)
def test_what_is_decoded_of_a_chunk(
    monkeypatch: pytest.MonkeyPatch, encoding: str, far: list[int], near: list[int]
) -> None:
    dtype = "uint16" if encoding == "png" else "uint64"
    vol = make_segments(size=(128, 128, 64), chunk_size=(128, 128, 64), encoding=encoding, dtype=dtype)
    vol[...] = voxels = blobs(vol.shape, dtype)
    codec, decoded = type(vol._layer.scale(0).codec), list[int]()  # type: ignore[union-attr]
    into = hasattr(codec, "decode_into")
    decode = getattr(codec, "decode_into" if into else "decode")

    def counting(self: Any, data: Any, spec: Any, *more: Any) -> Any:
        found = decode(self, data, spec, *more)
        decoded.append(more[1].size if more else found.size)
        return found

    monkeypatch.setattr(codec, decode.__name__, counting)
    points = np.array([[0, 0, 0], [127, 127, 30], [100, 7, 30], [10, 10, 63]])
    np.testing.assert_array_equal(vol.scattered_points(points + OFFSET), voxels[tuple(points.T)])
    assert decoded == far
    decoded.clear()
    points = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1]])
    np.testing.assert_array_equal(vol.scattered_points(points + OFFSET), voxels[tuple(points.T)])
    assert decoded == near


def test_chunks_are_kept_in_memory_and_a_write_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    vol = make_segments(encoding="compressed_segmentation", lru_bytes=10**7)
    vol[...] = voxels = blobs(vol.shape)
    assert vol.scattered_points([(-5, 3, -100)]).tolist() == [[voxels[0, 0, 0, 0]]]
    assert vol._layer.cache.nbytes == 8 * 16**3
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "get", None)
        assert vol.scattered_points([(-4, 3, -100)]).tolist() == [[voxels[1, 0, 0, 0]]]
    vol[-5:11, 3:19, -100:-84] = 77
    assert vol.scattered_points([(-4, 3, -100)]).tolist() == [[77]]


# What is not there, and what is damaged


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "png"])
@pytest.mark.parametrize("sharding", [None, True])
def test_missing_chunks(encoding: str, sharding: Any) -> None:
    dtype = ENCODINGS[encoding][1] if encoding == "png" else "uint64"
    vol = make_segments(encoding=encoding, dtype=dtype, sharding=sharding, background_color=7)
    vol[-5:11, 3:19, -100:-84] = voxels = blobs((16, 16, 16, 1), dtype)
    points = [(11, 3, -100), (-5, 3, -100), (44, 43, -64), (10, 18, -85)]
    with pytest.raises(EmptyVolumeError, match=r"8_8_40/.*fill_missing=True"):
        vol.scattered_points(points)
    vol.fill_missing = True
    assert vol.scattered_points(points).ravel().tolist() == [7, voxels[0, 0, 0, 0], 7, voxels[15, 15, 15, 0]]


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation", "compresso", "crackle"])
@pytest.mark.parametrize("sharding", [None, True])
def test_a_damaged_chunk_is_named(encoding: str, sharding: Any) -> None:
    vol = make_segments(size=(32, 16, 16), encoding=encoding, sharding=sharding)
    vol[...] = voxels = blobs(vol.shape)
    store, key = vol._layer.scale(0).objects.store, "8_8_40/11-27_3-19_-100--84"  # type: ignore[union-attr]
    blob = store.get(key)
    assert blob is not None
    store.put(key, blob._replace(data=bytes(blob.data)[:-3], version=None, size=None))
    with pytest.raises(ChunkDecodeError, match=key):
        vol.scattered_points([(-5, 3, -100), (11, 3, -100)])
    assert vol.scattered_points([(-5, 3, -100)]).tolist() == [[voxels[0, 0, 0, 0]]]


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation"])
def test_a_damaged_copy_is_fetched_again(tmp_path: Path, encoding: str) -> None:
    path = f"mem://points/{encoding}/a"
    vol = make_segments(path, encoding=encoding, cache=str(tmp_path / "kept"))
    vol[...] = voxels = blobs(vol.shape)
    points = [(-5, 3, -100), (44, 43, -64)]
    expected = voxels[[0, 49], [0, 40], [0, 36]]
    np.testing.assert_array_equal(vol.scattered_points(points), expected)
    for file in (tmp_path / "kept" / "8_8_40").iterdir():
        file.write_bytes(file.read_bytes()[:-3])
    np.testing.assert_array_equal(vol.scattered_points(points), expected)
    there = open_shared(f"points/{encoding}/a")
    there.delete([*there.list("8_8_40/")])
    np.testing.assert_array_equal(vol.scattered_points(points), expected)
