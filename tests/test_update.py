"""Chunks that are written in part: what is said where that cannot be done, and how often a store is asked."""

import threading
import uuid
from typing import Any

import pytest
from shards import make_sharded, sharding
from volumes import make

import precomp.engine.write
from precomp import CloudVolume
from precomp.engine import update as module
from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, ByteRange, Condition
from precomp.memory import MemoryStore

KEY = "8_8_40/-5-11_3-19_100-116"


@pytest.fixture
def vol() -> CloudVolume:
    made = make(f"mem://{uuid.uuid4()}/ds/image", non_aligned_writes=True)
    made[...] = 1
    return made


def test_without_versions_no_part_is_written(vol: CloudVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    get = MemoryStore.get

    def unversioned(store: MemoryStore, key: str, part: ByteRange | None = None) -> Blob | None:
        blob = get(store, key, part)
        return None if blob is None else blob._replace(version=None)

    monkeypatch.setattr(MemoryStore, "get", unversioned)
    with pytest.raises(StoreError, match=f"^{vol.cloudpath}/{KEY}: the store gave no version"):
        vol[0:1, 4:5, 101:102] = 7


@pytest.mark.parametrize("sharded", [False, True])
def test_who_is_always_too_late_is_told_of_what(monkeypatch: pytest.MonkeyPatch, sharded: bool) -> None:
    path = f"mem://{uuid.uuid4()}/ds/image"
    options = {"non_aligned_writes": True}
    vol = make_sharded(path, sharding(), **options) if sharded else make(path, **options)
    vol[...] = 1

    tries: list[str] = []

    def put(store: MemoryStore, key: str, blob: Blob, *, condition: Condition | None = None) -> Any:
        tries.append(key)
        raise ConditionFailedError(f"{key}: somebody was quicker")

    monkeypatch.setattr(MemoryStore, "put", put)
    monkeypatch.setattr(module, "_DEADLINE", -1.0)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.005)
    key = r"8_8_40/0+\.shard" if sharded else KEY
    with pytest.raises(StoreError, match=f"^{vol.cloudpath}/{key}: other writers .* again") as caught:
        vol[0:1, 4:5, 101:102] = 7
    assert isinstance(caught.value.__cause__, ConditionFailedError)
    assert len(tries) == 16  # however long each takes: of a large shard that is longer than the deadline


def test_who_is_too_late_does_not_insist_once_another_failed(
    vol: CloudVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two threads is too late until the other one fails, which it does then."""
    put, late = MemoryStore.put, threading.Event()
    tries = 0

    def hostile(store: MemoryStore, key: str, blob: Blob, *, condition: Condition | None = None) -> Any:
        nonlocal tries
        if key == KEY:
            tries += 1
            late.set()
            raise ConditionFailedError(f"{key}: somebody was quicker")
        assert late.wait(60)
        raise StoreError(f"{key}: cannot be written")

    monkeypatch.setattr(MemoryStore, "put", hostile)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 1e9)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 1e9)
    vol.parallel = 2
    with pytest.raises(StoreError, match="cannot be written"):
        vol[-4:12, 4:5, 101:102] = 7
    assert tries == 1
    monkeypatch.setattr(MemoryStore, "put", put)
    assert (vol[...] == 1).all()


def test_a_write_looks_at_its_store_once(vol: CloudVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    updater = module.updater

    def counted(*arguments: Any) -> Any:
        looks.append(arguments[0])
        return updater(*arguments)

    monkeypatch.setattr(precomp.engine.write, "updater", counted)
    vol[-4:34, 4:32, 101:119] = 7  # a part of each of twelve chunks
    assert len(looks) == 1
    assert (vol[-4:34, 4:32, 101:119] == 7).all()
