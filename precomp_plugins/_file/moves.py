"""Moves that take a file away only where it is the one that was read, and how they are settled.

No system compares and replaces a file in one step, but some exchange two names in one, and all can move a
name away: what was there is under a hidden name then, `aside`, and can be looked at. Was it somebody
else's, it goes back. Whoever does such a thing holds the key's lock and has written into the lock file
what he is about to do, so that the next holder settles it should he be killed.

Puts take no lock. But one that might be taken away here has begun before the lock was taken, and ends only
after a look for it: until the holder, or whoever settles for him, is done, it is not over. So a file
that is aside for a moment belongs to a put that nobody was told of yet, and no more may be lost of
a killed one either: its file is back before any other holder does his part.

A twin that an update has not read is mostly rubbish of a killed writer; but it may be of a put that has not
looked for the lock again. It stays aside, and the lock file too, until a put or deletion comes: the very
one, which brings it back, or a later one.
"""

import os
import re
from contextlib import suppress

import attrs

from precomp_plugins._file.io import replace_file, stat_path
from precomp_plugins._file.swap import exchange, move_to_free

__all__ = ["UNREAD", "Move", "pack", "settle", "unpack"]

_NOTE = re.compile(rb"(\d{1,20}) (-1|\d{1,20}) (\.[^/ ]+\.tmp) ([^/]+)", re.DOTALL)

UNREAD = -1
"""Instead of the inode of a new file: the one that makes way was not read, and stays aside."""


@attrs.frozen
class Move:
    """What is about to be done with a file.

    Attributes:
        aside: the hidden name, nobody else's: of the new file, and then of the one that made way.
        target: the file's own name, in the same folder.
        read: inode of the file that may be taken away.
        written: inode of the file that takes its place; 0 where none does, or UNREAD.
    """

    aside: str
    target: str
    read: int
    written: int


def settle(move: Move) -> None:
    """Leave nothing aside: remove the file that was read or not yet moved, bring back any other one.

    May be done again, and by another process. A newer file at the target always wins.
    """
    own, expected = {move.read, move.written}, move.written
    while (out := _inode(move.aside)) not in own:
        if out is None:
            return
        at_target = _inode(move.target)
        if at_target is None:
            with suppress(FileExistsError):
                move_to_free(move.aside, move.target)
        elif at_target == expected:
            with suppress(FileNotFoundError):  # deleted just now
                if not exchange(move.aside, move.target):
                    replace_file(move.aside, move.target)
                # What comes out must be what went in before; else another put came in between, and wins.
                own.add(out)
                expected = out
        else:
            break
    if out == move.read and move.written == UNREAD:
        return
    with suppress(FileNotFoundError):
        os.unlink(move.aside)


def _inode(path: str) -> int | None:
    found = stat_path(path)
    return None if found is None else found.st_ino


def pack(move: Move) -> bytes:
    """Return the move as it is noted in a lock file."""
    aside, target = (os.fsencode(path.rpartition("/")[2]) for path in (move.aside, move.target))
    return b"%d %d %s %s\0" % (move.read, move.written, aside, target)


def unpack(notes: bytes, folder: str) -> list[tuple[Move, int]]:
    """Return the moves of a lock file in `folder`, each with the place in it where its note ends.

    A note that was not finished was not followed by deeds. One that holds other things than names in the
    folder is none of ours, whoever left it: no file is touched for it.
    """
    moves, end = [], 0
    for note in notes.split(b"\0")[:-1]:
        end += len(note) + 1
        found = _NOTE.fullmatch(note)
        if found is not None and found[4] not in (b".", b".."):
            aside, target = (f"{folder}/{os.fsdecode(name)}" for name in found.group(3, 4))
            moves.append((Move(aside, target, int(found[1]), int(found[2])), end))
    return moves
