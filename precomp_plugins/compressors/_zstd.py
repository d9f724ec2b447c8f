"""The compression `zstd` (RFC 8878)."""

import threading

from precomp.interfaces import Buffer

__all__ = ["Zstd"]

_LEVEL = 3  # zstd's own default
_MAX_BLOCK = 128 * 1024
_RLE_BLOCK = 1
_SKIPPABLE = 0x184D2A5  # a magic number without its last four bits


class _Contexts(threading.local):
    """A thread's own contexts: they are not safe to share, and making one costs more than a small chunk."""

    def __init__(self, level: int) -> None:
        import zstandard

        self.compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self.decompressor = zstandard.ZstdDecompressor()


def _skippable_size(data: memoryview) -> int:
    """The length of the skippable frame that `data` begins with; 0 where it begins with another."""
    if int.from_bytes(data[:4], "little") >> 4 != _SKIPPABLE:
        return 0
    size = 8 + int.from_bytes(data[4:8], "little")
    if size > len(data):
        raise ValueError("zstd: truncated in a skippable frame")
    return size


def _frame_size(data: memoryview, header: int, checksum: bool) -> tuple[int, int, int]:
    """Return the length of the frame that `data` begins with, its number of blocks, and their length.

    After RFC 8878, 3.1.1: a header, blocks with 3 bytes of header each, and a checksum of 4 bytes.
    """
    end, blocks, last = header, 0, False
    while not last and end < len(data):
        block = int.from_bytes(data[end : end + 3], "little")
        last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
        end += 3 + (1 if kind == _RLE_BLOCK else size)
        blocks += 1
    content = end - header - 3 * blocks
    end += 4 * checksum
    if not last or end > len(data):
        raise ValueError("zstd: truncated in a frame")
    return end, blocks, content


class Zstd:
    """Compressor `zstd`.

    Attributes:
        level: 1 to 19.
    """

    def __init__(self, level: int = _LEVEL) -> None:
        self.level = level
        self._contexts = _Contexts(level)

    def compress(self, data: Buffer) -> bytes:
        """Return one frame with size and checksum; equal data give equal bytes."""
        return self._contexts.compressor.compress(data)

    def decompress(self, data: Buffer, max_size: int) -> bytes:
        """Return the content of all frames.

        Raises ValueError where there is none, one is damaged or truncated, anything else follows, or
        the content is longer than `max_size` bytes.
        """
        import zstandard

        view = memoryview(data)
        parts: list[bytes] = []
        room = max_size
        try:
            while view or not parts:
                if size := _skippable_size(view):
                    view = view[size:]
                    continue
                content, view = self._frame(view, room)
                room -= len(content)
                parts.append(content)
        except zstandard.ZstdError as error:
            raise ValueError(
                f"zstd: expected frames of at most {max_size} bytes in all, found {len(data)} bytes that "
                f"are damaged or hold more: {error}"
            ) from error
        return b"".join(parts)

    def _frame(self, data: memoryview, room: int) -> tuple[bytes, memoryview]:
        """Return the content of the first frame, at most `room` bytes, and what follows the frame."""
        import zstandard

        header = zstandard.get_frame_parameters(data)
        claimed = header.content_size
        # The library allocates what the header claims, and the given limit where it claims nothing.
        if claimed != zstandard.CONTENTSIZE_UNKNOWN and claimed > room:
            raise ValueError(f"zstd: expected at most {room} more bytes, found a frame of {claimed}")
        size, blocks, stored = _frame_size(data, zstandard.frame_header_size(data), header.has_checksum)
        if claimed == 0 and stored:  # the library believes this claim without a look
            raise ValueError(f"zstd: expected an empty frame, as its header claims, found {stored} bytes")
        limit = min(room + 1, blocks * _MAX_BLOCK)
        content = self._contexts.decompressor.decompress(data[:size], limit, allow_extra_data=False)
        if len(content) > room:
            raise ValueError(f"zstd: expected at most {room} more bytes, found a longer frame")
        return content, data[size:]
