"""The disk cache before real servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Fault, FaultProxy
from servers.gs import gs_server
from servers.http import HttpServer
from volumes import make, noise

from precomp import CloudVolume
from precomp.errors import CredentialsError, EmptyVolumeError, ReadOnlyError

CORNER = np.s_[-5:11, 3:19, 100:116]
VOXELS = noise((40, 30, 20, 1))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[HttpServer]:
    """A written volume of 12 chunks on a web server."""
    with HttpServer(tmp_path / "www") as server:
        make(tmp_path / "www" / "ds" / "image", compress="gzip")[...] = VOXELS
        yield server


def chunks(server: HttpServer, method: str = "GET") -> int:
    return sum(one.method == method and "8_8_40" in one.path for one in server.seen)


@pytest.mark.parametrize("validate", [False, True])
def test_http_is_asked_for_each_chunk_once(web: HttpServer, tmp_path: Path, validate: bool) -> None:
    for _ in range(2):
        vol = CloudVolume(f"{web.url}/ds/image", cache=tmp_path / "cache", cache_validate=validate)
        for _ in range(2):
            np.testing.assert_array_equal(vol[...], VOXELS)
    assert chunks(web) == 12
    assert chunks(web, "HEAD") == (36 if validate else 0)
    np.testing.assert_array_equal(CloudVolume(tmp_path / "cache")[...], VOXELS)
    with pytest.raises(ReadOnlyError):
        vol[...] = 1
    np.testing.assert_array_equal(vol[...], VOXELS)


def test_http_is_not_needed_for_what_is_kept(web: HttpServer, tmp_path: Path) -> None:
    vol = CloudVolume(f"{web.url}/ds/image", cache=tmp_path / "cache", options={"max_attempts": 1})
    vol[CORNER]
    for path in (tmp_path / "www" / "ds" / "image" / "8_8_40").iterdir():
        web.answers[f"/ds/image/8_8_40/{path.name.removesuffix('.gz')}"] = (403, b"no")
    np.testing.assert_array_equal(vol[CORNER], VOXELS[:16, :16, :16])
    with pytest.raises(CredentialsError):
        vol[...]
    vol.cache_validate = True
    with pytest.raises(CredentialsError):  # whether it is current cannot be said
        vol[CORNER]


def test_http_tells_by_its_etags_what_changed(web: HttpServer, tmp_path: Path) -> None:
    vol = CloudVolume(f"{web.url}/ds/image", cache=tmp_path / "cache", cache_validate=True)
    vol[...]
    behind = CloudVolume(tmp_path / "www" / "ds" / "image", compress="gzip")
    behind[CORNER] = 4
    expected = VOXELS.copy()
    expected[:16, :16, :16] = 4
    np.testing.assert_array_equal(vol[...], expected)
    assert chunks(web) == 13
    behind.delete(CORNER)
    with pytest.raises(EmptyVolumeError):
        vol[CORNER]


@pytest.fixture
def bucket() -> str:
    return gs_server().new_bucket()


def on_gs(bucket: str, port: int | None = None, **given: Any) -> CloudVolume:
    server = gs_server()
    options = {"endpoint_url": f"http://127.0.0.1:{port or server.port}", "anonymous": True}
    return CloudVolume(f"gs://{bucket}/ds/image", options=options, **given)


@pytest.fixture
def written(bucket: str) -> str:
    options = {"endpoint_url": gs_server().url, "anonymous": True}
    make(f"gs://{bucket}/ds/image", options=options)[...] = VOXELS
    return bucket


def test_gs_generations_are_versions(written: str, tmp_path: Path) -> None:
    expected = VOXELS.copy()
    with FaultProxy(gs_server().port) as proxy:
        vol = on_gs(written, proxy.port, cache=tmp_path, cache_validate=True, non_aligned_writes=True)
        np.testing.assert_array_equal(vol[...], expected)
        sent = len(proxy.requests)
        np.testing.assert_array_equal(vol[...], expected)
        again = proxy.requests[sent:]
        assert len(again) == 12
        assert not any("alt=media" in request.path for request in again)
        on_gs(written)[CORNER] = 9
        expected[:16, :16, :16] = 9
        np.testing.assert_array_equal(vol[...], expected)
        vol[0:20, 5:7, 101:103] = 1
        expected[5:25, 2:4, 1:3] = 1
        np.testing.assert_array_equal(vol[...], expected)
    np.testing.assert_array_equal(on_gs(written)[...], expected)


def test_gs_writes_that_fail_leave_no_copy(written: str, tmp_path: Path) -> None:
    with FaultProxy(gs_server().port) as proxy:
        vol = on_gs(written, proxy.port, cache=tmp_path / "cache")
        vol[...]
        proxy.plan(Fault.status(403), match=lambda request: request.method == "POST")
        with pytest.raises(OSError, match="8_8_40"):
            vol[CORNER] = 7
        assert vol.cache.num_files() == 11
        np.testing.assert_array_equal(vol[...], VOXELS)
        vol[CORNER] = 7
        assert vol.cache.num_files() == 12
        sent = len(proxy.requests)
        assert np.unique(vol[CORNER]).tolist() == [7]
        assert len(proxy.requests) == sent


def test_copies_of_one_service_are_not_anothers(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with FaultProxy(gs_server().port) as proxy:  # stands for another service
        one, other = on_gs(written, cache=True), on_gs(written, proxy.port, cache=True)
        assert one.cache.path != other.cache.path
        one[...]
        assert (one.cache.num_files(), other.cache.num_files()) == (12, 0)
        with pytest.raises(ValueError, match=f"holds copies of {one.cloudpath} at http://127.0.0.1"):
            on_gs(written, proxy.port, cache=one.cache.path)


@pytest.mark.parametrize("where", ["http", "gs"])
def test_memory_serves_remote_volumes_as_it_does_local_ones(
    web: HttpServer, written: str, tmp_path: Path, where: str
) -> None:
    """Each chunk is fetched once, with and without a disk cache below."""
    with FaultProxy(web.port if where == "http" else gs_server().port) as proxy:
        for below in (False, tmp_path / "cache"):
            if where == "http":
                vol = CloudVolume(f"http://127.0.0.1:{proxy.port}/ds/image", lru_bytes=2**20, cache=below)
            else:
                vol = on_gs(written, proxy.port, lru_bytes=2**20, cache=below)
            before = len(proxy.requests)
            for _ in range(2):
                np.testing.assert_array_equal(vol[...], VOXELS)
                np.testing.assert_array_equal(vol[0:9, 5:20, 101:119:3], VOXELS[5:14, 2:17, 1:19:3])
            assert len(proxy.requests) - before == 12
            if where == "gs":
                vol[CORNER] = 5
                assert np.unique(vol[CORNER]).tolist() == [5]
                vol[CORNER] = VOXELS[:16, :16, :16]
