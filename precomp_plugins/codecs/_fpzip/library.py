"""The C functions inside the package fpzip, called past its own wrapper.

The wrapper trusts the header, does not tell how many bytes it read, writes beyond its memory where a stream
is longer than the voxels, and holds Python's lock. The functions do none of that when they are given room.
Imported by the helper process too, so nothing of precomp is imported here.
"""

from ctypes import CDLL, POINTER, Structure, byref, c_char, c_int, c_size_t, c_void_p, memmove, string_at
from functools import cache
from typing import Any

__all__ = ["library", "read", "write"]

_READ_AHEAD = 12  # bytes that the decoder takes at most for a voxel, whatever it reads
_HEADER = 64  # bytes, generously

Shape4 = tuple[int, int, int, int]


class _Stream(Structure):
    """FPZ of fpzip.h: 0 for float32, bits kept of a voxel (0 for all), x, y, z, fields."""

    _fields_ = tuple((name, c_int) for name in ("type", "precision", "nx", "ny", "nz", "nf"))


@cache
def library() -> CDLL:
    """Load the functions. Raises ImportError where fpzip is missing or built without them."""
    import fpzip

    found = CDLL(fpzip.__file__)
    stream = POINTER(_Stream)
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "fpzip_read_from_buffer": (stream, [c_void_p]),
        "fpzip_read_header": (c_int, [stream]),
        "fpzip_read": (c_size_t, [stream, c_void_p]),
        "fpzip_read_close": (None, [stream]),
        "fpzip_write_to_buffer": (stream, [c_void_p, c_size_t]),
        "fpzip_write_header": (c_int, [stream]),
        "fpzip_write": (c_size_t, [stream, c_void_p]),
        "fpzip_write_close": (None, [stream]),
    }
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(found, name)
        except AttributeError as error:
            raise ImportError(f"this build of fpzip has no function {name}") from error
        function.restype, function.argtypes = result, arguments
    return found


def read(data: bytes, shape: Shape4, voxels: Any) -> None:
    """Decode into `voxels`, a ctypes array of floats.

    Raises ValueError where the stream is not whole or not of `shape`. Garbage may still kill the process.
    """
    functions = library()
    room = (c_char * (len(data) + _HEADER + _READ_AHEAD * len(voxels)))()
    memmove(room, data, len(data))
    stream = functions.fpzip_read_from_buffer(room)
    try:
        if not functions.fpzip_read_header(stream):
            raise ValueError("fpzip: expected the header of a stream")
        head = stream.contents
        found = (head.nx, head.ny, head.nz, head.nf)
        if head.type != 0 or found != tuple(shape):
            kind = "float32" if head.type == 0 else "float64"
            raise ValueError(f"fpzip: expected float32, shape {tuple(shape)}, found {kind}, shape {found}")
        if head.precision == 1 or head.precision > 32:
            raise ValueError(f"fpzip: impossible precision {head.precision}")
        count = functions.fpzip_read(stream, byref(voxels))
    finally:
        functions.fpzip_read_close(stream)
    if count != len(data):
        raise ValueError(f"fpzip: expected a stream of {len(data)} bytes, found one of {count}")


def write(voxels: int, shape: Shape4, precision: int, size: int) -> bytes | None:
    """Encode the float32 at the address `voxels`, in Fortran order; None where `size` bytes are too few."""
    functions = library()
    room = (c_char * size)()
    stream = functions.fpzip_write_to_buffer(room, size)
    try:
        head = stream.contents
        head.type, head.precision = 0, precision
        head.nx, head.ny, head.nz, head.nf = shape
        count = functions.fpzip_write(stream, voxels) if functions.fpzip_write_header(stream) else 0
    finally:
        functions.fpzip_write_close(stream)
    return string_at(room, count) if count else None
