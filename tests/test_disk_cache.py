"""Copies of remote objects on the local disk: bounded, shared, never stale, never another volume's."""

import copy
import gzip
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from privileges import unprivileged
from volumes import make, noise

from precomp import Bbox, CloudVolume
from precomp.engine.disk.claim import default_folder
from precomp.engine.disk.entries import HIDDEN
from precomp.engine.disk.records import Record
from precomp.errors import (
    ArgumentError,
    ChunkDecodeError,
    ConditionFailedError,
    ConfigError,
    EmptyVolumeError,
    PrecompWarning,
    StoreError,
    UnknownProtocolError,
)
from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Store
from precomp.memory import MemoryStore, open_shared
from precomp.plugins import Registry
from precomp.testing import Fault, FaultyStore
from precomp.url import parse
from precomp_plugins import file, memory
from precomp_plugins.codecs import jpeg, raw
from precomp_plugins.compressors import gzip as gzip_plugin

CHUNK = 16**3


class Plain:
    """A store with the five methods of the contract alone, as one that talks to a service has."""

    workers = 7

    def __init__(self, store: Store) -> None:
        self.get, self.put, self.delete = store.get, store.put, store.delete
        self.list, self.stat = store.list, store.stat


class Remote:
    """The protocol `far`: objects with versions and headers, gzipped by default, each call counted.

    Attributes:
        faulty: the store of the layer opened last.
        faults: for those opened from now on.
        calls: of all methods, method and key.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.faulty: FaultyStore | None = None
        self.registry = Registry.of([self, file, memory, raw, jpeg, gzip_plugin])

    @hookimpl
    def precomp_register_protocols(self) -> list[ProtocolPlugin]:
        return [ProtocolPlugin("far", self.open, compress="gzip")]

    def open(self, path: CloudPath, options: Any = None) -> Store:
        self.faulty = FaultyStore(Plain(open_shared(f"{path.bucket}/{path.path}".rstrip("/"))), self.faults)
        return Plain(self.faulty)

    @property
    def gets(self) -> int:
        assert self.faulty
        return self.faulty.calls["get"]

    @property
    def stats(self) -> int:
        assert self.faulty
        return self.faulty.calls["stat"]


@pytest.fixture
def far() -> Remote:
    return Remote()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "precomp"


@pytest.fixture
def path() -> str:
    return f"far://{uuid.uuid4()}/ds/image"


def behind(vol: CloudVolume) -> MemoryStore:
    """The objects of a volume of `far` or `mem`, behind its back."""
    found = parse(vol.cloudpath)
    return open_shared(f"{found.bucket}/{found.path}")


@pytest.fixture
def vol(far: Remote, path: str, tmp_path: Path) -> CloudVolume:
    """A written volume of 12 chunks, opened with an empty cache."""
    made = make(path, registry=far.registry)
    made[...] = noise(made.shape)
    return CloudVolume(path, cache=tmp_path / "cache", registry=far.registry)


def data_at(store: Store, key: str) -> bytes:
    blob = store.get(key)
    assert blob is not None
    return bytes(blob.data)


def files(folder: Path) -> dict[str, bytes]:
    """What is in a folder, without names that start with a dot."""
    return {
        str(found.relative_to(folder)): found.read_bytes()
        for found in folder.rglob("*")
        if found.is_file() and not any(part.startswith(".") for part in found.relative_to(folder).parts)
    }


# --- reading -----------------------------------------------------------------------------------------


def test_it_is_off_by_default(far: Remote, path: str, home: Path) -> None:
    vol = make(path, registry=far.registry)
    vol[...] = 1
    vol[...]
    assert (vol.cache.enabled, bool(vol.cache), vol.cache_validate) == (False, False, False)
    assert vol.cache_bytes == 10 * 2**30
    assert vol.cache.num_files() == vol.cache.num_bytes() == 0
    assert vol.cache.list() == []
    vol.cache.flush()
    assert not home.exists()


def test_each_chunk_is_fetched_once(vol: CloudVolume, far: Remote) -> None:
    voxels, before = noise(vol.shape), far.gets
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], voxels)
        np.testing.assert_array_equal(vol[0:9, 5:20, 101:119:3], voxels[5:14, 2:17, 1:19:3])
    assert far.gets - before == 12
    assert vol.cache.num_files() == 12
    other = CloudVolume(vol.cloudpath, cache=vol.cache.path, registry=far.registry)
    before = far.gets
    np.testing.assert_array_equal(other[...], voxels)
    assert far.gets == before
    assert far.stats == 0


def test_the_folder_is_a_volume_with_the_stored_bytes(vol: CloudVolume, tmp_path: Path) -> None:
    vol.provenance  # noqa: B018
    vol[...]
    local = CloudVolume(tmp_path / "cache")
    np.testing.assert_array_equal(local[...], noise(vol.shape))
    assert local.info == vol.info
    stored = behind(vol)
    found = files(tmp_path / "cache")
    assert found.pop("info") == bytes(stored.get("info").data)  # type: ignore[union-attr]
    assert found.keys() == {f"{key}.gz" for key in vol.exists(vol.bounds)}
    for name, data in found.items():
        assert data == bytes(stored.get(name.removesuffix(".gz")).data)  # type: ignore[union-attr]
        assert gzip.decompress(data)


def test_tensorstore_opens_the_folder_where_chunks_are_plain(far: Remote, path: str, tmp_path: Path) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    made = make(path, registry=far.registry, compress=False, dtype="uint16")
    made[...] = noise(made.shape, "uint16")
    vol = CloudVolume(path, cache=tmp_path / "cache", registry=far.registry)
    vol[...]
    spec = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{tmp_path}/cache/"}
    opened = tensorstore.open(spec, open=True).result()
    np.testing.assert_array_equal(opened.read().result(), noise(vol.shape, "uint16"))


def test_headers_and_versions_are_those_of_the_store(vol: CloudVolume) -> None:
    key = "8_8_40/-5-11_3-19_100-116"
    store = vol._layer.objects().store
    first, second = store.get(key), store.get(key)
    assert first is not None
    assert second == first == behind(vol).get(key)
    assert first.cache_control == "no-cache"
    assert first.content_type == "application/octet-stream"


def test_absent_chunks_are_asked_for_again(vol: CloudVolume, far: Remote) -> None:
    key = "8_8_40/-5-11_3-19_100-116"
    chunk = behind(vol).get(key)
    behind(vol).delete([key])
    assert chunk is not None
    for _ in range(2):
        with pytest.raises(EmptyVolumeError):
            vol[0, 5, 101]
    behind(vol).put(key, chunk)
    np.testing.assert_array_equal(vol[...], noise(vol.shape))


def test_plain_chunks_are_fetched_whole_and_served_in_part(far: Remote, path: str, tmp_path: Path) -> None:
    made = make(path, registry=far.registry, compress=False)
    made[...] = noise(made.shape)
    vol = CloudVolume(path, cache=tmp_path / "cache", registry=far.registry)
    before = far.gets
    np.testing.assert_array_equal(vol[0, 5, 101:103], noise(vol.shape)[5:6, 2:3, 1:3])
    assert far.gets - before == 1
    assert vol.cache.num_bytes() == CHUNK
    np.testing.assert_array_equal(vol[-5:11, 3:19, 100:116], noise(vol.shape)[:16, :16, :16])
    assert far.gets - before == 1


@pytest.mark.parametrize("byte_range", [(0, 10), (0, 100), (0, 1000), (5, 20), (90, 200), (100, 110), (7, 7)])
@pytest.mark.parametrize("large", [False, True])
def test_a_part_is_never_kept_for_the_whole(
    vol: CloudVolume, byte_range: tuple[int, int], large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("precomp.engine.disk.far._LARGEST_FETCHED", 50)
    content = bytes(range(100))
    behind(vol).put("mesh/1", Blob(content))
    store, wanted = vol._layer.objects().store, ByteRange(*byte_range)
    for _ in range(3):
        blob = store.get("mesh/1", wanted)
        assert blob is not None
        assert bytes(blob.data) == content[slice(*byte_range)]
        assert blob.size == 100
    whole = store.get("mesh/1")
    assert whole is not None
    assert bytes(whole.data) == content
    assert whole.size is None
    kept = files(Path(vol.cache.path))
    assert kept["mesh/1"] == content


def test_keys_that_no_file_can_have_pass_by(vol: CloudVolume, far: Remote) -> None:
    store = vol._layer.objects().store
    for key in ("notes.gz", ".hidden", "a/.b/c", "x" * 300, "a/" + "\N{SNOWMAN}" * 80):
        behind(vol).put(key, Blob(key.encode()))
        before = far.gets
        for _ in range(2):
            assert data_at(store, key) == key.encode()
        assert far.gets - before == 2
        store.put(key, Blob(b"new"))
        store.delete([key])
        assert behind(vol).get(key) is None
    assert files(Path(vol.cache.path)).keys() == {"info"}


def test_a_key_that_is_a_folder_of_others_passes_by(vol: CloudVolume) -> None:
    store = vol._layer.objects().store
    store.put("notes/a", Blob(b"kept"))
    with told() as texts:
        for content in (b"1", b"2"):
            store.put("notes", Blob(content))
            assert data_at(store, "notes") == content
        assert data_at(store, "notes/a") == b"kept"
        store.delete(["notes"])
    assert len(texts) == 1
    assert "is not kept in the cache" in texts[0]
    assert behind(vol).get("notes") is None
    assert Path(vol.cache.path, "notes", "a").read_bytes() == b"kept"


# --- writing -----------------------------------------------------------------------------------------


def test_a_write_goes_to_the_store_first_and_is_kept(vol: CloudVolume, far: Remote) -> None:
    vol[...] = 7
    before = far.gets
    assert np.unique(vol[...]).tolist() == [7]
    assert far.gets == before
    assert np.unique(CloudVolume(vol.cloudpath, registry=far.registry)[...]).tolist() == [7]


@pytest.mark.parametrize("kind", ["before", "after"])
def test_a_failed_write_leaves_no_stale_copy(vol: CloudVolume, far: Remote, path: str, kind: Any) -> None:
    voxels = noise(vol.shape)
    box = np.s_[-5:11, 3:19, 100:116]
    far.faults = [Fault(kind, "put"), Fault(kind, "delete")]
    vol = CloudVolume(path, cache=vol.cache.path, registry=far.registry)
    vol[...]
    with pytest.raises(StoreError, match="injected"):
        vol[box] = 7
    if kind == "after":
        voxels[:16, :16, :16] = 7
    np.testing.assert_array_equal(vol[...], voxels)
    with pytest.raises(StoreError, match="injected"):
        vol.delete(box)
    if kind == "after":
        with pytest.raises(EmptyVolumeError):
            vol[box]
    else:
        np.testing.assert_array_equal(vol[...], voxels)


def test_a_deleted_chunk_is_gone(vol: CloudVolume) -> None:
    vol[...]
    vol.delete(np.s_[-5:11, 3:19, 100:116])
    assert len(vol.cache.list()) == 11
    with pytest.raises(EmptyVolumeError):
        vol[0, 5, 101]


def test_another_compression_leaves_no_twin(vol: CloudVolume, tmp_path: Path) -> None:
    vol[...]
    vol.compress = False
    vol[...] = 3
    assert files(tmp_path / "cache").keys() == {"info", *vol.exists(vol.bounds)}
    assert np.unique(CloudVolume(tmp_path / "cache")[...]).tolist() == [3]


def test_conditions_are_judged_by_the_store(vol: CloudVolume, far: Remote) -> None:
    """An unaligned write over a copy that is not current changes what is stored, and does not hang."""
    mine = far.faulty
    assert mine
    vol[...]
    CloudVolume(vol.cloudpath, registry=far.registry)[...] = 9
    vol.non_aligned_writes = True
    vol[0:2, 5:7, 101:103] = 1
    assert mine.calls["put"] == 1  # it began with what the store holds
    expected = np.full((16, 16, 16, 1), 9, np.uint8)
    expected[5:7, 2:4, 1:3] = 1
    np.testing.assert_array_equal(vol[-5:11, 3:19, 100:116], expected)
    store, key = vol._layer.objects().store, "8_8_40/11-27_3-19_100-116"
    old = store.get(key)
    assert old is not None
    with pytest.raises(ConditionFailedError):
        store.put(key, Blob(b"new"), condition=Condition(old.version))
    assert store.get(key) == behind(vol).get(key) != old


def test_an_update_of_a_store_with_a_lock_drops_the_copy(tmp_path: Path) -> None:
    made = make(tmp_path / "ds" / "image")
    made[...] = noise(made.shape)
    vol = CloudVolume(made.cloudpath, cache=tmp_path / "cache", non_aligned_writes=True)
    voxels = vol[...].copy()
    vol[0:20, 5:7, 101:103] = 1
    voxels[5:25, 2:4, 1:3] = 1
    np.testing.assert_array_equal(vol[...], voxels)
    np.testing.assert_array_equal(made[...], voxels)


def test_the_info_is_always_the_stores(vol: CloudVolume, far: Remote, tmp_path: Path) -> None:
    vol[...]
    writer = CloudVolume(vol.cloudpath, registry=far.registry)
    writer.info["hidden"] = True
    writer.commit_info()
    assert "hidden" not in vol.info
    assert vol.refresh_info()["hidden"] is True
    assert json.loads((tmp_path / "cache" / "info").read_text())["hidden"] is True
    assert vol.cache.num_files() == 12
    vol.info["hidden"] = False
    vol.commit_info()
    assert json.loads((tmp_path / "cache" / "info").read_text())["hidden"] is False
    vol.provenance.description = "random"
    vol.commit_provenance()
    assert CloudVolume(tmp_path / "cache").provenance.description == "random"


def test_copies_go_where_the_info_says_that_the_chunks_must_be_others(
    far: Remote, path: str, home: Path
) -> None:
    vol = make(path, registry=far.registry, max_mip=1, parallel=1, cache=True)
    for vol.mip in (0, 1):
        vol[...] = 1
    assert vol.cache.num_files(all_mips=True) == [12, 4]

    def counts() -> list[int]:
        opened: list[int] = CloudVolume(path, registry=far.registry, cache=True).cache.num_files(
            all_mips=True
        )
        return opened

    changed = CloudVolume(path, registry=far.registry)
    changed.info["scales"][1]["chunk_sizes"] = [[8, 8, 8]]
    changed.commit_info()
    assert counts() == [12, 0]
    changed.info["data_type"] = "int8"
    changed.commit_info()
    assert counts() == [0, 0]


# --- validation --------------------------------------------------------------------------------------


def test_without_validation_what_others_write_is_not_seen(vol: CloudVolume, far: Remote) -> None:
    vol[...]
    CloudVolume(vol.cloudpath, registry=far.registry)[...] = 9
    np.testing.assert_array_equal(vol[...], noise(vol.shape))
    vol.cache.flush()
    assert np.unique(vol[...]).tolist() == [9]


def test_with_validation_it_is(vol: CloudVolume, far: Remote) -> None:
    vol.cache_validate = True
    vol[...]
    other = CloudVolume(vol.cloudpath, registry=far.registry)
    box = np.s_[-5:11, 3:19, 100:116]
    other[box] = 9
    assert np.unique(vol[box]).tolist() == [9]
    other.delete(box)
    with pytest.raises(EmptyVolumeError):
        vol[box]
    assert len(vol.cache.list()) == 11
    other[box] = 8
    assert np.unique(vol[box]).tolist() == [8]
    assert np.unique(vol[box]).tolist() == [8]


def test_with_validation_a_current_copy_costs_one_stat(vol: CloudVolume, far: Remote, path: str) -> None:
    vol[...]
    again = CloudVolume(path, cache=vol.cache.path, cache_validate=True, registry=far.registry)
    gets, stats = far.gets, far.stats
    np.testing.assert_array_equal(again[...], noise(vol.shape))
    assert (far.gets - gets, far.stats - stats) == (0, 12)


def test_what_cannot_be_validated_is_not_used(tmp_path: Path) -> None:
    made = make(tmp_path / "ds" / "image")
    made[...] = 1
    vol = CloudVolume(made.cloudpath, cache=tmp_path / "cache", cache_validate=True)
    vol[...]
    made[...] = 2
    with pytest.warns(PrecompWarning, match="no versions") as told:
        assert np.unique(vol[...]).tolist() == [2]
    assert len(told) == 1
    made[...] = 3
    assert np.unique(vol[...]).tolist() == [3]


# --- bounds ------------------------------------------------------------------------------------------


def plain(far: Remote, path: str, folder: Path, **options: Any) -> CloudVolume:
    made = make(path, registry=far.registry, compress=False)
    made[...] = noise(made.shape)
    return CloudVolume(path, cache=folder, registry=far.registry, **options)


def test_no_more_is_kept_than_was_said(far: Remote, path: str, tmp_path: Path) -> None:
    vol = plain(far, path, tmp_path / "cache", cache_bytes=3 * CHUNK)
    for _ in range(3):
        np.testing.assert_array_equal(vol[...], noise(vol.shape))
        assert 0 < vol.cache.num_bytes() <= 3 * CHUNK


def test_the_least_recently_used_goes_first(far: Remote, path: str, tmp_path: Path) -> None:
    vol = plain(far, path, tmp_path / "cache", cache_bytes=12_000, parallel=1)
    one, two, three = (np.s_[-5:11, 3:19, 100:116], np.s_[11:27, 3:19, 100:116], np.s_[-5:11, 3:19, 116:120])
    for box in (one, two, three):
        vol[box]
    vol[one]
    vol[11:27, 19:33, 100:116]
    assert vol.cache.list() == sorted(
        ["8_8_40/-5-11_3-19_100-116", "8_8_40/-5-11_3-19_116-120", "8_8_40/11-27_19-33_100-116"]
    )


def test_what_is_larger_than_all_that_may_be_kept_is_not(far: Remote, path: str, tmp_path: Path) -> None:
    vol = plain(far, path, tmp_path / "cache", cache_bytes=CHUNK - 1)
    np.testing.assert_array_equal(vol[...], noise(vol.shape))
    assert "8_8_40/-5-11_3-19_100-116" not in vol.cache.list()
    assert vol.cache.num_bytes() < CHUNK


def test_a_smaller_bound_holds_from_the_next_chunk_on(vol: CloudVolume) -> None:
    vol[...]
    vol.cache_bytes = 2 * CHUNK
    vol.cache.flush_region(np.s_[-5:11, 3:19, 100:116])
    vol[...]
    assert 0 < vol.cache.num_bytes() <= 2 * CHUNK
    vol.cache_bytes = None
    vol[...]
    assert vol.cache.num_files() == 12


def test_what_was_removed_by_hand_is_not_counted_for_ever(far: Remote, path: str, tmp_path: Path) -> None:
    vol = plain(far, path, tmp_path / "cache", cache_bytes=12 * CHUNK)
    for _ in range(5):
        vol[...]
        for found in (tmp_path / "cache" / "8_8_40").iterdir():
            found.unlink()
    vol[...]
    assert vol.cache.num_files() == 12


# --- vol.cache ---------------------------------------------------------------------------------------


def test_what_it_tells(vol: CloudVolume, tmp_path: Path) -> None:
    vol[-5:27, 3:19, 100:116]
    keys = ["8_8_40/-5-11_3-19_100-116", "8_8_40/11-27_3-19_100-116"]
    assert vol.cache.enabled
    assert vol.cache.path == str(tmp_path / "cache")
    assert vol.cache.list() == vol.cache.list(mip=0) == keys
    assert vol.cache.num_files() == 2
    assert vol.cache.num_files(all_mips=True) == [2]
    size = sum(os.path.getsize(f"{vol.cache.path}/{key}.gz") for key in keys)
    assert vol.cache.num_bytes() == size
    assert vol.cache.num_bytes(all_mips=True) == [size]
    assert repr(vol.cache) == f"VolumeCache({vol.cache.path!r}, enabled=True)"


def test_flush(vol: CloudVolume, far: Remote) -> None:
    behind(vol).put("mesh/1:0", Blob(b"{}"))
    vol._layer.objects().store.get("mesh/1:0")
    vol[...]
    vol.cache.flush()
    assert files(Path(vol.cache.path)).keys() == {"info"}
    assert not list(Path(vol.cache.path, HIDDEN, "records").rglob("*-*"))
    before = far.gets
    np.testing.assert_array_equal(vol[...], noise(vol.shape))
    assert far.gets - before == 12


def test_flush_but_for_a_region(far: Remote, path: str, home: Path) -> None:
    vol = make(path, registry=far.registry, max_mip=1, parallel=1, cache=True, voxel_offset=(0, 0, 0))
    for vol.mip in (0, 1):
        vol[...] = 1
    vol._layer.objects().store.put("mesh/1:0", Blob(b"{}"))
    vol.cache.flush(preserve=Bbox((15, 0, 0), (17, 16, 16)))
    assert vol.cache.list(0) == ["8_8_40/0-16_0-16_0-16", "8_8_40/16-32_0-16_0-16"]
    assert vol.cache.list(1) == ["16_16_40/0-16_0-15_0-16"]
    assert "mesh/1:0" in files(Path(vol.cache.path))


def test_flush_a_region(far: Remote, path: str, home: Path) -> None:
    vol = make(path, registry=far.registry, max_mip=1, parallel=1, cache=True, voxel_offset=(0, 0, 0))
    for vol.mip in (0, 1):
        vol[...] = 1
    region = Bbox((15, 0, 0), (17, 16, 16))
    vol.cache.flush_region(region)
    assert vol.cache.num_files(all_mips=True) == [12, 3]
    vol.cache.flush_region(region.to_slices(), mips=0)
    assert vol.cache.num_files(all_mips=True) == [10, 3]
    vol.cache.flush_region(np.s_[:, :, :], mips=[0, 1])
    assert vol.cache.num_files(all_mips=True) == [0, 0]


def test_flush_empties_the_memory_too(vol: CloudVolume, far: Remote) -> None:
    vol.lru_bytes = 2**20
    vol[...]
    CloudVolume(vol.cloudpath, registry=far.registry)[...] = 9
    vol.cache.flush()
    assert np.unique(vol[...]).tolist() == [9]
    assert vol.lru_bytes == 2**20


def test_it_is_switched_on_and_off(vol: CloudVolume, far: Remote, home: Path, tmp_path: Path) -> None:
    vol[...]
    vol.cache = False
    before = far.gets
    vol[...]
    assert far.gets - before == 12
    vol.cache.enabled = True
    assert vol.cache.path == str(home / "far" / parse(vol.cloudpath).bucket / "ds" / "image")
    assert vol.cache.num_files() == 0
    vol[...]
    vol.cache = False
    assert vol.cache.num_files() == 12  # of the default folder
    vol.cache.flush()
    assert vol.cache.num_files() == 0
    vol.cache = tmp_path / "cache"
    assert vol.cache.num_files() == 12
    vol.cache = np.bool_(False)  # as every switch of a volume takes it
    assert not vol.cache.enabled


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("cache", 1),
        ("cache", ""),
        ("cache", None),
        ("cache_bytes", 0),
        ("cache_bytes", 1.5),
        ("cache_bytes", True),
        ("cache_validate", 1),
    ],
)
def test_wrong_settings_are_refused(vol: CloudVolume, name: str, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match=f"^{name}: expected"):
        setattr(vol, name, wrong)
    with pytest.raises(ArgumentError, match=f"^{name}: expected"):
        CloudVolume(vol.cloudpath, **{name: wrong})
    assert vol.cache.enabled


def test_a_config_sets_it(far: Remote, vol: CloudVolume, tmp_path: Path) -> None:
    table = {"cloudpath": vol.cloudpath, "cache": "em-cache", "cache_bytes": 10**6, "cache_validate": True}
    (tmp_path / "lab.json").write_text(json.dumps({"volumes": {"em": table}}))
    from precomp import VolumeFactory

    factory = VolumeFactory.from_file(tmp_path / "lab.json", registry=far.registry)
    em = factory.open("em")
    assert (em.cache.path, em.cache_bytes, em.cache_validate) == (str(tmp_path / "em-cache"), 10**6, True)
    assert not factory.open("em", cache=False).cache.enabled
    with pytest.raises(
        ConfigError, match=r"defaults\.cache: expected true or false; a folder holds one volume"
    ):
        VolumeFactory.from_dict({"defaults": {"cache": "x"}}, registry=far.registry)
    for key, wrong in {"cache": "", "cache_bytes": 0, "cache_validate": 1}.items():
        with pytest.raises(ConfigError, match=f"volumes.em.{key}: "):
            VolumeFactory.from_dict({"volumes": {"em": {**table, key: wrong}}}, registry=far.registry)


def test_settings_travel_and_copies_stay(home: Path) -> None:
    made = make(f"mem://{uuid.uuid4()}/ds/image", cache=True, cache_bytes=10**6, cache_validate=True)
    made[...] = 3
    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert (twin.cache.path, twin.cache_bytes, twin.cache_validate) == (made.cache.path, 10**6, True)
        assert twin.cache.num_files() == 12
    assert len(pickle.dumps(made)) < 20_000


# --- folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cloudpath", "folder"),
    [
        ("gs://bucket/ds/image", "gs/bucket/ds/image"),
        ("https://host:8080/a%2e/b", "https/host%3A8080/a%252e/b"),
        ("s3://bucket/.hidden/..x/c", "s3/bucket/%2Ehidden/%2E.x/c"),
        ("s3://bucket/a\\b/c:d", "s3/bucket/a%5Cb/c%3Ad"),
        ("file:///data/ds/image", "file/data/ds/image"),
        ("s3://bucket", "s3/bucket"),
    ],
)
def test_the_default_folder(cloudpath: str, folder: str, home: Path) -> None:
    assert default_folder(parse(cloudpath)) == str(home / folder)


def test_no_cloudpath_leads_out_of_the_cache(home: Path) -> None:
    for path in ("../../x", "..", "./a", "a/../../../b", "/etc", "a//b", "\0", "x" * 5000, "\ud800"):
        for where in (CloudPath("gs", path, "image"), CloudPath("gs", "bucket", path)):
            folder = default_folder(where)
            assert os.path.normpath(folder) == folder
            assert folder.startswith(f"{home}/gs/")
            assert all(len(os.fsencode(part)) < 250 for part in folder.split("/"))


def test_without_a_word_it_is_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert default_folder(parse("gs://b/ds/image")) == f"{tmp_path}/.cache/precomp/gs/b/ds/image"


def test_a_folder_serves_one_cloudpath(vol: CloudVolume, far: Remote) -> None:
    other = f"far://{uuid.uuid4()}/ds/image"
    make(other, registry=far.registry)
    with pytest.raises(ArgumentError, match=f"holds copies of {vol.cloudpath}, not of {other}"):
        CloudVolume(other, cache=vol.cache.path, registry=far.registry)
    vol[...]
    with pytest.raises(ArgumentError, match="holds copies"):
        vol.layer = "image2" if make(vol.cloudpath + "2", registry=far.registry) else ""
    assert vol.cloudpath != other


def test_a_folder_with_something_else_in_it_is_left_alone(
    far: Remote, vol: CloudVolume, tmp_path: Path
) -> None:
    made = make(tmp_path / "precious" / "image")
    made[...] = 1
    before = files(tmp_path / "precious")
    for folder, name in ((tmp_path / "precious", "image"), (tmp_path / "precious" / "image", "8_8_40")):
        with pytest.raises(
            ArgumentError, match=f"is not empty and no cache of precomp's \\('{name}' is in it"
        ):
            CloudVolume(vol.cloudpath, cache=folder, registry=far.registry)
    with pytest.raises(ArgumentError, match="is a file"):
        CloudVolume(vol.cloudpath, cache=tmp_path / "precious" / "image" / "info", registry=far.registry)
    assert files(tmp_path / "precious") == before


def test_a_local_layer_is_no_cache_of_itself(tmp_path: Path) -> None:
    info = make(tmp_path / "other").info
    os.symlink(tmp_path / "ds", tmp_path / "link")
    for folder in ("ds/image", "ds", "ds/image/cache", "link", "link/image"):
        vol = CloudVolume(tmp_path / "ds" / "image", info=info, cache=tmp_path / folder)
        with pytest.raises(ArgumentError, match="lies in the layer"):
            vol.commit_info()
    assert not (tmp_path / "ds").exists()


def test_a_hostile_info_removes_nothing_elsewhere(far: Remote, path: str, tmp_path: Path) -> None:
    """Keys of an info lead into cache folders; they must lead nowhere else."""
    victim = tmp_path / "victim" / "precious"
    victim.parent.mkdir()
    victim.write_text("mine")
    made = make(path, registry=far.registry)
    for key in ("../victim", "../../victim", "../../../victim", "../../../../victim"):
        info = copy.deepcopy(made.info)
        info["scales"][0]["key"] = key
        behind(made).put("info", Blob(json.dumps(info).encode()))
        for scales in (info["scales"], [dict(info["scales"][0], encoding="jpeg")]):
            info["scales"] = scales
            behind(made).put("info", Blob(json.dumps(info).encode()))
            vol = CloudVolume(path, cache=tmp_path / "a" / "cache", registry=far.registry)
            store = vol._layer.objects().store
            store.clear(f"{key}/")  # type: ignore[attr-defined]
            assert list(store.folder.entries(f"{key}/")) == []  # type: ignore[attr-defined]
        assert victim.read_text() == "mine"


def test_links_in_the_folder_are_no_loops(vol: CloudVolume) -> None:
    vol[...]
    os.symlink(vol.cache.path, Path(vol.cache.path, "8_8_40", "again"))
    assert vol.cache.num_files() == 12
    vol.cache.flush()
    assert vol.cache.num_files() == 0


def test_a_copy_shares_the_cache(vol: CloudVolume, tmp_path: Path) -> None:
    twin = copy.copy(vol)
    twin.cache_bytes = 5000
    vol.cache = False
    assert not twin.cache.enabled
    twin.cache_validate = True
    assert (vol.cache.enabled, vol.cache_bytes, vol.cache_validate) == (False, 5000, True)
    twin.cache = tmp_path / "cache"
    vol.layer = "image"
    assert (vol.cache.path, vol.cache_bytes, vol.cache_validate) == (str(tmp_path / "cache"), 5000, True)


def test_the_default_folder_is_its_owners(far: Remote, path: str, home: Path) -> None:
    make(path, registry=far.registry, cache=True)[...] = 1
    assert home.stat().st_mode & 0o077 == 0


def test_layers_in_layers_do_not_mix(far: Remote, home: Path) -> None:
    bucket = uuid.uuid4()
    outer = make(f"far://{bucket}/ds", registry=far.registry, cache=True, parallel=1)
    inner = make(f"far://{bucket}/ds/inner", registry=far.registry, cache=True, parallel=1)
    outer[...], inner[...] = 1, 2
    assert outer.cache.num_files() == inner.cache.num_files() == 12
    outer.cache.flush()
    assert (outer.cache.num_files(), inner.cache.num_files()) == (0, 12)


def test_scales_elsewhere_have_a_folder_of_their_own(far: Remote, home: Path, tmp_path: Path) -> None:
    bucket = uuid.uuid4()
    info = make(f"far://{bucket}/ds/one", registry=far.registry).info
    info["scales"][0]["key"] = "../two/8_8_40"
    vol = CloudVolume(f"far://{bucket}/ds/three", info=info, registry=far.registry, cache=True, parallel=1)
    vol.commit_info()
    vol[...] = 5
    assert vol.cache.list()[0] == "../two/8_8_40/-5-11_19-33_100-116"
    assert vol.cache.num_files() == 12
    assert (home / "far" / str(bucket) / "ds" / "two" / "8_8_40").is_dir()
    vol.cache.flush()
    assert vol.cache.num_files() == 0
    vol.cache = tmp_path / "named"  # holds the layer alone
    assert np.unique(vol[...]).tolist() == [5]
    assert vol.cache.num_files() == 0


def test_a_redirect_is_kept_for_where_it_leads(vol: CloudVolume, far: Remote, tmp_path: Path) -> None:
    start = f"far://{uuid.uuid4()}/ds/image"
    open_shared(start.removeprefix("far://")).put(
        "info", Blob(b'{"redirect": "%s"}' % vol.cloudpath.encode())
    )
    moved = CloudVolume(start, registry=far.registry, cache=tmp_path / "other")
    moved[...]
    np.testing.assert_array_equal(CloudVolume(tmp_path / "other")[...], noise(vol.shape))


def test_without_the_protocol_file_there_is_no_cache(tmp_path: Path) -> None:
    far = Remote()
    far.registry = Registry.of([far, raw, gzip_plugin])
    info = make(tmp_path / "other").info
    vol = CloudVolume("far://a/ds/image", info=info, cache=tmp_path / "cache", registry=far.registry)
    with pytest.raises(UnknownProtocolError, match="cache: copies are files of the protocol 'file': unknown"):
        vol.commit_info()


def test_nothing_is_made_before_the_info_is_committed(far: Remote, path: str, tmp_path: Path) -> None:
    info = make(tmp_path / "other").info
    vol = CloudVolume(path, info=info, cache=tmp_path / "cache", registry=far.registry)
    assert not (tmp_path / "cache").exists()
    vol.commit_info()
    assert CloudVolume(tmp_path / "cache").info == info


# --- trouble -----------------------------------------------------------------------------------------


@contextmanager
def told() -> Iterator[list[str]]:
    """The texts of PrecompWarnings."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield texts
    texts += [str(one.message) for one in found if issubclass(one.category, PrecompWarning)]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those of `tmp_path`."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    for path, below, _ in os.walk(folder):
        for name in below:
            (Path(path) / name).chmod(0o777)
    shutil.rmtree(folder)


def blocked(folder: Path) -> Path:
    """A folder that cannot be made, by root neither: one of its parents is a file."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.joinpath("file").write_text("")
    return folder.parent / "file" / "cache"


def test_a_folder_that_cannot_be_made_breaks_no_read(vol: CloudVolume, far: Remote, tmp_path: Path) -> None:
    with told() as texts:
        other = CloudVolume(vol.cloudpath, cache=blocked(tmp_path / "a"), registry=far.registry)
        np.testing.assert_array_equal(other[...], noise(vol.shape))
        other[...] = 3
        assert np.unique(other[...]).tolist() == [3]
    (text,) = texts
    assert re.match(f"{vol.cloudpath} is read without a cache, for .*/file/cache cannot be used", text)
    assert other.cache.list() == []


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "long": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "changed": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"\0" + path.read_bytes()[-8:]),
    "renamed": lambda path: path.rename(path.with_suffix("") if path.suffix else f"{path}.gz"),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("compress", [False, "gzip"])
def test_a_damaged_copy_is_fetched_anew(
    far: Remote, path: str, tmp_path: Path, change: Callable[[Path], object], compress: Any
) -> None:
    made = make(path, registry=far.registry, compress=compress)
    made[...] = voxels = noise(made.shape) | 1
    vol = CloudVolume(path, cache=tmp_path / "cache", registry=far.registry)
    vol[...]
    before, whole = far.gets, files(tmp_path / "cache")
    for found in list(Path(vol.cache.path, "8_8_40").iterdir()):
        change(found)
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], voxels)
    assert far.gets - before == 12
    assert files(tmp_path / "cache") == whole


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[1]", "[1,2,3,4,5,6,7,8]", "[2,2,3,4,5,6,7,8]", "nonsense"),
        *('[1,"k",1,"1",null,null,null,"1"]', '[2,"k",1,1,null,null,null,"1"]', '[2,"k","1","1",1,1,1,1]'),
        '[2,"8_8_40/-5-11_3-19_100-116",-7,"",null,null,null,null]',
    ],
)
def test_a_damaged_record_is_as_good_as_none(vol: CloudVolume, far: Remote, text: str) -> None:
    vol[...]
    for found in Path(vol.cache.path, HIDDEN, "records", "8_8_40").iterdir():
        found.write_text(text)
    before = far.gets
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], noise(vol.shape))
    assert far.gets - before == 12


@pytest.fixture
def large(far: Remote, path: str, tmp_path: Path) -> CloudVolume:
    """A volume of two plain chunks of 256 KiB, both kept."""
    made = make(path, (128, 64, 64), chunk_size=(64, 64, 64), registry=far.registry, compress=False)
    made[...] = noise(made.shape)
    vol = CloudVolume(path, cache=tmp_path / "cache", registry=far.registry)
    vol[...]
    return vol


def test_of_a_copy_only_the_blocks_of_the_part_are_read(large: CloudVolume, far: Remote) -> None:
    voxels, (first, _) = noise(large.shape), sorted(Path(large.cache.path, "8_8_40").iterdir())
    data = bytearray(first.read_bytes())
    data[3 * 2**16 + 5] ^= 1  # in the last quarter
    first.write_bytes(data)
    before = far.gets
    for z in range(100, 148):
        np.testing.assert_array_equal(large[:, :, z], voxels[:, :, z - 100 : z - 99])
    np.testing.assert_array_equal(large[7:9, 40, 130:147], voxels[12:14, 37:38, 30:47])
    assert far.gets == before
    np.testing.assert_array_equal(large[:, :, 150], voxels[:, :, 50:51])
    assert far.gets == before + 1
    np.testing.assert_array_equal(large[...], voxels)
    assert far.gets == before + 1


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_part_of_a_damaged_copy_is_fetched_anew(
    large: CloudVolume, far: Remote, change: Callable[[Path], object]
) -> None:
    before = far.gets
    for found in list(Path(large.cache.path, "8_8_40").iterdir()):
        change(found)
    for _ in range(2):
        np.testing.assert_array_equal(large[:, :, 163], noise(large.shape)[:, :, 63:])
    assert far.gets - before == 2


def test_an_object_that_grows_while_it_is_fetched_is_not_fetched_whole(
    vol: CloudVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("precomp.engine.disk.far._LARGEST_FETCHED", 50)
    remote, asked = behind(vol), []
    remote.put("mesh/1", Blob(b"x" * 20))
    store: Any = vol._layer.objects().store
    get = store._far._remote.get

    def grown(key: str, part: ByteRange | None = None) -> Blob | None:
        remote.put("mesh/1", Blob(bytes(range(100))))
        asked.append(part)
        return get(key, part)

    monkeypatch.setattr(store._far._remote, "get", grown)
    found = store.get("mesh/1", ByteRange(10, 12))
    assert (bytes(found.data), found.size) == (b"\x0a\x0b", 100)
    assert asked == [(0, 50), (10, 12)]
    assert "mesh/1" not in files(Path(vol.cache.path))


@given(st.binary(max_size=700), st.lists(st.tuples(st.integers(0, 800), st.integers(0, 800)), min_size=1))
def test_parts_fit_their_record_and_no_other(data: bytes, parts: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("precomp.engine.disk.records._BLOCK", 64)
        patch.setattr("precomp.engine.disk.records._MOST_BLOCKS", 4)
        record = Record.of("k", Blob(data))
        assert len(record.checksums) <= 8 * 4
        assert record.fits("k", Blob(data))
        for start, stop in parts:
            span = record.blocks(ByteRange(start, stop))
            part = data[slice(*span)]
            if span.start >= span.stop:
                assert data[start:stop] == b""
                continue
            assert data[start:stop] == part[start - span.start :][: max(0, stop - start)]
            assert record.fits("k", Blob(part, size=len(data)), span.start)
            wrong = bytes([part[0] ^ 1]) + part[1:]
            assert not record.fits("k", Blob(wrong, size=len(data)), span.start)
            assert not record.fits("k", Blob(part, size=len(data) + 1), span.start)


def test_records_that_changed_places_are_found_out(vol: CloudVolume, far: Remote) -> None:
    vol[...]
    folder = Path(vol.cache.path)
    one, two = "8_8_40/-5-11_3-19_100-116", "8_8_40/11-27_3-19_100-116"
    for place, suffix in ((folder, ".gz"), (folder / HIDDEN / "records", "")):
        (place / (one + suffix)).replace(place / (two + suffix))
    np.testing.assert_array_equal(vol[...], noise(vol.shape))


def test_a_chunk_damaged_where_it_comes_from_is_not_kept(vol: CloudVolume, far: Remote) -> None:
    key = "8_8_40/-5-11_3-19_100-116"
    good = behind(vol).get(key)
    assert good is not None
    behind(vol).put(key, Blob(gzip.compress(b"short"), "gzip"))
    for _ in range(2):
        before = far.gets
        with pytest.raises(ChunkDecodeError, match=key):
            vol[0, 5, 101]
        assert far.gets - before == 2  # the copy, once more
    assert key not in vol.cache.list()
    behind(vol).put(key, good)
    np.testing.assert_array_equal(vol[...], noise(vol.shape))


MARKS = {
    "empty": "",
    "half": '{"format": 2, "cloudp',
    "no mark": "[1]",
    "of another version": '{"format": 7, "cloudpath": "far://a/b/c", "origin": ""}',
    "without a path": '{"format": 2, "origin": ""}',
    "of wrong types": '{"format": 2, "cloudpath": ["x"], "origin": null}',
}


@pytest.mark.parametrize("content", MARKS.values(), ids=MARKS)
def test_copies_of_nobody_knows_what_are_dropped(
    vol: CloudVolume, far: Remote, path: str, content: str
) -> None:
    vol[...]
    other = make(f"{path}-other", registry=far.registry, cache=vol.cache.path + "-2")
    other[...] = 7
    folder, theirs = Path(vol.cache.path), Path(other.cache.path)
    shutil.rmtree(folder)
    shutil.copytree(theirs, folder)  # copies of the other one, and the mark
    (folder / "notes").write_text("of somebody")
    (folder / "8_8_40" / "mine").write_text("of somebody")
    (folder / HIDDEN / "cache").write_text(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = CloudVolume(path, cache=folder, registry=far.registry)
        for expected in (12, 0):
            before = far.gets
            np.testing.assert_array_equal(again[...], noise(vol.shape))
            assert far.gets - before == expected
    assert len(again.cache.list()) == 12 + 1  # what somebody put there counts, as ever
    assert again.cache.num_bytes() < 13 * CHUNK
    assert (folder / "notes").read_text() == (folder / "8_8_40" / "mine").read_text() == "of somebody"
    assert json.loads((folder / HIDDEN / "cache").read_text())["cloudpath"] == path
    np.testing.assert_array_equal(CloudVolume(folder)[...], noise(vol.shape))
    with pytest.raises(ArgumentError, match="holds copies"):
        CloudVolume(other.cloudpath, cache=folder, registry=far.registry)


@pytest.mark.parametrize("to_ours", [True, False])
def test_a_letter_of_a_mark_changed_is_no_mark_of_another(
    vol: CloudVolume, far: Remote, path: str, tmp_path: Path, to_ours: bool
) -> None:
    """What was the mark of one layer may read as that of another one."""
    owner = make(f"{path}2", registry=far.registry, cache=tmp_path / "2") if to_ours else vol
    owner[...] = 7
    vol[...] = noise(vol.shape)
    mark = Path(owner.cache.path, HIDDEN, "cache")
    mark.write_text(mark.read_text().replace(owner.cloudpath, path if to_ours else f"{path}2"))
    for _ in range(2):
        again = CloudVolume(path, cache=owner.cache.path, registry=far.registry)
        np.testing.assert_array_equal(again[...], noise(vol.shape))
        assert json.loads(mark.read_text())["cloudpath"] == path


def test_a_default_folder_of_nobody_knows_what_is_as_good_as_none(far: Remote, path: str, home: Path) -> None:
    made = make(path, registry=far.registry)
    made[...] = 7
    vol = CloudVolume(path, cache=True, registry=far.registry)
    vol[...]
    Path(vol.cache.path, HIDDEN, "cache").write_text("")
    assert CloudVolume(path, registry=far.registry).cache.list() == []
    again = CloudVolume(path, cache=True, registry=far.registry)
    assert again.cache.list() == []
    assert (again[...] == 7).all()
    assert len(CloudVolume(path, registry=far.registry).cache.list()) == 12


def test_a_damaged_ledger_is_made_anew(vol: CloudVolume, far: Remote) -> None:
    vol[...]
    ledger = Path(vol.cache.path, HIDDEN, "ledger")
    whole = ledger.read_bytes()
    for content in (b"", b"x" * 20000, whole[:-1], whole[:16] + b"\xff" * (len(whole) - 16)):
        ledger.write_bytes(content)
        vol[-5:11, 3:19, 100:116] = 7
        vol.cache_bytes = 2 * CHUNK
        assert vol[0, 5, 101].item() == 7
        vol[...]
        assert 0 < vol.cache.num_bytes() <= 2 * CHUNK


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_read_only_folder_still_serves(vol: CloudVolume, far: Remote, path: str, open_folder: Path) -> None:
    folder = open_folder / "cache"
    vol.cache = folder
    vol[-5:11, 3:19, 100:116]
    for found in [folder, *folder.rglob("*")]:
        found.chmod(0o555 if found.is_dir() else 0o444)
    with unprivileged(), told() as texts:
        again = CloudVolume(path, cache=folder, registry=far.registry)
        before = far.gets
        np.testing.assert_array_equal(again[...], noise(vol.shape))
        assert far.gets - before == 11
        with pytest.raises(StoreError, match="cannot be dropped") as caught:
            again[-5:11, 3:19, 100:116] = 7
        assert isinstance(caught.value.__cause__, OSError)
        again[11:27, 3:19, 100:116] = 7  # there is no copy of this one
        assert again[11, 3, 100].item() == 7
        np.testing.assert_array_equal(again[0, 5, 101], noise(vol.shape)[5:6, 2:3, 1:2])
        with pytest.raises(StoreError, match="cannot"):
            again.cache.flush()
    (text,) = texts
    assert f"is not kept in the cache {folder}, which cannot be used" in text


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small file system"
)
def test_a_full_disk_breaks_nothing(vol: CloudVolume, far: Remote, path: str, tmp_path: Path) -> None:
    root = tmp_path / "small"
    root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(root)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    try:
        small = CloudVolume(path, cache=root / "cache", registry=far.registry)
        voxels = noise(vol.shape)
        with told() as texts:
            for number in range(3):
                np.testing.assert_array_equal(small[...], voxels)
                voxels[:16, :16, :16] = number
                small[-5:11, 3:19, 100:116] = number
        assert [text for text in texts if "No space left on device" in text] == texts
        assert len(texts) == 1
        assert 0 < small.cache.num_files() < 12
        local = CloudVolume(root / "cache", fill_missing=True)[...]
        assert ((local == voxels) | (local == 0)).all()
    finally:
        subprocess.run(["umount", str(root)], check=True)
