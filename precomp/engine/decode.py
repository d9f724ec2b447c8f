"""Bytes of one scale's chunks to voxels, and the errors of those that are damaged."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.objects import Objects
from precomp.errors import ChunkDecodeError, MissingDependencyError, PrecompError, TooLargeError
from precomp.interfaces import Blob, Buffer, ChunkPart, ChunkSpec, Codec, DecodesInto, ReadsRanges, Slices4

__all__ = ["LARGEST", "ChunkDecoder"]

LARGEST = 2**62  # bytes; no store holds a larger object, and C libraries take no larger number
_SPECS_KEPT = 64  # inner chunks are all alike, those at the edges differ in seven ways


class ChunkDecoder:
    """Decodes the chunks of one scale. Safe to share between threads.

    Attributes:
        codec: of the scale.
        dtype: of a voxel.
        channels: of a voxel.
        exact: the codec, where its chunks have a size that is known before.
    """

    def __init__(
        self, objects: Objects, codec: Codec, encoding: str, dtype: np.dtype[Any], channels: int
    ) -> None:
        self.codec, self.dtype, self.channels = codec, dtype, channels
        self.exact = codec if isinstance(codec, ReadsRanges) else None
        self.into = codec if isinstance(codec, DecodesInto) else None
        self._objects = objects
        self._encoding = encoding
        self._specs: dict[tuple[int, int, int], ChunkSpec] = {}

    def spec(self, shape: tuple[int, int, int]) -> ChunkSpec:
        """What a stored chunk of `shape` (x, y, z) is, by the info."""
        spec = self._specs.get(shape)
        if spec is None:
            spec = ChunkSpec((*shape, self.channels), self.dtype)
            if len(self._specs) < _SPECS_KEPT:
                self._specs[shape] = spec
        return spec

    def decode(self, key: str, spec: ChunkSpec, blob: Blob) -> NDArray[Any]:
        """Decode a whole chunk; shape (x, y, z, channel), possibly a read-only view of the blob."""
        return self.decode_plain(key, spec, self.plain(key, spec, blob))

    def decode_plain(self, key: str, spec: ChunkSpec, data: Buffer) -> NDArray[Any]:
        """Decode a whole chunk from its bytes, which are not compressed any more."""
        try:
            voxels = self.codec.decode(data, spec)
            if voxels.shape != spec.shape or voxels.dtype != spec.dtype:
                raise ValueError(f"the codec returned {voxels.dtype}, shape {voxels.shape}")
        except Exception as error:
            raise self.damaged(key, spec, error) from error
        return voxels

    def decode_into(self, key: str, spec: ChunkSpec, blob: Blob, box: Slices4, target: NDArray[Any]) -> bool:
        """Decode a part straight into `target`; False where the codec cannot."""
        if self.into is None:
            return False
        data = self.plain(key, spec, blob)
        try:
            self.into.decode_into(data, spec, box, target)
        except Exception as error:
            raise self.damaged(key, spec, error) from error
        return True

    def part(self, key: str, spec: ChunkSpec, box: Slices4) -> ChunkPart | None:
        """Where a part of a chunk lies; None where the whole has to be read."""
        if self.exact is None:
            return None
        try:
            return self.exact.part(spec, box)
        except Exception as error:
            raise self.damaged(key, spec, error) from error

    def decode_part(
        self, key: str, spec: ChunkSpec, part: ChunkPart, data: Sequence[Buffer], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Decode a part, which has `shape`, from the bytes of its ranges."""
        try:
            voxels = part.decode(data)
            if voxels.shape != shape or voxels.dtype != spec.dtype:
                raise ValueError(f"the codec returned {voxels.dtype}, shape {voxels.shape}, of {shape}")
            return voxels
        except Exception as error:
            raise self.damaged(key, spec, error) from error

    def limit(self, spec: ChunkSpec) -> int:
        """The most bytes that a chunk can have once decompressed."""
        # No sane encoding of a chunk is longer than this; what is longer is a bomb.
        size = 4 * spec.nbytes + 2**20 if self.exact is None else self.exact.stored_size(spec)
        return min(size, LARGEST)

    def plain(self, key: str, spec: ChunkSpec, blob: Blob) -> Buffer:
        """The bytes of a chunk as the codec knows them."""
        if blob.content_encoding is None:
            return blob.data
        return self._objects.plain(key, blob, self.limit(spec))

    def damaged(self, key: str, spec: ChunkSpec, error: Exception) -> PrecompError:
        """Return the error for a chunk that cannot be decoded, to be raised `from error`."""
        what = f"a {self._encoding} chunk of {spec.dtype}, shape {spec.shape}"
        if isinstance(error, MemoryError):
            return TooLargeError(
                f"{self._objects.where(key)}: not enough memory for {what} ({spec.nbytes} bytes)"
            )
        if isinstance(error, ImportError):
            return MissingDependencyError(f"{self._objects.where(key)}: {what} cannot be decoded: {error}")
        return ChunkDecodeError(
            f"{self._objects.where(key)}: expected {what}, found damaged data ({error}); "
            "restore the chunk or write it again"
        )
