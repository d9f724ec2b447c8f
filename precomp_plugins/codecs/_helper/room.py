"""Memory that a helper and the process that asks it share, so that voxels need not pass through a pipe.

Imported by the helper too, so nothing of precomp is imported here.
"""

import os
import tempfile
from mmap import mmap

__all__ = ["Room", "open_room"]

_KEPT = 2**26  # bytes; more are given back after each chunk


def open_room() -> int:
    """Return the descriptor of an empty file that has no name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("precomp")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Room:
    """One side's view of the shared memory behind the descriptor `file`.

    Both sides take and let go of it in turn, for the same sizes, and so always see the same.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self._map: mmap | None = None

    def take(self, size: int) -> memoryview:
        """Return the first `size` bytes. The view has to be released before the next one is taken.

        Raises MemoryError.
        """
        if self._map is None or len(self._map) < size:
            self._close()
            try:
                if os.fstat(self.file).st_size < size:
                    os.ftruncate(self.file, size)
                self._map = mmap(self.file, max(size, 1))
            except (OSError, OverflowError) as error:
                raise MemoryError(f"no {size} bytes to share with a helper: {error}") from error
        return memoryview(self._map)[:size]

    def let_go(self) -> None:
        """Unmap what is too much to keep, once no view is left."""
        if self._map is not None and len(self._map) > _KEPT:
            self._close()

    def shrink(self) -> None:
        """Give memory back that neither side has mapped any more."""
        if self._map is None:
            os.ftruncate(self.file, 0)

    def close(self) -> None:
        """End it on this side."""
        self._close()
        os.close(self.file)

    def abandon(self) -> None:
        """End it in a forked child, where a thread that is not there may still have a view."""
        self._map = None  # unmapped with its last view
        os.close(self.file)

    def _close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None
