"""Decoded chunks kept in memory, the least recently used of them dropped first."""

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

__all__ = ["ChunkCache"]


_caches: "weakref.WeakSet[ChunkCache]" = weakref.WeakSet()


def _start_anew() -> None:
    """Empty all caches in a forked child: a thread that does not live there may have held a lock."""
    for cache in list(_caches):
        cache._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)


class ChunkCache:
    """At most `limit` bytes of decoded chunks, shared by threads; 0 keeps none. Belongs to a process.

    Who loads a chunk says so before: `token = begin(key)`, and then `keep(key, token, chunk)`. A write in
    between (`drop`) takes the token away, so that a chunk fetched before it is never kept after it.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._reset()
        _caches.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._chunks: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._loading: dict[Hashable, object] = {}
        self._size = 0

    def resize(self, limit: int) -> None:
        """Empty the cache and set how many bytes it holds."""
        with self._lock:
            self._chunks.clear()
            self._loading.clear()
            self._size = 0
            self.limit = limit

    @property
    def nbytes(self) -> int:
        """How many bytes of chunks are kept."""
        return self._size

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """Return a chunk, not to be changed; None where it is not kept."""
        with self._lock:
            chunk = self._chunks.get(key)
            if chunk is not None:
                self._chunks.move_to_end(key)
            return chunk

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
            if chunk is None or chunk.nbytes > self.limit:
                return
            self._remove(key)
            self._chunks[key] = chunk
            self._size += chunk.nbytes
            while self._size > self.limit:
                self._remove(next(iter(self._chunks)))

    def drop(self, key: Hashable) -> None:
        """Forget a chunk that has been, or may have been, written."""
        with self._lock:
            self._loading.pop(key, None)
            self._remove(key)

    def _remove(self, key: Hashable) -> None:
        chunk = self._chunks.pop(key, None)
        if chunk is not None:
            self._size -= chunk.nbytes
