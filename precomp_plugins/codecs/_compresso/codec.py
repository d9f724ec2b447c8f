"""The encoding `compresso`: boundaries of segments in small windows, for unsigned integers with one channel.

The library of that name trusts its input, so a stream is checked before the library sees it, see
`precomp_plugins.codecs._compresso.stream`. It holds Python's lock, so it works in helper processes.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import Buffer, ChunkSpec, Slices4
from precomp_plugins.codecs._compresso.labels import labels_of
from precomp_plugins.codecs._compresso.stream import checked
from precomp_plugins.codecs._whole import decode_whole

__all__ = ["Compresso"]

_HELPERS = hasattr(os, "fork")  # elsewhere, as on Windows, one thread works at a time
_MOST = 2**16 - 1  # voxels along an axis: what the header's fields hold


class Compresso:
    """Codec, DecodesInto and ListsLabels of the encoding `compresso`."""

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the stream, with an index of its slices; ArgumentError where the chunk is too long."""
        if max(chunk.shape) > _MOST:
            raise ArgumentError(
                f"compresso: a chunk of {chunk.shape[:3]} voxels is too long, at most {_MOST} along an axis "
                "can be written; choose a smaller chunk_size"
            )

        if not _HELPERS:
            return _compressed(chunk)

        def give(voxels: memoryview) -> None:
            np.ndarray(chunk.shape, chunk.dtype, voxels, order="F")[...] = chunk

        from precomp_plugins.codecs._helper.pool import encode_outside

        shape, dtype = chunk.shape[:3], chunk.dtype.str
        return encode_outside("to compresso", chunk.nbytes, give, shape=shape, dtype=dtype)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged, truncated or of another size or dtype."""
        return decode_whole(self, data, spec)

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: NDArray[Any]) -> None:
        """Decode all, and copy a box of it; ValueError as `decode`."""
        stream, strange = checked(data, spec)

        def paste(voxels: Buffer) -> None:
            labels = np.ndarray(spec.shape, spec.dtype, voxels, order="F")
            if strange is not None and (labels == strange).any():
                raise ValueError("compresso: the stream has fewer labels than components")
            out[...] = labels[box]

        if not _HELPERS:
            return paste(_decompressed(stream))
        from precomp_plugins.codecs._helper.pool import decode_outside

        return decode_outside("compresso", stream, spec.nbytes, paste)

    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> NDArray[Any] | None:
        """Return the labels of a whole chunk, as far as the stream lists them; ValueError as `decode`.

        None where that is not certain, and for a part of a chunk.
        """
        cut = any(len(range(length)[part]) < length for length, part in zip(spec.shape, box, strict=True))
        return None if cut else labels_of(data, spec)


def _compressed(chunk: NDArray[Any]) -> bytes:
    import compresso

    voxels = np.asfortranarray(chunk[..., 0])
    # The library insists on memory that it could write to.
    stream: bytes = compresso.compress(voxels if voxels.flags.writeable else voxels.copy(order="F"))
    return stream


def _decompressed(stream: bytes) -> Buffer:
    import compresso

    try:
        labels: NDArray[Any] = compresso.decompress(stream)
    except compresso.DecodeError as error:
        raise ValueError(str(error)) from error
    return labels.reshape(-1, order="F").data
