"""The encoding `png`: a chunk as one PNG image, for uint8 and uint16 with 1 to 4 channels.

How the voxels lie in the image is told in `precomp_plugins.codecs._image`. Written is the filter "up" for
every row, which numpy computes and undoes, and a zlib stream of ISA-L: ten times libpng's speed at
about its size. Files with other filters are read by libpng, once ISA-L has decompressed them.
"""

import zlib
from typing import Any

import attrs
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec
from precomp_plugins.codecs._image import from_picture, to_picture
from precomp_plugins.codecs._png.file import COLOURS, Header, join, split

__all__ = ["Png"]

_MAX_SIDE = 1_000_000  # libpng, which others read with, takes no larger image
_LEVEL = 2  # of ISA-L; its 3 is slower and, on filtered micrographs, no smaller
_UP = 2


def _compress(rows: NDArray[np.uint8], level: int | None) -> bytes:
    """Return a zlib stream: of ISA-L up to level 3, of zlib above: some percent smaller, far slower."""
    data = rows.reshape(-1).data
    if level is None or 1 <= level <= isal_zlib.ISAL_BEST_COMPRESSION:
        fast: bytes = isal_zlib.compress(data, level or _LEVEL)
        return fast
    stream = zlib.compressobj(level, strategy=zlib.Z_FILTERED)
    return stream.compress(data) + stream.flush()


def _filtered(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each row less the one above, with the filter's number in front."""
    height, length = rows.shape
    filtered = np.empty((height, length + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _inflated(streams: list[memoryview], wanted: int) -> bytes:
    """The image data, `wanted` bytes of them; ValueError for a damaged stream, or one of another length."""
    stream = isal_zlib.decompressobj()
    data = streams[0] if len(streams) == 1 else b"".join(streams)
    try:
        found = stream.decompress(data, wanted + 1)
    except isal_zlib.error as error:  # type: ignore[misc]  # isal's stubs call this class an instance
        raise ValueError(f"png: expected a zlib stream: {error}") from error
    if len(found) != wanted or not stream.eof or stream.unused_data:
        raise ValueError(
            f"png: expected {wanted} bytes of rows and the stream's end, found {len(found)} bytes and "
            f"{'more after the end' if stream.eof else 'no end'}"
        )
    return found


def _unfiltered(filtered: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo `_filtered`."""
    rows = np.empty((len(filtered), filtered.shape[1] - 1), np.uint8)
    np.add.accumulate(filtered[:, 1:], axis=0, dtype=np.uint8, out=rows)
    return rows


@attrs.frozen
class Png:
    """Codec of the encoding `png`.

    Attributes:
        level: 0 to 9, of the PNGs written; None for a fast one.
    """

    level: int | None = None

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return a PNG of one to four components; ArgumentError where the chunk's shape fits none."""
        picture = to_picture("png", chunk, _MAX_SIDE)
        height, width, channels = picture.shape
        header = Header(width, height, 8 * picture.itemsize, COLOURS[channels])
        big_endian = picture.astype(picture.dtype.newbyteorder(">"), copy=False)
        rows = _filtered(big_endian.reshape(height, -1).view(np.uint8))
        return join(header, [_compress(rows, self.level)])

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the image's voxels; ValueError where it is damaged, truncated or not of `spec`'s size."""
        header, streams = split(data)
        x, y, z, channels = spec.shape
        bits = 8 * spec.dtype.itemsize
        if header.width * header.height != x * y * z or header[2:4] != (bits, COLOURS[channels]):
            raise ValueError(
                f"png: expected {x * y * z} pixels ({x} x {y * z}), {bits} bits, colour type "
                f"{COLOURS[channels]}, found {header.width} x {header.height}, {header.bits} bits, "
                f"colour type {header.colour}"
            )
        return from_picture(_picture(header, streams, spec).astype(spec.dtype, copy=False), spec)


def _picture(header: Header, streams: list[memoryview], spec: ChunkSpec) -> NDArray[Any]:
    if any(header[4:]):  # interlaced, or nothing that libpng knows
        return _by_libpng(header, streams, spec)
    length = spec.nbytes // header.height
    data = _inflated(streams, header.height * (1 + length))
    filtered = np.frombuffer(data, np.uint8).reshape(header.height, 1 + length)
    if (filtered[:, 0] == _UP).all():
        return _unfiltered(filtered).view(spec.dtype.newbyteorder(">"))
    # ISA-L is twice as fast as libpng's zlib, which is left with a stream that is not compressed.
    return _by_libpng(header, [memoryview(zlib.compress(data, 0))], spec)


def _by_libpng(header: Header, streams: list[memoryview], spec: ChunkSpec) -> NDArray[Any]:
    """Decode by libpng, which sees nothing but the header and the image data."""
    import imagecodecs

    picture: NDArray[Any] = imagecodecs.png_decode(join(header, streams))
    if picture.size * picture.itemsize != spec.nbytes or picture.dtype.kind != spec.dtype.kind:
        raise ValueError(f"png: expected {spec.nbytes} bytes of {spec.dtype}, found {picture.nbytes}")
    return picture
