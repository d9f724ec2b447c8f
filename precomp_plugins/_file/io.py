"""Whole files and folders of the local disk, through `os` alone; failures are plain OSErrors.

`open().read()` and pathlib cost more than reading a small chunk does, hence the bare calls.
"""

import errno
import itertools
import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from precomp.interfaces import Blob, Buffer, ByteRange, Stat

__all__ = [
    "Publish",
    "create_file",
    "folder_stamp",
    "link_file",
    "open_file",
    "read_file",
    "read_held",
    "read_into",
    "read_ranges",
    "remove_file",
    "replace_file",
    "stat_file",
    "stat_path",
    "sync_folder",
    "temporary_name",
    "write_file",
]

Publish: TypeAlias = Callable[[str, str], None]
"""Moves a finished file from its temporary name to its own."""

_BINARY = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it
# Without O_NONBLOCK the opening of a named pipe waits for somebody to write to it.
_READ = os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0)
_counter = itertools.count()
_tokens: dict[int, str] = {}
_spare = bytearray(1)  # nobody reads it
# Windows refuses to replace or remove a file that somebody has open; seconds to wait between attempts.
_SHARING_PAUSES = (0.001, 0.004, 0.016, 0.064, 0.25) if os.name == "nt" else ()
# No such name, a file where a folder would be, or a name so long that no file can have it.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


def read_file(path: str, encoding: str | None, byte_range: ByteRange | None) -> Blob | None:
    """Return the bytes of a file, those inside `byte_range` with the file's size; None where absent."""
    fd = open_file(path)
    if fd is None:
        return None
    try:
        size = _size(fd, path)
        if byte_range is None:
            return Blob(_read(fd, size, 0), encoding)
        start, stop = byte_range
        return Blob(_read(fd, max(min(stop, size) - start, 0), start), encoding, size=size)
    finally:
        os.close(fd)


def read_held(fd: int, path: str, encoding: str | None) -> Blob:
    """Return the bytes of a file that is open, whatever is at its `path` now."""
    return Blob(_read(fd, _size(fd, path), 0), encoding)


def read_ranges(path: str, encoding: str | None, ranges: Sequence[ByteRange]) -> list[Blob] | None:
    """Return several parts of a file, with the file's size; None where absent.

    What is open stays the same file even while another is moved to its name.
    """
    fd = open_file(path)
    if fd is None:
        return None
    try:
        size = _size(fd, path)
        return [
            Blob(_read(fd, max(min(stop, size) - start, 0), start), encoding, size=size)
            for start, stop in ranges
        ]
    finally:
        os.close(fd)


if sys.platform == "win32":

    def read_into(path: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        """Tell that this system cannot, which leaves the work to the other ways of reading."""
        return False

else:

    def read_into(path: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        """Fill each memory from its place in a file of `size` bytes on; False where it is no such file."""
        fd = os.open(path, _READ)
        try:
            if parts and len(parts[0][1]) == size:
                # One byte more than it may have: that tells its size at half the price of asking for it.
                return os.preadv(fd, (parts[0][1], _spare), 0) == size
            if os.lseek(fd, 0, os.SEEK_END) != size:  # fstat tells more, and takes three times as long
                return False
            for start, memory in parts:  # noqa: SIM110  all() costs more than the loop
                if os.preadv(fd, (memory,), start) != len(memory):
                    return False
            return True
        finally:
            os.close(fd)


def open_file(path: str) -> int | None:
    """Open a file for reading; None where absent."""
    try:
        return os.open(path, _READ)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _size(fd: int, path: str) -> int:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "expected a file, found a pipe, socket or device", path)
    return found.st_size


def _read(fd: int, size: int, start: int) -> bytes:
    data = _pread(fd, size, start)
    if len(data) == size:
        return data
    parts = [data]  # a signal or the system's limit of 2 GiB cut it short, or the file shrank
    while data and (size := size - len(data)):
        start += len(data)
        data = _pread(fd, size, start)
        parts.append(data)
    return b"".join(parts)


if sys.platform == "win32":

    def _pread(fd: int, size: int, start: int) -> bytes:
        os.lseek(fd, start, os.SEEK_SET)
        return os.read(fd, size)

else:
    _pread = os.pread


def stat_path(path: str) -> os.stat_result | None:
    """Return the status of a file or folder; None where absent."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def stat_file(path: str, encoding: str | None, byte_range: ByteRange | None) -> Stat | None:
    """Return the size of a file; None where absent. Takes the same arguments as `read_file`."""
    found = stat_path(path)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return None if found is None else Stat(found.st_size, content_encoding=encoding)


def folder_stamp(path: str) -> int | None:
    """Return when the folder of a file last changed, in ns; None where the folder is absent."""
    found = stat_path(path.rpartition("/")[0] or "/")
    return None if found is None else found.st_mtime_ns


def create_file(path: str, flags: int) -> int:
    """Open a file that may be new, after making the folders that are missing."""
    attempts = 10  # more than one fails only where somebody removes the folders at the same time
    while True:
        try:
            return os.open(path, flags | os.O_CREAT | _BINARY, 0o666)
        except FileNotFoundError:
            attempts -= 1
            if not attempts:
                raise
        with suppress(FileNotFoundError, FileExistsError):
            os.makedirs(path.rpartition("/")[0], exist_ok=True)


def replace_file(source: str, target: str) -> None:
    """Move `source` over `target`."""
    if _SHARING_PAUSES:
        _despite_readers(lambda: os.replace(source, target))
    else:
        os.replace(source, target)  # a part in a hundred of a put is saved by this


def link_file(source: str, target: str) -> None:
    """Move `source` to `target`; FileExistsError where that exists already."""
    os.link(source, target)
    os.unlink(source)


def remove_file(path: str) -> bool:
    """Remove a file; False where it is absent."""
    try:
        _despite_readers(lambda: os.unlink(path))
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    return True


def _despite_readers(action: Callable[[], None]) -> None:
    for pause in _SHARING_PAUSES:
        try:
            return action()
        except PermissionError:
            time.sleep(pause)
    return action()


def write_file(path: str, data: Buffer, sync: bool, publish: Publish = replace_file) -> None:
    """Write a file whole or not at all: under a temporary name beside it, which is then moved.

    Args:
        path: where to; missing folders are made.
        data: the content.
        sync: whether file and folder shall be on the disk before this returns.
        publish: moves the finished file, `replace_file` or `link_file`.
    """
    temporary = temporary_name(path)  # before the file is made: an interrupt may follow at once
    try:
        fd = create_file(temporary, os.O_WRONLY | os.O_EXCL)
        try:
            written = os.write(fd, data)
            size = len(data) if type(data) is bytes else memoryview(data).nbytes
            while written < size:
                written += os.write(fd, memoryview(data).cast("B")[written:])
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)  # before the move: a network disk may only now report that it is full
        publish(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    if sync:
        sync_folder(path.rpartition("/")[0])


def temporary_name(path: str) -> str:
    """Return a hidden name beside `path` that nobody else has; short, however long the key is."""
    return f"{path.rpartition('/')[0]}/.{_token()}-{next(_counter):x}.tmp"


def _token() -> str:
    """Names this process among all that share the disk, those on other machines and children included."""
    pid = os.getpid()
    try:
        return _tokens[pid]
    except KeyError:
        return _tokens.setdefault(pid, f"{pid:x}-{os.urandom(8).hex()}")


def sync_folder(folder: str) -> None:
    """Have the names in a folder written to the disk, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
