"""`MemoryStore`: objects in a dict, for tests and for what need not outlive the process.

It behaves as the clouds do: encoding, type and cache control are metadata of the object, and every
write gives it a new version. The folders of `mem://` live in one namespace per process, so volumes
that name the same path share it; a child made by fork starts with a copy and goes its own way.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Sequence

from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, ByteRange, Condition, Stat

__all__ = ["MemoryStore", "check_key", "clear_shared", "open_shared"]


def check_key(key: str) -> None:
    """Raise StoreError where no store may have `key`.

    That is an empty key, or one that holds an empty part, `.`, `..`, a slash at an end, or NUL.
    """
    slashed = f"/{key}/"
    if "//" in slashed or "/./" in slashed or "/../" in slashed or "\0" in key:
        raise StoreError(
            f"{key!r} is no key: expected a relative path such as '8_8_40/0-64_0-64_0-64', "
            "without empty parts, '.', '..' and NUL"
        )


class _Tree:
    """The objects under their full keys, and how often any of them was written."""

    def __init__(self) -> None:
        self.objects: dict[str, Blob] = {}
        self.writes = 0


# One lock for all: it is held for a few dict operations only, and a fork must find it free.
_lock = threading.Lock()
_shared = _Tree()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class MemoryStore:
    """A Store whose objects live in this process; a new one is empty and shares with nobody.

    Versions are increasing numbers as text. They belong to the store and not to the key, so none
    comes again after a delete. Pickling copies the objects, as it does for a dict.

    >>> store = MemoryStore()
    >>> store.put("info", Blob(b"{}"))
    '1'
    >>> bytes(store.get("info").data)
    b'{}'
    """

    def __init__(self) -> None:
        self._tree = _Tree()
        self._prefix = ""

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or the part of it inside `byte_range`; None means absent."""
        check_key(key)
        blob = self._tree.objects.get(self._prefix + key)
        return blob if blob is None or byte_range is None else _part(key, blob, byte_range)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts of the object, all of one version; None means absent."""
        blob = self.get(key)
        return None if blob is None else [_part(key, blob, byte_range) for byte_range in ranges]

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str:
        """Store a copy of `blob` and return its version.

        Raises ConditionFailedError, and writes nothing, where `condition` does not hold.
        """
        check_key(key)
        data = bytes(blob.data)
        with _lock:
            found = self._tree.objects.get(self._prefix + key)
            version = None if found is None else found.version
            if condition is not None and condition.version != version:
                raise ConditionFailedError(
                    f"{key}: expected {_described(condition.version)}, found {_described(version)}; "
                    "nothing was written, read the object again"
                )
            self._tree.writes += 1
            written = str(self._tree.writes)
            self._tree.objects[self._prefix + key] = blob._replace(data=data, version=written, size=None)
        return written

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; absent ones are fine."""
        for key in keys:
            check_key(key)
            with _lock:
                self._tree.objects.pop(self._prefix + key, None)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, as they were at the call."""
        if "/" in prefix:
            check_key(prefix.rpartition("/")[0])
        with _lock:
            keys = tuple(self._tree.objects)
        start = self._prefix + prefix
        return (key.removeprefix(self._prefix) for key in keys if key.startswith(start))

    def stat(self, key: str) -> Stat | None:
        """Return size, version and encoding; None means absent."""
        blob = self.get(key)
        return None if blob is None else Stat(len(blob.data), blob.version, blob.content_encoding)


def open_shared(folder: str) -> MemoryStore:
    """Return a view of one folder in this process's namespace, `bucket/dataset/layer`.

    Views see each other's objects: `info` in the folder `b/ds` is the same object as `ds/info` in
    `b`. Raises StoreError where `folder` is no key.
    """
    check_key(folder)
    store = MemoryStore()
    store._tree = _shared
    store._prefix = f"{folder}/"
    return store


def clear_shared() -> None:
    """Remove every object from this process's namespace, for tests."""
    with _lock:
        _shared.objects.clear()


def _part(key: str, blob: Blob, byte_range: ByteRange) -> Blob:
    start, stop = byte_range
    if start < 0:
        raise StoreError(f"{key}: a byte range starts at 0 or later, found {start}; correct the range")
    return blob._replace(data=blob.data[start : max(start, stop)], size=len(blob.data))


def _described(version: str | None) -> str:
    return "no object" if version is None else f"version {version}"
