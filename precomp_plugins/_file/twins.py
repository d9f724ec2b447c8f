"""The names that one object may have, `a`, `a.gz`, ...: which are there, and which must go.

Without a lock nothing can be said of several files at once; what is here is put together so that of two
writers one wins whole, as `FileStore` tells.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TypeAlias

import attrs

from precomp_plugins._file.io import open_file, remove_file, stat_path

__all__ = ["Pin", "Pins", "Twins", "pinned", "twins_of"]


@attrs.frozen
class Pin:
    """A file that is held open, to find out later whether it is still the one at its path.

    Open, because the system could give the number of a removed one to another.

    Attributes:
        path: where it was.
        fd: its descriptor; None where there was nothing.
    """

    path: str
    fd: int | None

    @property
    def exists(self) -> bool:
        """Whether there was anything."""
        return self.fd is not None

    @property
    def is_file(self) -> bool:
        """Whether there was a file, not a folder."""
        return self.fd is not None and not stat.S_ISDIR(os.fstat(self.fd).st_mode)

    @property
    def inode(self) -> int:
        """The file's number; 0 where there was none."""
        return 0 if self.fd is None else os.fstat(self.fd).st_ino

    def unchanged(self) -> bool:
        """Tell whether the same file, or none, is still there."""
        now = stat_path(self.path)
        if self.fd is None or now is None:
            return self.fd is None and now is None
        return os.path.samestat(now, os.fstat(self.fd))


Pins: TypeAlias = Mapping[str, Pin]
"""Suffix to what was there, in the order in which they are read."""


class Twins:
    """Twins of an object whose plain name is at `path`. Failures are plain OSErrors.

    Args:
        suffixes: of the names beside the plain one, in the order in which they are read.
    """

    def __init__(self, suffixes: Sequence[str]) -> None:
        self._suffixes = ("", *suffixes)
        self._before = {suffix: self._suffixes[:place] for place, suffix in enumerate(self._suffixes)}
        self._beside = {suffix: tuple(s for s in self._suffixes if s != suffix) for suffix in self._suffixes}

    def any_before(self, path: str, suffix: str) -> bool:
        """Tell whether there is a twin that is read before the one with `suffix`."""
        return _any(path, self._before[suffix])

    def any_beside(self, path: str, suffix: str) -> bool:
        """Tell whether there is a twin of the one with `suffix`."""
        return _any(path, self._beside[suffix])

    @contextmanager
    def pinned(self, path: str) -> Iterator[Pins]:
        """Hold what is there now, to find out later whether it is still the same."""
        with ExitStack() as stack:
            yield {suffix: stack.enter_context(pinned(path + suffix)) for suffix in self._suffixes}

    def remove_beside(self, path: str, suffix: str) -> None:
        """Remove the twins of the one with `suffix`.

        Where that one is gone itself another writer, who held the lock before, has removed it, and his
        file stays: one of the two always does.
        """
        if not os.path.isfile(path + suffix):
            return
        for other in self._beside[suffix]:
            if os.path.isfile(path + other):
                remove_file(path + other)


@lru_cache(maxsize=8)
def twins_of(suffixes: tuple[str, ...]) -> Twins:
    """Return the Twins with these suffixes: each layer that is opened has the same ones."""
    return Twins(suffixes)


def _any(path: str, suffixes: Sequence[str]) -> bool:
    for suffix in suffixes:  # noqa: SIM110  any() costs a fifth more, in every put
        if os.access(path + suffix, os.F_OK):
            return True
    return False


@contextmanager
def pinned(path: str) -> Iterator[Pin]:
    """Hold the file at `path` open, if there is one."""
    fd = open_file(path)
    try:
        yield Pin(path, fd)
    finally:
        if fd is not None:
            os.close(fd)
