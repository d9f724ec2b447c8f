"""The encoding `raw`: a chunk's voxels as they are, without a header.

Little endian, Fortran order of [x, y, z, channel] (channel slowest), as the Neuroglancer
specification's `volume.md` says. The place of every voxel is known, so a part of a chunk is read
by byte ranges.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Buffer, ByteRange, ChunkSpec, Slices3

__all__ = ["Raw", "precomp_register_codecs"]


class _Part(NamedTuple):
    """A box within a chunk, in bytes of one channel.

    Attributes:
        shape: voxels (x, y, z) of the box.
        strides: bytes from one voxel of the box to the next along x, y and z.
        start: where the box's first voxel begins.
        stop: where its last voxel ends.
        channel: size of the whole channel.
    """

    shape: tuple[int, int, int]
    strides: tuple[int, int, int]
    start: int
    stop: int
    channel: int

    def ranges(self, channels: int) -> list[ByteRange]:
        """The bytes from the box's first voxel to its last, in each channel."""
        starts = range(0, channels * self.channel, self.channel)
        return [ByteRange(start + self.start, start + self.stop) for start in starts]


def _part(spec: ChunkSpec, box: Slices3) -> _Part:
    nx, ny, nz, _ = spec.shape
    x, y, z = range(nx)[box[0]], range(ny)[box[1]], range(nz)[box[2]]
    if not (x and y and z) or min(x.step, y.step, z.step) < 1:
        raise ArgumentError(
            f"box: expected slices with a step of 1 or more that hold voxels of shape {spec.shape}, got {box}"
        )
    voxel = spec.dtype.itemsize
    row, plane = nx * voxel, nx * ny * voxel
    return _Part(
        (len(x), len(y), len(z)),
        (x.step * voxel, y.step * row, z.step * plane),
        x[0] * voxel + y[0] * row + z[0] * plane,
        x[-1] * voxel + y[-1] * row + z[-1] * plane + voxel,
        nz * plane,
    )


def _native(stored: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Stored voxels as the caller's dtype: a copy only for bool and on a big-endian machine."""
    if dtype.kind == "b":
        # Masks of 0 and 255 exist; numpy relies on a bool's byte being 0 or 1.
        bits: NDArray[Any] = stored.view(np.uint8) != 0
        return bits
    voxels: NDArray[Any] = stored.astype(dtype, copy=False)
    return voxels


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
        stored = chunk.astype(chunk.dtype.newbyteorder("<"), order="F", copy=False)
        return stored.reshape(-1, order="F").view(np.uint8).data.toreadonly()

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return `data` as an array, without a copy; ValueError where its length is wrong."""
        if len(data) != spec.nbytes:
            raise ValueError(
                f"raw: expected {spec.nbytes} bytes ({spec.dtype}, shape {spec.shape}), found {len(data)}"
            )
        stored = np.ndarray(spec.shape, spec.dtype.newbyteorder("<"), data, order="F")
        return _native(stored, spec.dtype)

    def stored_size(self, spec: ChunkSpec) -> int:
        """The size of the chunk in bytes."""
        return spec.nbytes

    def byte_ranges(self, spec: ChunkSpec, box: Slices3) -> list[ByteRange] | None:
        """One range per channel, from the box's first voxel to its last.

        None where reading the whole chunk costs no more: for most of a chunk, for small chunks, and
        where little lies between the channels' ranges.
        Raises ArgumentError where the box holds no voxel or has a step below 1.
        """
        part, channels = _part(spec, box), spec.shape[3]
        spared = part.channel - (part.stop - part.start)  # of each channel
        return None if spared <= self.request_cost else part.ranges(channels)

    def decode_ranges(self, parts: Sequence[Buffer], spec: ChunkSpec, box: Slices3) -> NDArray[Any]:
        """Return the box as an array (x, y, z, channel): for one channel a strided view of its part.

        Raises ValueError where number or lengths of the parts are not those of the ranges.
        """
        part, channels = _part(spec, box), spec.shape[3]
        length = part.stop - part.start
        found = [len(data) for data in parts]
        if found != [length] * channels:
            raise ValueError(f"raw: expected {channels} parts of {length} bytes, found {found}")
        dtype = spec.dtype.newbyteorder("<")
        voxels = [np.ndarray(part.shape, dtype, data, strides=part.strides) for data in parts]
        if channels == 1:
            return _native(voxels[0][..., np.newaxis], spec.dtype)
        stored = np.empty((*part.shape, channels), dtype, order="F")
        return _native(np.stack(voxels, axis=-1, out=stored), spec.dtype)


def _build(info: VolumeInfo, scale: Scale) -> Raw:
    return Raw()


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `raw`, for every data type and any number of channels."""
    return [CodecPlugin("raw", _build, viewable=True)]
