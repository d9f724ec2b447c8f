"""Single voxels of many chunks, each chunk fetched once."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.engine.read import ChunkReader
from precomp.grid import ChunkRef
from precomp.interfaces import Blob

__all__ = ["Picks", "PointTaker", "boxes_around", "reading_points"]

# Voxels that are decoded in the time that a codec needs to begin with a part of a chunk.
_BEGIN = 2**15


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


def boxes_around(
    voxels: NDArray[np.int64], begin: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], slice]]:
    """Yield the boxes to read for these voxels, as corners (x, y, z) and which of the voxels they hold.

    One around all of them, or one for each, where that many times `begin` are fewer than are in the former.
    """
    low, high = voxels.min(axis=0), voxels.max(axis=0) + 1
    if len(voxels) == 1 or len(voxels) * begin >= int(np.prod(high - low, dtype=object)):
        yield low, high, slice(None)
        return
    for number, voxel in enumerate(voxels):
        yield voxel, voxel + 1, slice(number, number + 1)


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
        """Decode the wanted voxels, where the codec can without all others between them."""
        picks, decoder, spec = self.wanted[ref.key], self.reader.decoder, self.reader.spec(ref)
        channels = slice(0, spec.shape[3], 1)
        if decoder.into is None:
            self.chunk(ref, decoder.decode(ref.key, spec, blob))
            return
        for low, high, held in boxes_around(picks.voxels, _BEGIN):
            x, y, z = (slice(a, b, 1) for a, b in zip(low.tolist(), high.tolist(), strict=True))
            part = decoder.part(ref.key, spec, blob, (x, y, z, channels))
            self.out[picks.places[held]] = part[tuple((picks.voxels[held] - low).T)]

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
