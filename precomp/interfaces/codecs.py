"""What the plugins for chunk encodings, compressions and mesh formats implement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from precomp.interfaces.values import Buffer, ByteRange, ChunkSpec, Slices4

if TYPE_CHECKING:
    from precomp.mesh.model import Mesh

__all__ = ["ChunkPart", "Codec", "Compressor", "DecodesInto", "MeshExporter", "ReadsRanges"]


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
        """Return exactly `spec.shape` and `spec.dtype`; the array may be a read-only view of `data`.

        Neither `data` nor such a view may be kept: the memory serves the next chunk.
        """
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
        """Decode the box from the bytes of `ranges`, in the same order; ValueError for other lengths.

        As with `Codec.decode`, nothing of `parts` may be kept.
        """
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
