"""`s3://` on a real server: the contract, what is stored, other programs, many objects."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from s3_places import alone, layer, new_path, put_secret, store_at
from servers.s3 import BUCKET, s3_server
from volumes import make, noise

from precomp import CloudVolume
from precomp.bench.serving import free_port
from precomp.errors import ArgumentError, ConditionFailedError, ConfigError, StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Store
from precomp.testing import StoreTests, VolumeStateMachine
from precomp_plugins._s3.store import S3Store
from precomp_plugins.s3 import S3Options

_BACKSLASH = "\N{REVERSE SOLIDUS OPERATOR}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the secret of the server, and nothing else."""
    alone(tmp_path / "home", monkeypatch)
    put_secret(tmp_path / "home" / ".neuroglancer" / "secrets", s3_server().secret)
    return tmp_path / "home"


class WithBackslash(S3Store):
    """Spares the server of the tests, which takes it for a slash, the backslash."""

    def _full(self, key: str) -> str:
        return super()._full(key).replace("\\", _BACKSLASH)

    def _listed(self, prefix: str) -> Iterator[str]:
        for key in super()._listed(prefix.replace("\\", _BACKSLASH)):
            yield key.replace(_BACKSLASH, "\\")


class TestStore(StoreTests):
    """The contract of a store."""

    keeps_headers = True
    picklable = True
    page_size = 2000  # two pages, and some

    def make_store(self) -> Store:
        self.folder = s3_server().new_folder()
        return WithBackslash(CloudPath("s3", BUCKET, self.folder), S3Options(**layer()))

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        s3_server().client.put_object(Bucket=BUCKET, Key=f"{self.folder}/{key}", Body=data)

    def raw_get(self, store: Store, key: str) -> bytes:
        with s3_server().client.get_object(Bucket=BUCKET, Key=f"{self.folder}/{key}")["Body"] as body:
            return bytes(body.read())

    def make_failing_store(self) -> Store:
        return store_at(endpoint_url=f"http://127.0.0.1:{free_port()}", max_attempts=2)


def test_a_volume_lives() -> None:
    class Life(VolumeStateMachine):
        options = layer()

        def cloudpath(self) -> str:
            return new_path()

    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    few = settings(
        max_examples=8,
        stateful_step_count=20,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=quiet,
    )
    run_state_machine_as_test(Life, settings=few)


def stored(vol: CloudVolume, key: str) -> dict[str, Any]:
    """What S3 says of an object, asked by boto3 alone; its bytes under `data`."""
    found = s3_server().client.get_object(
        Bucket=BUCKET, Key=f"{vol.cloudpath.removeprefix(f's3://{BUCKET}/')}/{key}"
    )
    with found["Body"] as body:
        return {**found, "data": body.read()}


@pytest.mark.parametrize(
    ("encoding", "compress", "content_type", "content_encoding"),
    [
        ("raw", None, "application/octet-stream", "gzip"),
        ("raw", False, "application/octet-stream", None),
        ("raw", "br", "application/octet-stream", "br"),
        ("npz", None, "application/octet-stream", "gzip"),
        ("jpeg", None, "image/jpeg", None),
    ],
)
@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
def test_headers_of_a_chunk(
    encoding: str, compress: Any, content_type: str, content_encoding: str | None
) -> None:
    vol = make(new_path(), encoding=encoding, compress=compress, options=layer())
    vol[...] = 7
    found = stored(vol, "8_8_40/-5-11_3-19_100-116")
    assert found["ContentType"] == content_type
    assert found.get("ContentEncoding") == content_encoding
    assert (found["data"][:2] == b"\x1f\x8b") == (content_encoding == "gzip")
    if content_encoding is None and encoding == "raw":
        assert found["data"] == bytes([7]) * 16**3
    assert (np.asarray(vol[...]) == 7).all()


def test_a_copy_on_the_disk_is_plain_where_it_is_asked_for(tmp_path: Path) -> None:
    vol = make(new_path(), options=layer())
    vol[...] = voxels = noise(vol.shape)
    for compress, suffixes in ((None, {".gz"}), (False, {""})):
        folder = tmp_path / str(compress)
        copy = vol.transfer_to(folder, compress=compress)
        assert {path.suffix for path in (folder / "8_8_40").iterdir()} == suffixes
        np.testing.assert_array_equal(copy[...], voxels)
    kvstore = {"driver": "file", "path": f"{folder}/"}
    found = tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": kvstore}).result()
    np.testing.assert_array_equal(found.read().result(), voxels)


@pytest.mark.parametrize(
    ("cdn_cache", "header"),
    [
        (False, "no-cache"),
        (True, "max-age=3600"),
        (60, "max-age=60"),
        ("public, no-transform", "public, no-transform"),
    ],
)
def test_cache_control(cdn_cache: Any, header: str) -> None:
    vol = make(new_path(), cdn_cache=cdn_cache, options=layer())
    vol[...] = 7
    vol.commit_provenance()
    assert stored(vol, "8_8_40/-5-11_3-19_100-116")["CacheControl"] == header
    for name in ("info", "provenance"):
        found = stored(vol, name)
        assert (found["ContentType"], found["CacheControl"]) == ("application/json", "no-cache")


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_tensorstore_reads_it(encoding: str) -> None:
    vol = make(new_path(), encoding=encoding, compress=False, options=layer())
    vol[...] = noise(vol.shape)
    script = """
import json, sys, numpy as np, tensorstore as ts
url, bucket, path, out = sys.argv[1:]
kvstore = {"driver": "s3", "bucket": bucket, "endpoint": url, "aws_region": "us-east-1", "path": path + "/"}
np.save(out, ts.open({"driver": "neuroglancer_precomputed", "kvstore": kvstore}).result().read().result())
"""
    out = Path.home() / "voxels.npy"
    path = vol.cloudpath.removeprefix(f"s3://{BUCKET}/")
    command = [sys.executable, "-c", script, s3_server().url, BUCKET, path, str(out)]
    run = subprocess.run(
        command, env={**os.environ, **s3_server().secret}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    np.testing.assert_array_equal(np.load(out), np.asarray(vol[...]))


def test_names_are_literal() -> None:
    path = f"{new_path()}/a b/%41+ü/#1?x=y"
    vol = make(path, options=layer())
    vol[...] = 7
    assert (np.asarray(CloudVolume(path, options=layer())[...]) == 7).all()
    keys = [
        item["Key"]
        for item in s3_server().client.list_objects_v2(Bucket=BUCKET, Prefix=path[11:])["Contents"]
    ]
    assert f"{path.removeprefix(f's3://{BUCKET}/')}/info" in keys


def test_a_key_that_utf8_cannot_write() -> None:
    store = store_at()
    for call in (store.get, store.stat, store.list, lambda key: store.put(key, Blob(b""))):
        with pytest.raises(StoreError, match="is no key: UTF-8"):
            call("a/\udcff")


def test_what_no_header_can_hold_is_not_sent() -> None:
    store, text = store_at(), "a\nb"
    for blob in (Blob(b"", text), Blob(b"", content_type=text), Blob(b"", cache_control="\udcff")):
        with pytest.raises(StoreError, match="expected headers of printable ASCII"):
            store.put("x", blob)
    with pytest.raises(ConditionFailedError):
        store.put("x", Blob(b""), condition=Condition(text))
    assert store.get("x") is None


def test_keys_that_xml_cannot_hold_are_deleted_with_others() -> None:
    store, keys = store_at(), ["a", "b", "with\x01", "with\rreturn", "with\x7f", "with\uffff"]
    for key in keys:
        store.put(key, Blob(b"x"))
    assert sorted(store.list("")) == sorted(keys)
    store.delete(keys)
    assert list(store.list("")) == []


def test_two_thousand_objects_are_deleted() -> None:
    store = store_at()
    for number in range(3):
        store.put(f"a/{number}", Blob(b"x"))
    store.put("b", Blob(b"x"))
    store.delete(f"a/{number}" for number in range(2001))
    assert list(store.list("")) == ["b"]


def test_a_folder_made_by_a_console_is_no_object() -> None:
    store = store_at("ds/of-a-console")
    for key in ("ds/of-a-console/", "ds/of-a-console/8_8_40/", "ds/of-a-console/info"):
        s3_server().client.put_object(Bucket=BUCKET, Key=key, Body=b"")
    assert list(store.list("")) == ["info"]


def test_parts_far_apart_are_of_one_version() -> None:
    store = store_at()
    old, new = b"a" * 2**20, b"b" * 2**20
    store.put("x", Blob(old))
    ranges = [ByteRange(2**20 - 1, 2**20), ByteRange(0, 1)]
    bucket = store._bucket
    find, asked = bucket.find, []

    def replace_once(*arguments: Any) -> Any:
        blob = find(*arguments)
        if not asked:
            store.put("x", Blob(new))
        asked.append(blob)
        return blob

    bucket.find = replace_once  # type: ignore[method-assign]
    parts = store.get_ranges("x", ranges)
    assert parts is not None
    assert [bytes(part.data) for part in parts] == [b"b", b"b"]
    assert len(asked) > 2


def test_a_large_object_goes_and_comes() -> None:
    store = store_at()
    data = np.random.default_rng(0).bytes(2**23 + 1)  # which goes in pieces
    version = store.put("x", Blob(data, "gzip"))
    blob = store.get("x")
    assert blob is not None
    assert (blob.data, blob.version, blob.content_encoding) == (data, version, "gzip")


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"timeout": 0},
        {"concurrency": 0},
        {"addressing_style": "host"},
        {"profile": "nobody"},
        {"anonymous": True, "profile": "x"},
        {"endpoint_url": "127.0.0.1:8333"},
    ],
)
def test_wrong_options_are_told(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        CloudVolume(f"s3://{BUCKET}/ds/layer", options=options)


def test_a_bucket_that_cannot_be_is_told() -> None:
    with pytest.raises((ConfigError, StoreError, ArgumentError), match="no bucket at all"):
        CloudVolume("s3://no bucket at all/ds/layer", options=layer())
