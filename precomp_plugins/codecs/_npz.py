"""The encodings `npz` and `npz_uint8`: a chunk as a `.npy` file in a zlib stream.

Neither is what `numpy.savez` writes. The format is cloud-volume's: the `.npy` file holds an array
(x, y, z, channel) in any byte and memory order. Chunks without a channel axis, (x, y, z), and those of old
programs, (1, x, y, z), are read too. `npz_uint8` stores floats of 0 to 1, times 255, as uint8.
"""

from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import Buffer, ChunkSpec
from precomp_plugins.codecs._raw import Raw

__all__ = ["Npz", "NpzUint8"]

_LEVEL = 2  # ISA-L's 3 halves the speed for one percent of size; 1 is hardly faster
_MAX_HEADER = 12 + 10_000  # magic, version and length, then as many characters as numpy parses
_MOST_KNOWN, _TRIES = 64, 100


class _Header(NamedTuple):
    """What the header of a `.npy` file says, and where the voxels begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int


_known: dict[bytes, _Header] = {}


def _pack(chunk: NDArray[Any]) -> bytes:
    """Return the zlib stream of a `.npy` file, version 1.0, little endian and in Fortran order."""
    header = BytesIO()
    fields = {"descr": chunk.dtype.newbyteorder("<").str, "fortran_order": True, "shape": chunk.shape}
    npy_format.write_array_header_1_0(header, fields)
    stream = isal_zlib.compressobj(_LEVEL)
    parts = [stream.compress(part) for part in (header.getbuffer(), Raw().encode(chunk))]
    return b"".join((*parts, stream.flush()))


def _header(npy: bytes) -> _Header:
    """Return what the header says. Nearly all chunks of a volume have the same one."""
    width = 2 if npy[6:7] == b"\1" else 4  # bytes of the number that says how long the header's text is
    text = npy[: min(8 + width + int.from_bytes(npy[8 : 8 + width], "little"), _MAX_HEADER)]
    known = _known.get(text)
    if known is None:
        known = _parsed_again(text)
        if len(_known) < _MOST_KNOWN:
            _known[text] = known
    return known


def _parsed_again(text: bytes) -> _Header:
    """Do as `_parsed`, in spite of Python 3.11, whose parser fails where two threads are in it at a time."""
    for _ in range(_TRIES):
        try:
            return _parsed(text)
        except SystemError:
            continue
    return _parsed(text)


def _parsed(text: bytes) -> _Header:
    file = BytesIO(text)
    version = npy_format.read_magic(file)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"npz: expected .npy version 1.0, 2.0 or 3.0, found {version}")
    # Version 3.0 differs from 2.0 in the names of structured dtypes only, which no chunk has.
    first = version == (1, 0)
    read = npy_format.read_array_header_1_0 if first else npy_format.read_array_header_2_0
    return _Header(*read(file), file.tell())


def _unpack(data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
    """Return the array, of exactly `spec`; ValueError where the stream holds anything else.

    Never makes more than the chunk and the longest header.
    """
    stream = isal_zlib.decompressobj()
    try:
        npy = stream.decompress(data, _MAX_HEADER + spec.nbytes)
    except isal_zlib.error as error:  # type: ignore[misc]  # isal's stubs call this class an instance
        raise ValueError(f"npz: expected a zlib stream: {error}") from error
    shape, fortran, dtype, start = _header(npy)
    x, y, z, channels = spec.shape
    shapes = [spec.shape, (x, y, z), (1, x, y, z)] if channels == 1 else [spec.shape]
    if shape not in shapes or dtype.newbyteorder("=") != spec.dtype:
        raise ValueError(f"npz: expected {spec.dtype}, shape {spec.shape}, found {dtype}, shape {shape}")
    found = len(npy) - start
    if found != spec.nbytes or not stream.eof or stream.unused_data:
        raise ValueError(
            f"npz: expected {spec.nbytes} bytes of voxels and the stream's end, found {found} bytes and "
            f"{'more after the end' if stream.eof else 'no end'}"
        )
    # Axes of length 1 come and go without moving a voxel, so each of the shapes reads as the chunk's.
    stored = np.ndarray(spec.shape, dtype, npy, start, order="F" if fortran else "C")
    return stored.astype(spec.dtype, copy=False)


class Npz:
    """Codec of the encoding `npz`."""

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the chunk as a compressed `.npy` file; equal voxels give equal bytes."""
        return _pack(chunk)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged or has another shape or dtype."""
        return _unpack(data, spec)


class NpzUint8:
    """Codec of the encoding `npz_uint8`: float32 voxels of 0 to 1 in steps of 1/255."""

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the chunk, rounded to the nearest step, so that what was decoded encodes to the same bytes.

        Raises ArgumentError where a voxel is below 0, above 1 or NaN.
        """
        low, high = chunk.min(), chunk.max()
        if not (low >= 0 and high <= 1):
            raise ArgumentError(
                f"npz_uint8: expected voxels of 0 to 1, found {low} to {high}; "
                "scale or clip them, or choose the encoding npz or raw"
            )
        return _pack(np.rint(chunk * np.float32(255)).astype(np.uint8))

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk as float32; ValueError where it is damaged or has another shape or dtype."""
        steps = _unpack(data, spec._replace(dtype=np.dtype(np.uint8)))
        return steps / np.float32(255)
