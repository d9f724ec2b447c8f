"""The encoding `fpzip`: floats, whole or some of their bits, for float32 and any number of channels.

Nothing in a stream tells that its bytes are damaged, and damaged bytes make the library write where it
should not, so it decodes in a helper process.
"""

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.interfaces import Buffer, ChunkSpec, Slices4
from precomp_plugins.codecs._whole import decode_whole

__all__ = ["Fpzip"]

_MOST = 2**31 - 1  # voxels: the library counts with C's int


@attrs.frozen
class Fpzip:
    """Codec and DecodesInto of the encoding `fpzip`.

    Attributes:
        precision: 2 to 32, the bits that are kept of a voxel; 0 for all.
    """

    precision: int = 0

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the stream; ArgumentError where the chunk is too large."""
        from precomp_plugins.codecs._fpzip import library

        if chunk.size > _MOST:
            raise ArgumentError(f"fpzip: at most {_MOST} voxels in a chunk; choose a smaller chunk_size")
        voxels = np.asfortranarray(chunk)
        size = voxels.nbytes + 1024  # noise is a little longer than it was
        while (stream := self._write(library, voxels, size)) is None:
            size *= 2
        return stream

    def _write(self, library: Any, voxels: NDArray[Any], size: int) -> bytes | None:
        stream: bytes | None = library.write(voxels.ctypes.data, voxels.shape, self.precision, size)
        return stream

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged, truncated or of another shape."""
        return decode_whole(self, data, spec)

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: NDArray[Any]) -> None:
        """Decode all, and copy a box of it; ValueError as `decode`."""
        from precomp_plugins.codecs._helper.pool import decode_outside

        if spec.nbytes // 4 > _MOST:
            raise ValueError(f"fpzip: at most {_MOST} voxels in a chunk")

        def paste(voxels: memoryview) -> None:
            out[...] = np.ndarray(spec.shape, spec.dtype, voxels, order="F")[box]

        decode_outside("fpzip", data, spec.nbytes, paste, shape=spec.shape)
