"""An array into the chunks of one scale: cut, encode, compress, put."""

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.engine.objects import Objects
from precomp.engine.read import ChunkReader
from precomp.engine.rows import copy_rows
from precomp.engine.scratch import Scratch
from precomp.engine.update import Update, updater
from precomp.engine.workers import for_each
from precomp.errors import (
    ArgumentError,
    EmptyVolumeError,
    MissingDependencyError,
    PrecompError,
    StoreError,
    TooLargeError,
)
from precomp.grid import ChunkRef, Plan
from precomp.interfaces import Blob, Buffer, Codec, Compressor, SupportsUpdate

__all__ = ["ChunkWriter"]


@attrs.frozen
class ChunkWriter:
    """Writes the chunks of one scale. Safe to share between threads.

    Attributes:
        objects: where they go.
        codec: of the scale.
        encoding: its name, for errors.
        reader: of the same scale, for chunks that are written in part.
        compression: Content-Encoding token and Compressor, or None.
        content_type: of an encoded chunk, for stores that keep one.
        cache_control: likewise.
        delete_if: chunks all of whose voxels equal this are deleted instead of stored; None: never.
            One that gets so by a write to a part of it stays where the store has no lock to hold meanwhile.
        fill: the rest of a missing chunk that is written in part; None: that is an EmptyVolumeError.
    """

    objects: Objects
    codec: Codec
    encoding: str
    reader: ChunkReader
    compression: tuple[str, Compressor] | None = None
    content_type: str | None = None
    cache_control: str | None = None
    delete_if: Any = None
    fill: Any = None
    _locks: bool = attrs.field(init=False, repr=False)
    _update: Update = attrs.field(init=False, repr=False)

    @_locks.default
    def _store_locks(self) -> bool:
        return isinstance(self.objects.store, SupportsUpdate)

    @_update.default
    def _updater(self) -> Update:
        return updater(self.objects.store, self.objects.where)

    def write(
        self,
        plan: Plan,
        voxels: NDArray[Any],
        channels: slice | None,
        workers: int,
        tick: Callable[[int], object] | None = None,
    ) -> None:
        """Store `voxels`, shape (x, y, z, channel) of the request, any byte order.

        `channels` names those of the volume that `voxels` holds; None: all of them. Chunks that the
        request covers wholly are put; the others are merged, and where one of those is missing and
        there is no `fill`, EmptyVolumeError is raised before anything is written. Raises ArgumentError
        where the codec cannot hold the voxels, ChunkDecodeError where a chunk to be merged is damaged
        (it is left as it is), TooLargeError and StoreError.
        """
        if self.fill is None and not (plan.whole and channels is None):
            for_each(plan, lambda: lambda ref: self._require(ref, channels), workers, reads=True)
        for_each(plan, lambda: self._storer(voxels, channels), workers, tick)

    def _storer(self, voxels: NDArray[Any], channels: slice | None) -> Callable[[ChunkRef], None]:
        """Return a function, for one thread, that stores one chunk of `voxels`."""
        scratch = Scratch()

        def store(ref: ChunkRef) -> None:
            try:
                if ref.whole and channels is None:
                    self._put(ref, voxels[ref.target], scratch)
                else:
                    self._merge(ref, voxels[ref.target], slice(None) if channels is None else channels)
            except TooLargeError:
                raise
            except MemoryError as error:
                raise self.too_large(ref) from error
            finally:
                self.reader.forget(ref)  # after a failure nobody knows what is stored

        return store

    def _put(self, ref: ChunkRef, chunk: NDArray[Any], scratch: Scratch) -> None:
        blob = self.encoded(ref, chunk, scratch)
        if blob is None:
            self.objects.store.delete([ref.key])
        else:
            self.objects.store.put(ref.key, blob)

    def encoded(self, ref: ChunkRef, chunk: NDArray[Any], scratch: Scratch) -> Blob | None:
        """Return the object for a whole chunk, perhaps in `scratch`; None where it is not to be stored."""
        if self._is_black(chunk):
            return None
        spec = self.reader.spec(ref)
        if not (chunk.flags.f_contiguous and chunk.dtype == spec.dtype):
            # In stored order, so that no codec has to copy it, and in memory that is used again.
            ordered: NDArray[Any] = np.ndarray(spec.shape, spec.dtype, scratch.take(spec.nbytes), order="F")
            copy_rows(ordered, chunk)
            chunk = ordered
        return self._blob(ref, chunk)

    def _merge(self, ref: ChunkRef, voxels: NDArray[Any], channels: slice) -> None:
        def modify(blob: Blob | None) -> Blob | None:
            # Without a lock a deletion could take another writer's chunk with it.
            return self.merged(ref, blob, voxels, channels, may_go=blob is None or self._locks)

        self._update(ref.key, modify)

    def merged(
        self, ref: ChunkRef, blob: Blob | None, voxels: NDArray[Any], channels: slice, may_go: bool
    ) -> Blob | None:
        """Return the object for a chunk of which a part is new; None where it is not to be stored."""
        chunk = self._base(ref, blob)
        chunk[(*ref.source, channels)] = voxels
        return None if may_go and self._is_black(chunk) else self._blob(ref, chunk)

    def _is_black(self, chunk: NDArray[Any]) -> bool:
        if self.delete_if is None:
            return False
        # NaN, the background of some float volumes, does not equal itself.
        black = chunk == self.delete_if if self.delete_if == self.delete_if else np.isnan(chunk)
        return bool(black.all())

    def _require(self, ref: ChunkRef, channels: slice | None) -> None:
        if (channels is not None or not ref.whole) and self.objects.store.stat(ref.key) is None:
            raise self.missing(ref)

    def _base(self, ref: ChunkRef, blob: Blob | None) -> NDArray[Any]:
        if blob is not None:
            return np.array(self.reader.decode(ref, blob), order="F")
        if self.fill is None:
            raise self.missing(ref)
        spec = self.reader.spec(ref)
        try:
            return np.full(spec.shape, self.fill, spec.dtype, order="F")
        except ValueError as error:  # numpy's word for more bytes than there are addresses
            raise self.too_large(ref) from error

    def too_large(self, ref: ChunkRef) -> TooLargeError:
        """Return the error of a chunk for which memory does not do."""
        return TooLargeError(
            f"{self.objects.where(ref.key)}: not enough memory to make a {self.encoding} chunk of "
            f"{self.reader.spec(ref).nbytes:,} bytes; choose a smaller chunk_size for the scale"
        )

    def missing(self, ref: ChunkRef) -> EmptyVolumeError:
        """Return the error of a chunk that is to be written in part and is not there."""
        return EmptyVolumeError(
            f"{self.objects.where(ref.key)}: the write covers a part of this chunk and the chunk is not "
            "stored; set fill_missing=True to make the rest of it background, or write it whole"
        )

    def _blob(self, ref: ChunkRef, chunk: NDArray[Any]) -> Blob:
        try:
            data = _bytes(self.codec.encode(chunk), "encode")
        except MemoryError:
            raise
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.objects.where(ref.key)}: a {self.encoding} chunk cannot be encoded: {error}"
            ) from error
        except Exception as error:
            raise ArgumentError(
                f"{self.objects.where(ref.key)}: {self.encoding} cannot hold these voxels, "
                f"{chunk.dtype} of shape {chunk.shape}: {error}"
            ) from error
        return self.compressed(data)

    def compressed(self, data: Buffer) -> Blob:
        """Return the object that holds an encoded chunk."""
        if self.compression is None:
            return Blob(data, None, self.content_type, self.cache_control)
        name, compressor = self.compression
        try:
            data = _bytes(compressor.compress(data), "compress")
        except (PrecompError, MemoryError):
            raise
        except Exception as error:
            raise StoreError(f"{self.objects.place}: {name} cannot compress a chunk: {error}") from error
        return Blob(data, name, self.content_type, self.cache_control)


def _bytes(data: Any, method: str) -> Buffer:
    """What a plugin made, if it is what it promised to make."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"the plugin's {method} returned {type(data).__name__}, expected bytes")
    return data
