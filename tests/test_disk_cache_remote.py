"""The disk cache before real servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Fault, FaultProxy, Request
from servers.gs import gs_server
from servers.http import HttpServer
from servers.s3 import BUCKET, s3_server
from volumes import make, noise

from precomp import CloudVolume
from precomp.errors import CredentialsError, EmptyVolumeError, ReadOnlyError
from precomp.plugins import load
from precomp.url import parse
from precomp.volume.layer import Layer
from precomp.volume.options import Options

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


class Cloud:
    """An object store, and a written volume of 12 chunks in it."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        if scheme == "gs":
            self.port = gs_server().port
            self.path = f"gs://{gs_server().new_bucket()}/ds/image"
            self.options: dict[str, Any] = {"anonymous": True}
        else:
            self.port = s3_server().port
            self.path = f"s3://{BUCKET}/{s3_server().new_folder()}/image"
            self.options = {"secrets": s3_server().secret}
        make(self.path, options=self.at(self.port))[...] = VOXELS

    def at(self, port: int) -> dict[str, Any]:
        return {"endpoint_url": f"http://127.0.0.1:{port}", **self.options}

    def open(self, port: int | None = None, **given: Any) -> CloudVolume:
        return CloudVolume(self.path, options=self.at(port or self.port), **given)

    def fetches(self, request: Request) -> bool:
        """Whether a request asks for the bytes of an object."""
        return request.method == "GET" and (self.scheme == "s3" or "alt=media" in request.path)

    def writes(self, request: Request) -> bool:
        return request.method in ("PUT", "POST")


@pytest.fixture(params=["gs", "s3"])
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return Cloud(request.param)


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[FaultProxy]:
    with FaultProxy(cloud.port) as proxy:
        yield proxy


def test_generations_and_etags_are_versions(cloud: Cloud, proxy: FaultProxy, tmp_path: Path) -> None:
    expected = VOXELS.copy()
    vol = cloud.open(proxy.port, cache=tmp_path / "cache", cache_validate=True, non_aligned_writes=True)
    np.testing.assert_array_equal(vol[...], expected)
    sent = len(proxy.requests)
    np.testing.assert_array_equal(vol[...], expected)
    again = proxy.requests[sent:]
    assert len(again) == 12
    assert not any(map(cloud.fetches, again))
    cloud.open()[CORNER] = 9
    expected[:16, :16, :16] = 9
    np.testing.assert_array_equal(vol[...], expected)
    assert sum(map(cloud.fetches, proxy.requests[sent:])) == 1
    vol[0:20, 5:7, 101:103] = 1
    expected[5:25, 2:4, 1:3] = 1
    np.testing.assert_array_equal(vol[...], expected)
    np.testing.assert_array_equal(cloud.open()[...], expected)


def test_a_write_is_kept_with_the_version_that_it_got(
    cloud: Cloud, proxy: FaultProxy, tmp_path: Path
) -> None:
    vol = cloud.open(proxy.port, cache=tmp_path / "cache", cache_validate=True, parallel=1)
    vol[...] = VOXELS
    sent = len(proxy.requests)
    np.testing.assert_array_equal(vol[...], VOXELS)
    assert not any(map(cloud.fetches, proxy.requests[sent:]))
    np.testing.assert_array_equal(CloudVolume(tmp_path / "cache")[...], VOXELS)


def test_a_write_that_fails_leaves_no_copy(cloud: Cloud, proxy: FaultProxy, tmp_path: Path) -> None:
    vol = cloud.open(proxy.port, cache=tmp_path / "cache")
    vol[...]
    proxy.plan(Fault.status(403), match=cloud.writes)
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
    cloud: Cloud, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = cloud.open(cache=True), cloud.open(proxy.port, cache=True)  # it stands for another service
    assert one.cache.path != other.cache.path
    one[...]
    assert (one.cache.num_files(), other.cache.num_files()) == (12, 0)
    with pytest.raises(ValueError, match=f"holds copies of {one.cloudpath} at http://127.0.0.1"):
        cloud.open(proxy.port, cache=one.cache.path)


def test_amazon_and_google_need_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    for scheme, address in (("s3", "http://127.0.0.1:1"), ("gs", "http://127.0.0.1:1")):
        for given, origin in (({}, ""), ({"endpoint_url": address}, address)):
            options = {"anonymous": True, **given}
            layer = Layer(parse(f"{scheme}://bucket/ds/image"), load(), Options(scheme, options))
            assert layer.origin(layer.path) == origin


def fetched(vol: CloudVolume, proxy: FaultProxy) -> int:
    """How many requests it takes to read the whole volume, some of it twice, twice."""
    before = len(proxy.requests)
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], VOXELS)
        np.testing.assert_array_equal(vol[0:9, 5:20, 101:119:3], VOXELS[5:14, 2:17, 1:19:3])
    return len(proxy.requests) - before


@pytest.mark.parametrize("disk", [False, True])
def test_memory_serves_clouds_as_it_does_local_volumes(
    cloud: Cloud, proxy: FaultProxy, tmp_path: Path, disk: bool
) -> None:
    vol = cloud.open(proxy.port, lru_bytes=2**20, cache=tmp_path / "cache" if disk else False)
    assert fetched(vol, proxy) == 12
    vol[CORNER] = 5
    assert np.unique(vol[CORNER]).tolist() == [5]


@pytest.mark.parametrize("disk", [False, True])
def test_memory_serves_the_web_as_it_does_local_volumes(web: HttpServer, tmp_path: Path, disk: bool) -> None:
    with FaultProxy(web.port) as proxy:
        path = f"http://127.0.0.1:{proxy.port}/ds/image"
        vol = CloudVolume(path, lru_bytes=2**20, cache=tmp_path / "cache" if disk else False)
        assert fetched(vol, proxy) == 12
