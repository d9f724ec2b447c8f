"""Chunks that were fetched, into one array."""

from typing import Any

import attrs
from numpy.typing import NDArray

from precomp.engine.read import ChunkReader
from precomp.engine.rows import copy_rows
from precomp.grid import ChunkRef
from precomp.interfaces import Blob

__all__ = ["Paste"]


@attrs.frozen(eq=False)
class Paste:
    """A Taker that writes the wanted voxels into an array.

    Attributes:
        reader: of the chunks.
        out: of the shape (x, y, z, channel) of the request.
        channels: of the volume, that `out` holds.
        fill: what a missing chunk becomes; None: it raises EmptyVolumeError.
    """

    reader: ChunkReader
    out: NDArray[Any]
    channels: slice
    fill: Any

    def blob(self, ref: ChunkRef, blob: Blob) -> None:
        """Decode the wanted voxels."""
        self.reader.paste_blob(ref, blob, self.channels, self.out[ref.target])

    def chunk(self, ref: ChunkRef, chunk: NDArray[Any]) -> None:
        """Copy the wanted voxels."""
        copy_rows(self.out[ref.target], chunk[(*ref.source, self.channels)])

    def missing(self, ref: ChunkRef) -> None:
        """Fill in what stands for them."""
        self.out[ref.target] = self.reader.missing(ref.key, self.fill)
