"""The last steps of an update: put the new file in the place of the one that was read, of no other."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from precomp.interfaces import Blob, Buffer
from precomp_plugins._file.errors import failure
from precomp_plugins._file.io import read_file, read_held, remove_file, replace_file, temporary_name
from precomp_plugins._file.lock import Hold
from precomp_plugins._file.moves import UNREAD, Move, settle
from precomp_plugins._file.swap import exchange, move_to_free
from precomp_plugins._file.twins import Pin, Pins, Twins, pinned

__all__ = [
    "ChangedMeanwhileError",
    "bring_back",
    "forget_aside",
    "pinned_names",
    "publish_update",
    "read_pinned",
    "remove_pinned",
]


class ChangedMeanwhileError(Exception):
    """Somebody replaced or deleted an object that is being updated; nothing was done."""


@contextmanager
def pinned_names(key: str, path: str, twins: Twins) -> Iterator[Pins]:
    """Hold all files of an object open. Raises StoreError; what the body raises passes."""
    with ExitStack() as stack:
        try:
            pins = stack.enter_context(twins.pinned(path))
        except OSError as error:
            raise failure("read", key, path, error) from error
        yield pins


def read_pinned(key: str, path: str, pins: Pins, encodings: Sequence[tuple[str, str | None]]) -> Blob | None:
    """Return the object that is pinned, whatever is there now; None where there was none.

    `encodings` are pairs of suffix and encoding in the order in which they are read. Raises StoreError.
    """
    blocked = None
    try:
        for suffix, encoding in encodings:
            fd = pins[suffix].fd
            try:
                if fd is not None:
                    return read_held(fd, path + suffix, encoding)
            except IsADirectoryError as error:
                blocked = blocked if suffix else error
        if blocked:
            raise blocked
    except OSError as error:
        raise failure("read", key, path, error) from error
    return None


def publish_update(hold: Hold, pins: Pins, suffix: str, temporary: str, target: str) -> None:
    """Move a new file to the name with `suffix` and remove the object's others.

    A put or deletion that comes in between is found out at every name, and then the new file is taken
    back. Raises ChangedMeanwhileError.
    """
    _expect_unchanged(pins)
    with pinned(temporary) as new:
        _place(hold, pins[suffix], temporary, target)
        if not _remove_others(hold, pins, suffix):
            _take(hold, Pin(target, new.fd))
            raise ChangedMeanwhileError


def remove_pinned(hold: Hold, key: str, path: str, pins: Pins) -> None:
    """Remove the object that is pinned. Raises StoreError, and ChangedMeanwhileError where it is gone."""
    _expect_unchanged(pins)
    try:
        if not _remove_others(hold, pins, None):
            raise ChangedMeanwhileError
    except OSError as error:
        raise failure("remove", key, path, error) from error


def bring_back(hold: Hold, target: str, data: Buffer) -> None:
    """Bring a put's file back where an update left it aside unread. What is at its name was put later."""
    for move in hold.left_aside():
        if move.target == target and not os.path.exists(target):
            found = read_file(move.aside, None, None)
            # If it is another put's with the same content, that one would do the same.
            if found is not None and found.data == memoryview(data).cast("B"):
                replace_file(move.aside, target)


def forget_aside(hold: Hold, key: str, path: str) -> None:
    """Remove what updates left aside: it was put before what is there now. Raises StoreError."""
    try:
        for move in hold.left_aside():
            remove_file(move.aside)
    except OSError as error:
        raise failure("remove", key, path, error) from error


def _remove_others(hold: Hold, pins: Pins, kept: str | None) -> bool:
    """Remove the files at the other names; False where the object changed at one of these.

    What was hidden behind the file that was read goes first: readers must not meet it when that is gone.
    """
    base = next((suffix for suffix, pin in pins.items() if pin.is_file), None)
    for suffix, pin in pins.items():
        if suffix not in (base, kept):
            _take(hold, pin, UNREAD)
    if not all(pin.exists or suffix == kept or pin.unchanged() for suffix, pin in pins.items()):
        return False
    return base is None or base == kept or _take(hold, pins[base])


def _expect_unchanged(pins: Pins) -> None:
    if not all(pin.unchanged() for pin in pins.values()):
        raise ChangedMeanwhileError


def _place(hold: Hold, pin: Pin, temporary: str, target: str) -> None:
    if not pin.exists:
        try:
            return move_to_free(temporary, target)
        except FileExistsError as error:
            raise ChangedMeanwhileError from error
    move = Move(temporary_name(target), target, pin.inode, os.stat(temporary).st_ino)
    if not pin.is_file or not hold.note(move):  # a folder: this fails as it should
        return replace_file(temporary, target)
    os.rename(temporary, move.aside)
    try:
        able = exchange(move.aside, target)
    except FileNotFoundError as error:  # it was deleted
        settle(move)
        raise ChangedMeanwhileError from error
    if not able:
        return replace_file(move.aside, target)
    made_way = os.stat(move.aside).st_ino
    settle(move)
    if made_way != pin.inode:
        raise ChangedMeanwhileError
    return None


def _take(hold: Hold, pin: Pin, instead: int = 0) -> bool:
    """Remove a pinned file, or leave it aside; False where it is not there any more.

    What is there instead stays.
    """
    if not pin.is_file or not pin.unchanged():
        return False
    move = Move(temporary_name(pin.path), pin.path, pin.inode, instead)
    if not hold.note(move):
        remove_file(pin.path)
        return True
    try:
        os.rename(pin.path, move.aside)
    except FileNotFoundError:
        return False
    taken = os.stat(move.aside).st_ino == pin.inode
    settle(move)
    return taken
