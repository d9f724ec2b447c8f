"""`gs://` on a real server: the contract of a store, what is kept with objects, whole volumes, processes."""

import base64
import gzip
import json
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import volume_child
from faults import FaultProxy
from hypothesis import settings
from servers.gs import gs_server
from volumes import make, noise

from precomp import CloudVolume, VolumeFactory
from precomp.bench.serving import free_port
from precomp.errors import CredentialsError, InfoNotFoundError, StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Store
from precomp.mesh import legacy
from precomp.mesh.model import Mesh
from precomp.testing import StoreTests, VolumeStateMachine
from precomp.testing.names import LEGAL_KEYS
from precomp_plugins._gs.store import GsStore
from precomp_plugins.gs import GsOptions


def options(**given: Any) -> dict[str, Any]:
    return {"endpoint_url": gs_server().url, "anonymous": True, "concurrency": 4, **given}


def store_at(bucket: str, path: str = "ds/layer", **given: Any) -> GsStore:
    return GsStore(CloudPath("gs", bucket, path), GsOptions(**options(**given)))


@pytest.fixture
def bucket() -> str:
    return gs_server().new_bucket()


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody says an address, as in other processes."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs_server().url)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy(gs_server().port) as proxy:
        yield proxy


class TestStore(StoreTests):
    """The contract of a store."""

    keeps_headers = True
    picklable = True
    page_size = 50  # real pages are tested below
    max_examples = 10

    def make_store(self) -> Store:
        self.bucket = gs_server().client.bucket(gs_server().new_bucket())
        return store_at(self.bucket.name)

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        self.bucket.blob(f"ds/layer/{key}").upload_from_string(data)

    def raw_get(self, store: Store, key: str) -> bytes | None:
        blob = self.bucket.get_blob(f"ds/layer/{key}")
        return None if blob is None else bytes(blob.download_as_bytes(raw_download=True))

    def make_failing_store(self) -> Store:
        return store_at("bucket", endpoint_url=f"http://127.0.0.1:{free_port()}", max_attempts=1)


class Volumes(VolumeStateMachine):
    """A volume beside an array."""

    options = {"anonymous": True}  # noqa: RUF012  as in the kit

    def cloudpath(self) -> str:
        return f"gs://{gs_server().new_bucket()}/ds/image"


@pytest.mark.usefixtures("emulator")
class TestVolumes(Volumes.TestCase):
    settings = settings(deadline=None, max_examples=6, stateful_step_count=20)


# Objects ------------------------------------------------------------------------------------------------


def test_the_bare_sdk_sees_what_was_put(bucket: str) -> None:
    store = store_at(bucket)
    data = gzip.compress(b"voxels" * 100)
    version = store.put("a b/ü#1", Blob(data, "gzip", "image/jpeg", "max-age=60"))
    found = gs_server().client.bucket(bucket).get_blob("ds/layer/a b/ü#1")
    assert (found.content_encoding, found.content_type, found.cache_control, str(found.generation)) == (
        "gzip",
        "image/jpeg",
        "max-age=60",
        version,
    )
    assert found.download_as_bytes(raw_download=True) == data
    assert found.download_as_bytes() == b"voxels" * 100
    assert not found.metadata
    store.put("plain", Blob(b"x"))
    plain = gs_server().client.bucket(bucket).get_blob("ds/layer/plain")
    assert (plain.content_encoding, plain.content_type) == (None, "application/octet-stream")


def test_odd_keys_are_the_services_names(bucket: str) -> None:
    store = store_at(bucket)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: store.put(key, Blob(key.encode())), LEGAL_KEYS))
    names = {blob.name for blob in gs_server().client.list_blobs(bucket)}
    assert names == {f"ds/layer/{key}" for key in LEGAL_KEYS}
    assert set(store.list("")) == set(LEGAL_KEYS)
    for key in LEGAL_KEYS:
        assert store.get(key).data == key.encode()  # type: ignore[union-attr]


def test_a_key_that_utf8_cannot_write(bucket: str) -> None:
    with pytest.raises(StoreError, match="UTF-8"):
        store_at(bucket).put("\udcff", Blob(b""))
    with pytest.raises(StoreError, match="UTF-8"):
        store_at(bucket).list("\udcff")


def test_layers_anywhere_in_a_bucket(bucket: str) -> None:
    for path in ("", "deep/er/and/deep/er/layer"):
        store_at(bucket, path).put("k", Blob(path.encode()))
    names = {blob.name for blob in gs_server().client.list_blobs(bucket)}
    assert names == {"k", "deep/er/and/deep/er/layer/k"}


def test_two_thousand_keys(bucket: str, proxy: FaultProxy) -> None:
    store = store_at(bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}")
    keys = [f"8_8_40/{number}" for number in range(2001)]
    direct = store_at(bucket)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: direct.put(key, Blob(b"")), keys))
    direct.put("8_8_4/1", Blob(b""))
    assert sorted(store.list("8_8_40/")) == sorted(keys)
    assert len(proxy.requests) == 3  # pages
    direct.delete(keys[50:150])
    assert sorted(store.list("8_8_40/")) == sorted(keys[:50] + keys[150:])


def test_placeholders_of_folders_are_no_keys(bucket: str) -> None:
    for name in ("ds/layer/", "ds/layer/8_8_40/", "ds/layer/8_8_40/x", "ds/layer/a//b", "ds/layers"):
        gs_server().client.bucket(bucket).blob(name).upload_from_string(b"")
    assert list(store_at(bucket).list("")) == ["8_8_40/x"]


def test_ranges_of_what_is_packed_are_those_of_the_stored_bytes(bucket: str, proxy: FaultProxy) -> None:
    """Else the service would unpack the object, and send all of it."""
    data = gzip.compress(np.random.default_rng(0).bytes(1000))
    store = store_at(bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}")
    store.put("k", Blob(data, "gzip"))
    blob = store.get("k", ByteRange(10, 20))
    assert blob is not None
    assert (bytes(blob.data), blob.size, blob.content_encoding) == (data[10:20], len(data), "gzip")
    assert proxy.requests[-1].headers["accept-encoding"] == "gzip"
    assert isinstance(blob.data, memoryview)


def test_ranges_near_each_other_are_one_request(bucket: str, proxy: FaultProxy) -> None:
    store = store_at(bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}")
    data = np.random.default_rng(0).bytes(2_000_000)
    store.put("k", Blob(data))
    near = [ByteRange(1000, 1010), ByteRange(0, 10), ByteRange(5, 5), ByteRange(200_000, 200_001)]
    far = [*near, ByteRange(1_999_990, 2_000_100), ByteRange(1_000_000, 1_000_001)]
    for ranges, requests in ((near, 1), (far, 3)):
        proxy.clear()
        blobs = store.get_ranges("k", ranges)
        assert blobs is not None
        assert [bytes(blob.data) for blob in blobs] == [data[a:b] for a, b in ranges]
        assert {blob.size for blob in blobs} == {len(data)}
        assert len(proxy.requests) == requests
    assert store.get_ranges("absent", far) is None


def test_ranges_are_of_one_generation(bucket: str) -> None:
    store, values = store_at(bucket), [bytes([letter]) * 1_500_000 for letter in b"ab"]
    store.put("k", Blob(values[0]))
    done = threading.Event()

    def write() -> None:
        for number in range(40):
            store.put("k", Blob(values[number % 2]))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        parts = store.get_ranges("k", [ByteRange(0, 10), ByteRange(1_400_000, 1_400_010)])
        assert parts is not None
        assert bytes(parts[0].data) == bytes(parts[1].data)
        assert parts[0].version == parts[1].version
    writer.join()


def test_a_proxy_of_the_environment(bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:pass%20word@127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    far = store_at(bucket, endpoint_url="http://storage.invalid")
    far.put("k", Blob(b"x"))
    assert list(far.list("")) == ["k"]
    assert {request.path.split("/storage/v1/")[0].removesuffix("/upload") for request in proxy.requests} == {
        "http://storage.invalid"
    }
    login = base64.b64encode(b"me:pass word").decode()
    assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {login}"
    assert store_at(bucket).get("k") is not None  # past the proxy
    assert len(proxy.requests) == 2


def test_a_proxy_that_is_none_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, address in (
        ("all_proxy", "socks5://me:hunter2@h:1080"),
        ("https_proxy", "http://me:hunter2@[::1"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, address)
            with pytest.raises(StoreError, match=r"^proxy: expected .* correct the environment") as raised:
                store_at("bucket", endpoint_url="https://storage.invalid")
        assert "hunter2" not in str(raised.value)
        assert raised.value.__cause__ is None


# Absence, and what looks like it ------------------------------------------------------------------------


def test_a_bucket_that_is_not_there_is_no_absent_object() -> None:
    name = "no-such-bucket"
    calls = {
        "get": lambda: store_at(name).get("k"),
        "get of a range": lambda: store_at(name).get("k", ByteRange(0, 5)),
        "get of ranges": lambda: store_at(name).get_ranges("k", [ByteRange(0, 5)]),
        "stat": lambda: store_at(name).stat("k"),
        "list": lambda: list(store_at(name).list("")),
        "put": lambda: store_at(name).put("k", Blob(b"")),
        "put on a condition": lambda: store_at(name).put("k", Blob(b""), condition=Condition(None)),
        "delete": lambda: store_at(name).delete(["k"]),
        "delete of several": lambda: store_at(name).delete(["k", "l"]),
        "open": lambda: CloudVolume(f"gs://{name}/ds/image", options=options()),
        "exists": lambda: _unsaved(name).exists(slice(None)),
        "fill_missing": lambda: _unsaved(name)[...],
    }
    for what, call in calls.items():
        with pytest.raises(StoreError, match="there is no bucket 'no-such-bucket'") as caught:
            call()
        assert f"gs://{name}/ds/" in str(caught.value), what


def _unsaved(bucket: str) -> CloudVolume:
    info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    return CloudVolume(f"gs://{bucket}/ds/image", info=info, fill_missing=True, options=options())


def test_the_bucket_is_looked_at_once(bucket: str, proxy: FaultProxy) -> None:
    store = store_at(bucket, endpoint_url=f"http://127.0.0.1:{proxy.port}")
    for number in range(3):
        assert store.get(f"{number}") is None
        assert store.stat(f"{number}") is None
    store.delete(["0", "1"])
    assert len(proxy.requests) == 9


def test_no_layer(bucket: str) -> None:
    with pytest.raises(InfoNotFoundError, match=f"gs://{bucket}/ds/image/info: there is no info file"):
        CloudVolume(f"gs://{bucket}/ds/image", options=options())


# Volumes ------------------------------------------------------------------------------------------------


def test_chunks_as_the_bare_sdk_sees_them(bucket: str) -> None:
    voxels = noise((16, 16, 16, 1))
    vol = make(f"gs://{bucket}/ds/image", (16, 16, 16), cdn_cache=600, options=options())
    vol[...] = voxels
    info, chunk = (
        gs_server().client.bucket(bucket).get_blob(f"ds/image/{name}")
        for name in ("info", "8_8_40/-5-11_3-19_100-116")
    )
    assert (info.content_type, info.cache_control, info.content_encoding) == (
        "application/json",
        "no-cache",
        None,
    )
    assert json.loads(info.download_as_bytes()) == vol.info
    assert (chunk.content_type, chunk.cache_control, chunk.content_encoding) == (
        "application/octet-stream",
        "max-age=600",
        "gzip",
    )
    assert gzip.decompress(chunk.download_as_bytes(raw_download=True)) == voxels.tobytes("F")
    vol.compress = False
    vol[...] = voxels
    plain = gs_server().client.bucket(bucket).get_blob("ds/image/8_8_40/-5-11_3-19_100-116")
    assert (plain.content_encoding, plain.download_as_bytes()) == (None, voxels.tobytes("F"))


def test_jpeg_chunks_are_images(bucket: str) -> None:
    vol = make(f"gs://{bucket}/ds/image", (16, 16, 16), encoding="jpeg", options=options())
    vol[...] = 7
    (chunk,) = gs_server().client.list_blobs(bucket, prefix="ds/image/8_8_40/")
    assert (chunk.content_type, chunk.content_encoding) == ("image/jpeg", None)
    assert (vol[...] == 7).all()


def test_what_the_bare_sdk_stored_is_read(bucket: str) -> None:
    make(f"gs://{bucket}/ds/image", (16, 16, 16), options=options())
    voxels = noise((16, 16, 16, 1))
    blob = gs_server().client.bucket(bucket).blob("ds/image/8_8_40/-5-11_3-19_100-116")
    for encoding, data in {
        None: voxels.tobytes("F"),
        "gzip": gzip.compress(voxels.tobytes("F")),
    }.items():
        blob.content_encoding = encoding
        blob.upload_from_string(data)
        again = CloudVolume(f"gs://{bucket}/ds/image", options=options())
        np.testing.assert_array_equal(again[...], voxels)
        np.testing.assert_array_equal(again[-5, 3:9, 101:105], voxels[:1, :6, 1:5])


def test_exists_delete_and_transfer(bucket: str, tmp_path: Any) -> None:
    voxels = noise((40, 30, 20, 1))
    vol = CloudVolume.from_numpy(
        voxels,
        f"gs://{bucket}/ds/image",
        resolution=(8, 8, 40),
        voxel_offset=(-5, 3, 100),
        chunk_size=(16, 16, 16),
        options=options(),
    )
    assert set(vol.exists(vol.bounds).values()) == {True}
    copies = [
        vol.transfer_to(f"gs://{bucket}/ds/copy", options=options()),
        vol.transfer_to(tmp_path / "ds" / "copy"),
    ]
    for copy in copies:
        np.testing.assert_array_equal(copy[...], voxels)
    vol.delete(vol.bounds)
    assert set(vol.exists(vol.bounds).values()) == {False}
    assert [blob.name for blob in gs_server().client.list_blobs(bucket, prefix="ds/image/")] == [
        "ds/image/info",
        "ds/image/provenance",
    ]
    registry = VolumeFactory.from_dict({"protocols": {"gs": options()}}).registry
    back = CloudVolume(tmp_path / "ds" / "copy", registry=registry).transfer_to(f"gs://{bucket}/ds/back")
    np.testing.assert_array_equal(back[...], voxels)


def test_meshes(bucket: str) -> None:
    info = CloudVolume.create_new_info(
        1, "segmentation", "uint64", "raw", (8, 8, 40), (0, 0, 0), (64, 64, 64), mesh="mesh"
    )
    vol = CloudVolume(f"gs://{bucket}/ds/seg", info=info, options=options())
    vol.commit_info()
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.uint32))
    fragments = {"7:0:a b#1": legacy.encode_fragment(mesh), "7:0:b": legacy.encode_fragment(mesh)}
    store = store_at(bucket, "ds/seg")
    store.put("mesh/7:0", Blob(legacy.encode_manifest(fragments)))
    for name, data in fragments.items():
        store.put(f"mesh/{name}", Blob(gzip.compress(data), "gzip"))
    found = vol.mesh.get(7)
    assert len(found.faces) == 2
    assert len(found.vertices) in (3, 6)


def test_a_config(bucket: str) -> None:
    new = {
        "num_channels": 1,
        "layer_type": "image",
        "data_type": "uint8",
        "encoding": "raw",
        "resolution": [8, 8, 40],
        "voxel_offset": [0, 0, 0],
        "volume_size": [20, 20, 10],
    }
    table = {"cloudpath": f"gs://{bucket}/ds/em", "create": new}
    config = {"protocols": {"gs": options(max_attempts=2)}, "volumes": {"em": table}}
    factory = VolumeFactory.from_dict(config)
    vol = factory.open("em")
    vol[...] = 9
    assert (factory.open("em")[...] == 9).all()
    assert factory.describe()["volumes"]["em"]["options"]["max_attempts"] == 2


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"timeout": 0}, "timeout"),
        ({"concurrency": 0}, "concurrency"),
        ({"endpoint_url": "storage.example"}, "endpoint_url"),
        ({"anonymous": True, "secrets": {"type": "service_account"}}, "anonymous: expected no `secrets`"),
        ({"anonymus": True}, "anonymus.*did you mean 'anonymous'"),
    ],
)
def test_wrong_options(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        CloudVolume("gs://bucket/ds/image", options=wrong)


def test_the_workers_are_those_that_were_asked_for(bucket: str) -> None:
    assert store_at(bucket, concurrency=7).workers == 7


# Processes ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("emulator")
def test_no_unaligned_write_of_eight_processes_is_lost(bucket: str) -> None:
    path = f"gs://{bucket}/ds/image"
    vol = make(path, (48, 4, 4), voxel_offset=(0, 0, 0), chunk_size=(24, 4, 4))
    volume_child.run("unaligned", path, 8, 48)
    assert vol[:, 0, 0].ravel().tolist() == list(range(1, 49))


def total(vol: CloudVolume) -> int:
    return int(np.asarray(vol[...], np.int64).sum())


def put_and_report(vol: CloudVolume, queue: Any) -> None:
    vol[-5:11, 3:19, 100:116] = 9
    queue.put(total(vol))


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_volume_works_in_another_process(bucket: str, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} has no {method}")
    vol = make(f"gs://{bucket}/ds/image", parallel=4)
    voxels = noise(vol.shape)
    vol[...] = voxels
    assert total(vol) == voxels.sum(dtype=np.int64)  # the volume has been used, with threads, before
    voxels[:16, :16, :16] = 9
    context = multiprocessing.get_context(method)
    queue, stop = context.Queue(), threading.Event()
    busy = threading.Thread(target=lambda: [total(vol) for _ in iter(stop.is_set, True)])
    busy.start()  # a fork while another thread reads
    try:
        child = context.Process(target=put_and_report, args=(vol, queue))
        child.start()
        assert queue.get(timeout=60) == voxels.sum(dtype=np.int64)
        child.join(60)
        assert child.exitcode == 0
    finally:
        stop.set()
        busy.join()
    np.testing.assert_array_equal(vol[...], voxels)


def test_options_travel_and_secrets_do_not(bucket: str) -> None:
    make(f"gs://{bucket}/ds/image", options=options())[...] = 3
    vol = CloudVolume(f"gs://{bucket}/ds/image", options=options(concurrency=3))
    assert (pickle.loads(pickle.dumps(vol))[...] == 3).all()
    login = {"type": "authorized_user", "client_id": "x", "client_secret": "hunter2", "refresh_token": "x"}
    ours = options(anonymous=False)
    given = CloudVolume(vol.cloudpath, info=vol.info, options=ours, secrets=login)
    data = pickle.dumps(given)
    assert b"hunter2" not in data
    with pytest.raises(CredentialsError, match=r"gs: option secrets\.type: .* does not travel by pickle"):
        pickle.loads(data)[...]
    store = store_at(bucket, anonymous=False, secrets=login)
    assert "hunter2" not in repr(store) + repr(vars(store)) + repr(vars(store._objects))
    with pytest.raises(CredentialsError, match="does not travel"):
        pickle.dumps(store)
