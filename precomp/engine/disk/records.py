"""What is known of a kept object: a small JSON file for each, apart from the chunks.

It holds a checksum of the object. So a record and an object that do not belong together (a writer was killed
between the two, or two wrote at once), and one that the disk damaged, are found and never served.
"""

import os
from contextlib import suppress
from typing import NamedTuple

from isal import isal_zlib

from precomp import jsonio
from precomp.errors import StoreError
from precomp.files import replace_file
from precomp.interfaces import Blob

__all__ = ["Record", "Records"]

_FORMAT = 1
_LONGEST = 2**16  # bytes of a record
_BINARY = getattr(os, "O_BINARY", 0)


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
    """The records of one cache folder, below `root`. Failures are plain OSErrors.

    Not in a store: what is here has one name each and is asked for with every chunk.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def get(self, key: str) -> Record | None:
        """Return what is known of a kept object; None where that is nothing, or nothing that can be read."""
        try:
            fd = os.open(f"{self._root}/{key}", os.O_RDONLY | _BINARY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            data = os.read(fd, _LONGEST)
        finally:
            os.close(fd)
        try:
            form, *fields = jsonio.loads(data, key, StoreError)
            return Record(*fields) if form == _FORMAT else None
        except (StoreError, TypeError, ValueError):
            return None  # damaged, so that the object counts as not kept and is fetched again

    def has(self, key: str) -> bool:
        """Whether there is a record, readable or not."""
        return os.path.exists(f"{self._root}/{key}")

    def put(self, key: str, record: Record) -> None:
        """Write down what is known."""
        path = f"{self._root}/{key}"
        text = jsonio.dumps([_FORMAT, *record], compact=True)
        try:
            replace_file(path, text)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            replace_file(path, text)

    def remove(self, key: str) -> None:
        """Forget it."""
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(f"{self._root}/{key}")

    def remove_all(self, prefix: str) -> None:
        """Forget all whose keys start with `prefix`, a folder with its slash or '', and unfinished ones."""
        for folder, _, names in os.walk(f"{self._root}/{prefix}"):
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{name}")
