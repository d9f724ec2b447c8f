"""What becomes of the chunks of a request once they are fetched."""

from typing import Any, Protocol

from numpy.typing import NDArray

from precomp.grid import ChunkRef
from precomp.interfaces import Blob

__all__ = ["Taker"]


class Taker(Protocol):
    """Takes chunks one by one, from several threads at once; after an error the same one may come again."""

    def blob(self, ref: ChunkRef, blob: Blob) -> None:
        """Take a chunk as it is stored. Its memory serves the next one."""
        ...

    def chunk(self, ref: ChunkRef, chunk: NDArray[Any]) -> None:
        """Take a decoded chunk, shape (x, y, z, channel), which is kept in memory and must not be changed."""
        ...

    def missing(self, ref: ChunkRef) -> None:
        """Take note that a chunk is not stored. Raises EmptyVolumeError where it has to be."""
        ...
