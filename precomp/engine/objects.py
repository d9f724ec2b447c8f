"""Whole objects, seen through their Content-Encoding: info files, manifests, mesh fragments."""

from collections.abc import Callable

import attrs

from precomp.errors import ChunkDecodeError, TooLargeError, UnknownEncodingError
from precomp.interfaces import Blob, Buffer, ByteRange, Compressor, Store

__all__ = ["Objects"]


@attrs.frozen
class Objects:
    """Reads and writes the plain content of objects, whatever compression they are stored with.

    Attributes:
        store: where the objects are.
        compressor: gives the Compressor for a Content-Encoding token (a Registry's bound method).
        place: of the store, for errors: `gs://bucket/dataset/layer`.
        within: says of a key what it lies in, where that is no object of its own.
    """

    store: Store
    compressor: Callable[[str], Compressor]
    place: str = ""
    within: Callable[[str], str] | None = None

    @property
    def workers(self) -> int | None:
        """How many threads the store (see UsesWorkers) would have; None where it does not say."""
        # Not by isinstance, which takes as long for a Protocol as to read a voxel.
        wanted: int | None = getattr(self.store, "workers", None)
        return wanted

    def where(self, key: str) -> str:
        """Return the name of an object for errors, `gs://bucket/dataset/layer/KEY`."""
        name = f"{self.place}/{key}" if self.place else key
        return name if self.within is None else f"{name} ({self.within(key)})"

    def read(self, key: str, max_size: int) -> Buffer | None:
        """Return the decompressed object; None where there is none.

        Raises ChunkDecodeError, naming the key, where the object is damaged or larger than
        `max_size` bytes, UnknownEncodingError where no plugin knows its compression, TooLargeError
        where memory does not do, and StoreError where it cannot be fetched.
        """
        try:
            # No more than that, however much there is; a compressed object is hardly longer than its content.
            blob = self.store.get(key, ByteRange(0, 2 * max_size + 2**16))
        except MemoryError as error:
            raise TooLargeError(
                f"{self.where(key)}: not enough memory to fetch it; expected at most {max_size} bytes"
            ) from error
        try:
            return None if blob is None else self.plain(key, blob, max_size)
        except ChunkDecodeError:
            drop_kept: Callable[[str], bool] | None = getattr(self.store, "drop_kept", None)
            if drop_kept is not None:
                drop_kept(key)  # so that the next one who reads it gets what is stored then
            raise

    def plain(self, key: str, blob: Blob, max_size: int) -> Buffer:
        """Return the content of a fetched blob; raises as `read` does."""
        stored = len(blob.data) if blob.size is None else blob.size
        if blob.content_encoding is None:
            if stored > max_size:
                raise ChunkDecodeError(
                    f"{self.where(key)}: expected at most {max_size} bytes, found {stored}; "
                    "this is something else or damaged, write it again"
                )
            return blob.data
        try:
            compressor = self.compressor(blob.content_encoding)
        except UnknownEncodingError as error:
            raise UnknownEncodingError(f"{self.where(key)}: its compression is unknown: {error}") from error
        try:
            return compressor.decompress(blob.data, max_size)
        except MemoryError as error:
            raise TooLargeError(
                f"{self.where(key)}: not enough memory to decompress {len(blob.data)} bytes of "
                f"{blob.content_encoding} to at most {max_size}; free some"
            ) from error
        except Exception as error:
            raise ChunkDecodeError(
                f"{self.where(key)}: expected one {blob.content_encoding} stream of at most {max_size} "
                f"bytes, found {len(blob.data)} damaged or overlong bytes ({error}); write it again"
            ) from error

    def write(
        self,
        key: str,
        data: Buffer,
        *,
        encoding: str | None = None,
        content_type: str | None = None,
        cache_control: str | None = None,
    ) -> None:
        """Store `data`, compressed with `encoding` where one is given. Raises StoreError."""
        if encoding is not None:
            data = self.compressor(encoding).compress(data)
        self.store.put(key, Blob(data, encoding, content_type, cache_control))
