"""`FaultyStore`: any store with faults, from a script or from a seed, that counts what it is asked."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from precomp.interfaces import (
    Blob,
    ByteRange,
    Condition,
    GetsRanges,
    Modify,
    Stat,
    Store,
    SupportsUpdate,
    UsesSuffixes,
)
from precomp.testing.fault import Fault, FaultKind

__all__ = ["FaultyStore"]


class FaultyStore:
    """A store that hands every call on to another one, unless a fault strikes it.

    It has the optional methods (`update`, `get_ranges`, `set_suffixes`) that the other store has.
    `delete` counts, and is struck, once for each key. Safe to share between threads.

    >>> from precomp.testing import Fault, FaultyStore, MemoryStore
    >>> store = FaultyStore(MemoryStore(), [Fault("absent", "get", skip=1)])
    >>> store.put("info", Blob(b"{}"))
    '1'
    >>> [store.get("info") is None for _ in range(3)]
    [False, True, False]
    >>> store.calls["get"]
    3

    Args:
        store: the other one.
        faults: the script.
        seed: when given, any call may be struck, too: the same calls for the same seed, whatever
            the order in which threads make them.
        rate: the share of calls that are struck then.
        kinds: what strikes them.

    Attributes:
        calls: how often each method was called.
        struck: method, key and fault of each call that was struck, in their order.
    """

    def __init__(
        self,
        store: Store,
        faults: Iterable[Fault] = (),
        *,
        seed: int | None = None,
        rate: float = 0.1,
        kinds: Sequence[FaultKind] = ("before", "after"),
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.struck: list[tuple[str, str, Fault]] = []
        self._store = store
        self._script = tuple(faults)
        self._skips = [fault.skip for fault in self._script]
        self._times = [fault.times for fault in self._script]
        self._seed, self._rate = seed, rate
        self._at_random = [Fault(kind) for kind in kinds]
        self._asked: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        # On the instance, for isinstance() has to tell what the other store can do.
        if isinstance(store, SupportsUpdate):
            self.update = self._update
        if isinstance(store, GetsRanges):
            self.get_ranges = self._get_ranges
        if isinstance(store, UsesSuffixes):
            self.set_suffixes = store.set_suffixes

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Get, or fail to."""
        fault = self._begin("get", key)
        blob = None if _is(fault, "absent") else self._store.get(key, byte_range)
        _end(fault)
        return _half(blob) if blob is not None and _is(fault, "truncate") else blob

    def _get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        assert isinstance(self._store, GetsRanges)
        fault = self._begin("get_ranges", key)
        blobs = None if _is(fault, "absent") else self._store.get_ranges(key, ranges)
        _end(fault)
        return list(map(_half, blobs)) if blobs is not None and _is(fault, "truncate") else blobs

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        """Put, or fail to; after a fault `after` the object is there."""
        fault = self._begin("put", key)
        version = self._store.put(key, blob, condition=condition)
        _end(fault)
        return version

    def delete(self, keys: Iterable[str]) -> None:
        """Delete one by one, until a fault strikes."""
        for key in keys:
            fault = self._begin("delete", key)
            self._store.delete([key])
            _end(fault)

    def list(self, prefix: str) -> Iterator[str]:
        """List; a fault `after` strikes when all keys were handed out."""
        fault = self._begin("list", prefix)
        if not _is(fault, "absent"):
            yield from self._store.list(prefix)
        _end(fault)

    def stat(self, key: str) -> Stat | None:
        """Ask, or fail to."""
        fault = self._begin("stat", key)
        found = None if _is(fault, "absent") else self._store.stat(key)
        _end(fault)
        return found

    def _update(self, key: str, modify: Modify) -> None:
        assert isinstance(self._store, SupportsUpdate)
        fault = self._begin("update", key)
        self._store.update(key, modify)
        _end(fault)

    def _begin(self, method: str, key: str) -> Fault | None:
        """Count the call, find what strikes it, and let that happen which comes first."""
        with self._lock:
            self.calls[method] += 1
            fault = self._scripted(method, key) or self._random(method, key)
            if fault is not None:
                self.struck.append((method, key, fault))
        if fault is not None and fault.kind == "delay":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "before":
            raise fault.error
        return fault

    def _scripted(self, method: str, key: str) -> Fault | None:
        for number, fault in enumerate(self._script):
            if not fault.strikes(method, key) or not self._times[number]:
                continue
            if self._skips[number]:
                self._skips[number] -= 1
                continue
            self._times[number] -= 1
            return fault
        return None

    def _random(self, method: str, key: str) -> Fault | None:
        if self._seed is None:
            return None
        self._asked[method, key] += 1
        rng = random.Random(f"{self._seed}/{method}/{self._asked[method, key]}/{key}")
        kinds = [fault for fault in self._at_random if fault.strikes(method, key)]
        return rng.choice(kinds) if kinds and rng.random() < self._rate else None


def _is(fault: Fault | None, kind: FaultKind) -> bool:
    return fault is not None and fault.kind == kind


def _end(fault: Fault | None) -> None:
    if fault is not None and fault.kind == "after":
        raise fault.error


def _half(blob: Blob) -> Blob:
    return blob._replace(data=bytes(blob.data)[: len(blob.data) // 2])
