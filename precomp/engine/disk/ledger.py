"""What the processes that share one cache folder must agree on, in one file, under one lock.

The lock is held for local work only, never while a remote store is asked. It is the system's, so a killed
holder frees it. Opened anew each time: threads exclude each other just as processes do, and nothing has
to be rebuilt after a fork.
"""

import errno
import os
import random
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

__all__ = ["Ledger", "Pages", "Slot"]

_HEAD = struct.Struct("<Qq")  # the format's mark; how many bytes are kept, negative: not known
_SLOT = struct.Struct("<QQd")
_MARK = int.from_bytes(b"precomp1", "little")
_SLOTS = 4096  # so many that writes at the same time hardly ever meet in one
_SIZE = _HEAD.size + _SLOTS * _SLOT.size
_LARGEST = 2**64 - 1  # the disk may have damaged a number, and the next one must fit all the same
_LEASE = 600.0  # seconds; whoever writes for longer was killed: no request is tried for so long
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.01
_BINARY = getattr(os, "O_BINARY", 0)


class Slot(NamedTuple):
    """What is known of the writes to those keys that share a slot.

    Attributes:
        generation: counts the beginnings and ends of writes.
        writers: how many have begun and not ended.
        until: the time, as `time.time` counts, after which those that have not ended were killed.
    """

    generation: int
    writers: int
    until: float

    @property
    def is_open(self) -> bool:
        """Whether somebody is writing, so that nobody knows what the remote store holds."""
        return self.writers > 0 and time.time() < self.until

    def begun(self) -> "Slot":
        """One more writer."""
        return Slot(self.generation + 1, (self.writers if self.is_open else 0) + 1, time.time() + _LEASE)

    def ended(self) -> "Slot":
        """One writer less."""
        left = max(self.writers - 1, 0)
        return Slot(self.generation + 1, left, self.until if left else 0.0)


class Pages:
    """The ledger's numbers, for whoever holds the lock."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        if os.fstat(fd).st_size == _SIZE and _HEAD.unpack(_read(fd, 0, _HEAD.size))[0] == _MARK:
            return
        os.ftruncate(fd, 0)
        # Not from 0: what was fetched while there was another ledger must not fit this one. And all of it, no
        # holes: on a full disk it must still be possible to tell that a chunk was written.
        start = Slot(random.SystemRandom().getrandbits(62), 0, 0.0)
        _write(fd, 0, _HEAD.pack(_MARK, -1) + _SLOT.pack(*start) * _SLOTS)

    @property
    def total(self) -> int | None:
        """How many bytes are kept at the most; None where that is not known."""
        total: int = _HEAD.unpack(_read(self._fd, 0, _HEAD.size))[1]
        return total if total >= 0 else None

    @total.setter
    def total(self, value: int) -> None:
        _write(self._fd, 0, _HEAD.pack(_MARK, max(value, 0)))

    def slot(self, key: str) -> Slot:
        """Return that of a key."""
        return _slot(self._fd, _place(key))

    def set_slot(self, key: str, slot: Slot) -> None:
        """Change that of a key."""
        _write(self._fd, _place(key), _packed(slot))

    def turn(self) -> None:
        """Let nothing be kept that was fetched before now, whatever its key."""
        for place in range(_HEAD.size, _SIZE, _SLOT.size):
            slot = _slot(self._fd, place)
            _write(self._fd, place, _packed(slot._replace(generation=slot.generation + 1)))


class Ledger:
    """The ledger in the file at `path`, made when it is first locked. Failures are plain OSErrors."""

    def __init__(self, path: str) -> None:
        self._path = path

    def slot(self, key: str) -> Slot:
        """Return that of a key as it is at this moment, without the lock."""
        fd = os.open(self._path, os.O_RDONLY | _BINARY)
        try:
            return _slot(fd, _place(key))
        finally:
            os.close(fd)

    @contextmanager
    def locked(self, patience: float) -> Iterator[Pages]:
        """Hold the lock. Raises TimeoutError where it is not free within `patience` seconds."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
        try:
            _lock(fd, time.monotonic() + patience)
        except BaseException:
            os.close(fd)
            raise
        _held.add(fd)
        try:
            yield Pages(fd)
        finally:
            if fd in _held:  # else this is a child, whose parent holds it still
                _held.discard(fd)
                try:
                    _unlock(fd)  # a child forked meanwhile has the file open too
                finally:
                    os.close(fd)


_held: set[int] = set()


def _let_go() -> None:
    """Close a forked child's copies: a lock is free only when nobody has its file open any more."""
    for fd in _held:
        with suppress(OSError):
            os.close(fd)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _place(key: str) -> int:
    # Not hash(), which differs from process to process.
    return _HEAD.size + zlib.crc32(key.encode("utf-8", "surrogatepass")) % _SLOTS * _SLOT.size


def _packed(slot: Slot) -> bytes:
    return _SLOT.pack(slot.generation & _LARGEST, slot.writers & _LARGEST, slot.until)


def _slot(fd: int, place: int) -> Slot:
    data = _read(fd, place, _SLOT.size)
    if len(data) != _SLOT.size:
        raise OSError(errno.EIO, "the ledger is shorter than it has to be")
    return Slot(*_SLOT.unpack(data))


def _lock(fd: int, deadline: float) -> None:
    # Not by waiting in the system: that would have no end where the holder is stopped.
    pause = _FIRST_PAUSE
    while not _try_lock(fd):
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock and does not let go")
        time.sleep(random.uniform(0, pause))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _read(fd: int, place: int, size: int) -> bytes:
    os.lseek(fd, place, os.SEEK_SET)  # a descriptor belongs to one thread
    return os.read(fd, size)


def _write(fd: int, place: int, data: bytes) -> None:
    os.lseek(fd, place, os.SEEK_SET)
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


if sys.platform == "win32":
    import msvcrt

    _FAR = 2**30  # Windows lets nobody read what is locked

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, _FAR, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)
