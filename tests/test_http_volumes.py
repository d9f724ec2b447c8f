"""Volumes read from web servers: what file:// wrote, missing and broken chunks, forks, pickles, TLS."""

import gzip
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Fault, FaultProxy
from servers.http import CERTIFICATE, HttpServer
from volumes import make, noise

from precomp import CloudVolume
from precomp.errors import (
    ArgumentError,
    ChunkDecodeError,
    CloudPathError,
    CredentialsError,
    EmptyVolumeError,
    InfoNotFoundError,
    MeshError,
    ReadOnlyError,
    StoreError,
)
from precomp.mesh.legacy import encode_fragment, encode_manifest
from precomp.mesh.model import Mesh

SIZE = (100, 70, 50)
CHUNK = (32, 32, 32)
INNER = "8_8_40/-5-27_3-35_100-132"
SECRET = "s3cr3t-w0rd"


@pytest.fixture(autouse=True)
def _of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither proxies nor secrets of whoever runs the tests, and no long pauses."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("precomp.retry._FIRST_PAUSE", 0.002)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServer]:
    (tmp_path / "www").mkdir()
    with HttpServer(tmp_path / "www") as server:
        yield server


def written(server: HttpServer, encoding: str = "raw", compress: str | None = None, **given: Any) -> Any:
    """A layer on the server's disk, and its voxels."""
    channels = given.get("channels", 1)
    layer_path = server.root / "a b" / "layer+1"
    vol = make(layer_path, SIZE, encoding=encoding, chunk_size=CHUNK, compress=compress, **given)
    voxels = noise((*SIZE, channels), given.get("dtype", "uint8"))
    vol[...] = voxels
    return vol[...]


def url(server: HttpServer) -> str:
    return f"{server.url}/a b/layer+1"


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.parametrize(
    ("encoding", "compress", "given"),
    [
        ("raw", None, {"dtype": "uint16", "channels": 2}),
        ("raw", "gzip", {"dtype": "uint64"}),
        ("raw", "br", {}),
        ("jpeg", None, {}),
    ],
)
def test_reads_what_file_wrote(
    server: HttpServer, encoding: str, compress: str | None, given: dict[str, Any], ranges: bool
) -> None:
    voxels = written(server, encoding, compress, **given)
    server.ranges = ranges
    vol = CloudVolume(url(server), parallel=1)
    assert np.array_equal(vol[...], voxels)
    rng = np.random.default_rng(1)
    for _ in range(12):
        low = rng.integers(0, SIZE)
        high = np.minimum(low + rng.integers(1, 40, 3), SIZE)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        there = tuple(
            slice(a - 5 * (i == 0) + 3 * (i == 1) + 100 * (i == 2), None) for i, a in enumerate(low)
        )
        there = tuple(
            slice(int(start.start), int(start.start + b - a))
            for start, a, b in zip(there, low, high, strict=True)
        )
        assert np.array_equal(vol[there], voxels[box])
    assert {request.method for request in server.seen} == {"GET"}
    assert all(request.path.startswith("/a%20b/layer+1/") for request in server.seen)
    wanted = sum("range" in request.headers for request in server.seen)
    if compress or encoding != "raw":
        assert wanted <= 1, "ranges of compressed chunks are no use, which is found out once"
    elif ranges:
        assert wanted > 5, "a part of a plain chunk costs its bytes only"


def test_the_least_is_fetched_of_a_plain_chunk(server: HttpServer) -> None:
    voxels = written(server, dtype="uint64")
    vol = CloudVolume(url(server))
    server.seen.clear()
    assert vol[0, 10, 120].item() == voxels[5, 7, 20].item()
    (request,) = server.seen
    first = 8 * (5 + 32 * (7 + 32 * 20))
    assert request.headers["range"] == f"bytes={first}-{first + 7}"


def test_reads_with_many_threads(server: HttpServer) -> None:
    voxels = written(server)
    vol = CloudVolume(url(server), parallel=16)
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(3):
                assert np.array_equal(vol[...], voxels)
        except BaseException as error:  # noqa: BLE001  told below
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_missing_chunk_is_told_or_filled(server: HttpServer) -> None:
    voxels = written(server)
    (server.root / "a b" / "layer+1" / INNER).unlink()
    with pytest.raises(EmptyVolumeError, match=rf"{server.url}/a b/layer\+1/{INNER}"):
        CloudVolume(url(server))[...]
    vol = CloudVolume(url(server), fill_missing=True)
    voxels[:32, :32, :32] = 0
    assert np.array_equal(vol[...], voxels)
    assert vol[0, 10, 120].item() == 0
    found = vol.exists(vol.bounds)
    assert [key for key, there in found.items() if not there] == [INNER]
    assert len(found) == 24


@pytest.mark.parametrize("where", ["whole", "part"])
@pytest.mark.parametrize("status", [401, 403, 500, 503, 400, 302])
def test_nothing_else_is_ever_zeros(server: HttpServer, status: int, where: str) -> None:
    written(server)
    with FaultProxy(server.port) as proxy:
        proxy.plan(Fault.status(status), match=lambda request: INNER in request.path, forever=True)
        vol = CloudVolume(
            f"http://127.0.0.1:{proxy.port}/a b/layer+1", fill_missing=True, options={"max_attempts": 2}
        )
        with pytest.raises((StoreError, CredentialsError), match=INNER):
            vol[...] if where == "whole" else vol[0, 10, 120]
        tries = [request for request in proxy.requests if INNER in request.path]
        assert len(tries) == (2 if status >= 500 else 1)


def test_a_chunk_that_fails_for_a_while_is_read(server: HttpServer) -> None:
    voxels = written(server)
    with FaultProxy(server.port) as proxy:
        faults = [Fault.status(503), Fault.reset(after=3000), Fault.truncate(after=20), Fault.reset()]
        proxy.plan(*faults, match=lambda request: INNER in request.path)
        vol = CloudVolume(f"http://127.0.0.1:{proxy.port}/a b/layer+1")
        assert np.array_equal(vol[...], voxels)
        assert proxy.left == 0


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_a_damaged_chunk_is_told(server: HttpServer, compress: str | None) -> None:
    written(server, compress=compress)
    path = server.root / "a b" / "layer+1" / (INNER + (".gz" if compress else ""))
    path.write_bytes(path.read_bytes()[:-7])
    for fill_missing in (False, True):
        with pytest.raises(ChunkDecodeError, match=INNER):
            CloudVolume(url(server), fill_missing=fill_missing)[...]


def test_a_byte_that_changed_on_its_way_is_found_by_gzip(server: HttpServer) -> None:
    written(server, compress="gzip")
    with FaultProxy(server.port) as proxy:
        proxy.plan(Fault.corrupt(at=5000), match=lambda request: INNER in request.path)
        with pytest.raises(ChunkDecodeError, match=INNER):
            CloudVolume(f"http://127.0.0.1:{proxy.port}/a b/layer+1")[...]


def test_a_page_instead_of_a_chunk_is_no_chunk(server: HttpServer) -> None:
    written(server)
    server.answers[f"/a%20b/layer+1/{INNER}"] = 200, b"<html>Sorry</html>"
    for index in (..., (0, 10, 120)):
        with pytest.raises(ChunkDecodeError, match=INNER):
            CloudVolume(url(server), fill_missing=True)[index]


def test_no_layer_and_a_refused_one(server: HttpServer) -> None:
    with pytest.raises(InfoNotFoundError, match=f"{server.url}/no/layer/info"):
        CloudVolume(f"{server.url}/no/layer")
    server.login = "Bearer x"
    with pytest.raises(CredentialsError, match=f"{server.url}/no/layer/info"):
        CloudVolume(f"{server.url}/no/layer")


def test_every_write_is_refused_before_anything_is_sent(server: HttpServer) -> None:
    written(server)
    vol = CloudVolume(url(server), non_aligned_writes=True)
    vol.provenance.description = "mine"
    before = len(server.seen)
    box = vol.bounds

    def write(index: Any, shape: tuple[int, ...]) -> Callable[[], None]:
        return lambda: vol.__setitem__(index, np.zeros(shape, np.uint8))

    for attempt in (
        vol.commit_info,
        vol.commit_provenance,
        vol.reset_scales,
        write(box, SIZE),
        write(np.s_[0:3, 10:12, 110:120], (3, 2, 10)),
        lambda: vol.delete(box),
    ):
        with pytest.raises(ReadOnlyError, match="nothing was sent"):
            attempt()
    assert [request.path for request in server.seen[before:]] == []


def test_meshes(server: HttpServer) -> None:
    make(server.root / "ds" / "seg", dtype="uint64", layer_type="segmentation")
    local = CloudVolume(str(server.root / "ds" / "seg"))
    local.info["mesh"] = "mesh"
    local.commit_info()
    part = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.uint32))
    folder = server.root / "ds" / "seg" / "mesh"
    folder.mkdir()
    names = ["7:0:0-64_0-64", "7:0:64-128_0-64"]
    (folder / "7:0").write_bytes(encode_manifest(names))
    (folder / names[0]).write_bytes(encode_fragment(part))
    (folder / f"{names[1]}.gz").write_bytes(gzip.compress(encode_fragment(part)))
    vol = CloudVolume(f"{server.url}/ds/seg")
    mesh = vol.mesh.get(7)
    assert (len(mesh.vertices), len(mesh.faces)) == (6, 2)
    with pytest.raises(MeshError, match="segment 8"):
        vol.mesh.get(8)
    server.answers["/ds/seg/mesh/8:0"] = 403, b""
    with pytest.raises(CredentialsError, match="8:0"):
        vol.mesh.get(8)


def test_a_cache_on_the_disk(server: HttpServer, tmp_path: Path) -> None:
    voxels = written(server)
    for _ in range(2):
        vol = CloudVolume(url(server), cache=str(tmp_path / "cache"))
        assert np.array_equal(vol[...], voxels)
    chunks = [request.path for request in server.seen if "/8_8_40/" in request.path]
    assert len(chunks) == len(set(chunks)) == 24


# Logins


def test_a_user_in_the_address_is_shown_nowhere(server: HttpServer) -> None:
    voxels = written(server)
    server.login = "Basic YWRhOnMzY3IzdC13MHJk"  # ada:s3cr3t-w0rd
    address = f"http://ada:s3cr3t%2Dw0rd@{server.host}/a b/layer+1"
    vol = CloudVolume(address)
    assert np.array_equal(vol[...], voxels)
    assert vol.cloudpath == url(server)
    texts = [repr(vol), str(vol.layer_cloudpath), str(pickle.dumps(vol))]
    (server.root / "a b" / "layer+1" / INNER).unlink()
    with pytest.raises(EmptyVolumeError) as empty:
        vol[...]
    server.login = "Bearer another"
    with pytest.raises(CredentialsError) as refused:
        vol[...]
    with pytest.raises(CloudPathError) as wrong:
        CloudVolume(f"http://ada:{SECRET}@{server.host}//a")
    with pytest.raises(ArgumentError) as twice:
        CloudVolume(address, options={"hosts": {server.host: {"token": SECRET}}})
    texts += [str(raised.value) for raised in (empty, refused, wrong, twice)]
    assert "(user ada)" in str(refused.value)
    assert [text for text in texts if "w0rd" in text] == []
    with pytest.raises(CredentialsError, match="does not travel by pickle"):
        pickle.loads(pickle.dumps(vol))[...]


def test_a_login_follows_no_redirect_of_an_info(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with HttpServer(tmp_path / "other") as other:
        (server.root / "layer").mkdir()
        (server.root / "layer" / "info").write_text(f'{{"redirect": "{other.url}/there"}}')
        server.login = f"Bearer {SECRET}"
        with pytest.raises(InfoNotFoundError, match=f"{other.url}/there/info"):
            CloudVolume(f"{server.url}/layer", options={"hosts": {server.host: {"token": SECRET}}})
        assert len(other.seen) == 1
        assert "authorization" not in other.seen[0].headers
        (server.root / "layer" / "info").write_text(f'{{"redirect": "http://ada:{SECRET}@{other.host}/x"}}')
        with pytest.raises(CloudPathError, match="without a user") as raised:
            CloudVolume(f"{server.url}/layer", options={"hosts": {server.host: {"token": SECRET}}})
        assert SECRET not in str(raised.value).partition("\n")[0]


def test_options_that_make_no_sense_are_told(server: HttpServer) -> None:
    for options, told in (
        ({"timeout": 0}, "timeout"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"concurrency": 1.5}, "concurrency"),
        ({"hosts": {"h": {"tokn": SECRET}}}, "tokn"),
    ):
        with pytest.raises(ValueError, match=told) as raised:
            CloudVolume(url(server), options=options)
        assert SECRET not in str(raised.value)
    assert server.seen == []


# Other processes


CHILD = """
import pickle, sys
import numpy as np
vol, voxels = pickle.load(sys.stdin.buffer)
assert np.array_equal(vol[...], voxels)
print(vol.cloudpath)
"""


def test_a_pickled_volume_reads_in_another_process(server: HttpServer) -> None:
    voxels = np.asarray(written(server))
    server.login = f"Bearer {SECRET}"
    secrets = Path.home() / ".cloudvolume" / "secrets" / "http-secret.json"
    secrets.parent.mkdir(parents=True)
    secrets.write_text(f'{{"{server.host}": {{"token": "{SECRET}"}}}}')
    vol = CloudVolume(url(server), options={"timeout": 20})
    assert vol[0, 10, 120].item() == voxels[5, 7, 20].item()
    sent = pickle.dumps((vol, voxels))
    assert SECRET.encode() not in sent
    done = subprocess.run([sys.executable, "-c", CHILD], input=sent, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().strip() == url(server)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_volume_that_was_used_before_a_fork_reads_on_both_sides(server: HttpServer) -> None:
    voxels = written(server)
    vol = CloudVolume(url(server), parallel=4)
    stop = threading.Event()

    def keep_reading() -> None:  # so that connections are in use, and locks held, when the child is made
        while not stop.is_set():
            vol[...]

    reader = threading.Thread(target=keep_reading)
    reader.start()
    try:
        for _ in range(5):
            before = {request.client for request in server.seen}
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    status = 0 if np.array_equal(vol[...], voxels) else 2
                finally:
                    os._exit(status)
            assert np.array_equal(vol[...], voxels)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert {request.client for request in server.seen} - before, (
                "the child has connections of its own"
            )
    finally:
        stop.set()
        reader.join()


# TLS


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[HttpServer]:
    (tmp_path / "www").mkdir()
    with HttpServer(tmp_path / "www", tls=True) as server:
        yield server


def test_https_with_a_certificate_that_is_trusted(secure: HttpServer) -> None:
    voxels = written(secure)
    vol = CloudVolume(url(secure), options={"ca_file": str(CERTIFICATE)})
    assert np.array_equal(vol[...], voxels)
    assert vol[0, 10, 120].item() == voxels[5, 7, 20].item()


def test_https_with_a_certificate_that_is_not(secure: HttpServer, tmp_path: Path) -> None:
    voxels = written(secure)
    with pytest.raises(
        StoreError, match=r"info: the certificate of 127\.0\.0\.1:\d+ is not trusted.*ca_file"
    ):
        CloudVolume(url(secure))
    with pytest.raises(StoreError, match=r"ca_file: .*nowhere"):
        CloudVolume(url(secure), options={"ca_file": str(tmp_path / "nowhere")})
    with pytest.warns(match="verify=False: whoever answers is believed"):
        assert CloudVolume(url(secure), options={"verify": False})[0, 10, 120] == voxels[5, 7, 20]


def test_from_https_nobody_is_led_to_http(server: HttpServer, tmp_path: Path) -> None:
    written(server)
    with HttpServer(server.root, tls=True) as secure:
        secure.redirects["/"] = f"{server.url}/"
        with pytest.raises(StoreError, match="redirected from https to http"):
            CloudVolume(url(secure), options={"ca_file": str(CERTIFICATE)})
        server.redirects["/"] = f"{secure.url}/"
        secure.redirects.clear()
        CloudVolume(url(server), options={"ca_file": str(CERTIFICATE)})
    shutil.rmtree(tmp_path / "www" / "a b")
