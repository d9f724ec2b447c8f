"""What is kept in memory, the least recently used of it dropped first."""

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, Generic, Protocol, TypeVar

from numpy.typing import NDArray

__all__ = ["ChunkCache", "RecentlyUsed"]


class _HasSize(Protocol):
    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=_HasSize)

_caches: "weakref.WeakSet[RecentlyUsed[Any]]" = weakref.WeakSet()


def _start_anew() -> None:
    """Empty all caches in a forked child: a thread that does not live there may have held a lock."""
    for cache in list(_caches):
        cache._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


class RecentlyUsed(Generic[T]):
    """At most `limit` bytes of things, shared by threads; 0 keeps none. Belongs to a process."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._reset()
        _caches.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._size = 0

    def resize(self, limit: int) -> None:
        """Empty the cache and set how many bytes it holds."""
        with self._lock:
            self._kept.clear()
            self._size = 0
            self.limit = limit

    @property
    def nbytes(self) -> int:
        """How many bytes are kept."""
        return self._size

    def get(self, key: Hashable) -> T | None:
        """Return a thing, not to be changed; None where it is not kept."""
        with self._lock:
            thing = self._kept.get(key)
            if thing is not None:
                self._kept.move_to_end(key)
            return thing

    def put(self, key: Hashable, thing: T) -> None:
        """Keep a thing, unless it is larger than all that may be kept."""
        with self._lock:
            self._put(key, thing)

    def drop(self, key: Hashable) -> None:
        """Forget a thing."""
        with self._lock:
            self._remove(key)

    def _put(self, key: Hashable, thing: T) -> None:
        if thing.nbytes > self.limit:
            return
        self._remove(key)
        self._kept[key] = thing
        self._size += thing.nbytes
        while self._size > self.limit:
            self._remove(next(iter(self._kept)))

    def _remove(self, key: Hashable) -> None:
        thing = self._kept.pop(key, None)
        if thing is not None:
            self._size -= thing.nbytes


class ChunkCache(RecentlyUsed[NDArray[Any]]):
    """Decoded chunks.

    Who loads a chunk says so before: `token = begin(key)`, and then `keep(key, token, chunk)`. A write in
    between (`drop`) takes the token away, so that a chunk fetched before it is never kept after it.
    """

    def _reset(self) -> None:
        super()._reset()
        self._loading: dict[Hashable, object] = {}

    def resize(self, limit: int) -> None:
        """Empty the cache and set how many bytes it holds."""
        with self._lock:
            self._loading.clear()
        super().resize(limit)

    def begin(self, key: Hashable) -> object:
        """Return a token for a chunk that is about to be fetched."""
        token = object()
        with self._lock:
            self._loading[key] = token
        return token

    def keep(self, key: Hashable, token: object, chunk: NDArray[Any] | None) -> None:
        """Keep a chunk that was fetched since `begin`, unless it was written meanwhile. None: absent."""
        with self._lock:
            if self._loading.get(key) is not token:
                return
            del self._loading[key]
            if chunk is not None:
                self._put(key, chunk)

    def drop(self, key: Hashable) -> None:
        """Forget a chunk that has been, or may have been, written."""
        with self._lock:
            self._loading.pop(key, None)
            self._remove(key)
