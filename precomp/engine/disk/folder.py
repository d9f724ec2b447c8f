"""A cache folder: kept objects under their keys, and no more bytes of them than was said.

Everything here raises StoreError or OSError where the disk does not do; whoever reads or writes a volume
decides what that means.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from precomp.engine.disk.entries import DOCUMENTS, HIDDEN, Entry, entries
from precomp.engine.disk.ledger import Ledger, Pages
from precomp.engine.disk.records import Record, Records
from precomp.interfaces import Blob, ByteRange, GetsRanges, Store
from precomp.ranges import cut, merged

__all__ = ["CacheFolder"]

_LONGEST_PART = 200  # bytes of a file's name, so that a suffix may follow
_WINDOWS, _NOT_ON_WINDOWS = os.name == "nt", frozenset('\\:*?"<>|')
_ROOM = 0.9  # of the limit is left when room is made, so that it is not made for each chunk again
_TO_KEEP = 2.0  # seconds to wait for the lock; who has to wait longer does without keeping
_TO_DROP = 30.0  # dropping cannot be done without


class CacheFolder:
    """Objects of one remote place in a local folder, shared by threads and processes. Holds no open files.

    A write to the remote store is told of before and after (`begin`, `end`); in between, nothing of its key
    is kept. Who fetches an object takes a `token` before, and what was written since is not kept.

    Args:
        path: of the folder.
        chunks: a store of local files there.
        suffixes: which a file's name has for each Content-Encoding; the first is written.
        limit: bytes of kept objects at the most; None for any number.
    """

    def __init__(
        self,
        path: str,
        chunks: Store,
        suffixes: Mapping[str, Sequence[str]],
        limit: int | None,
    ) -> None:
        self.path, self.limit = path, limit
        self._chunks, self._records = chunks, Records(f"{path}/{HIDDEN}/records")
        self._ranged = chunks if isinstance(chunks, GetsRanges) else None
        self._ledger = Ledger(f"{path}/{HIDDEN}/ledger")
        self._suffix_of = {None: ""} | {encoding: known[0] for encoding, known in suffixes.items() if known}
        self._suffixes = tuple(suffix for known in suffixes.values() for suffix in known)

    def takes(self, key: str) -> bool:
        """Whether an object of this key can be kept: local files cannot have every name."""
        slashed = f"/{key}/"
        if "//" in slashed or "/." in slashed or "\0" in key or key in DOCUMENTS:
            return False
        if key.endswith(self._suffixes) or (_WINDOWS and not _NOT_ON_WINDOWS.isdisjoint(key)):
            return False
        if key.isascii() and len(key) <= _LONGEST_PART:
            return True
        try:
            return all(len(os.fsencode(part)) <= _LONGEST_PART for part in key.split("/"))
        except UnicodeEncodeError:
            return False

    def open(self) -> None:
        """Make ready what is needed to keep objects, and drop what is too much."""
        with self._ledger.locked(_TO_DROP) as pages:
            total = pages.total
            if total is None or (self.limit is not None and total > self.limit):
                pages.total = self._make_room(0)

    def get(self, key: str) -> Blob | None:
        """Return a kept object with the headers it had; None where none, or none that is whole, is kept."""
        record = self._records.get(key)
        blob = None if record is None else self._chunks.get(key)
        if record is None or blob is None:
            return None
        if not record.fits(key, blob):
            self.drop([key])
            return None
        return record.headed(blob)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts of a kept object, one at least; None as `get` does."""
        record = self._records.get(key)
        if record is None:
            return None
        spans = merged(map(record.blocks, ranges), 0) or [ByteRange(0, 0)]
        blobs = self._get_ranges(key, spans)
        if blobs is None:
            return None
        if not all(record.fits(key, blob, span.start) for span, blob in zip(spans, blobs, strict=True)):
            self.drop([key])
            return None
        parts = [(span.start, record.headed(blob)) for span, blob in zip(spans, blobs, strict=True)]
        return [cut(parts, wanted) for wanted in ranges]

    def _get_ranges(self, key: str, spans: Sequence[ByteRange]) -> Sequence[Blob] | None:
        if self._ranged is not None:
            return self._ranged.get_ranges(key, spans)
        blob = self._chunks.get(key)
        return (
            None if blob is None else [cut([(0, blob._replace(size=len(blob.data)))], one) for one in spans]
        )

    def touch(self, key: str, encoding: str | None) -> None:
        """Note that a kept object was used just now."""
        now = time.time_ns()  # the system's own stamps are too coarse to tell which chunk came first
        with suppress(FileNotFoundError):  # dropped meanwhile
            os.utime(f"{self.path}/{key}{self._suffix_of[encoding]}", ns=(now, now))

    def token(self, key: str) -> int:
        """Return what `keep` wants of whoever fetches an object, to be asked for before."""
        return self._ledger.slot(key).generation

    def keep(self, key: str, token: int, blob: Blob) -> None:
        """Keep an object that was fetched since `token`, unless it was written meanwhile."""
        if not self._fits(blob):
            return
        record = Record.of(key, blob)
        with suppress(TimeoutError), self._ledger.locked(_TO_KEEP) as pages:
            slot = pages.slot(key)
            if slot.generation == token and not slot.is_open:
                self._store(pages, record, blob)

    def begin(self, keys: Iterable[str]) -> Mapping[str, int]:
        """Drop objects that are about to be written or deleted; return what `end` wants."""
        begun = {}
        with self._ledger.locked(_TO_DROP) as pages:
            for key in keys:
                slot = pages.slot(key).begun()
                pages.set_slot(key, slot)
                begun[key] = slot.generation
                self._remove(pages, key)
        return begun

    def end(self, begun: Mapping[str, int], blob: Blob | None = None) -> None:
        """Say that the write is over; `blob` is what the one key holds now; None: nothing, or unknown."""
        record = None if blob is None or not self._fits(blob) else Record.of(next(iter(begun)), blob)
        with self._ledger.locked(_TO_DROP) as pages:
            for key, generation in begun.items():
                before = pages.slot(key)
                pages.set_slot(key, before.ended())
                alone = before.generation == generation and before.writers == 1
                if blob is not None and record is not None and alone:
                    self._store(pages, record, blob)
                else:
                    self._remove(pages, key)  # of two who wrote at once nobody knows who was the last

    def holds(self, key: str) -> bool:
        """Whether something is kept under a key, or may be: no object is there without its record."""
        return self._records.has(key)

    def drop(self, keys: Iterable[str]) -> None:
        """Drop kept objects, and what others are fetching of them now."""
        with self._ledger.locked(_TO_DROP) as pages:
            for key in keys:
                slot = pages.slot(key)
                pages.set_slot(key, slot._replace(generation=slot.generation + 1))
                self._remove(pages, key)

    def clear(self, prefix: str = "") -> None:
        """Drop what is kept, or being fetched, under keys that start with `prefix`, a folder and slash."""
        if prefix and not self.takes(f"{prefix}x"):
            return  # nothing can be there, and it must not lead elsewhere
        with self._ledger.locked(_TO_DROP) as pages:
            pages.turn()
            for entry in list(entries(self.path, self._suffixes, prefix, sweep=True)):
                self._chunks.delete([entry.key])
            self._records.remove_all(prefix)
            pages.total = self._measured()

    def drop_all(self) -> None:
        """Drop all that is kept, documents too. What has no record is of somebody else and stays."""
        with self._ledger.locked(_TO_DROP) as pages:
            pages.turn()
            self._chunks.delete([*filter(self.takes, self._records.keys()), *sorted(DOCUMENTS)])
            self._records.remove_all("")
            pages.total = self._measured()

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Yield what is kept under keys that start with `prefix`, a folder with its slash or ''."""
        if not prefix or self.takes(f"{prefix}x"):
            yield from entries(self.path, self._suffixes, prefix)

    def document(self, key: str) -> bytes | None:
        """Return the copy of the info or provenance file."""
        blob = self._chunks.get(key)
        return None if blob is None or blob.content_encoding is not None else bytes(blob.data)

    def keep_document(self, key: str, data: bytes) -> None:
        """Keep a copy of the info or provenance file, which makes the folder a volume."""
        if self.document(key) != data:
            self._chunks.put(key, Blob(data))

    def drop_document(self, key: str) -> None:
        """Drop such a copy."""
        self._chunks.delete([key])

    def _fits(self, blob: Blob) -> bool:
        small = self.limit is None or memoryview(blob.data).nbytes <= self.limit
        return small and blob.content_encoding in self._suffix_of

    def _store(self, pages: Pages, record: Record, blob: Blob) -> None:
        key = record.key
        before = self._records.get(key)
        total = pages.total
        if total is None or (self.limit is not None and total + record.size > self.limit):
            total, before = self._make_room(record.size), None
        # In this order, whoever is killed in between leaves nothing that would be served or not counted.
        pages.total = total + record.size
        try:
            self._records.put(key, record)
            self._chunks.put(key, Blob(blob.data, blob.content_encoding))
        except BaseException:
            with suppress(OSError):
                self._remove(pages, key)
                pages.total = total
            raise
        if before is not None:
            pages.total = total + record.size - before.size
        self.touch(key, blob.content_encoding)

    def _remove(self, pages: Pages, key: str) -> None:
        if not self._records.has(key):
            return
        record, total = self._records.get(key), pages.total
        self._chunks.delete([key])
        self._records.remove(key)
        if record is not None and total is not None:
            pages.total = total - record.size

    def _measured(self) -> int:
        return sum(entry.size for entry in self.entries())

    def _make_room(self, size: int) -> int:
        """Drop the objects not used for the longest time; return how many bytes are left."""
        found = list(entries(self.path, self._suffixes, sweep=True))
        total = sum(entry.size for entry in found)
        if self.limit is None or total + size <= self.limit:
            return total
        goal = min(self.limit - size, int(self.limit * _ROOM))
        for entry in sorted(found, key=_last_used):
            if total <= goal:
                break
            self._chunks.delete([entry.key])
            self._records.remove(entry.key)
            total -= entry.size
        return total


def _last_used(entry: Entry) -> int:
    return entry.used
