"""What is known of a kept object: a small JSON file for each, apart from the chunks.

It holds a checksum of the object. So a record and an object that do not belong together (a writer was killed
between the two, or two wrote at once), and one that the disk damaged, are found and never served.
"""

from typing import NamedTuple

from isal import isal_zlib

from precomp import jsonio
from precomp.errors import StoreError
from precomp.interfaces import Blob, Store

__all__ = ["Record", "Records"]

_FORMAT = 1


class Record(NamedTuple):
    """What is known of one kept object beside its bytes.

    Attributes:
        key: its own; a file system may take two names for one.
        size: of the object as stored, in bytes.
        checksum: crc32 of it.
        encoding: Content-Encoding token, None for plain.
        content_type: for stores that keep one.
        cache_control: likewise.
        version: that the remote store gave it.
    """

    key: str
    size: int
    checksum: int
    encoding: str | None
    content_type: str | None
    cache_control: str | None
    version: str | None

    @classmethod
    def of(cls, key: str, blob: Blob) -> "Record":
        """Describe an object."""
        data = memoryview(blob.data)
        _, encoding, content_type, cache_control, version, _ = blob
        return cls(key, data.nbytes, isal_zlib.crc32(data), encoding, content_type, cache_control, version)

    def fits(self, key: str, blob: Blob) -> bool:
        """Whether this describes the object found under `key`; the kept file has no headers."""
        data = memoryview(blob.data)
        return (
            self.key == key
            and self.size == data.nbytes
            and self.encoding == blob.content_encoding
            and self.checksum == isal_zlib.crc32(data)
        )

    def headed(self, blob: Blob) -> Blob:
        """Give an object that was found the headers that it had."""
        return Blob(blob.data, self.encoding, self.content_type, self.cache_control, self.version)


class Records:
    """The records of one cache folder, in a store of their own. Raises StoreError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> Record | None:
        """Return what is known of a kept object; None where that is nothing, or nothing that can be read."""
        blob = self._store.get(f"records/{key}")
        if blob is None:
            return None
        try:
            form, *fields = jsonio.loads(bytes(blob.data), key, StoreError)
            return Record(*fields) if form == _FORMAT else None
        except (StoreError, TypeError, ValueError):
            return None  # damaged, so that the object counts as not kept and is fetched again

    def put(self, key: str, record: Record) -> None:
        """Write down what is known."""
        self._store.put(f"records/{key}", Blob(jsonio.dumps([_FORMAT, *record], compact=True)))

    def remove(self, key: str) -> None:
        """Forget it."""
        self._store.delete([f"records/{key}"])

    def remove_all(self, prefix: str) -> None:
        """Forget all whose keys start with `prefix`, those without an object too."""
        for key in list(self._store.list(f"records/{prefix}")):
            self._store.delete([key])
