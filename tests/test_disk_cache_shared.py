"""One cache folder for many threads and processes, some of which are killed; and random use of all of it."""

import itertools
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import disk_child
import hypothesis.strategies as st
import numpy as np
import pytest
from disk_child import CHUNK, LIMIT, finish, start
from hypothesis import settings
from hypothesis.stateful import invariant, rule
from volumes import make, noise

from precomp import CloudVolume
from precomp.engine.disk.entries import HIDDEN, entries
from precomp.engine.disk.ledger import Ledger
from precomp.testing import VolumeStateMachine


def layer(path: object, **options: Any) -> CloudVolume:
    """Eight chunks of two bytes a voxel, all zero."""
    made = make(path, (16, 16, 16), dtype="uint16", chunk_size=(8, 8, 8), voxel_offset=(0, 0, 0), **options)
    made[...] = 0
    return made


def kept(folder: Path) -> int:
    return sum(entry.size for entry in entries(str(folder), (".gz",)))


@pytest.mark.parametrize("limit", [LIMIT, None])
def test_threads_never_see_what_was_overwritten(tmp_path: Path, limit: int | None) -> None:
    """A value once read as written does not become an older one, however copies come and go."""
    vol = layer(f"mem://{uuid.uuid4()}/ds/image", cache=tmp_path / "cache", cache_bytes=limit)
    latest, stop = [0] * 8, threading.Event()
    corners = list(itertools.product((0, 8), repeat=3))

    def read(seed: int) -> int:
        chance, reads = random.Random(seed), 0
        while not stop.is_set():
            number = chance.randrange(8)
            least = latest[number]
            x, y, z = corners[number]
            assert vol[x + 3, y + 3, z + 3].item() >= least
            reads += 1
        return reads

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read, seed) for seed in range(3)]
        try:
            for value in range(1, 60):
                for number, (x, y, z) in enumerate(corners):
                    vol[x : x + 8, y : y + 8, z : z + 8] = value
                    latest[number] = value
        finally:
            stop.set()
        assert min(reader.result() for reader in readers) > 0
    assert kept(tmp_path / "cache") <= (limit or 8 * CHUNK)


def test_processes_never_see_what_was_overwritten(tmp_path: Path) -> None:
    path, folder = layer(tmp_path / "ds" / "image").cloudpath, tmp_path / "cache"
    disk_child.opened(path, str(folder))
    last = 40
    children = [start("read", path, folder, last) for _ in range(2)]
    children += [start("write", path, folder, last)]
    most = 0
    while any(child.poll() is None for child in children):
        most = max(most, kept(folder))
        time.sleep(0.01)
    for child in children:
        finish(child)
    assert 0 < most <= LIMIT
    assert np.unique(CloudVolume(path)[...]).tolist() == [last]
    assert np.unique(disk_child.opened(path, str(folder))[...]).tolist() == [last]
    local = CloudVolume(folder, fill_missing=True)[...]
    assert set(np.unique(local).tolist()) <= {0, last}


def test_a_killed_process_leaves_whole_copies_and_no_old_ones(tmp_path: Path) -> None:
    path, folder = layer(tmp_path / "ds" / "image").cloudpath, tmp_path / "cache"
    vol, chance = disk_child.opened(path, str(folder)), random.Random(1)
    for number in range(4):
        children = [start("work", path, folder, 10 * number + one) for one in range(2)]
        for child in children:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.01, 0.2))
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.communicate()
        stored = CloudVolume(path)[...]
        np.testing.assert_array_equal(vol[...], stored)
        for corner in itertools.product((0, 8), repeat=3):
            chunk = CloudVolume(folder, fill_missing=True)[tuple(slice(low, low + 8) for low in corner)]
            assert len(np.unique(chunk)) == 1  # whole
        assert kept(folder) <= LIMIT
        vol[...] = number
        np.testing.assert_array_equal(vol[...], CloudVolume(path)[...])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_whose_holder_was_killed_is_free_though_its_child_lives(tmp_path: Path) -> None:
    disk_child.opened(layer(tmp_path / "ds" / "image").cloudpath, str(tmp_path / "cache"))
    child = start("hold", tmp_path / "cache")
    assert child.wait(60) == -signal.SIGKILL
    assert (tmp_path / "cache" / "held").exists()
    with Ledger(f"{tmp_path}/cache/{HIDDEN}/ledger").locked(0.5):
        pass
    assert child.communicate(timeout=60) == ("alive\n", "")


def use(vol: CloudVolume, queue: Any) -> None:
    before = vol[...].copy()
    vol[0:8, 0:8, 0:8] = 7
    queue.put((int(np.asarray(before, np.int64).sum()), int(vol[3, 3, 3].item())))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_others_use_the_cache(tmp_path: Path) -> None:
    vol = layer(tmp_path / "ds" / "image", cache=tmp_path / "cache", parallel=2)
    vol[...] = 3
    context, stop = multiprocessing.get_context("fork"), threading.Event()

    def busy() -> None:
        while not stop.is_set():
            vol.cache.flush()
            vol[...]

    other = threading.Thread(target=busy)
    other.start()
    try:
        for _ in range(5):
            queue = context.Queue()
            child = context.Process(target=use, args=(vol, queue))
            child.start()
            total, value = queue.get(timeout=60)
            assert total in (3 * 16**3, 3 * 16**3 + 4 * 8**3)
            assert value == 7
            child.join(60)
            assert child.exitcode == 0
            vol[...] = 3
    finally:
        stop.set()
        other.join()
    np.testing.assert_array_equal(vol[...], CloudVolume(vol.cloudpath)[...])


def test_a_slow_fetch_is_not_kept_after_a_write(tmp_path: Path) -> None:
    """A reader who fetched before a write finds, when it would keep that, that somebody wrote."""
    vol = layer(f"mem://{uuid.uuid4()}/ds/image", cache=tmp_path / "cache")
    store = vol._layer.objects().store
    folder, key = store.folder, "8_8_40/0-8_0-8_0-8"  # type: ignore[attr-defined]
    vol.cache.flush()
    token, old = folder.token(key), store.get(key)
    vol[0:8, 0:8, 0:8] = 5
    folder.keep(key, token, old)
    assert np.unique(vol[0:8, 0:8, 0:8]).tolist() == [5]
    begun = folder.begin([key])  # while somebody writes, nobody knows
    folder.keep(key, folder.token(key), old)
    assert folder.get(key) is None
    other = folder.begin([key])
    folder.end(begun, old)  # the first of two who write at once
    assert folder.get(key) is None
    folder.end(other, old)
    assert folder.get(key) is None
    folder.keep(key, folder.token(key), old)
    assert folder.get(key) == old


def test_a_writer_who_was_killed_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vol = layer(f"mem://{uuid.uuid4()}/ds/image", cache=tmp_path / "cache")
    store = vol._layer.objects().store
    folder, key = store.folder, "8_8_40/0-8_0-8_0-8"  # type: ignore[attr-defined]
    blob = store.get(key)
    folder.begin([key])
    folder.keep(key, folder.token(key), blob)
    assert folder.get(key) is None
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 700)
    folder.keep(key, folder.token(key), blob)
    assert folder.get(key) == blob
    folder.end(folder.begin([key]), blob)
    assert folder.get(key) == blob


class CachedVolume(VolumeStateMachine):
    """Any use of a volume with a cache, others who write, and a disk that loses bits."""

    dtypes = ("uint8", "uint16")

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()

    def teardown(self) -> None:
        self.scratch.cleanup()

    def cloudpath(self) -> str:
        return f"mem://{uuid.uuid4()}/ds/image"

    @property
    def folder(self) -> Path:
        return Path(self.scratch.name, "cache")

    @rule(limit=st.sampled_from([1, 50, 300, None]), validate=st.booleans())
    def switch_on(self, limit: int | None, validate: bool) -> None:
        was_on = self.vol.cache.enabled and not self.vol.cache_validate
        self.vol.cache_bytes, self.vol.cache_validate = limit, validate
        self.vol.cache = self.folder
        if not (was_on or validate):  # others have written
            self.vol.cache.flush()

    @rule()
    def switch_off(self) -> None:
        self.vol.cache = False

    @rule(data=st.data(), value=st.integers(0, 99))
    def write_behind_its_back(self, data: st.DataObject, value: int) -> None:
        absolute, local = self.box(data)
        other = CloudVolume(
            self.vol.cloudpath,
            self.vol.mip,
            fill_missing=True,
            non_aligned_writes=True,
            compress=self.vol.compress,
        )
        other[absolute] = value
        self.model[local] = value
        if self.model[local].size:
            self.stored[self.vol.mip] |= self.touched(local)
        self.vol.lru_bytes = self.vol.lru_bytes
        if not self.vol.cache_validate:
            self.vol.cache.flush()

    @rule(data=st.data(), keep=st.booleans())
    def flush_some(self, data: st.DataObject, keep: bool) -> None:
        self.vol.mip, mip = 0, self.vol.mip
        absolute = tuple(slice(part.start, part.stop) for part in self.box(data)[0][:3])
        self.vol.mip = mip
        before = self.vol.cache.num_files()
        if keep:
            self.vol.cache.flush(preserve=absolute)
        else:
            self.vol.cache.flush_region(absolute)
        assert self.vol.cache.num_files() <= before

    @rule(seed=st.integers(0, 999))
    def damage(self, seed: int) -> None:
        chance = random.Random(seed)
        found = sorted(path for path in self.folder.rglob("*_*-*") if path.is_file())
        for path in found[: chance.randrange(3)]:
            data = bytearray(path.read_bytes())
            if data and chance.random() < 0.7:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data)

    @invariant()
    def bounded(self) -> None:
        limit = self.vol.cache_bytes if hasattr(self, "vol") and self.vol.cache.enabled else None
        if limit is not None:
            assert kept(self.folder) <= limit


CachedVolume.TestCase.settings = settings(max_examples=25, stateful_step_count=30)
TestCachedVolume = CachedVolume.TestCase


def test_memory_and_disk_together(tmp_path: Path) -> None:
    vol = layer(f"mem://{uuid.uuid4()}/ds/image", cache=tmp_path / "cache", lru_bytes=2**20)
    voxels = noise(vol.shape, "uint16")
    vol[...] = voxels
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], voxels)
    vol[0:8, 0:8, 0:8] = 4
    voxels[:8, :8, :8] = 4
    np.testing.assert_array_equal(vol[...], voxels)
    vol.delete(np.s_[0:8, 0:8, 0:8])
    vol.fill_missing = True
    voxels[:8, :8, :8] = 0
    np.testing.assert_array_equal(vol[...], voxels)
