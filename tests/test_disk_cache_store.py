"""`DiskCache` is a store like any other: it passes the kit, over one with versions and one with a lock."""

import os
from pathlib import Path
from typing import ClassVar

from precomp.engine.disk.entries import HIDDEN
from precomp.engine.disk.folder import CacheFolder
from precomp.engine.disk.store import DiskCache
from precomp.interfaces import Blob, Store
from precomp.memory import MemoryStore
from precomp.testing import StoreTests
from precomp.testing.names import SUFFIXES
from precomp_plugins._file.store import FileStore


def cached(remote: Store, folder: str, *, validate: bool = False, limit: int | None = 10**6) -> DiskCache:
    chunks = FileStore(folder)
    chunks.set_suffixes(SUFFIXES)
    os.mkdir(f"{folder}/{HIDDEN}")
    return DiskCache(remote, CacheFolder(folder, chunks, SUFFIXES, limit), validate=validate)


class TestOverMemory(StoreTests):
    """Versions."""

    keeps_headers = True
    page_size = 50
    max_examples = 10
    validate: ClassVar[bool] = False
    limit: ClassVar[int | None] = 10**6

    def make_store(self) -> Store:
        self.remote = MemoryStore()
        return cached(self.remote, self.new_folder(), validate=self.validate, limit=self.limit)

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        self.remote.put(key, Blob(data))

    def raw_get(self, store: Store, key: str) -> bytes | None:
        blob = self.remote.get(key)
        return None if blob is None else bytes(blob.data)


class TestValidated(TestOverMemory):
    validate = True


class TestNarrow(TestOverMemory):
    """Hardly anything fits."""

    limit = 10


class TestOverFiles(StoreTests):
    """A lock instead of versions."""

    page_size = 50
    max_examples = 10

    def make_store(self) -> Store:
        self.layer = self.new_folder()
        remote = FileStore(self.layer)
        remote.set_suffixes(SUFFIXES)
        return cached(remote, self.new_folder())

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        path = Path(self.layer, key)
        path.parent.mkdir(parents=True)
        path.write_bytes(data)

    def raw_get(self, store: Store, key: str) -> bytes:
        return Path(self.layer, key).read_bytes()
