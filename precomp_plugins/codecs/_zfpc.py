"""The encoding `zfpc`: zfp streams in a container, for float32 with any number of channels.

The container is that of the package zfpc: along the axes whose voxels do not resemble their neighbours, the
chunk is cut into slices, each a zfp stream. Source: zfpc's README. The streams are zfpy's, which is all that
is needed. It reads on beyond the end of a damaged stream, but writes nothing more than its voxels, so each
gets zeros behind it.
"""

import struct
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import Buffer, ChunkSpec

__all__ = ["Zfpc"]

_HEADER = struct.Struct("<4sBB4IB")
_FLOAT32 = 3
_RATE, _PRECISION, _TOLERANCE, _REVERSIBLE = 2, 3, 4, 5
_C_ORDER = 0x80

# Of a zfp stream: 32 bits of magic, 52 of shape, 12 of mode. A block is 4 voxels along each axis.
_ZFP_HEADER = 12
_LONG_MODE = 0xFFF  # its limits follow, and may be anything
_BLOCK_BITS = 2**15

Dims = tuple[bool, bool, bool, bool]


@attrs.frozen
class Zfpc:
    """Codec of the encoding `zfpc`. At most one of the first three is 0 or more; none means no loss.

    Attributes:
        rate: bits for a voxel.
        precision: bit planes that are kept.
        tolerance: the largest error.
        correlated: whether voxels resemble their neighbours along x, y, z and channel.
    """

    rate: float = -1
    precision: float = -1
    tolerance: float = -1
    correlated: Dims = (True, True, True, True)

    @property
    def _mode(self) -> int:
        modes = ((_TOLERANCE, self.tolerance), (_PRECISION, self.precision), (_RATE, self.rate))
        return next((mode for mode, value in modes if value >= 0), _REVERSIBLE)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the container; ArgumentError where the chunk is too long for a zfp stream."""
        import zfpy

        settings = {"tolerance": self.tolerance, "precision": self.precision, "rate": self.rate}
        try:
            streams = [
                zfpy.compress_numpy(np.asfortranarray(chunk[place]), write_header=True, **settings)
                for place in _places(chunk.shape, self.correlated)
            ]
        except RuntimeError as error:  # of headers without room for the size, nothing else
            raise ArgumentError(
                f"zfpc: a chunk of shape {chunk.shape} is too long for a zfp stream ({error}), which has at "
                "most 4096 voxels along each of four axes, 65536 of three; choose a smaller chunk_size"
            ) from error
        correlated = sum(1 << axis for axis, is_so in enumerate(self.correlated) if is_so)
        header = _HEADER.pack(b"zfpc", 0, _FLOAT32 | self._mode << 3, *chunk.shape, correlated)
        numbers = [_HEADER.size + 8 * (1 + len(streams)), *map(len, streams)]
        return b"".join((header, struct.pack(f"<{len(numbers)}Q", *numbers), *streams))

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged, truncated or of another shape or dtype."""
        correlated, c_order = _correlated(data, spec)
        out = np.empty(spec.shape, spec.dtype, order="C" if c_order else "F")
        places = list(_places(spec.shape, correlated))
        for place, stream in zip(places, _streams(memoryview(data), len(places)), strict=True):
            part = out[place]
            part[...] = _decoded(stream, part.shape)
        return out


def _places(shape: tuple[int, ...], correlated: Dims) -> Iterator[tuple[slice | int, ...]]:
    """Where the slices lie in a chunk, x fastest."""
    axes: list[list[slice | int]] = [
        [slice(None)] if one else list(range(n)) for one, n in zip(correlated, shape, strict=True)
    ]
    return (place[::-1] for place in product(*axes[::-1]))


def _correlated(data: Buffer, spec: ChunkSpec) -> tuple[Dims, bool]:
    """Read the container's header: which axes are correlated, and whether it was an array in C order."""
    if len(data) < _HEADER.size:
        raise ValueError(f"zfpc: expected a header of {_HEADER.size} bytes, found {len(data)} bytes")
    magic, version, kind, *sizes, bits = _HEADER.unpack_from(data)
    if magic != b"zfpc" or version:
        raise ValueError(f"zfpc: expected a stream of version 0, found {bytes(data[:5])!r}")
    found = tuple(size or 1 for size in sizes)  # 0 for axes that the array did not have
    if found != spec.shape or kind & 7 != _FLOAT32:
        raise ValueError(f"zfpc: expected float32, shape {spec.shape}, found type {kind & 7}, shape {found}")
    if not 1 <= bits <= 15:
        raise ValueError(f"zfpc: expected 4 correlated dimensions, found {bits:b}")
    x, y, z, c = (bool(bits >> axis & 1) for axis in range(4))
    return (x, y, z, c), bool(kind & _C_ORDER)


def _streams(view: memoryview, count: int) -> Iterator[memoryview]:
    start = _HEADER.size + 8 * (1 + count)
    if start > len(view):
        raise ValueError(f"zfpc: expected {count} streams, found {len(view)} bytes")
    first, *sizes = struct.unpack_from(f"<{1 + count}Q", view, _HEADER.size)
    if first != start or start + sum(sizes) != len(view):
        raise ValueError(f"zfpc: expected {start} and {sum(sizes)} bytes, found {len(view)}")
    for size in sizes:
        yield view[start : start + size]
        start += size


def _decoded(stream: memoryview, shape: tuple[int, ...]) -> NDArray[Any]:
    import zfpy

    head = int.from_bytes(stream[:_ZFP_HEADER], "little")
    meta, mode = head >> 32 & (1 << 52) - 1, head >> 84
    axes = 1 + (meta >> 2 & 3)
    width = 48 // axes
    sizes = [1 + (meta >> 4 + width * axis & (1 << width) - 1) for axis in range(axes)]
    if len(stream) < _ZFP_HEADER or head & 0xFFFFFF != int.from_bytes(b"zfp", "little"):
        raise ValueError("zfpc: expected a zfp stream")
    if 1 + (meta & 3) != _FLOAT32 or sorted(sizes) != sorted(shape):
        raise ValueError(f"zfpc: expected a zfp stream of float32, shape {shape}, found {sizes}")
    # No block of floats is twice as long as its voxels; those of a fixed rate may be up to 2,048 bits.
    blocks = prod(-(-size // 4) for size in sizes)
    bits = _BLOCK_BITS if mode == _LONG_MODE else max(2 * 32 * 4**axes + 512, 2560)
    found: NDArray[Any] = zfpy.decompress_numpy(b"".join((stream, bytes(64 + blocks * bits // 8))))
    if found.shape != shape:
        raise ValueError(f"zfpc: expected a zfp stream of shape {shape}, found {found.shape}")
    return found
