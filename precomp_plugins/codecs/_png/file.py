"""PNG files, taken apart and put together: the container, not the picture.

Source: the PNG specification (ISO/IEC 15948), sections 5 and 11.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from isal import isal_zlib

from precomp.interfaces import Buffer

__all__ = ["COLOURS", "Header", "join", "split"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_PALETTE = b"PLTE"  # may accompany RGB, as a hint

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""Number of channels to PNG's colour type: grey, grey and alpha, RGB, RGBA."""


class Header(NamedTuple):
    """The IHDR chunk.

    Attributes:
        width: pixels of a row.
        height: number of rows.
        bits: of a sample.
        colour: the colour type.
        compression: 0.
        filtering: 0.
        interlacing: 0 for none, 1 for Adam7.
    """

    width: int
    height: int
    bits: int
    colour: int
    compression: int = 0
    filtering: int = 0
    interlacing: int = 0


def join(header: Header, streams: Iterable[Buffer]) -> bytes:
    """Return a file of these image data, which are the parts of one zlib stream."""
    parts: list[Buffer] = [_SIGNATURE, *_chunk(b"IHDR", _HEADER.pack(*header))]
    for stream in streams:
        parts += _chunk(b"IDAT", stream)
    return b"".join([*parts, *_chunk(b"IEND", b"")])


def _chunk(kind: bytes, body: Buffer) -> tuple[bytes, Buffer, bytes]:
    check = isal_zlib.crc32(body, isal_zlib.crc32(kind))
    return struct.pack(">I", len(body)) + kind, body, struct.pack(">I", check)


def split(data: Buffer) -> tuple[Header, list[memoryview]]:
    """Return a file's header and the parts of its image data.

    Raises ValueError where it is not one whole file: every length and checksum holds, and nothing follows
    the end. What the ancillary chunks say is left out: it changes no voxel.
    """
    chunks = _chunks(memoryview(data))
    kind, body = next(chunks, (b"", memoryview(b"")))
    if kind != b"IHDR" or len(body) != _HEADER.size:
        raise ValueError("png: expected an IHDR chunk of 13 bytes at the start")
    header = Header(*_HEADER.unpack(body))
    streams = []
    for kind, body in chunks:
        if kind == b"IDAT":
            streams.append(body)
        elif kind == b"IEND" and streams:
            return header, streams
        elif kind[0] < ord("a") and kind != _PALETTE:  # lower case: may be ignored
            raise ValueError(f"png: unknown chunk {kind!r}")
    raise ValueError("png: expected an IDAT chunk, and an IEND chunk at the end")


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and body of each chunk up to the end of the file."""
    if view[:8] != _SIGNATURE:
        raise ValueError(f"png: expected a PNG file, found one that begins with {bytes(view[:8])!r}")
    place = 8
    while place < len(view):
        length = int.from_bytes(view[place : place + 4], "big")
        kind, end = bytes(view[place + 4 : place + 8]), place + 8 + length
        if end + 4 > len(view):
            raise ValueError(f"png: truncated in the chunk {kind!r}, at byte {len(view)}")
        check = int.from_bytes(view[end : end + 4], "big")
        if isal_zlib.crc32(view[place + 4 : end]) != check:
            raise ValueError(f"png: wrong checksum of the chunk {kind!r} at byte {place}")
        if kind == b"IEND" and end + 4 != len(view):
            raise ValueError(f"png: {len(view) - end - 4} bytes after the end")
        yield kind, view[place + 8 : end]
        place = end + 4
