"""The encoding `jxl`: a chunk as one JPEG XL image, for uint8 with 1, 3 or 4 channels.

Lossy where the quality is below 100.

How the voxels lie in the image is told in `precomp_plugins.codecs._image`.
"""

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec
from precomp_plugins.codecs._image import from_picture, to_picture

__all__ = ["Jxl"]

_QUALITY, _EFFORT, _SPEED = 85, 5, 0  # cloud-volume's
_MAX_SIDE = 2**30
_STREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAMS = {b"jxlc": 0, b"jxlp": 4}  # boxes, and what they hold before the stream: the number of a part
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width to height


def _codestream(data: bytes) -> bytes:
    """The image's first bytes: those of the file, or of the box in it that has them.

    Raises ValueError where there are none.
    """
    place = 0 if data[: len(_CONTAINER)] == _CONTAINER else len(data)
    while place + 16 <= len(data):
        size, kind, start = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], 8
        if size == 1:
            size, start = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if kind in _CODESTREAMS:
            data = data[place + start + _CODESTREAMS[kind] :]
            break
        place += size if size >= start else len(data)
    if data[:2] != _STREAM:
        raise ValueError("jxl: expected a JPEG XL image")
    return data


def _size(data: bytes) -> tuple[int, int]:
    """Width and height, from the header at the start. Source: ISO/IEC 18181-1, SizeHeader."""
    bits, place = int.from_bytes(_codestream(data)[2:16], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return bits >> place - count & (1 << count) - 1

    small = take(1)

    def side() -> int:
        return 8 * (1 + take(5)) if small else 1 + take((9, 13, 18, 30)[take(2)])

    height = side()
    ratio = take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


@attrs.frozen
class Jxl:
    """Codec of the encoding `jxl`.

    Attributes:
        quality: 0 to 100; 100 is without loss.
        effort: 1 to 10.
        speed: 0 to 4; higher is larger and quicker to decode.
    """

    quality: int = _QUALITY
    effort: int = _EFFORT
    speed: int = _SPEED

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return an image: grey, RGB or RGBA."""
        import imagecodecs

        picture = to_picture("jxl", chunk, _MAX_SIDE)
        grey = picture.shape[2] == 1
        image = imagecodecs.jpegxl_encode(
            picture[..., 0] if grey else picture,
            level=self.quality,
            lossless=self.quality >= 100,
            effort=self.effort,
            decodingspeed=self.speed,
            photometric="GRAY" if grey else "RGB",
            usecontainer=False,
            numthreads=1,
        )
        return bytes(image)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the image's voxels; ValueError where it is damaged, truncated or not of `spec`'s size."""
        import imagecodecs

        x, y, z, channels = spec.shape
        image = bytes(data)
        width, height = _size(image)
        if width * height != x * y * z:
            raise ValueError(f"jxl: expected {x * y * z} pixels ({x} x {y * z}), found {width} x {height}")
        # Into memory of the right size: the image may have any number of frames and channels.
        picture = np.empty((height, width) if channels == 1 else (height, width, channels), spec.dtype)
        imagecodecs.jpegxl_decode(image, numthreads=1, out=picture)
        return from_picture(picture, spec)
