"""The names that one object may have, `a`, `a.gz`, ...: which are there, and which must go.

Without a lock nothing can be said of several files at once; what is here is put together so that of two
writers one wins whole, as `FileStore` tells.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TypeAlias

from precomp_plugins._file.io import open_file, remove_file, stat_path

__all__ = ["Pins", "Twins", "twins_of"]

Pins: TypeAlias = Mapping[str, Callable[[], bool]]
"""Suffix to a function that tells whether the same file, or none, is still there."""


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
            yield {suffix: stack.enter_context(_pinned(path + suffix)) for suffix in self._suffixes}

    def remove_beside(self, path: str, suffix: str, pins: Pins | None = None) -> None:
        """Remove the twins of the one with `suffix`; of an update, only those that it has `pins` of.

        Where that one is gone itself another writer, who held the lock before, has removed it, and his
        file stays: one of the two always does.
        """
        if not os.path.isfile(path + suffix):
            return
        for other in self._beside[suffix]:
            if os.path.isfile(path + other) and (pins is None or pins[other]()):
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
def _pinned(path: str) -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether the same file, or none, is still at `path`.

    The file is held open meanwhile: the system could give the number of a removed one to another.
    """
    fd = open_file(path)

    def unchanged() -> bool:
        now = stat_path(path)
        if fd is None or now is None:
            return fd is None and now is None
        return os.path.samestat(now, os.fstat(fd))

    try:
        yield unchanged
    finally:
        if fd is not None:
            os.close(fd)
