"""What is known of a kept object: a small JSON file for each, apart from the chunks.

It holds a checksum of each block of the object. So a record and an object that do not belong together (a
writer was killed between the two, or two wrote at once), and one that the disk damaged, are found and never
served; and to serve a part, only its blocks are read.
"""

import os
from contextlib import suppress
from typing import Any, NamedTuple

from isal import isal_zlib

from precomp import jsonio
from precomp.errors import StoreError
from precomp.files import replace_file
from precomp.interfaces import Blob, Buffer, ByteRange

__all__ = ["Record", "Records"]

_FORMAT = 2
_LONGEST = 2**16  # bytes of a record
_BLOCK, _MOST_BLOCKS = 2**16, 512  # bytes at least, of an object's blocks at most
_DIGITS = 8  # of a checksum
_TEXT = (str, type(None))
_TYPES: tuple[Any, ...] = (str, int, str, _TEXT, _TEXT, _TEXT, _TEXT)  # of the fields of a record
_BINARY = getattr(os, "O_BINARY", 0)


class Record(NamedTuple):
    """What is known of one kept object beside its bytes.

    Attributes:
        key: its own; a file system may take two names for one.
        size: of the object as stored, in bytes.
        checksums: crc32 of its blocks, eight hexadecimal digits each.
        encoding: Content-Encoding token, None for plain.
        content_type: for stores that keep one.
        cache_control: likewise.
        version: that the remote store gave it.
    """

    key: str
    size: int
    checksums: str
    encoding: str | None
    content_type: str | None
    cache_control: str | None
    version: str | None

    @classmethod
    def of(cls, key: str, blob: Blob) -> "Record":
        """Describe an object."""
        size = memoryview(blob.data).nbytes
        _, encoding, content_type, cache_control, version, _ = blob
        checksums = _checksums(blob.data, _block(size))
        return cls(key, size, checksums, encoding, content_type, cache_control, version)

    def fits(self, key: str, blob: Blob, start: int = 0) -> bool:
        """Whether this describes the object found under `key`; the kept file has no headers.

        `blob` is all of it, or the part from `start` on that `blocks` gave.
        """
        block, length = _block(self.size), memoryview(blob.data).nbytes
        first, last = start // block, -(-(start + length) // block)
        return (
            self.key == key
            and self.size == (length if blob.size is None else blob.size)
            and self.encoding == blob.content_encoding
            and self.checksums[_DIGITS * first : _DIGITS * last] == _checksums(blob.data, block)
        )

    def blocks(self, part: ByteRange) -> ByteRange:
        """Return the bytes of all blocks that a part touches, as far as the object goes."""
        block = _block(self.size)
        start, stop = part.start // block * block, -(-part.stop // block) * block
        return ByteRange(min(start, self.size), min(stop, self.size)) if part.start < part.stop else part

    def headed(self, blob: Blob) -> Blob:
        """Give an object that was found, or a part of it, the headers that it had."""
        return Blob(blob.data, self.encoding, self.content_type, self.cache_control, self.version, blob.size)


def _block(size: int) -> int:
    """Bytes of an object of `size` that share a checksum."""
    return max(_BLOCK, 1 << ((size - 1) // _MOST_BLOCKS).bit_length())


def _checksums(data: Buffer, block: int) -> str:
    view = memoryview(data).cast("B")
    return "".join(
        f"{isal_zlib.crc32(view[start : start + block]):08x}" for start in range(0, len(view), block)
    )


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
        except IsADirectoryError:  # of records of other keys, further below
            return None
        finally:
            os.close(fd)
        try:
            form, *fields = jsonio.loads(data, key, StoreError)
            record = Record(*fields)
            pairs = zip(record, _TYPES, strict=True)
            right = form == _FORMAT and all(isinstance(field, kind) for field, kind in pairs)
            return record if right else None
        except (StoreError, TypeError, ValueError):
            return None  # damaged, so that the object counts as not kept and is fetched again

    def has(self, key: str) -> bool:
        """Whether there is a record, readable or not."""
        return os.path.isfile(f"{self._root}/{key}")

    def keys(self) -> list[str]:
        """Return the keys of all records, readable or not, and the names of unfinished ones."""
        return [
            f"{os.path.relpath(folder, self._root)}/{name}".removeprefix("./").replace(os.sep, "/")
            for folder, _, names in os.walk(self._root)
            for name in names
        ]

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
