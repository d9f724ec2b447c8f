"""What the plugins for chunk encodings, compressions and mesh formats implement."""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces.values import Buffer, ChunkSpec, Slices4

if TYPE_CHECKING:
    from precomp.mesh.model import Mesh

__all__ = [
    "Codec",
    "Compressor",
    "DecodesInto",
    "DecodesPoints",
    "HasLayout",
    "Layout",
    "ListsLabels",
    "MeshExporter",
]


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


@runtime_checkable
class DecodesPoints(Protocol):
    """A codec that decodes single voxels without most of the others."""

    def decode_points(self, data: Buffer, spec: ChunkSpec, points: NDArray[np.int64]) -> NDArray[Any]:
        """Return the voxels at `points`, shape (n, 3), x, y, z within the chunk; shape (n, channel).

        All points lie in the chunk; there is one at least, and some may be the same.
        """
        ...


class Layout(NamedTuple):
    """An encoded chunk that is an array: voxel (x, y, z, c) begins at a byte that can be computed.

    Attributes:
        dtype: of the stored voxels, byte order included. They become the volume's as numpy converts them.
        strides: bytes from one voxel to the next along x, y, z and channel, none of them negative.
        start: bytes before the first voxel.
        size: bytes of the whole encoded chunk; one of another size is broken.
    """

    dtype: np.dtype[Any]
    strides: tuple[int, int, int, int]
    start: int
    size: int


@runtime_checkable
class HasLayout(Protocol):
    """A codec that stores voxels as they are, so that a part of a plain chunk is read by its bytes alone."""

    def layout(self, spec: ChunkSpec) -> Layout | None:
        """Where the voxels of a chunk lie; None where such chunks have no such places."""
        ...


@runtime_checkable
class ListsLabels(Protocol):
    """A codec that knows which labels are in a part of a chunk without making its voxels."""

    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> NDArray[Any] | None:
        """Return the labels of the voxels `box` (slices of x, y, z and channel), an array of one axis.

        Exactly those that occur there, in `spec.dtype`, in any order, once or more often. None where only the
        voxels tell; they are decoded then. The box is not empty.
        """
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
