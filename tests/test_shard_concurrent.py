"""Sharded volumes that others write meanwhile: threads, processes, killed ones; nothing is lost or stale."""

import itertools
import multiprocessing
import random
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shards import make_sharded, shard_files, sharding
from volumes import noise

from precomp import CloudVolume
from precomp.engine import scratch
from precomp.engine.scratch import Scratch
from precomp.engine.shards.files import Files
from precomp.engine.shards.rewrite import rewrite


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
@pytest.mark.parametrize("index", ["raw", "gzip"])
@pytest.mark.parametrize("place", ["file", "mem"])
def test_what_another_volume_writes_is_seen_at_once(
    tmp_path: Path, place: str, index: str, encoding: str
) -> None:
    path = tmp_path / "ds" / "a" if place == "file" else f"mem://{uuid.uuid4()}/ds/a"
    vol = make_sharded(
        path, sharding(0, 1, 1, index=index), (64, 32, 16), encoding=encoding, fill_missing=True
    )
    other = CloudVolume(vol.cloudpath, fill_missing=True)
    voxel = (0, 5, 105)
    for value in (10, 20, 30):
        other[-5:11, 3:19] = value
        assert vol[voxel] == value
        assert (vol[-5:11, 3:19] == value).all()  # one chunk, whole
        assert (vol[-5:59, 3:19][:16] == value).all()  # several chunks
        other[11:27] = value + 1  # moves the other chunks of the shard
        assert vol[voxel] == value
        assert (vol[...][16:32] == value + 1).all()
    other.delete(other.bounds)
    assert not vol[...].any()
    assert not vol[voxel].any()
    other[...] = 5
    assert (vol[...] == 5).all()
    assert vol[voxel] == 5


def test_a_shard_replaced_between_index_and_chunk_is_looked_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(0, 1), (64, 16, 16), encoding="jpeg")
    vol[...] = 10
    vol.parallel = 1  # two threads would read the two chunks for themselves
    other, turns = CloudVolume(vol.cloudpath), [100, 200]
    part = Files.part

    def late(self: Files, *arguments: Any) -> Any:
        if turns and arguments[2] > 32:  # a chunk, for the index lies behind
            monkeypatch.setattr(Files, "part", part)
            other[...] = turns.pop(0)
            other[11:27] = noise((16, 16, 16, 1))
            monkeypatch.setattr(Files, "part", late)
        return part(self, *arguments)

    monkeypatch.setattr(Files, "part", late)
    assert (vol[-5:11] == 200).all()
    assert not turns
    turns.extend([50, 150])
    assert (vol[27:59] == 150).all()
    assert not turns


def write_columns(path: str, number: int, count: int) -> None:
    """Write every `count`-th column of chunks, chunk by chunk."""
    vol = CloudVolume(path, parallel=1)
    for x in range(number, 8, count):
        for y in range(4):
            vol[8 * x : 8 * x + 8, 8 * y : 8 * y + 8] = 10 * x + y + 1


def check_columns(vol: CloudVolume) -> None:
    expected = np.add.outer(10 * np.arange(8), np.arange(4) + 1)
    np.testing.assert_array_equal(vol[...][::8, ::8, 0, 0], expected)
    assert (vol[...] == np.repeat(np.repeat(expected, 8, 0), 8, 1)[..., None, None]).all()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_several_processes_write_one_shard_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ds" / "a"
    make_sharded(path, sharding(1, 2), (64, 32, 8), chunk_size=(8, 8, 8), voxel_offset=(0, 0, 0))
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=write_columns, args=(str(path), n, 4)) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    check_columns(CloudVolume(str(path)))
    assert shard_files(path / "8_8_40") == ["0.shard"]


def write_a_slab_for_ever(path: str, number: int, beginning: Any) -> None:
    """Write voxels of x that are this process's own, in chunks and shards that are not."""
    vol = CloudVolume(path, parallel=2, non_aligned_writes=True, fill_missing=True)
    beginning.set()
    for value in itertools.cycle(range(1, 250)):
        vol[10 * number + 3 : 10 * number + 13] = value


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_writers_that_are_killed_leave_whole_shards(tmp_path: Path) -> None:
    path, chance = str(tmp_path / "ds" / "a"), random.Random(0)
    size = {"voxel_offset": (0, 0, 0), "non_aligned_writes": True}
    vol = make_sharded(path, sharding(1, 2, 1, index="gzip"), (48, 32, 32), **size)
    vol[...] = 0
    context = multiprocessing.get_context("fork")
    for _ in range(12):
        events = [context.Event() for _ in range(3)]
        writers = [
            context.Process(target=write_a_slab_for_ever, args=(path, n, event))
            for n, event in enumerate(events)
        ]
        for writer in writers:
            writer.start()
        assert all(event.wait(60) for event in events)
        time.sleep(chance.uniform(0.02, 0.15))
        for writer in writers:
            writer.kill()
            writer.join()
        found = np.asarray(CloudVolume(path)[...])
        assert not found[:3].any()
        assert not found[33:].any()
        for first in (3, 13, 23):  # of a write some shards are there, maybe
            values = np.unique(found[first : first + 10])
            assert len(values) < 3
        vol[3:33] = 0  # nobody waits for the dead
        assert not vol[...].any()


@pytest.mark.parametrize("place", ["file", "mem"])
def test_threads_write_parts_of_one_chunk_and_lose_nothing(tmp_path: Path, place: str) -> None:
    path = tmp_path / "ds" / "a" if place == "file" else f"mem://{uuid.uuid4()}/ds/a"
    vol = make_sharded(
        path, sharding(), (32, 16, 16), voxel_offset=(0, 0, 0), non_aligned_writes=True, fill_missing=True
    )

    def work(first: int) -> None:
        for x in range(first, 32, 4):
            vol[x : x + 1] = x + 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(vol[:, 0, 0][:, 0, 0, 0], np.arange(32) + 1)


@pytest.mark.parametrize("whole", [True, False])
def test_memory_of_new_chunks_is_theirs_until_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Other threads, which read and write other volumes, get memory that nobody uses any more."""
    vol = make_sharded(tmp_path / "ds" / "a", sharding(1, 2), (64, 64, 64), parallel=2, fill_missing=True)
    voxels = noise(vol.shape)

    monkeypatch.setattr(scratch, "_spare", [])
    monkeypatch.setattr(Scratch.__del__, "__defaults__", (scratch._spare,))

    def late(*arguments: Any, **more: Any) -> None:
        others = [Scratch() for _ in range(8)]
        for other in others:
            room = other.take(len(other._memory) or 1)
            room[:] = bytes(len(room))
        rewrite(*arguments, **more)

    monkeypatch.setattr("precomp.engine.shards.write.rewrite", late)
    if whole:
        vol[...] = voxels
    else:
        vol[11:] = voxels[16:]
        voxels[:16] = 0
    np.testing.assert_array_equal(vol[...], voxels)
