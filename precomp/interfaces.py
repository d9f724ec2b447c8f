"""What a plugin implements and the plain values that cross that border.

Everything here is a `typing.Protocol` or a `NamedTuple`: a store, a codec or a compressor needs no
base class of ours, and one value per chunk must cost next to nothing. The optional protocols are
probed once, when a layer is opened, never per chunk.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from precomp.mesh.model import Mesh

__all__ = [
    "Blob",
    "Buffer",
    "ByteRange",
    "ChunkPart",
    "ChunkSpec",
    "CloudPath",
    "Codec",
    "Compressor",
    "Condition",
    "DecodesInto",
    "GetsRanges",
    "MeshExporter",
    "Modify",
    "ReadsInto",
    "ReadsRanges",
    "Slices3",
    "Slices4",
    "Stat",
    "Store",
    "SupportsCutout",
    "SupportsUpdate",
    "UsesSuffixes",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
Slices3: TypeAlias = tuple[slice, slice, slice]
Slices4: TypeAlias = tuple[slice, slice, slice, slice]


class CloudPath(NamedTuple):
    """The address of a layer, taken apart; `precomp.url.parse` makes it from text.

    Attributes:
        scheme: the protocol, lower case: `gs`, `file`, ...
        bucket: bucket or host. For `file` it is the folder two above the layer, absolute.
        path: the layer's folder below the bucket, without slashes at its ends (`retina/image`).
    """

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        """The canonical text, `gs://bucket/dataset/layer`, without a final slash."""
        bucket = self.bucket.rstrip("/") if self.scheme == "file" else self.bucket
        return f"{self.scheme}://{bucket}/{self.path}" if self.path else f"{self.scheme}://{self.bucket}"

    @property
    def layer(self) -> str:
        """The last part of the path, `image`."""
        return self.path.rpartition("/")[2]

    @property
    def dataset(self) -> str:
        """The last part but one, `retina`; empty where the path has one part."""
        return self.path.rpartition("/")[0].rpartition("/")[2]


class ByteRange(NamedTuple):
    """Bytes `start` to `stop` (exclusive) of an object as stored, before decompression."""

    start: int
    stop: int


class Blob(NamedTuple):
    """An object's bytes with what the store knows of them.

    Attributes:
        data: the stored bytes (still compressed where `content_encoding` says so).
        content_encoding: `gzip`, `br`, `zstd` or None for plain.
        content_type: a MIME type, for stores that keep one.
        cache_control: a Cache-Control text, for stores that keep one.
        version: what a `Condition` compares; None where the store has no versions.
        size: the whole object's stored size, set on ranged reads, so that a truncated or
            overlong object is found even when only a part of it was fetched.
    """

    data: Buffer
    content_encoding: str | None = None
    content_type: str | None = None
    cache_control: str | None = None
    version: str | None = None
    size: int | None = None


class Stat(NamedTuple):
    """What is known of an object without reading it: stored size in bytes, version, encoding."""

    size: int
    version: str | None = None
    content_encoding: str | None = None


class Condition(NamedTuple):
    """When a `put` may happen: while the object still has `version`; None: while there is none."""

    version: str | None


class ChunkSpec(NamedTuple):
    """A stored chunk: its shape (x, y, z, channel), truncated at the volume's edge, and its dtype."""

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of the decoded chunk in bytes."""
        x, y, z, c = self.shape
        return x * y * z * c * self.dtype.itemsize


Modify: TypeAlias = Callable[[Blob | None], Blob | None]
"""From what is stored (None: nothing) to what shall be stored (None: delete it)."""


class Store(Protocol):
    """Bytes under keys, all relative to one folder (a layer). Safe to call from many threads.

    Every failure other than absence raises a `StoreError` (or a kin) that names the key and
    chains its cause. A key never holds an empty part, `.`, `..`, a leading slash or NUL; a store
    refuses one that does, with a `StoreError`.
    """

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or the part of it inside `byte_range`; None means absent."""
        ...

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        """Store `blob` whole or not at all and return its version.

        Must not keep a reference to `blob.data`. Raises ConditionFailedError, and writes nothing,
        where `condition` does not hold.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; absent ones are fine."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, in any order, all pages."""
        ...

    def stat(self, key: str) -> Stat | None:
        """Return size, version and encoding without reading; None means absent."""
        ...


@runtime_checkable
class SupportsUpdate(Protocol):
    """A store with its own safe read-modify-write, say under a lock."""

    def update(self, key: str, modify: Modify) -> None:
        """Replace the object by `modify(object)` such that no concurrent update is lost.

        `modify` may be called more than once. What it raises passes through and nothing is written.
        """
        ...


@runtime_checkable
class GetsRanges(Protocol):
    """A store that reads several ranges of one object as it was at one moment."""

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return the parts in the order of `ranges`, all of the same version; None means absent."""
        ...


@runtime_checkable
class ReadsInto(Protocol):
    """A store that reads into the caller's memory, which spares new memory for every chunk."""

    def read_into(self, key: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        """Fill each memory with the object's bytes from an offset on, all of the same version.

        Only where the object is `size` bytes long and stored plain. False, whatever then stands in
        the memory, where it is absent, compressed, of another size or unreadable: `get` tells which.
        """
        ...


@runtime_checkable
class UsesSuffixes(Protocol):
    """A store that shows an object's compression by the name's suffix instead of a header."""

    def set_suffixes(self, suffixes: Mapping[str, Sequence[str]]) -> None:
        """Take the table encoding -> suffixes, `{"gzip": (".gz",), ...}`; the first is written."""
        ...


@runtime_checkable
class SupportsCutout(Protocol):
    """A service of boxes instead of keys (the BOSS): what a protocol's `open` may return instead."""

    def read_info(self) -> dict[str, Any]:
        """Return the info of the layer as the service describes it."""
        ...

    def read_box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> NDArray[Any]:
        """Return the voxels of the box, shape (x, y, z, channel)."""
        ...

    def write_box(self, mip: int, minpt: Sequence[int], voxels: NDArray[Any]) -> None:
        """Store `voxels`, shape (x, y, z, channel), at `minpt`."""
        ...

    def create(self, info: Mapping[str, Any]) -> None:
        """Create the layer that `info` describes."""
        ...


class Codec(Protocol):
    """Chunk to bytes and back, for one scale. Stateless, safe to call from many threads.

    Raises ValueError (or anything else) on damaged data; the engine turns it into a
    ChunkDecodeError that names the key. Must not trust the data: sizes are checked before
    memory is allocated for them.
    """

    def encode(self, chunk: NDArray[Any]) -> Buffer:
        """Encode a chunk of shape (x, y, z, channel), any memory order, native byte order.

        The result must not share memory with `chunk` unless it is a read-only view of bytes that
        the caller may write out at once.
        """
        ...

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return exactly `spec.shape` and `spec.dtype`; the array may be a read-only view of `data`."""
        ...


@runtime_checkable
class DecodesInto(Protocol):
    """A codec that writes a part of a chunk straight into the caller's array."""

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: NDArray[Any]) -> None:
        """Decode the voxels `box` (slices of x, y, z and channel) into `out`, whose shape is the box's."""
        ...


class ChunkPart(Protocol):
    """A box of voxels within an encoded chunk, as a codec's `part` returns it."""

    @property
    def ranges(self) -> Sequence[ByteRange]:
        """The bytes of the chunk that hold it."""
        ...

    def decode(self, parts: Sequence[Buffer]) -> NDArray[Any]:
        """Decode the box from the bytes of `ranges`, in the same order; ValueError for other lengths."""
        ...


@runtime_checkable
class ReadsRanges(Protocol):
    """A codec that needs only some bytes of an uncompressed chunk to decode a part of it."""

    def stored_size(self, spec: ChunkSpec) -> int:
        """The exact size in bytes of the whole encoded chunk, to find broken ones by their length."""
        ...

    def part(self, spec: ChunkSpec, box: Slices4) -> ChunkPart | None:
        """Where `box` (slices of x, y, z, channel) is stored; None where the whole chunk is better."""
        ...


class Compressor(Protocol):
    """Bytes to fewer bytes and back. Stateless, safe to call from many threads."""

    def compress(self, data: Buffer) -> Buffer:
        """Compress into one complete stream."""
        ...

    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        """Decompress the whole of `data`; ValueError where it is damaged, truncated or followed by garbage.

        Never makes more than `max_size` bytes: a longer stream raises ValueError, so a bomb is an error.
        """
        ...


class MeshExporter(Protocol):
    """A mesh to the bytes of a file that other programs open."""

    def export(self, mesh: "Mesh") -> Buffer:
        """Return the file's content."""
        ...
