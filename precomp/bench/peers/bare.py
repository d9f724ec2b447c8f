"""Files as bare as Python has them, and what is in them: no checks, no retries, no names but those given."""

import os
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from precomp.bench.layer import Int3, Layer
from precomp.bench.peers.bare_codecs import DECODE, ENCODE

__all__ = ["decode", "encode", "read_file", "write_file"]

_GZIP = 16 + 15  # zlib's way to say: gzip wrapper, full window
_LEVEL = 2  # of ISA-L; more takes twice the time for one percent of size


def read_file(path: str) -> bytes:
    """Return the content of a file."""
    file = os.open(path, os.O_RDONLY)
    data = os.read(file, os.fstat(file).st_size)
    os.close(file)
    return data


def write_file(path: str, data: Any) -> None:
    """Write a file in place: whoever reads it meanwhile meets half of it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(file, data)
    os.close(file)


def decode(layer: Layer, data: bytes, shape: Int3) -> NDArray[Any]:
    """Return the voxels (x, y, z, 1) of a stored chunk of `shape`."""
    x, y, z = shape
    if layer.encoding in DECODE:
        return DECODE[layer.encoding](layer, data, shape)
    if layer.compress:
        data = isal_zlib.decompress(data, _GZIP, x * y * z * np.dtype(layer.dtype).itemsize)
    return np.frombuffer(data, layer.dtype).reshape((x, y, z, 1), order="F")


def encode(layer: Layer, chunk: NDArray[Any]) -> Any:
    """Return what is stored of a chunk (x, y, z, 1), as any kind of buffer."""
    if layer.encoding in ENCODE:
        return ENCODE[layer.encoding](chunk)
    rows = np.ascontiguousarray(chunk.transpose(3, 2, 1, 0))  # the chunk's Fortran order
    return isal_zlib.compress(rows, _LEVEL, _GZIP) if layer.compress else rows
