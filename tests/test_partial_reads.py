"""Parts of large raw chunks, read by byte ranges, against the same parts of whole chunks."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from volumes import make, noise, parts

from precomp import CloudVolume
from precomp.errors import ChunkDecodeError
from precomp.interfaces import Blob, ByteRange

SIZE = (150, 90, 70)
CHUNK = (96, 64, 48)
KINDS = [("uint8", 1), ("uint16", 3), ("uint64", 1), ("float32", 2)]


@pytest.fixture(scope="module")
def volumes() -> list[tuple[CloudVolume, Any]]:
    made = []
    for dtype, channels in KINDS:
        path = f"mem://partial/{dtype}/{channels}"
        vol = make(path, SIZE, dtype=dtype, channels=channels, chunk_size=CHUNK, voxel_offset=(-7, 0, 3))
        voxels = noise(vol.shape, dtype)
        vol[...] = voxels
        made.append((vol, voxels))
    return made


@given(kind=st.sampled_from(range(len(KINDS))), part=parts(SIZE), channel=st.booleans())
def test_any_part_is_that_of_the_whole(
    volumes: Any, kind: int, part: tuple[slice, ...], channel: bool
) -> None:
    vol, voxels = volumes[kind]
    channels = slice(0, 1) if channel else slice(0, vol.num_channels)
    index = tuple(
        slice(axis.start + o, axis.stop + o, axis.step)
        for axis, o in zip(part, vol.voxel_offset, strict=True)
    )
    np.testing.assert_array_equal(vol[(*index, channels)], voxels[(*part, channels)])


def test_one_voxel_costs_one_voxel(volumes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vol, voxels = volumes[0]
    store = vol._layer.objects().store
    fetched: list[int] = []
    get = store.get

    def counting(key: str, byte_range: ByteRange | None = None) -> Blob | None:
        blob: Blob | None = get(key, byte_range)
        assert blob is not None
        fetched.append(len(blob.data))
        return blob

    monkeypatch.setattr(vol._layer.scale(0).reader._fetcher, "_get", counting)
    np.testing.assert_array_equal(vol[0, 0, 3], voxels[7:8, 0:1, 0:1])
    assert fetched == [1]


@pytest.mark.parametrize("wrong", [-1, 1, 5000])
def test_a_chunk_of_wrong_length_is_found_by_a_part(tmp_path: Path, wrong: int) -> None:
    vol = make(tmp_path / "ds" / "image", CHUNK, chunk_size=CHUNK, voxel_offset=(0, 0, 0), fill_missing=True)
    vol[...] = 1
    (chunk,) = (tmp_path / "ds" / "image" / "8_8_40").iterdir()
    data = chunk.read_bytes()
    chunk.write_bytes(data[:wrong] if wrong < 0 else data + bytes(wrong))
    with pytest.raises(ChunkDecodeError, match="8_8_40/0-96_0-64_0-48"):
        vol[5, 5, 5]


def test_a_part_never_mixes_two_versions(tmp_path: Path) -> None:
    for path in (f"file://{tmp_path}/ds/image", "mem://partial/torn/image"):
        vol = make(path, CHUNK, channels=3, chunk_size=CHUNK, voxel_offset=(0, 0, 0))
        vol[...] = 0
        reader = CloudVolume(path)
        stop = threading.Event()

        def rewrite(vol: CloudVolume = vol, stop: threading.Event = stop) -> None:
            value = 0
            while not stop.is_set():
                value = (value + 1) % 256
                vol[...] = value

        writer = threading.Thread(target=rewrite)
        writer.start()
        try:
            for _ in range(200):
                assert np.unique(reader[5:7, 5:7, 5:30]).size == 1
        finally:
            stop.set()
            writer.join()


def test_compressed_chunks_are_read_whole(tmp_path: Path) -> None:
    vol = make(tmp_path / "ds" / "image", CHUNK, chunk_size=CHUNK, compress="gzip")
    voxels = noise(vol.shape)
    vol[...] = voxels
    for x in range(3):
        np.testing.assert_array_equal(vol[x, 4, 101], voxels[x + 5 : x + 6, 1:2, 1:2])
