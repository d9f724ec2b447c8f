"""Renames that replace nothing unseen: to a free name only, or two names exchanged.

Linux has both (`renameat2`), and macOS (`renamex_np`); the local file systems of both know them, those of
networks mostly not. `os` has neither.
"""

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from precomp_plugins._file.io import link_file, replace_file, stat_path

__all__ = ["exchange", "move_to_free"]

_Rename: TypeAlias = Callable[[bytes, bytes, int], int]  # returns an errno

_FREE, _EXCHANGE = (1, 2) if sys.platform == "linux" else (4, 2)
_UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM})


def exchange(first: str, second: str) -> bool:
    """Exchange two names in one step; False where this cannot be done here. Both must exist."""
    return _renamed(first, second, _EXCHANGE)


def move_to_free(source: str, target: str) -> None:
    """Move `source` to `target`; FileExistsError where that is somebody's already.

    A link that leads nowhere is replaced, and so is everything where the file system has no way to tell.
    """
    try:
        if not _renamed(source, target, _FREE):
            link_file(source, target)
    except FileExistsError:
        if not os.path.islink(target) or stat_path(target) is not None:
            raise
        replace_file(source, target)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        replace_file(source, target)


def _renamed(source: str, target: str, flag: int) -> bool:
    rename = _system_rename()
    if rename is None:
        return False
    number = rename(os.fsencode(source), os.fsencode(target), flag)
    if number in _UNABLE:
        return False
    if number:
        raise OSError(number, os.strerror(number), source, None, target)
    return True


@cache
def _system_rename() -> _Rename | None:
    """Return the system's own function; None where it has none. Not at import: ctypes takes its time."""
    import ctypes

    name = {"linux": "renameat2", "darwin": "renamex_np"}.get(sys.platform)
    found = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if found is None:
        return None
    here = -100 if sys.platform == "linux" else -2  # AT_FDCWD

    def rename(source: bytes, target: bytes, flag: int) -> int:
        if sys.platform == "linux":
            failed = found(here, source, here, target, ctypes.c_uint(flag))
        else:
            failed = found(source, target, ctypes.c_uint(flag))
        return ctypes.get_errno() if failed else 0

    return rename
