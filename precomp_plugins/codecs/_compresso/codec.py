"""The encoding `compresso`: boundaries of segments in small windows, for unsigned integers with one channel.

The library of that name trusts its input, so a stream is checked before the library sees it, see
`precomp_plugins.codecs._compresso.stream`. It holds Python's lock, so it works in helper processes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import Buffer, ChunkSpec, Slices4
from precomp_plugins.codecs._compresso.labels import labels_of
from precomp_plugins.codecs._compresso.stream import checked

__all__ = ["Compresso"]

_MOST = 2**16 - 1  # voxels along an axis: what the header's fields hold


class Compresso:
    """Codec, DecodesInto and ListsLabels of the encoding `compresso`."""

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the stream, with an index of its slices; ArgumentError where the chunk is too long."""
        from precomp_plugins.codecs._helper.pool import encode_outside

        if max(chunk.shape) > _MOST:
            raise ArgumentError(
                f"compresso: a chunk of {chunk.shape[:3]} voxels is too long, at most {_MOST} along an axis "
                "can be written; choose a smaller chunk_size"
            )

        def give(voxels: memoryview) -> None:
            np.ndarray(chunk.shape, chunk.dtype, voxels, order="F")[...] = chunk

        return encode_outside(
            "to compresso", chunk.nbytes, give, shape=chunk.shape[:3], dtype=chunk.dtype.str
        )

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged, truncated or of another size or dtype."""
        out = np.empty(spec.shape, spec.dtype, order="F")
        x, y, z, c = (slice(0, n) for n in spec.shape)
        self.decode_into(data, spec, (x, y, z, c), out)
        return out

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: NDArray[Any]) -> None:
        """Decode all, and copy a box of it; ValueError as `decode`."""
        from precomp_plugins.codecs._helper.pool import decode_outside

        stream, strange = checked(data, spec)

        def paste(voxels: memoryview) -> None:
            labels = np.ndarray(spec.shape, spec.dtype, voxels, order="F")
            if strange is not None and (labels == strange).any():
                raise ValueError("compresso: the stream has fewer labels than components")
            out[...] = labels[box]

        decode_outside("compresso", stream, spec.nbytes, paste)

    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> NDArray[Any] | None:
        """Return the labels of a whole chunk, as far as the stream lists them; ValueError as `decode`.

        None where that is not certain, and for a part of a chunk.
        """
        cut = any(len(range(length)[part]) < length for length, part in zip(spec.shape, box, strict=True))
        return None if cut else labels_of(data, spec)
