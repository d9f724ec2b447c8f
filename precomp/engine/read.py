"""Chunks of one scale into an array: fetch, decompress, decode, paste."""

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.ahead import Ask
from precomp.engine.cache import ChunkCache
from precomp.engine.decode import LARGEST, ChunkDecoder
from precomp.engine.fetch import ChunkFetcher, Wanted
from precomp.engine.objects import Objects
from precomp.engine.rows import copy_rows
from precomp.engine.scratch import Scratch
from precomp.engine.takers import Taker
from precomp.engine.window import window_of
from precomp.errors import ChunkDecodeError, EmptyVolumeError, TooLargeError
from precomp.grid import ChunkRef
from precomp.interfaces import Blob, ChunkSpec, Codec

__all__ = ["ChunkReader"]

_READ = 2**12  # bytes of a local file that are read in the time that one voxel more takes by itself


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
        self._fetcher = ChunkFetcher(store, self.decoder)
        # Of a store that keeps copies on the local disk: a damaged one is fetched again.
        self._drop_kept: Callable[[str], bool] | None = getattr(store, "drop_kept", None)
        self._compressed = False  # the last chunk that was read whole was
        self._cache = ChunkCache() if cache is None else cache
        self._scope = (objects.place, encoding, dtype, channels)

    @property
    def keeps(self) -> bool:
        """True where decoded chunks are kept in memory."""
        return self._cache.limit > 0

    @property
    def partial(self) -> bool:
        """True where a part of a chunk costs less than the whole, as far as is known."""
        return self.decoder.placed and not self._cache.limit and self._fetcher.plain and not self._compressed

    def spec(self, ref: ChunkRef) -> ChunkSpec:
        """What the stored chunk is, by the info."""
        return self.decoder.known(ref.shape)[0]

    def limit(self, ref: ChunkRef) -> int:
        """The most bytes that the chunk can have once decompressed."""
        return self.decoder.limit(*self.decoder.known(ref.shape))

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
        function raises ChunkDecodeError, TooLargeError, PluginError, StoreError.
        """
        scratch, decoder, read_into = Scratch(), self.decoder, self._fetcher.read_into
        known, cost, all_channels = decoder.known, self._fetcher.request_cost, channels == self._all
        quick = decoder.placed and read_into is not None and not self._cache.limit

        def paste(ref: ChunkRef) -> None:
            key, shape, source, place, whole = ref  # nothing here is worth a call that can be spared
            target = out[place]
            spec, layout = known(shape)
            try:
                if quick and layout is not None and read_into is not None:
                    window = window_of(layout, source, channels, target.shape, cost)
                    parts = scratch.split(window.first, window.length, window.apart, window.strides[3])
                    if parts is not None and read_into(key, layout.size, parts):
                        window.paste([memory for _, memory in parts], target)
                        return
                if not self._paste(Wanted(ref, spec, layout, channels, whole and all_channels, target)):
                    target[...] = self.missing(key, fill)
            except TooLargeError:
                raise
            except MemoryError as error:
                raise decoder.damaged(key, spec, error) from error

        return paste if self._drop_kept is None else _again(paste, self._drop_kept)

    def asker(self, out: NDArray[Any], channels: slice) -> Ask[ChunkRef] | None:
        """Return what asks for a chunk before `paster`'s function reads it; None where threads do better."""
        fetcher, caching, all_channels = self._fetcher, self.keeps, channels == self._all
        known = self.decoder.known
        if not fetcher.asks:
            return None

        def ask_for(ref: ChunkRef) -> AbstractContextManager[object] | None:
            if caching and self._cache.get(self._cached_as(ref)) is not None:
                return None
            whole = caching or (ref.whole and all_channels)
            return fetcher.ask(Wanted(ref, *known(ref.shape), channels, whole, out[ref.target]))

        return ask_for

    def giver(self, taker: Taker, *, keep: bool) -> Callable[[ChunkRef], None]:
        """Return a function that gives a chunk to `taker`, decoded where it is kept, else as it is stored.

        `keep`: where chunks are kept in memory, decode this one and keep it, too. The function raises as that
        of `paster`.
        """
        known, caching = self.decoder.known, self._cache.limit > 0

        def give(ref: ChunkRef) -> None:
            spec, layout = known(ref.shape)
            try:
                if caching:
                    chunk = self._cached(ref, spec) if keep else self._cache.get(self._cached_as(ref))
                    if chunk is not None:
                        taker.chunk(ref, chunk)
                        return
                blob = None if caching and keep else self._fetcher.all_of(ref.key, spec, layout)
                if blob is None:
                    taker.missing(ref)
                else:
                    taker.blob(ref, blob)
            except TooLargeError:
                raise
            except MemoryError as error:
                raise self.decoder.damaged(ref.key, spec, error) from error

        return give if self._drop_kept is None else _again(give, self._drop_kept)

    def voxels_at(self, ref: ChunkRef, voxels: NDArray[np.int64]) -> NDArray[Any] | None:
        """Return single voxels of a chunk, given as x, y, z in it, by their places; shape (n, channel).

        None where these are not known, or where it is better to read a box around all of them.
        """
        spec, layout = self.decoder.known(ref.shape)
        read_into = self._fetcher.read_into
        if layout is None or read_into is None or self._cache.limit or layout.size > LARGEST:
            return None
        strides, size = np.array(layout.strides), layout.dtype.itemsize
        starts = layout.start + (voxels @ strides[:3])[:, np.newaxis] + strides[3] * np.arange(spec.shape[3])
        if starts.size * _READ > int(starts.max() - starts.min()):
            return None
        memory = bytearray(starts.size * size)
        room, places = memoryview(memory), range(0, len(memory), size)
        parts = [
            (start, room[at : at + size]) for at, start in zip(places, starts.ravel().tolist(), strict=True)
        ]
        if not read_into(ref.key, layout.size, parts):
            return None
        return np.frombuffer(memory, layout.dtype).reshape(starts.shape).astype(spec.dtype)

    def _paste(self, wanted: Wanted) -> bool:
        """Write the wanted voxels of a chunk to where they go, however it is stored; False: it is absent."""
        ref, spec, layout, channels, _, target = wanted
        box = (*ref.source, channels)
        if self._cache.limit:
            chunk = self._cached(ref, spec)
            if chunk is not None:
                copy_rows(target, chunk[box])
            return chunk is not None
        parts = self._fetcher.parts(wanted)
        if parts is not None:
            window, blobs = parts
            if blobs is not None:
                window.paste([blob.data for blob in blobs], target)
            return blobs is not None
        blob = self._fetcher.all_of(ref.key, spec, layout)
        if blob is None:
            return False
        self._compressed = blob.content_encoding is not None
        if not self.decoder.decode_into(ref.key, spec, blob, box, target):
            copy_rows(target, self.decoder.decode(ref.key, spec, blob)[box])
        return True

    def paste_blob(self, ref: ChunkRef, blob: Blob, channels: slice, target: NDArray[Any]) -> None:
        """Write the wanted voxels of a fetched chunk into `target`. Raises as the function of `paster`."""
        spec, box = self.spec(ref), (*ref.source, channels)
        try:
            if not self.decoder.decode_into(ref.key, spec, blob, box, target):
                copy_rows(target, self.decoder.decode(ref.key, spec, blob)[box])
        except TooLargeError:
            raise
        except MemoryError as error:
            raise self.decoder.damaged(ref.key, spec, error) from error

    def _cached(self, ref: ChunkRef, spec: ChunkSpec) -> NDArray[Any] | None:
        """The whole chunk out of the cache, or fetched and kept there; None: absent."""
        name = self._cached_as(ref)
        chunk = self._cache.get(name)
        if chunk is not None:
            return chunk
        token = self._cache.begin(name)
        try:
            blob = self._fetcher.all_of(ref.key, *self.decoder.known(ref.shape))
            chunk = None if blob is None else self.decoder.decode(ref.key, spec, blob)
        finally:
            self._cache.keep(name, token, chunk)
        return chunk

    def _cached_as(self, ref: ChunkRef) -> Hashable:
        return self._scope, ref.key, ref.shape

    def missing(self, key: str, fill: Any) -> Any:
        """Return what stands for a chunk that is not stored; raise EmptyVolumeError where that is None."""
        if fill is None:
            raise EmptyVolumeError(
                f"{self._objects.where(key)}: the chunk is not stored; write it, or open the volume with "
                "fill_missing=True to read missing chunks as background"
            )
        return fill


def _again(paste: Callable[[ChunkRef], None], drop_kept: Callable[[str], bool]) -> Callable[[ChunkRef], None]:
    """Return what does the same, and fetches a chunk again where the copy that was kept of it is damaged."""

    def paste_again(ref: ChunkRef) -> None:
        try:
            paste(ref)
        except ChunkDecodeError:
            if not drop_kept(ref.key):
                raise
            try:
                paste(ref)
            except ChunkDecodeError:
                drop_kept(ref.key)  # damaged where it comes from, too
                raise

    return paste_again
