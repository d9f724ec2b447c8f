"""The encoding `raw`: a chunk's voxels as they are, without a header.

Little endian, Fortran order of [x, y, z, channel] (channel slowest), as the Neuroglancer
specification's `volume.md` says. The place of every voxel is known, so a part of a chunk is read
by byte ranges.
"""

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Buffer, ByteRange, ChunkSpec, Slices4

__all__ = ["Raw", "precomp_register_codecs"]

_LITTLE = sys.byteorder == "little"
_MAX_RANGES = 64  # an info may claim millions of channels: nothing is planned for each of so many


class _Part(NamedTuple):
    """ChunkPart of the encoding `raw`: a box within a chunk, in bytes.

    Attributes:
        dtype: as the caller wants it.
        shape: voxels (x, y, z) of the box.
        strides: bytes from one voxel of the box to the next along x, y and z.
        start: where the box's first voxel begins in its channel.
        stop: where its last voxel ends.
        channel: size of a whole channel.
        channels: which are wanted.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    start: int
    stop: int
    channel: int
    channels: range

    @property
    def ranges(self) -> list[ByteRange]:
        """The bytes from the box's first voxel to its last, in each channel."""
        size = self.channel
        return [ByteRange(c * size + self.start, c * size + self.stop) for c in self.channels]

    def decode(self, parts: Sequence[Buffer]) -> NDArray[Any]:
        """Return the box as an array (x, y, z, channel): for one channel a strided view of its part.

        Raises ValueError where number or lengths of the parts are not those of the ranges.
        """
        length, channels, stored = self.stop - self.start, len(self.channels), _stored(self.dtype)
        if len(parts) != channels or any(len(data) != length for data in parts):
            found = [len(data) for data in parts]
            raise ValueError(f"raw: expected {channels} parts of {length} bytes, found {found}")
        if channels == 1:
            shape, strides = (*self.shape, 1), (*self.strides, stored.itemsize)
            return _native(np.ndarray(shape, stored, parts[0], 0, strides), self.dtype)
        voxels = [np.ndarray(self.shape, stored, data, 0, self.strides) for data in parts]
        return _native(
            np.stack(voxels, axis=-1, out=np.empty((*self.shape, channels), stored, "F")), self.dtype
        )


def _part(spec: ChunkSpec, box: Slices4) -> _Part:
    # Plain arithmetic, as this is done for a single voxel: ranges would cost three times as much.
    nx, ny, nz, channels = spec.shape
    x0, x1, xs = box[0].indices(nx)
    y0, y1, ys = box[1].indices(ny)
    z0, z1, zs = box[2].indices(nz)
    c0, c1, cs = box[3].indices(channels)
    if not (x0 < x1 and y0 < y1 and z0 < z1 and c0 < c1 and xs > 0 and ys > 0 and zs > 0 and cs > 0):
        raise ArgumentError(
            f"box: expected slices with a step of 1 or more that hold voxels of shape {spec.shape}, got {box}"
        )
    x, y, z = -((x0 - x1) // xs), -((y0 - y1) // ys), -((z0 - z1) // zs)
    voxel = spec.dtype.itemsize
    row, plane = nx * voxel, nx * ny * voxel
    xs, ys, zs = xs * voxel, ys * row, zs * plane
    start = x0 * voxel + y0 * row + z0 * plane
    stop = start + (x - 1) * xs + (y - 1) * ys + (z - 1) * zs + voxel
    return _Part(spec.dtype, (x, y, z), (xs, ys, zs), start, stop, nz * plane, range(c0, c1, cs))


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if _LITTLE and dtype.isnative else dtype.newbyteorder("<")


def _native(stored: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Stored voxels as the caller's dtype: a copy only for bool and on a big-endian machine."""
    if dtype.kind == "b":
        # Masks of 0 and 255 exist; numpy relies on a bool's byte being 0 or 1.
        bits: NDArray[Any] = stored.view(np.uint8) != 0
        return bits
    return stored if stored.dtype is dtype else stored.astype(dtype, copy=False)


@attrs.frozen
class Raw:
    """Codec and ReadsRanges of the encoding `raw`.

    Attributes:
        request_cost: what one more request costs, as bytes that are read along in the same time. The
            default is that of a local `pread` and of planning it; over a network it is far more.
    """

    request_cost: int = 32 * 1024

    def encode(self, chunk: NDArray[Any]) -> memoryview:
        """Return the chunk's bytes: its own memory, read-only, where that already is in stored order."""
        stored = chunk.astype(_stored(chunk.dtype), order="F", copy=False)
        return stored.reshape(-1, order="F").view(np.uint8).data.toreadonly()

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return `data` as an array, without a copy; ValueError where its length is wrong."""
        if len(data) != spec.nbytes:
            raise ValueError(
                f"raw: expected {spec.nbytes} bytes ({spec.dtype}, shape {spec.shape}), found {len(data)}"
            )
        stored = np.ndarray(spec.shape, _stored(spec.dtype), data, order="F")
        return _native(stored, spec.dtype)

    def stored_size(self, spec: ChunkSpec) -> int:
        """The size of the chunk in bytes."""
        return spec.nbytes

    def part(self, spec: ChunkSpec, box: Slices4) -> _Part | None:
        """The box, with one range per channel, from its first voxel to its last.

        None where reading the whole chunk costs no more: for most of a chunk, for small chunks, where
        little lies between the channels' ranges, and for very many channels.
        Raises ArgumentError where the box holds no voxel or has a step below 1.
        """
        part = _part(spec, box)
        requests = len(part.channels)
        spared = spec.nbytes - requests * (part.stop - part.start)
        return None if requests > _MAX_RANGES or spared <= requests * self.request_cost else part


def _build(info: VolumeInfo, scale: Scale) -> Raw:
    return Raw()


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `raw`, for every data type and any number of channels."""
    return [CodecPlugin("raw", _build, viewable=True)]
