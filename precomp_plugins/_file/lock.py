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

import attrs

from precomp_plugins._file.errors import failure
from precomp_plugins._file.io import create_file
from precomp_plugins._file.moves import UNREAD, Move, pack, settle, unpack

__all__ = ["Hold", "lock_name", "locked"]

_DEADLINE = 60.0  # seconds; an update takes milliseconds, and more where the file is large:
_LEAST_SPEED = 2**22  # bytes in a second
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02
_MOST_NOTES = 2**20  # bytes; what is longer is no lock file of ours
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # notes go into no other file, whoever laid the link
_LONGEST_NAME = 128  # bytes; beyond it `.NAME.lock` may be too long where NAME itself is not


@attrs.frozen
class Hold:
    """A lock that is held.

    Attributes:
        fd: of the lock file.
        moves: what the holder has noted, and holders before him of what they left aside.
    """

    fd: int
    moves: list[Move] = attrs.field(factory=list)

    def note(self, move: Move) -> bool:
        """Note what is about to be done, for the next holder; False where that cannot be kept here."""
        if os.name == "nt":
            return False
        note = pack(move)
        try:
            if os.write(self.fd, note) < len(note):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if error.errno == errno.EBADF:  # another user's lock file, which only may be read
                return False
            raise
        self.moves.append(move)
        return True

    def left_aside(self) -> list[Move]:
        """Return the moves of files that nobody has read and that are still aside."""
        return [move for move in self.moves if move.written == UNREAD and os.path.exists(move.aside)]


@contextmanager
def locked(key: str, path: str) -> Iterator[Hold]:
    """Hold the lock of `key`, `.NAME.lock` beside its file at `path`, making missing folders.

    The lock file is removed at the end, if nothing stays aside. One that a killed process left is simply
    used, after what that had noted is settled. Raises StoreError where it cannot be made, locked or
    settled; what the body raises passes.
    """
    name = lock_name(path)
    try:
        hold = _acquire(name, _DEADLINE + _size(path) / _LEAST_SPEED)
    except OSError as error:
        raise failure("lock", key, name, error) from error
    fd = hold.fd
    _held.add(fd)
    try:
        yield hold
    finally:
        if fd in _held:  # else this is a child, whose parent holds it still
            _held.discard(fd)
            try:
                for move in hold.moves:  # one may have been interrupted
                    settle(move)
                stays = bool(hold.left_aside())
            except OSError as error:
                os.close(fd)  # the lock file stays for the next holder, who settles it
                raise failure("settle", key, path, error) from error
            _release(fd, None if stays else name)


def lock_name(path: str) -> str:
    """Return the lock file of the key with its file at `path`.

    It is there while somebody holds the lock, and after he was killed.
    """
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


def _acquire(name: str, patience: float) -> Hold:
    """Wait for the lock, for `patience` seconds with each holder."""
    while True:
        fd = _open(name)
        try:
            _lock(fd, patience)
            # The holder before us has removed the file that we waited for; a third may hold a new one.
            with suppress(FileNotFoundError):
                mine = os.fstat(fd)
                if os.path.samestat(mine, os.stat(name)):
                    hold = Hold(fd, _settled(fd, mine.st_size, name.rpartition("/")[0]))
                    if _is_usable(fd, name, bool(hold.moves)):
                        return hold
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _is_usable(fd: int, name: str, noted: bool) -> bool:
    """Tell whether notes can be written; else, where another user's killed process left it, remove it."""
    try:
        os.write(fd, b"")
    except OSError:
        with suppress(OSError):  # in a folder like /tmp: it must do without notes
            if not noted:
                os.unlink(name)
                return False
    return True


def _settled(fd: int, size: int, folder: str) -> list[Move]:
    """Settle what a killed holder had noted in the lock file; return what is left aside."""
    if not size:
        return []
    found = unpack(os.read(fd, min(size, _MOST_NOTES)), folder)
    for move, _ in found:
        settle(move)
    while found and not Hold(fd, [found[-1][0]]).left_aside():
        found.pop()
    end = found[-1][1] if found else 0
    with suppress(OSError):  # of another user; to settle it again does nothing
        os.ftruncate(fd, end)
        os.lseek(fd, end, os.SEEK_SET)
    return [move for move, _ in found]


def _open(name: str) -> int:
    attempts = 10  # more than one fails only where the folder is what must not be written
    while True:
        try:
            return create_file(name, os.O_RDWR | _NO_LINK)
        except PermissionError as error:
            attempts -= 1
            try:
                return os.open(name, os.O_RDONLY | _NO_LINK)  # another user's may be waited for
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

    def _release(fd: int, name: str | None) -> None:
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
        os.close(fd)
        with suppress(OSError):  # somebody waits for it and has it open: that one will remove it
            if name:
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

    def _release(fd: int, name: str | None) -> None:
        try:
            with suppress(OSError):
                if name:
                    os.unlink(name)
            fcntl.flock(fd, fcntl.LOCK_UN)  # a child forked meanwhile has the file open too
        finally:
            os.close(fd)
