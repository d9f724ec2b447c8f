"""Chunks of one scale into an array: fetch, decompress, decode, paste."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.objects import Objects
from precomp.errors import (
    ChunkDecodeError,
    EmptyVolumeError,
    MissingDependencyError,
    PrecompError,
    TooLargeError,
)
from precomp.grid import ChunkRef
from precomp.interfaces import (
    Blob,
    Buffer,
    ByteRange,
    ChunkSpec,
    Codec,
    DecodesInto,
    GetsRanges,
    ReadsRanges,
    Slices4,
)

__all__ = ["ChunkReader"]

_LARGEST = 2**62  # bytes; no store holds a larger object, and C libraries take no larger number


class ChunkReader:
    """Reads the chunks of one scale. Safe to share between threads."""

    def __init__(
        self, objects: Objects, codec: Codec, encoding: str, dtype: np.dtype[Any], channels: int
    ) -> None:
        self._objects = objects
        store = objects.store
        self._get = store.get
        self._get_ranges = store.get_ranges if isinstance(store, GetsRanges) else None
        self._codec = codec
        self._encoding = encoding
        self._dtype = dtype
        self._channels = channels
        self._exact = self._ranges = codec if isinstance(codec, ReadsRanges) else None
        self._into = codec if isinstance(codec, DecodesInto) else None

    @property
    def partial(self) -> bool:
        """True where a part of a chunk costs less than the whole, as far as is known."""
        return self._ranges is not None

    def spec(self, ref: ChunkRef) -> ChunkSpec:
        """What the stored chunk is, by the info."""
        return ChunkSpec((*ref.shape, self._channels), self._dtype)

    def paste(self, ref: ChunkRef, out: NDArray[Any], channels: slice, fill: Any) -> None:
        """Write the wanted voxels of the chunk into `out`, shape (x, y, z, channel) of the request.

        `channels` are those of the volume that `out` holds. A missing chunk becomes `fill`; where
        that is None it raises EmptyVolumeError. Raises ChunkDecodeError, TooLargeError, StoreError.
        """
        try:
            self._paste(ref, out[ref.target], channels, fill)
        except TooLargeError:
            raise
        except MemoryError as error:
            raise self._damaged(ref.key, self.spec(ref), error) from error

    def _paste(self, ref: ChunkRef, target: NDArray[Any], channels: slice, fill: Any) -> None:
        voxels = self._part(ref, channels)
        if voxels is None:
            blob = self._whole(ref)
            if blob is None:
                target[...] = self._missing(ref.key, fill)
                return
            if self._into is not None:
                self._decode_into(self._into, ref, blob, (*ref.source, channels), target)
                return
            voxels = self.decode(ref, blob)[(*ref.source, channels)]
        target[...] = voxels

    def _whole(self, ref: ChunkRef) -> Blob | None:
        if self._get_ranges is None:
            return self._get(ref.key)
        # Where ranges cost nothing, what is far too long is found without reading all of it.
        most = 2 * self.limit(ref) + 2**16
        blob = self._get(ref.key, ByteRange(0, most))
        if blob is not None and blob.size is not None and blob.size > most:
            wrong = ValueError(f"found {blob.size} bytes, more than any such chunk has")
            raise self._damaged(ref.key, self.spec(ref), wrong) from wrong
        return blob

    def decode(self, ref: ChunkRef, blob: Blob) -> NDArray[Any]:
        """Decode a whole chunk; shape (x, y, z, channel), possibly a read-only view of the blob."""
        spec = self.spec(ref)
        data = self._plain(ref.key, blob, spec)
        try:
            voxels = self._codec.decode(data, spec)
            if voxels.shape != spec.shape or voxels.dtype != spec.dtype:
                raise ValueError(f"the codec returned {voxels.dtype}, shape {voxels.shape}")
        except Exception as error:
            raise self._damaged(ref.key, spec, error) from error
        return voxels

    def _decode_into(
        self, codec: DecodesInto, ref: ChunkRef, blob: Blob, box: Slices4, target: NDArray[Any]
    ) -> None:
        spec = self.spec(ref)
        data = self._plain(ref.key, blob, spec)
        try:
            codec.decode_into(data, spec, box, target)
        except Exception as error:
            raise self._damaged(ref.key, spec, error) from error

    def _get_parts(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        if len(ranges) == 1:
            blob = self._get(key, ranges[0])
            return None if blob is None else [blob]
        # Parts fetched one by one could be of two versions of the chunk.
        return None if self._get_ranges is None else self._get_ranges(key, ranges)

    def _part(self, ref: ChunkRef, channels: slice) -> NDArray[Any] | None:
        """The wanted voxels from just their bytes; None where the whole chunk has to be read."""
        codec = self._ranges
        if codec is None or (ref.whole and channels == slice(0, self._channels, 1)):
            return None
        spec = self.spec(ref)
        if spec.nbytes > _LARGEST:
            return None  # what is stored is shorter, and refused for that
        box = (*ref.source, channels)
        ranges = codec.byte_ranges(spec, box)
        blobs = None if ranges is None else self._get_parts(ref.key, ranges)
        if blobs is None:
            return None
        for blob in blobs:
            if blob.content_encoding is not None:
                self._ranges = None  # bytes of a compressed object are no bytes of the chunk: stop trying
                return None
            if blob.size != codec.stored_size(spec):
                wrong = ValueError(f"expected {codec.stored_size(spec)} bytes, found {blob.size}")
                raise self._damaged(ref.key, spec, wrong) from wrong
        try:
            return codec.decode_ranges([blob.data for blob in blobs], spec, box)
        except Exception as error:
            raise self._damaged(ref.key, spec, error) from error

    def limit(self, ref: ChunkRef) -> int:
        """The most bytes that the chunk can have once decompressed."""
        return self._limit(self.spec(ref))

    def _limit(self, spec: ChunkSpec) -> int:
        # No sane encoding of a chunk is longer than this; what is longer is a bomb.
        size = 4 * spec.nbytes + 2**20 if self._exact is None else self._exact.stored_size(spec)
        return min(size, _LARGEST)

    def _plain(self, key: str, blob: Blob, spec: ChunkSpec) -> Buffer:
        if blob.content_encoding is None:
            return blob.data
        return self._objects.plain(key, blob, self._limit(spec))

    def _damaged(self, key: str, spec: ChunkSpec, error: Exception) -> PrecompError:
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

    def _missing(self, key: str, fill: Any) -> Any:
        if fill is None:
            raise EmptyVolumeError(
                f"{self._objects.where(key)}: the chunk is not stored; write it, or open the volume with "
                "fill_missing=True to read missing chunks as background"
            )
        return fill
