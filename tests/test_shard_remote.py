"""Sharded volumes on servers: several processes, requests counted, stale indices."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3_places import alone, layer, new_path, put_secret
from segments import blobs
from servers.gs import gs_server
from servers.http import HttpServer
from servers.s3 import s3_server
from shards import make_sharded, sharding
from volumes import noise

from precomp import CloudVolume
from precomp.errors import EmptyVolumeError


@pytest.fixture(params=["gs", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new cloudpath, and options."""
    if request.param == "gs":
        bucket = gs_server().new_bucket()
        options = {"endpoint_url": gs_server().url, "anonymous": True, "concurrency": 4}
        return f"gs://{bucket}/ds/image", options
    alone(tmp_path / "home", monkeypatch)
    put_secret(tmp_path / "home" / ".neuroglancer" / "secrets", s3_server().secret)
    return new_path(), layer()


def test_volumes_are_written_and_read(place: Any) -> None:
    path, options = place
    vol = make_sharded(
        path, sharding(1, 1, 1, index="gzip"), dtype="uint16", channels=2, options=options, compress="gzip"
    )
    voxels = noise(vol.shape, "uint16")
    vol[...] = voxels
    np.testing.assert_array_equal(vol[...], voxels)
    np.testing.assert_array_equal(vol[0:9, 5:25, 104:119], voxels[5:14, 2:22, 4:19])
    assert vol[0, 5, 105, 1] == voxels[5, 2, 5, 1]
    assert set(vol.exists(vol.bounds).values()) == {True}
    other = CloudVolume(path, options=options, non_aligned_writes=True)
    other[3:30] = 7
    voxels[8:35] = 7
    np.testing.assert_array_equal(vol[...], voxels)  # its indices are old ones
    other.delete(other.bounds)
    with pytest.raises(EmptyVolumeError):
        vol[...]
    vol.fill_missing = True
    assert not vol[...].any()


def test_labels_and_points(place: Any) -> None:
    path, options = place
    cells = {"dtype": "uint64", "encoding": "compressed_segmentation", "options": options}
    vol = make_sharded(path, sharding(1, 1, 1, index="gzip"), **cells)
    vol[...] = voxels = blobs(vol.shape)
    label = int(voxels.max())
    np.testing.assert_array_equal(vol.unique(vol.bounds), np.unique(voxels))
    np.testing.assert_array_equal(vol.download(vol.bounds, label=label), voxels == label)
    small, numbers = vol.download(vol.bounds, renumber=True)
    np.testing.assert_array_equal(np.array(list(numbers), np.uint64)[small], voxels)
    points = np.argwhere(voxels[..., 0] == label)[::7]
    assert set(vol.scattered_points(points + vol.voxel_offset).ravel().tolist()) == {label}


def write_columns(path: str, options: Any, number: int) -> None:
    vol = CloudVolume(path, options=options, parallel=1)
    for x in range(number, 6, 3):
        vol[8 * x : 8 * x + 8, 0:8] = x + 1
        vol[8 * x : 8 * x + 8, 8:16] = x + 101


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_several_processes_write_one_shard_and_lose_nothing(place: Any) -> None:
    path, options = place
    size = {"chunk_size": (8, 8, 8), "voxel_offset": (0, 0, 0), "options": options}
    make_sharded(path, sharding(0, 2), (48, 16, 8), **size)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=write_columns, args=(path, options, n)) for n in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 3
    found = CloudVolume(path, options=options)[...][..., 0]
    assert (found[:, :8] == np.repeat(np.arange(6) + 1, 8)[:, None, None]).all()
    assert (found[:, 8:] == np.repeat(np.arange(6) + 101, 8)[:, None, None]).all()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    alone(tmp_path / "home", monkeypatch)
    (tmp_path / "www").mkdir()
    with HttpServer(tmp_path / "www") as server:
        yield server


def test_chunks_that_lie_close_take_one_request_and_indices_are_read_once(server: HttpServer) -> None:
    here = make_sharded(server.root / "ds" / "a", sharding(1, 1, 1, index="gzip"), (64, 32, 16))
    voxels = noise(here.shape)
    here[...] = voxels
    vol = CloudVolume(f"{server.url}/ds/a")
    seen = len(server.seen)
    np.testing.assert_array_equal(vol[...], voxels)
    # Of each of two shards: its index, the two indices of minishards, the four chunks.
    assert len(server.seen) - seen == 6
    seen = len(server.seen)
    np.testing.assert_array_equal(vol[...], voxels)
    assert len(server.seen) - seen == 2
    seen = len(server.seen)
    assert vol[0, 5, 105] == voxels[5, 2, 5]
    assert len(server.seen) - seen == 1
    here[-5:11, 3:19] = 1
    here[11:27, 3:19] = 2
    assert vol[0, 5, 105] == 1  # an older index was in memory
    assert (vol[-5:27, 3:19][16:] == 2).all()


def test_labels_and_points_take_as_few_requests_as_voxels(server: HttpServer) -> None:
    cells = {"dtype": "uint64", "encoding": "compressed_segmentation"}
    here = make_sharded(server.root / "ds" / "a", sharding(1, 1, 1, index="gzip"), (64, 32, 16), **cells)
    here[...] = voxels = blobs(here.shape)
    vol = CloudVolume(f"{server.url}/ds/a")
    vol[...]
    label = int(voxels.max())
    rng = np.random.default_rng(0)
    points = np.stack([rng.integers(0, length, 100) for length in here.volume_size], axis=1)
    asked = [
        (lambda: vol.unique(vol.bounds), np.unique(voxels)),
        (lambda: vol.download(vol.bounds, label=label), voxels == label),
        (lambda: vol.scattered_points(points + here.voxel_offset), voxels[tuple(points.T)]),
    ]
    for ask, expected in asked:
        seen = len(server.seen)
        np.testing.assert_array_equal(ask(), expected)
        assert len(server.seen) - seen == 2  # of each of two shards, the four chunks


@pytest.mark.parametrize("plainly", ["etags", "ranges", "head"])
def test_a_server_that_can_less_serves_as_well(server: HttpServer, plainly: str) -> None:
    here = make_sharded(server.root / "ds" / "a", sharding(1, 1, 1), (64, 32, 16), fill_missing=True)
    setattr(server, plainly, False)
    vol = CloudVolume(f"{server.url}/ds/a", fill_missing=True)
    for value in (1, 2):
        here[...] = value
        here[11:27, 3:19] = noise((16, 16, 16, 1), seed=value)
        for _ in range(2):
            np.testing.assert_array_equal(vol[...], here[...])
            np.testing.assert_array_equal(vol[12:15, 5, 110], here[12:15, 5, 110])
    here.delete(here.bounds)
    assert not vol[...].any()


def test_one_voxel_costs_no_shard(server: HttpServer, tmp_path: Path) -> None:
    """Nor does it with a cache on the disk."""
    here = make_sharded(server.root / "ds" / "a", sharding(2), (256, 64, 64), chunk_size=(64, 64, 64))
    here[...] = noise(here.shape)
    size = (server.root / "ds" / "a" / "8_8_40" / "0.shard").stat().st_size
    assert size > 2**20
    cached = CloudVolume(f"{server.url}/ds/a", cache=str(tmp_path / "cache"))
    for _ in range(2):
        assert cached[0, 5, 105] == here[0, 5, 105]
    assert cached.cache.num_bytes() == 64**3
