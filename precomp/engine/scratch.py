"""Memory that one thread uses for one chunk after the other."""

import numpy as np

__all__ = ["Scratch"]

_LINE = 64  # bytes; of the processor's cache
_LEAST = 2**18  # bytes; pages that are not used cost nothing
_spare: list[memoryview] = []


class Scratch:
    """Room for one chunk, made when it is needed. What was there before is overwritten.

    Of few of moderate size the memory outlives them and serves the next ones, of whatever thread.

    Memory used again stays in the processor's cache, and costs the system no new pages: reading a
    chunk of 256 KiB into it and pasting it takes half as long as with new memory each time.
    """

    def __init__(self) -> None:
        try:
            self._memory = _spare.pop()
        except IndexError:
            self._memory = memoryview(b"")

    def __del__(self, spare: list[memoryview] = _spare) -> None:  # at exit the module's names are gone
        if len(spare) < 4 and len(self._memory) <= 2**22:
            spare.append(self._memory)

    def take(self, size: int, start: int = 0) -> memoryview:
        """Return `size` bytes, uninitialised, valid until the next call. Raises MemoryError.

        `start`: where in an object the bytes begin that will be read into it.
        """
        # The kernel copies to memory some bytes off its own pages' alignment at a tenth of the speed.
        shift = start % _LINE
        if len(self._memory) < shift + size:
            self._memory = _aligned(max(shift + size, _LEAST))
        return self._memory[shift : shift + size]

    def split(
        self, first: int, length: int, count: int = 1, step: int = 0, most: int = 2**26
    ) -> list[tuple[int, memoryview]] | None:
        """Return room for `count` parts of an object, `length` bytes each, one every `step` from `first` on.

        Each comes with where it starts. None for more than `most` bytes.
        """
        if count == 1:  # nearly always
            return [(first, self.take(length, first))] if length <= most else None
        room = length + _LINE + -length % _LINE
        if count * room > most:
            return None
        memory = self.take(count * room)  # at an aligned address
        parts = []
        for number in range(count):
            at = first + number * step
            begin = number * room + at % _LINE
            parts.append((at, memory[begin : begin + length]))
        return parts


def _aligned(size: int) -> memoryview:
    try:
        memory = np.empty(size + _LINE, np.uint8)
    except ValueError as error:  # numpy's word for more bytes than there are addresses
        raise MemoryError(str(error)) from error
    first = -memory.ctypes.data % _LINE
    return memory[first : first + size].data
