"""What a volume does for a store with latency, and the type of content that it is told."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp import CloudVolume
from precomp.engine.workers import Listed, for_each
from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.interfaces import Blob, ByteRange, Condition, Stat, UsesWorkers
from precomp.memory import MemoryStore
from precomp.plugins import Registry
from precomp.retry import stop_retrying_at
from precomp_plugins.codecs import jpeg, raw
from precomp_plugins.compressors import gzip


class Distant(MemoryStore):
    """Asks for three threads, and answers when three requests are there."""

    workers = 3

    def __init__(self) -> None:
        super().__init__()
        self.meeting: threading.Barrier | None = None
        self.blobs: dict[str, Blob] = {}

    def _meet(self) -> None:
        if self.meeting is not None:
            self.meeting.wait(30)

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        self._meet()
        return super().get(key, byte_range)

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str:
        self._meet()
        self.blobs[key] = blob
        return super().put(key, blob, condition=condition)

    def stat(self, key: str) -> Stat | None:
        self._meet()
        return super().stat(key)


class Plugin:
    """All its layers have one store."""

    def __init__(self, store: Distant) -> None:
        self.store = store

    @hookimpl
    def precomp_register_protocols(self) -> list[ProtocolPlugin]:
        return [ProtocolPlugin("distant", lambda path, options: self.store)]


def opened(store: Distant, encoding: str = "raw", **options: Any) -> CloudVolume:
    """A volume of three chunks, so small that a local one is served by one thread."""
    registry = Registry.of([raw, jpeg, gzip, Plugin(store)])
    info = CloudVolume.create_new_info(
        1, "image", "uint8", encoding, (8, 8, 40), (0, 0, 0), (12, 4, 4), chunk_size=(4, 4, 4)
    )
    vol = CloudVolume("distant://a/b", info=info, registry=registry, **options)
    vol.commit_info()
    return vol


def test_requests_that_are_few_are_made_at_once() -> None:
    store = Distant()
    assert isinstance(store, UsesWorkers)
    vol = opened(store)
    store.meeting = threading.Barrier(3)
    vol[:, :, :] = 7
    assert (np.asarray(vol[:, :, :]) == 7).all()
    assert all(vol.exists(vol.bounds).values())
    assert not store.meeting.broken


def test_what_the_user_says_comes_first() -> None:
    store = Distant()
    vol = opened(store, parallel=1)
    store.meeting = threading.Barrier(2)
    threading.Timer(0.1, store.meeting.abort).start()
    with pytest.raises(threading.BrokenBarrierError):  # nobody comes to meet the only thread
        vol[:, :, :] = 7


@pytest.mark.parametrize(
    ("encoding", "content_type"), [("raw", "application/octet-stream"), ("jpeg", "image/jpeg")]
)
@pytest.mark.parametrize("compress", [None, "gzip"])
def test_a_store_is_told_the_type_of_content(encoding: str, content_type: str, compress: str | None) -> None:
    store = Distant()
    vol = opened(store, encoding, compress=compress, cdn_cache=60)
    vol[:, :, :] = 7
    chunk = store.blobs["8_8_40/4-8_0-4_0-4"]
    found = chunk.content_type, chunk.content_encoding, chunk.cache_control
    assert found == (content_type, compress, "max-age=60")
    info = store.blobs["info"]
    assert (info.content_type, info.cache_control) == ("application/json", "no-cache")


def test_a_request_within_another_ends_with_the_retries_of_that() -> None:
    """A thread that has put together a shard, with the help of others, stores it: which may be given up."""
    seen: list[object] = []

    def outer(number: int) -> None:
        before = stop_retrying_at(None)
        stop_retrying_at(before)
        for_each(Listed([1, 2, 3]), lambda: lambda inner: None, 2)
        seen.append((before, stop_retrying_at(before)))

    for_each(Listed([1, 2]), lambda: outer, 2)
    assert len(seen) == 2
    assert all(before is after and before is not None for before, after in seen)


@given(st.integers(0, 300), st.integers(1, 20), st.booleans())
def test_each_part_is_done_once(count: int, workers: int, reads: bool) -> None:
    done: list[int] = []
    ticks: list[int] = []
    for_each(Listed(range(count)), lambda: done.append, workers, ticks.append, reads=reads)
    assert sorted(done) == list(range(count))
    assert sum(ticks) == count


@pytest.mark.parametrize("ahead", [False, True])
def test_threads_that_read_are_far_from_each_other(ahead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in a part of the array that no other one works in: they share no page of it for the most time."""
    monkeypatch.setattr("precomp.engine.workers.threads_for", lambda _: 2)
    places: dict[int, list[int]] = {}
    meeting = threading.Barrier(2)

    def make_task() -> Callable[[int], None]:
        own = places.setdefault(threading.get_ident(), [])

        def task(number: int) -> None:
            meeting.wait(20)
            own.append(number)

        return task

    if ahead:
        for_each(Listed(range(160)), make_task, 10, reads=True, ask=lambda _: nullcontext())
    else:
        for_each(Listed(range(160)), make_task, 2, reads=True)
    first, second = sorted(places.values())
    assert first == list(range(80))
    assert second == list(range(80, 160))
