"""The store of `file://`: one file per object, compression shown by the name's suffix."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, Buffer, ByteRange, Condition, Modify, Stat
from precomp_plugins._file import update
from precomp_plugins._file.errors import failure
from precomp_plugins._file.io import (
    Publish,
    folder_stamp,
    link_file,
    read_file,
    read_into,
    read_ranges,
    remove_file,
    replace_file,
    stat_file,
    sync_folder,
    write_file,
)
from precomp_plugins._file.listing import list_files
from precomp_plugins._file.lock import Hold, lock_name, locked
from precomp_plugins._file.names import check_file_key
from precomp_plugins._file.twins import twins_of

__all__ = ["FileStore"]

_T = TypeVar("_T")
_Name: TypeAlias = tuple[str, str | None]  # suffix, encoding
_Look: TypeAlias = Callable[[str, str | None, Any], _T | None]
_PLAIN: _Name = ("", None)
_ALWAYS_SYNCED = frozenset({"info", "provenance"})
_LOOKS = 16  # at most, for an object whose file is renamed again and again meanwhile
# ns; a change later than this after a folder's mtime gives another mtime, even on FAT
_SETTLED = 3_000_000_000
_TICK = 20_000_000  # ns; so long a kernel may stamp changes with one and the same time


class FileStore:
    """Objects as files below the folder `root`, which need not exist and is made by the first put.

    The object `a/b` is the file `a/b`, or `a/b.gz` and the like, after the table of `set_suffixes`.
    Should several such twins exist, left by another program or a killed one, a get reads the first
    in the order plain, then as in the table; a put leaves only its own. A fixed order, whatever it
    costs to look for `a/b` first: what a voxel is must not depend on what was read before it.
    Hence no key may end in a suffix of the table.

    A put replaces the file in one step: readers meet the old content or the new one, and a failure
    leaves the old one (or the new one, where it is that somebody keeps the lock). A put that meets an
    update may be seen, be gone and be back for a moment, but not once it has returned. Names that start
    with a dot are no keys: `.NAME.lock` is the lock of a key and `.NUMBERS.tmp` a file before or after its
    time, there while somebody writes and after a writer was killed.

    Content types are not kept and there are no versions. The store holds no open files: it may be
    shared by threads, pickled, and used after a fork.

    Args:
        root: the folder.
        fsync: sync file and folder in every put; `info` and `provenance` always are synced.
    """

    def __init__(self, root: str | os.PathLike[str], fsync: bool = False) -> None:
        folder = os.fspath(root)
        self._prefix = (folder if os.path.isabs(folder) else os.path.abspath(folder)).rstrip("/") + "/"
        self._fsync = fsync
        self.set_suffixes({})

    def __repr__(self) -> str:
        return f"FileStore({self._prefix!r})"

    def set_suffixes(self, suffixes: Mapping[str, Sequence[str]]) -> None:
        """Take the table encoding -> suffixes; the first is written, all are read."""
        names = (_PLAIN, *((suffix, encoding) for encoding, known in suffixes.items() for suffix in known))
        self._names = names
        self._suffixes = tuple(suffix for suffix, _ in names[1:])
        self._twins = twins_of(self._suffixes)
        self._suffix_of = {None: ""} | {encoding: known[0] for encoding, known in suffixes.items() if known}
        self._stamps: dict[str, int] = {}  # folder -> mtime in ns that any later change must alter

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or the part of it inside `byte_range` as stored; None means absent."""
        return self._find(key, read_file, byte_range)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts of the object as stored, all of one version; None means absent."""
        return self._find(key, read_ranges, ranges)

    def read_into(self, key: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        """Fill the parts' memory from the plain file; False where there is none of `size` bytes."""
        path = self._path(key)
        try:
            return read_into(path, size, parts)
        except OSError:
            return False  # whatever it is, `get` meets it too and says so

    def stat(self, key: str) -> Stat | None:
        """Return size and encoding; None means absent."""
        return self._find(key, stat_file, None)

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> None:
        """Store `blob` whole or not at all. There are no versions, so the result is None.

        The only condition possible is that the object must not exist; a version raises StoreError.
        """
        path = self._path(key)
        suffix = self._suffix(key, blob.content_encoding)
        if condition is None:
            self._put(key, path, suffix, blob.data)
        elif condition.version is None:
            self._put_new(key, path, suffix, blob.data)
        else:
            raise StoreError(
                f"{key!r}: expected a condition without a version, found {condition.version!r}; local files "
                "have no versions, use the store's update() instead"
            )

    def update(self, key: str, modify: Modify) -> None:
        """Replace the object by `modify(object)` while holding the key's lock.

        Updates of one key wait for each other, and puts and deletes wait for an update. One that was
        under way when the update began is seen, up to the last moment: `modify` is then called again.
        What a killed update left half done, the next holder of the lock settles.

        One case is left: where names cannot be exchanged (most network file systems, Windows), a put that
        found no lock and moved its file between the update's last look and last step is lost.

        `modify` must not put, delete or update the same key: it would wait for the lock.
        """
        path = self._path(key)
        with locked(key, path) as hold:
            while not self._updated(hold, key, path, modify):
                pass

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, all twins of them; absent ones are fine. Folders stay."""
        for key in keys:
            path = self._path(key)
            # Somebody may hold the lock, or an update moved the object behind a name that was looked at.
            if os.access(lock_name(path), os.F_OK) or (
                not self._remove(key, path) and self._find(key, stat_file, None) is not None
            ):
                with locked(key, path) as hold:
                    self._remove(key, path)
                    update.forget_aside(hold, key, path)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, once; folders behind links too, but no cycles."""
        if "/" in prefix:
            check_file_key(prefix.rpartition("/")[0], ())
        return list_files(self._prefix, prefix, self._suffixes)

    def _path(self, key: str) -> str:
        check_file_key(key, self._suffixes)
        return self._prefix + key

    def _suffix(self, key: str, encoding: str | None) -> str:
        try:
            return self._suffix_of[encoding]
        except KeyError as error:
            known = ", ".join(repr(name) for name in self._suffix_of if name) or "none"
            raise StoreError(
                f"{key!r}: the compression {encoding!r} has no file name suffix; known are {known}; "
                "write it plain or install the compressor's plugin"
            ) from error

    def _find(self, key: str, look: _Look[_T], wanted: Any) -> _T | None:
        path = self._path(key)
        folder = key.rpartition("/")[0]
        stamp = self._stamps.get(folder)
        try:
            for _ in range(_LOOKS):
                found = self._look(path, look, wanted)
                if found is not None:
                    return found
                # Another process may have renamed it behind our back, unless its folder did not change.
                before, stamp = stamp, folder_stamp(path)
                if stamp is None:
                    break
                age = time.time_ns() - stamp
                if stamp == before and age > _TICK:
                    break
                if age > _SETTLED:
                    self._stamps[folder] = stamp
        except OSError as error:
            raise failure("read", key, path, error) from error
        return None

    def _look(self, path: str, look: _Look[_T], wanted: Any) -> _T | None:
        blocked = None
        for suffix, encoding in self._names:
            if suffix and not os.access(path + suffix, os.F_OK):
                continue  # half the price of an open that fails
            try:
                found = look(path + suffix, encoding, wanted)
            except IsADirectoryError as error:
                blocked = blocked if suffix else error
                continue
            if found is not None:
                return found
        if blocked:
            raise blocked
        return None

    def _put(self, key: str, path: str, suffix: str, data: Buffer) -> None:
        """Move a new file to its name, with no lock where nobody seems to be in the way.

        Look, move, look again: an update that began before the move is over then or has its lock file
        there. As it takes back what it did where a file came in its way, a put waits for its end.
        """
        lock, in_peace = lock_name(path), True

        def publish(temporary: str, target: str) -> None:
            nonlocal in_peace
            # An update waits, or is waited for, while a twin that it would read before this one is there.
            if os.access(lock, os.F_OK) or self._twins.any_before(path, suffix):
                in_peace = False
                with locked(key, path) as hold:
                    replace_file(temporary, target)
                    self._win(hold, key, path, suffix)
            else:
                replace_file(temporary, target)

        self._write(key, path, suffix, data, publish)
        if in_peace and (os.access(lock, os.F_OK) or self._twins.any_beside(path, suffix)):
            with locked(key, path) as hold:
                self._win(hold, key, path, suffix, data)

    def _updated(self, hold: Hold, key: str, path: str, modify: Modify) -> bool:
        """Replace the object by `modify(object)`; False where it changed meanwhile, and nothing was done."""
        with update.pinned_names(key, path, self._twins) as pins:
            blob = modify(update.read_pinned(key, path, pins, self._names))
            try:
                if blob is None:
                    update.remove_pinned(hold, key, path, pins)
                else:
                    suffix = self._suffix(key, blob.content_encoding)
                    publish = partial(update.publish_update, hold, pins, suffix)
                    self._write(key, path, suffix, blob.data, publish)
            except update.ChangedMeanwhileError:
                return False
            return True

    def _remove(self, key: str, path: str) -> bool:
        """Remove all names of an object; False where there was none."""
        found = False
        for suffix, _ in self._names:
            try:
                found |= remove_file(path + suffix)
            except IsADirectoryError as error:
                if not suffix:
                    raise failure("remove", key, path, error) from error
            except OSError as error:
                raise failure("remove", key, path + suffix, error) from error
        return found

    def _write(self, key: str, path: str, suffix: str, data: Buffer, publish: Publish = replace_file) -> None:
        try:
            write_file(path + suffix, data, self._syncs(key), publish)
        except StoreError:  # of the lock
            raise
        except OSError as error:
            raise failure("write", key, path + suffix, error) from error

    def _put_new(self, key: str, path: str, suffix: str, data: Buffer) -> None:
        exists = f"{key!r}: expected no object, found one; nothing was written, read it or drop the condition"
        with locked(key, path):
            if self.stat(key) is not None:
                raise ConditionFailedError(exists)
            try:
                write_file(path + suffix, data, self._syncs(key), link_file)
                if self._twins.any_beside(path, suffix):  # a put that waits for no lock came in between
                    remove_file(path + suffix)
                    raise FileExistsError
            except FileExistsError as error:
                raise ConditionFailedError(exists) from error
            except OSError as error:
                raise failure("write", key, path + suffix, error) from error

    def _syncs(self, key: str) -> bool:
        return self._fsync or key.rpartition("/")[2] in _ALWAYS_SYNCED

    def _win(self, hold: Hold, key: str, path: str, suffix: str, data: Buffer | None = None) -> None:
        """Remove all but what was just put, `data`, if no later writer removed that; under the lock."""
        try:
            if data is not None:
                update.bring_back(hold, path + suffix, data)
            if os.path.isfile(path + suffix):
                update.forget_aside(hold, key, path)
                self._twins.remove_beside(path, suffix)
            if self._syncs(key):
                sync_folder(path.rpartition("/")[0])
        except OSError as error:
            raise failure("remove the old twin of", key, path + suffix, error) from error
