"""Decoded chunks kept in memory: bounded, never stale, never shared with the caller."""

import copy
import multiprocessing
import pickle
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from volumes import make, noise

from precomp import CloudVolume, open_volume
from precomp.engine.cache import ChunkCache
from precomp.errors import ArgumentError, ChunkDecodeError, EmptyVolumeError, StoreError
from precomp.interfaces import Blob

MIB = 2**20


class Counting:
    """Wraps a volume's store and lists the keys that are fetched."""

    def __init__(self, vol: CloudVolume, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[str] = []
        fetcher, get = vol._layer.scale(vol.mip).reader._fetcher, vol._layer.objects().store.get
        monkeypatch.setattr(fetcher, "_get", lambda key, *rest: (self.keys.append(key), get(key, *rest))[1])


@pytest.fixture
def vol(tmp_path: Path) -> CloudVolume:
    made = make(tmp_path / "ds" / "image", lru_bytes=MIB)
    made[...] = noise(made.shape)
    return made


# --- the cache itself --------------------------------------------------------------------------------

operations = st.lists(
    st.tuples(st.sampled_from(["get", "keep", "drop", "absent"]), st.integers(0, 5), st.integers(1, 9)),
    max_size=60,
)


@given(st.integers(0, 20), operations)
def test_it_is_a_bounded_dict_that_forgets_the_least_recently_used(
    limit: int, todo: list[tuple[str, int, int]]
) -> None:
    cache, model = ChunkCache(limit), OrderedDict[int, int]()
    for what, key, size in todo:
        if what == "get":
            found = cache.get(key)
            assert (None if found is None else found.nbytes) == model.get(key)
            if key in model:
                model.move_to_end(key)
        elif what == "drop":
            cache.drop(key)
            model.pop(key, None)
        else:
            cache.keep(key, cache.begin(key), None if what == "absent" else np.zeros(size, np.uint8))
            if what == "keep" and size <= limit:
                model.pop(key, None)
                model[key] = size
                while sum(model.values()) > limit:
                    model.popitem(last=False)
        assert cache.nbytes == sum(model.values()) <= limit


def test_a_chunk_fetched_before_a_write_is_not_kept_after_it() -> None:
    cache, chunk = ChunkCache(100), np.zeros(10, np.uint8)
    token = cache.begin("a")
    cache.drop("a")
    cache.keep("a", token, chunk)
    assert cache.get("a") is None
    first, second = cache.begin("a"), cache.begin("a")
    cache.keep("a", first, chunk)
    assert cache.get("a") is None
    cache.keep("a", second, chunk)
    assert cache.get("a") is chunk


# --- in a volume ------------------------------------------------------------------------------------


def test_it_is_off_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vol = make("mem://lru/off/image")
    vol[...] = 1
    counting = Counting(vol, monkeypatch)
    assert vol.lru_bytes == 0
    vol[0, 5, 101], vol[0, 5, 101]
    assert len(counting.keys) == 2


def test_each_chunk_is_fetched_once(vol: CloudVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = noise(vol.shape)
    counting = Counting(vol, monkeypatch)
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], voxels)
        np.testing.assert_array_equal(vol[0:9, 5:20, 101:119:3], voxels[5:14, 2:17, 1:19:3])
    assert len(counting.keys) == len(set(counting.keys)) == 12


def test_no_more_is_kept_than_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vol = make(tmp_path / "ds" / "image", lru_bytes=2 * 16**3)
    vol[...] = noise(vol.shape)
    np.testing.assert_array_equal(vol[...], noise(vol.shape))
    assert 0 < vol._layer.cache.nbytes <= vol.lru_bytes


def test_a_result_is_the_callers_own(vol: CloudVolume) -> None:
    box = np.s_[-5:11, 3:19, 100:116]  # exactly one chunk
    before = vol[box].copy()
    vol[box][...] = 99
    np.testing.assert_array_equal(vol[box], before)


def test_mips_do_not_mix(tmp_path: Path) -> None:
    """cloud-volume's key for sharded volumes lacks the mip: mip 1 shows mip 0's voxels."""
    vol = make(tmp_path / "ds" / "image", (16, 16, 16), voxel_offset=(0, 0, 0), max_mip=1, lru_bytes=MIB)
    vol[...] = 1
    vol.mip = 1
    vol[...] = 2
    for mip, value in ((0, 1), (1, 2), (0, 1)):
        vol.mip = mip
        assert np.unique(vol[...]).tolist() == [value]


def test_layers_do_not_mix(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        make(tmp_path / "ds" / name)[...] = number
    vol = CloudVolume(tmp_path / "ds" / "one", lru_bytes=MIB)
    for name, value in (("one", 0), ("two", 1), ("one", 0)):
        vol.layer = name
        assert vol.lru_bytes == MIB
        assert np.unique(vol[...]).tolist() == [value]


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_writes_and_deletions_are_seen(tmp_path: Path, compress: str | None) -> None:
    vol = make(tmp_path / "ds" / "image", lru_bytes=MIB, non_aligned_writes=True, compress=compress)
    model = noise(vol.shape)
    vol[...] = model
    vol[...]
    vol[-5:11, 3:19, 100:116] = 7  # a whole chunk
    model[:16, :16, :16] = 7
    np.testing.assert_array_equal(vol[...], model)
    vol[9:13, 17:22, 114:118] = 8  # parts of eight
    model[14:18, 14:19, 14:18] = 8
    np.testing.assert_array_equal(vol[...], model)
    vol.delete(np.s_[-5:11, 3:19, 100:116])
    with pytest.raises(EmptyVolumeError):
        vol[0, 5, 101]
    vol.fill_missing = True
    model[:16, :16, :16] = 0
    np.testing.assert_array_equal(vol[...], model)


def test_a_failed_write_drops_what_it_may_have_changed(
    vol: CloudVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    vol[...]
    store, put = vol._layer.objects().store, vol._layer.objects().store.put

    def late_failure(key: str, blob: Blob, **rest: Any) -> None:
        put(key, blob, **rest)
        raise StoreError(f"{key}: the answer was lost")

    monkeypatch.setattr(store, "put", late_failure)
    with pytest.raises(StoreError, match="lost"):
        vol[-5:11, 3:19, 100:116] = 7
    assert vol[0, 5, 101].item() == 7


def test_another_volume_is_seen_once_the_cache_is_emptied(vol: CloudVolume) -> None:
    old = vol[0, 5, 101].item()
    CloudVolume(vol.cloudpath)[...] = (old + 1) % 256
    assert vol[0, 5, 101].item() == old
    vol.lru_bytes = vol.lru_bytes
    assert vol[0, 5, 101].item() == (old + 1) % 256


def test_an_edited_info_shows_other_voxels(vol: CloudVolume) -> None:
    signed = vol[...].view("int8")
    vol.info["data_type"] = "int8"
    np.testing.assert_array_equal(vol[...], signed)


def test_neither_absent_nor_damaged_chunks_are_kept(tmp_path: Path) -> None:
    vol = make(tmp_path / "ds" / "image", (16, 16, 16), voxel_offset=(0, 0, 0), lru_bytes=MIB)
    chunk = tmp_path / "ds" / "image" / "8_8_40" / "0-16_0-16_0-16"
    with pytest.raises(EmptyVolumeError):
        vol[0, 0, 0]
    chunk.parent.mkdir()
    chunk.write_bytes(b"short")
    with pytest.raises(ChunkDecodeError):
        vol[0, 0, 0]
    chunk.write_bytes(b"\x05" * 16**3)
    assert vol[0, 0, 0].item() == 5


def test_threads_never_see_what_was_overwritten(tmp_path: Path) -> None:
    """A value once read as written does not become an older one."""
    vol = make(tmp_path / "ds" / "image", (16, 16, 16), voxel_offset=(0, 0, 0), lru_bytes=MIB, dtype="uint32")
    vol[...] = 0
    latest, stop = [0], threading.Event()

    def read() -> int:
        reads = 0
        while not stop.is_set():
            least = latest[0]
            assert vol[3, 3, 3].item() >= least
            reads += 1
        return reads

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for value in range(1, 400):
                vol[...] = value
                latest[0] = value
        finally:
            stop.set()
        assert min(reader.result() for reader in readers) > 0


def test_by_pickle_the_limit_travels_and_the_chunks_do_not(vol: CloudVolume) -> None:
    vol[...]
    data = pickle.dumps(vol)
    assert len(data) < 20_000 < vol._layer.cache.nbytes
    twin = pickle.loads(data)
    assert twin.lru_bytes == MIB
    np.testing.assert_array_equal(twin[...], vol[...])


def _read_in_child(vol: CloudVolume, queue: Any) -> None:
    queue.put(int(vol[0, 5, 101].item()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_the_lock_is_held(vol: CloudVolume) -> None:
    expected = vol[0, 5, 101].item()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    vol[...]
    with vol._layer.cache._lock:
        child = context.Process(target=_read_in_child, args=(vol, queue))
        child.start()
    assert queue.get(timeout=30) == expected
    child.join()


@pytest.mark.parametrize("wrong", [-1, 1.5, "1", None, True])
def test_what_is_no_number_of_bytes(vol: CloudVolume, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="lru_bytes"):
        vol.lru_bytes = wrong
    assert vol.lru_bytes == MIB


def test_a_copy_shares_the_chunks(vol: CloudVolume) -> None:
    twin = copy.copy(vol)
    assert twin.lru_bytes == MIB
    twin.lru_bytes = 5
    assert vol.lru_bytes == pickle.loads(pickle.dumps(vol)).lru_bytes == 5
    vol.layer = "image"
    assert vol.lru_bytes == 5


def test_a_config_sets_it(vol: CloudVolume) -> None:
    config = {"defaults": {"lru_bytes": 1000}, "volumes": {"em": {"cloudpath": vol.cloudpath}}}
    assert open_volume("em", config).lru_bytes == 1000
    assert open_volume("em", config, lru_bytes=5).lru_bytes == 5
