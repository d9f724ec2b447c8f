"""`DiskCache`: a store that keeps the objects of another one on the local disk."""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from precomp.engine.disk.documents import as_kept
from precomp.engine.disk.entries import DOCUMENTS
from precomp.engine.disk.far import Far
from precomp.engine.disk.folder import CacheFolder
from precomp.errors import PrecompWarning, StoreError
from precomp.interfaces import Blob, ByteRange, Condition, Modify, Stat, Store, SupportsUpdate

__all__ = ["DiskCache"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class DiskCache:
    """A store that reads whole objects once, and writes to the remote store first and then to the folder.

    Trouble with the local disk breaks no read: it is told once as a PrecompWarning, and the remote store is
    asked. `stat` and `list` always ask it, and so do conditions: what is kept here decides nothing.

    Args:
        remote: the other store.
        folder: where objects are kept.
        validate: ask the remote store for the version of what is kept, each time before it is used.
        place: of the remote store, for warnings.
    """

    def __init__(
        self, remote: Store, folder: CacheFolder, *, validate: bool = False, place: str = ""
    ) -> None:
        self._remote, self._folder, self._validate, self._place = remote, folder, validate, place
        self._far = Far(remote, folder.limit)
        self._warned: set[str] = set()
        # On the instance, for others have to tell what the remote store can do.
        if isinstance(remote, SupportsUpdate):
            self.update = self._update
        workers = getattr(remote, "workers", None)
        if workers is not None:
            self.workers: int = workers
        self._try(folder.open)

    @property
    def folder(self) -> CacheFolder:
        """Where objects are kept."""
        return self._folder

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or a part of it, from the folder where it is kept and current."""
        if byte_range is not None:
            parts = self.get_ranges(key, [byte_range])
            return None if parts is None else parts[0]
        if not self._folder.takes(key):
            return self._remote.get(key)
        kept = self._try(lambda: self._folder.get(key))
        if kept is not None and self._is_current(key, kept):
            self._try(lambda: self._folder.touch(key, kept.content_encoding))
            return kept
        token = self._try(lambda: self._folder.token(key))
        blob = self._remote.get(key)
        self._note(key, token, blob, had=kept is not None)
        return blob

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts of the object, all of one version; what is not kept is fetched whole."""
        for start, _ in ranges:
            if start < 0:
                raise StoreError(
                    f"{key!r}: a byte range starts at 0 or later, found {start}; correct the range"
                )
        if not ranges:
            return None if self._remote.stat(key) is None else []
        if not self._folder.takes(key):
            return self._far.parts(key, ranges)
        kept = self._try(lambda: self._folder.get_ranges(key, ranges))
        if kept is not None and self._is_current(key, kept[0]):
            self._try(lambda: self._folder.touch(key, kept[0].content_encoding))
            return kept
        token = self._try(lambda: self._folder.token(key))
        parts, whole = self._far.fetched(key, ranges)
        if parts is None or whole is not None:
            self._note(key, token, whole, had=kept is not None)
        return parts

    def _note(self, key: str, token: int | None, blob: Blob | None, had: bool) -> None:
        """Keep what was fetched, whole; drop what was kept of what is not there any more."""
        if blob is not None and token is not None:
            self._try(lambda: self._folder.keep(key, token, blob))
        if blob is None and had:
            self._try(lambda: self._folder.drop([key]))

    def get_past_caches(self, key: str) -> Blob | None:
        """Return the object as the remote store has it now: what a write on a condition starts from."""
        return self._remote.get(key)

    def drop_kept(self, key: str) -> bool:
        """Drop a kept object that turned out to be damaged; False where none is kept."""
        if not self._folder.takes(key) or not self._try(lambda: self._folder.holds(key)):
            return False
        _log.info("%s/%s: the copy in %s is damaged and is fetched anew", self._place, key, self._folder.path)
        self._try(lambda: self._folder.drop([key]))
        return True

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        """Store the object remotely, then keep it; after a failure nothing of it is kept."""
        begun = self._begin([key])
        stored: Blob | None = None
        try:
            version = self._remote.put(key, blob, condition=condition)
            stored = blob._replace(version=version, size=None)
        finally:
            self._end(begun, stored)
        if key in DOCUMENTS and blob.content_encoding is None:
            self.keep_document(key, bytes(blob.data))
        return version

    def delete(self, keys: Iterable[str]) -> None:
        """Delete the objects remotely, and what is kept of them."""
        listed = list(keys)
        begun = self._begin(listed)
        try:
            self._remote.delete(listed)
        finally:
            self._end(begun, None)
        for document in DOCUMENTS.intersection(listed):
            self._try(partial(self._folder.drop_document, document))

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that the remote store has."""
        return self._remote.list(prefix)

    def stat(self, key: str) -> Stat | None:
        """Return what the remote store knows of the object."""
        return self._remote.stat(key)

    @contextmanager
    def writing(self, keys: Iterable[str]) -> Iterator[None]:
        """Hold while objects are written past this store: no copy from before or meanwhile is kept."""
        begun = self._begin(keys)
        try:
            yield
        finally:
            self._end(begun, None)

    def document(self, key: str) -> bytes | None:
        """Return the copy of the info or provenance file."""
        return self._try(lambda: self._folder.document(key))

    def clear(self, prefix: str = "") -> None:
        """Drop all copies of objects under a folder with its slash; '' for all."""
        self._try(lambda: self._folder.clear(prefix))

    def keep_document(self, key: str, data: bytes) -> None:
        """Keep a copy of the info or provenance file, without which the folder would be no volume."""
        self._try(lambda: self._folder.keep_document(key, as_kept(key, data)))

    def _update(self, key: str, modify: Modify) -> None:
        assert isinstance(self._remote, SupportsUpdate)
        begun = self._begin([key])
        try:
            self._remote.update(key, modify)
        finally:
            self._end(begun, None)

    def _is_current(self, key: str, kept: Blob) -> bool:
        if not self._validate:
            return True
        found = self._remote.stat(key)
        if found is not None and found.version is None:
            self._warn(
                "versions",
                "gives its objects no versions, so that nothing kept can be validated and all is fetched "
                "again; set cache_validate=False to use the cache",
            )
        return found is not None and found.version is not None and found.version == kept.version

    def _begin(self, keys: Iterable[str]) -> Mapping[str, int]:
        taken = [key for key in keys if self._folder.takes(key)]
        try:
            return self._folder.begin(taken) if taken else {}
        except OSError as error:
            self._check_nothing_kept(taken, error)
            self._trouble(error)
            return {}

    def _check_nothing_kept(self, keys: Iterable[str], error: OSError) -> None:
        """A copy that cannot be dropped would be served for what is about to be written."""
        for key in keys:
            try:
                kept = self._folder.holds(key)
            except OSError:
                kept = True
            if kept:
                raise StoreError(
                    f"{self._place}/{key}: a copy of it in the cache {self._folder.path} cannot be dropped "
                    f"({error}), so nothing was written; make the folder writable or set cache=False"
                ) from error

    def _end(self, begun: Mapping[str, int], stored: Blob | None) -> None:
        if begun:
            self._try(lambda: self._folder.end(begun, stored))

    def _try(self, action: Callable[[], T]) -> T | None:
        """Do something with the local disk; where that fails, say so once and go on without."""
        try:
            return action()
        except OSError as error:
            self._trouble(error)
            return None

    def _trouble(self, error: OSError) -> None:
        self._warn("trouble", f"is not kept in the cache {self._folder.path}, which cannot be used: {error}")

    def _warn(self, what: str, problem: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(f"{self._place} {problem}", PrecompWarning, stacklevel=2)
