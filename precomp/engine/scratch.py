"""Memory that one thread uses for one chunk after the other."""

from collections.abc import Sequence

import numpy as np

from precomp.interfaces import ByteRange

__all__ = ["Scratch"]


class Scratch:
    """Room for one chunk, made when it is needed. What was there before is overwritten.

    Memory used again stays in the processor's cache, and costs the system no new pages: reading a
    chunk of 256 KiB into it and pasting it takes half as long as with new memory each time.
    """

    def __init__(self) -> None:
        self._memory = memoryview(b"")

    def take(self, size: int) -> memoryview:
        """Return `size` bytes, uninitialised, valid until the next call. Raises MemoryError."""
        if len(self._memory) < size:
            try:
                self._memory = np.empty(size, np.uint8).data
            except ValueError as error:  # numpy's word for more bytes than there are addresses
                raise MemoryError(str(error)) from error
        return self._memory[:size]

    def split(self, ranges: Sequence[ByteRange]) -> list[tuple[int, memoryview]]:
        """Return room for the bytes of each range, with where it starts."""
        if len(ranges) == 1:  # nearly always
            ((start, stop),) = ranges
            return [(start, self.take(stop - start))]
        memory, place, parts = self.take(sum(stop - start for start, stop in ranges)), 0, []
        for start, stop in ranges:
            parts.append((start, memory[place : place + stop - start]))
            place += stop - start
        return parts
