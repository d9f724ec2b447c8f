"""Chunks of one scale into an array: fetch, decompress, decode, paste."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.cache import ChunkCache
from precomp.engine.decode import LARGEST, ChunkDecoder
from precomp.engine.objects import Objects
from precomp.engine.rows import copy_rows
from precomp.engine.scratch import Scratch
from precomp.errors import ChunkDecodeError, EmptyVolumeError, TooLargeError
from precomp.grid import ChunkRef
from precomp.interfaces import Blob, ByteRange, ChunkSpec, Codec, GetsRanges, ReadsInto, Slices4

__all__ = ["ChunkReader"]

_LARGEST_READ_INTO = 2**26  # bytes; whether a larger chunk is there at all is looked up before there is room


class ChunkReader:
    """Reads the chunks of one scale. Safe to share between threads."""

    def __init__(
        self,
        objects: Objects,
        codec: Codec,
        encoding: str,
        dtype: np.dtype[Any],
        channels: int,
        cache: ChunkCache | None = None,
    ) -> None:
        store = objects.store
        self.decoder = ChunkDecoder(objects, codec, encoding, dtype, channels)
        self._objects = objects
        self._all = slice(0, channels, 1)
        self._get = store.get
        # Of a store that keeps copies on the local disk: a damaged one is fetched again.
        self._drop_kept: Callable[[str], bool] | None = getattr(store, "drop_kept", None)
        self._get_ranges = store.get_ranges if isinstance(store, GetsRanges) else None
        self._read_into = store.read_into if isinstance(store, ReadsInto) else None
        self._ranges = self.decoder.exact
        self._compressed = False  # as far as is known
        self._cache = ChunkCache() if cache is None else cache
        self._scope = (objects.place, encoding, dtype, channels)

    @property
    def partial(self) -> bool:
        """True where a part of a chunk costs less than the whole, as far as is known."""
        return self._ranges is not None and not self._cache.limit and not self._compressed

    def spec(self, ref: ChunkRef) -> ChunkSpec:
        """What the stored chunk is, by the info."""
        return self.decoder.spec(ref.shape)

    def limit(self, ref: ChunkRef) -> int:
        """The most bytes that the chunk can have once decompressed."""
        return self.decoder.limit(self.spec(ref))

    def decode(self, ref: ChunkRef, blob: Blob) -> NDArray[Any]:
        """Decode a whole chunk; shape (x, y, z, channel), possibly a read-only view of the blob."""
        return self.decoder.decode(ref.key, self.spec(ref), blob)

    def forget(self, ref: ChunkRef) -> None:
        """Drop the chunk from the cache: it has been written, or may have been."""
        if self._cache.limit:
            self._cache.drop(self._cached_as(ref))

    def paster(self, out: NDArray[Any], channels: slice, fill: Any) -> Callable[[ChunkRef], None]:
        """Return a function, for one thread, that writes the wanted voxels of a chunk into `out`.

        `out` has the shape (x, y, z, channel) of the request, `channels` are those of the volume that it
        holds. A missing chunk becomes `fill`; where that is None it raises EmptyVolumeError. The
        function raises ChunkDecodeError, TooLargeError, StoreError.
        """
        scratch = Scratch()
        caching, all_channels = bool(self._cache.limit), channels == self._all

        def paste_once(ref: ChunkRef) -> None:
            spec = self.decoder.spec(ref.shape)
            try:
                target = out[ref.target]
                box = (*ref.source, channels)
                whole = ref.whole and all_channels
                if caching:
                    chunk = self._cached(ref, spec)
                    voxels = None if chunk is None else chunk[box]
                else:
                    voxels = self._quick(ref, spec, box, whole, target.shape, scratch)
                    if voxels is None:
                        voxels = self._slow(ref, spec, box, whole, target)
                if voxels is None:
                    target[...] = self._missing(ref.key, fill)
                elif voxels is not target:
                    copy_rows(target, voxels)
            except TooLargeError:
                raise
            except MemoryError as error:
                raise self.decoder.damaged(ref.key, spec, error) from error

        drop_kept = self._drop_kept
        if drop_kept is None:
            return paste_once

        def paste(ref: ChunkRef) -> None:
            try:
                paste_once(ref)
            except ChunkDecodeError:
                if not drop_kept(ref.key):
                    raise
                try:
                    paste_once(ref)
                except ChunkDecodeError:
                    drop_kept(ref.key)  # damaged where it comes from, too
                    raise

        return paste

    def _quick(
        self,
        ref: ChunkRef,
        spec: ChunkSpec,
        box: Slices4,
        whole: bool,
        shape: tuple[int, ...],
        scratch: Scratch,
    ) -> NDArray[Any] | None:
        """The voxels of a plain chunk of a known size, in `scratch`; None where it is anything else."""
        codec, read_into, key = self._ranges, self._read_into, ref.key
        if codec is None or read_into is None:
            return None
        size = codec.stored_size(spec)
        part = None if whole else self.decoder.part(key, spec, box)
        if part is None:
            if size > _LARGEST_READ_INTO:
                return None
            data = scratch.take(size)
            if not read_into(key, size, ((0, data),)):
                return None
            voxels = self.decoder.decode_plain(key, spec, data.toreadonly())
            return voxels if whole else voxels[box]
        parts = scratch.split(part.ranges, _LARGEST_READ_INTO)
        if parts is None or not read_into(key, size, parts):
            return None
        return self.decoder.decode_part(key, spec, part, [memory.toreadonly() for _, memory in parts], shape)

    def _slow(
        self, ref: ChunkRef, spec: ChunkSpec, box: Slices4, whole: bool, target: NDArray[Any]
    ) -> NDArray[Any] | None:
        """The voxels of a chunk however it is stored, `target` where they are there already; None: absent."""
        if not whole and (self._read_into is None or spec.nbytes > _LARGEST_READ_INTO):
            voxels = self._part(ref.key, spec, box, target.shape)
            if voxels is not None:
                return voxels
        blob = self._fetch(ref.key, spec)
        if blob is None:
            return None
        self._compressed = blob.content_encoding is not None
        if self.decoder.decode_into(ref.key, spec, blob, box, target):
            return target
        voxels = self.decoder.decode(ref.key, spec, blob)
        return voxels if whole else voxels[box]

    def _cached(self, ref: ChunkRef, spec: ChunkSpec) -> NDArray[Any] | None:
        """The whole chunk out of the cache, or fetched and kept there; None: absent."""
        name = self._cached_as(ref)
        chunk = self._cache.get(name)
        if chunk is not None:
            return chunk
        token = self._cache.begin(name)
        try:
            blob = self._fetch(ref.key, spec)
            chunk = None if blob is None else self.decoder.decode(ref.key, spec, blob)
        finally:
            self._cache.keep(name, token, chunk)
        return chunk

    def _cached_as(self, ref: ChunkRef) -> Hashable:
        return self._scope, ref.key, ref.shape

    def _fetch(self, key: str, spec: ChunkSpec) -> Blob | None:
        if self._get_ranges is None:
            return self._get(key)
        # Where ranges cost nothing, what is far too long is found without reading all of it.
        most = 2 * self.decoder.limit(spec) + 2**16
        blob = self._get(key, ByteRange(0, most))
        if blob is not None and blob.size is not None and blob.size > most:
            wrong = ValueError(f"found {blob.size} bytes, more than any such chunk has")
            raise self.decoder.damaged(key, spec, wrong) from wrong
        return blob

    def _part(self, key: str, spec: ChunkSpec, box: Slices4, shape: tuple[int, ...]) -> NDArray[Any] | None:
        """The wanted voxels from just their bytes; None where the whole chunk has to be read."""
        codec = self._ranges
        if codec is None or spec.nbytes > LARGEST:  # what is stored is shorter, and refused for that
            return None
        part = self.decoder.part(key, spec, box)
        blobs = None if part is None else self._get_parts(key, part.ranges)
        if part is None or blobs is None:
            return None
        for blob in blobs:
            if blob.content_encoding is not None:
                self._ranges = None  # bytes of a compressed object are no bytes of the chunk: stop trying
                return None
            if blob.size != codec.stored_size(spec):
                wrong = ValueError(f"expected {codec.stored_size(spec)} bytes, found {blob.size}")
                raise self.decoder.damaged(key, spec, wrong) from wrong
        return self.decoder.decode_part(key, spec, part, [blob.data for blob in blobs], shape)

    def _get_parts(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        if len(ranges) == 1:
            blob = self._get(key, ranges[0])
            return None if blob is None else [blob]
        # Parts fetched one by one could be of two versions of the chunk.
        return None if self._get_ranges is None else self._get_ranges(key, ranges)

    def _missing(self, key: str, fill: Any) -> Any:
        if fill is None:
            raise EmptyVolumeError(
                f"{self._objects.where(key)}: the chunk is not stored; write it, or open the volume with "
                "fill_missing=True to read missing chunks as background"
            )
        return fill
