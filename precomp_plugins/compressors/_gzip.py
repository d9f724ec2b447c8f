"""gzip streams (RFC 1952), through ISA-L."""

import attrs
from isal import isal_zlib

from precomp.interfaces import Buffer

__all__ = ["Gzip"]

# Level 3 halves the speed for one percent of size, and 0 makes electron micrographs larger than they were.
_LEVEL = 2
_GZIP = 16 + 15  # zlib's way to say: gzip wrapper, full window
_WINDOW = 64 * 1024


def _member(data: memoryview, start: int, window: int, room: int) -> tuple[bytes, int]:
    """Return the content of the member that begins at `start`, and where it ends.

    Feeds `window` bytes at a time and makes at most `room` bytes and one.
    """
    stream = isal_zlib.decompressobj(_GZIP)
    parts, size = [], 0
    while not stream.eof:
        if start == len(data):
            raise ValueError(f"gzip: truncated, the stream does not end within its {len(data)} bytes")
        stop = min(start + window, len(data))
        parts.append(stream.decompress(data[start:stop], room - size + 1))
        size += len(parts[-1])
        if size > room:
            raise ValueError(f"gzip: expected at most {room} more bytes, found a longer stream")
        start = stop
    return b"".join(parts), start - len(stream.unused_data)


@attrs.frozen
class Gzip:
    """Compressor `gzip`.

    Attributes:
        level: 0 to 3, ISA-L's levels; 1 up are as tight as zlib's 1 to 6 at a multiple of the speed.
    """

    level: int = _LEVEL

    def compress(self, data: Buffer) -> bytes:
        """Return one gzip member without name and time, so equal data give equal bytes."""
        return isal_zlib.compress(data, self.level, _GZIP)

    def decompress(self, data: Buffer, max_size: int) -> bytes:
        """Return the content of all members of the stream.

        Raises ValueError where it is empty, damaged, truncated, followed by anything (zeros too) or
        longer than `max_size` bytes.
        """
        view = memoryview(data)
        try:
            content, end = _member(view, 0, len(view), max_size)
            if end == len(view):
                return content
            parts, size = [content], len(content)
            while end < len(view):
                # In windows: a stream copies what follows its member, which a million small ones would pay
                # for each time with all the rest.
                content, end = _member(view, end, _WINDOW, max_size - size)
                parts.append(content)
                size += len(content)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal's stubs call this class an instance
            raise ValueError(f"gzip: {error} in {len(view)} bytes") from error
        return b"".join(parts)
