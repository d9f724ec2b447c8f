"""Single voxels of many chunks, each chunk fetched once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.engine.read import ChunkReader
from precomp.grid import ChunkRef
from precomp.interfaces import Blob

__all__ = ["Picks", "PointTaker", "reading_points"]


class Picks(NamedTuple):
    """The wanted voxels of one chunk.

    Attributes:
        ref: the chunk, with the smallest box around them.
        voxels: their places x, y, z in the chunk, shape (n, 3).
        places: where they go in the result.
    """

    ref: ChunkRef
    voxels: NDArray[np.int64]
    places: NDArray[np.intp]


@attrs.frozen(eq=False)
class PointTaker:
    """A Taker that takes the wanted voxels out of chunks.

    Attributes:
        reader: of the chunks.
        wanted: the voxels, by the keys of the chunks.
        out: the result, shape (n, channel).
        fill: what stands for a missing chunk; None: it raises EmptyVolumeError.
    """

    reader: ChunkReader
    wanted: dict[str, Picks]
    out: NDArray[Any]
    fill: Any

    def blob(self, ref: ChunkRef, blob: Blob) -> None:
        """Decode the wanted voxels."""
        picks, decoder = self.wanted[ref.key], self.reader.decoder
        self.out[picks.places] = decoder.voxels_at(ref.key, self.reader.spec(ref), blob, picks.voxels)

    def chunk(self, ref: ChunkRef, chunk: NDArray[Any]) -> None:
        """Take them out of a decoded chunk."""
        picks = self.wanted[ref.key]
        self.out[picks.places] = chunk[tuple(picks.voxels.T)]

    def missing(self, ref: ChunkRef) -> None:
        """Take what stands for them."""
        self.out[self.wanted[ref.key].places] = self.reader.missing(ref.key, self.fill)


def reading_points(taker: PointTaker) -> Callable[[ChunkRef], None]:
    """Return a function, for one thread, that reads the wanted voxels of a chunk.

    It raises as that of ChunkReader.paster.
    """
    reader = taker.reader
    if not reader.decoder.placed:
        return reader.giver(taker, keep=True)

    def read(ref: ChunkRef) -> None:
        picks = taker.wanted[ref.key]
        found = reader.voxels_at(ref, picks.voxels)
        if found is not None:
            taker.out[picks.places] = found
            return
        low = [part.start for part in ref.source]
        size = [part.stop - part.start for part in ref.source]
        room = np.empty((*size, taker.out.shape[1]), taker.out.dtype, order="F")
        x, y, z = (slice(0, length) for length in size)
        reader.paster(room, slice(0, room.shape[3], 1), taker.fill)(ref._replace(target=(x, y, z)))
        taker.out[picks.places] = room[tuple((picks.voxels - low).T)]

    return read
