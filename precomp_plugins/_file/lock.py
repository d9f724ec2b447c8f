"""A lock of the operating system for one key, which a killed holder frees.

Every holder opens the lock file anew, and a lock belongs to what was opened, so threads of one
process exclude each other just as processes do.
"""

import errno
import hashlib
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from precomp_plugins._file.io import create_file, failure

__all__ = ["is_locked", "locked"]

_DEADLINE = 60.0  # seconds; an update takes milliseconds, and more where the file is large:
_LEAST_SPEED = 2**22  # bytes in a second
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02
_LONGEST_NAME = 128  # bytes; beyond it `.NAME.lock` may be too long where NAME itself is not


@contextmanager
def locked(key: str, path: str) -> Iterator[None]:
    """Hold the lock of `key`, `.NAME.lock` beside its file at `path`, making missing folders.

    The lock file is removed at the end. One that a killed process left is simply used.
    Raises StoreError where it cannot be made or locked; what the body raises passes.
    """
    name = _lock_name(path)
    try:
        fd = _acquire(name, _DEADLINE + _size(path) / _LEAST_SPEED)
    except OSError as error:
        raise failure("lock", key, name, error) from error
    _held.add(fd)
    try:
        yield
    finally:
        if fd in _held:  # else this is a child, whose parent holds it still
            _held.discard(fd)
            _release(fd, name)


def is_locked(path: str) -> bool:
    """Tell whether somebody holds the lock of the key with its file at `path`, or was killed holding it."""
    return os.access(_lock_name(path), os.F_OK)


def _lock_name(path: str) -> str:
    folder, _, name = path.rpartition("/")
    if len(name) > _LONGEST_NAME // 4:  # a character has four bytes at the most
        encoded = os.fsencode(name)
        if len(encoded) > _LONGEST_NAME:
            name = hashlib.sha256(encoded).hexdigest()
    return f"{folder}/.{name}.lock"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # there is none, or another one, compressed
        return 0


def _acquire(name: str, patience: float) -> int:
    """Wait for the lock, for `patience` seconds with each holder."""
    while True:
        fd = _open(name)
        try:
            _lock(fd, patience)
            # The holder before us has removed the file that we waited for; a third may hold a new one.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.stat(name)):
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _open(name: str) -> int:
    attempts = 10  # more than one fails only where the folder is what must not be written
    while True:
        try:
            return create_file(name, os.O_RDWR)
        except PermissionError as error:
            attempts -= 1
            try:
                return os.open(name, os.O_RDONLY)  # another user's: it may be waited for, if not written
            except FileNotFoundError:  # removed meanwhile
                if not attempts:
                    raise error from None
            except OSError:
                raise error from None


_held: set[int] = set()


def _let_go() -> None:
    """Close a forked child's copies: a lock is free only when nobody has its file open any more."""
    for fd in _held:
        os.close(fd)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int, patience: float) -> None:
        while True:
            with suppress(OSError):  # gives up after ten seconds
                return msvcrt.locking(fd, msvcrt.LK_LOCK, 1)

    def _release(fd: int, name: str) -> None:
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        os.close(fd)
        with suppress(OSError):  # somebody waits for it and has it open: that one will remove it
            os.unlink(name)

else:
    import fcntl

    def _lock(fd: int, patience: float) -> None:
        # Not by waiting in the system: that would have no end where the holder is stopped.
        deadline, pause = time.monotonic() + patience, _FIRST_PAUSE
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    break
            time.sleep(random.uniform(0, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise TimeoutError(errno.ETIMEDOUT, f"it was not free within {patience:.0f} s")

    def _release(fd: int, name: str) -> None:
        try:
            with suppress(OSError):
                os.unlink(name)
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has the file open too
        finally:
            os.close(fd)
