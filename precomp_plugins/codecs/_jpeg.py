"""The encoding `jpeg`: a chunk as one JPEG image, for uint8 with 1 or 3 channels. Lossy.

How the voxels lie in the image is told in `precomp_plugins.codecs._image`.
"""

from typing import Any

import attrs
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec
from precomp_plugins.codecs._image import from_picture, to_picture

__all__ = ["Jpeg"]

_QUALITY = 85
_MAX_SIDE = 65_500  # libjpeg's limit; the format itself ends at 65,535

_SCAN = 0xDA  # the marker behind which the compressed image begins
_SEQUENTIAL = (0xC0, 0xC1)  # markers of a frame whose components may all be in one scan
_SCAN_MARKER = bytes([0xFF, _SCAN])
_MAX_SCANS = 500  # a progressive image has about ten; each costs as much as decoding a plain one
_END = b"\xff\xd9"

_PIXELS = {1: "Gray", 3: "RGB"}
_STORED = {1: ("Gray",), 3: ("YCbCr", "RGB")}


def _first_scan(data: bytes) -> tuple[int, bool]:
    """Where the first scan begins, behind the tables, and whether it is surely the only one."""
    place, components = 2, 0
    while place + 1 < len(data) and (marker := data[place + 1]) != _SCAN:
        filling = marker == 0xFF
        if marker in _SEQUENTIAL:
            components = data[place + 9] if place + 9 < len(data) else 0
        place += 1 if filling else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    in_scan = data[place + 4] if place + 4 < len(data) else 0
    return place, 0 < components == in_scan


@attrs.frozen
class Jpeg:
    """Codec of the encoding `jpeg`.

    Attributes:
        quality: 1 to 100, of the JPEGs written.
    """

    quality: int = _QUALITY

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return a JPEG, grey for one channel, colour for three.

        Colour is stored 4:4:4: rows of neighbouring z touch in the image, and subsampling would mix
        their colours. Raises ArgumentError where the chunk's shape fits no JPEG.
        """
        import simplejpeg

        picture = to_picture("jpeg", chunk, _MAX_SIDE)
        jpeg: bytes = simplejpeg.encode_jpeg(picture, self.quality, _PIXELS[chunk.shape[3]], "444")
        return jpeg

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the image's voxels; ValueError where it is damaged, truncated or not of `spec`'s size."""
        import simplejpeg

        x, y, z, channels = spec.shape
        height, width, stored, _ = simplejpeg.decode_jpeg_header(data, strict=True)
        if width * height != x * y * z or stored not in _STORED[channels]:
            raise ValueError(
                f"jpeg: expected {x * y * z} pixels ({x} x {y * z}) in {' or '.join(_STORED[channels])}, "
                f"found {width} x {height} in {stored}"
            )
        stored_bytes = bytes(data)
        place, only = _first_scan(stored_bytes)
        if not only and stored_bytes.count(_SCAN_MARKER) > _MAX_SCANS:
            raise ValueError(f"jpeg: expected at most {_MAX_SCANS} scans; more are there to cost time")
        # strict: without it libjpeg fills what is missing of a truncated image with grey.
        image: NDArray[Any] = simplejpeg.decode_jpeg(data, _PIXELS[channels], strict=True)
        # libjpeg does not look further than the first end marker behind the tables, which may hold its bytes.
        if (end := stored_bytes.find(_END, place) + len(_END)) != len(data):
            raise ValueError(f"jpeg: expected the image's end at byte {len(data)}, found it at {end}")
        return from_picture(image, spec)
