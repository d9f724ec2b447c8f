"""The encoding `crackle`: cracks between segments, for integers with one channel. Slices decode on their own.

A stream has checksums, but most of them are compared when it is decoded, and damaged ones make the library
write where it should not; so it decodes in a helper process.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec, Slices4
from precomp_plugins.codecs._crackle.stream import check, labels_of_slices
from precomp_plugins.codecs._whole import decode_whole

__all__ = ["Crackle"]

_GAP = 8  # slices that are decoded in the time that another turn of the helper takes


class Crackle:
    """Codec, DecodesInto, DecodesPoints and ListsLabels of the encoding `crackle`."""

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the stream."""
        import crackle

        voxels = np.asfortranarray(chunk[..., 0])
        stream: bytes = crackle.compress(
            voxels if voxels.flags.writeable else voxels.copy(order="F"), parallel=1
        )
        return stream

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged, truncated or of another size or dtype."""
        return decode_whole(self, data, spec)

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: NDArray[Any]) -> None:
        """Decode the slices of a box; ValueError as `decode`."""
        from precomp_plugins.codecs._helper.pool import decode_outside

        check(data, spec)
        x, y, z, c = box
        wanted = range(spec.shape[2])[z]
        if not out.size:
            return
        shape = (*spec.shape[:2], wanted[-1] + 1 - wanted[0])

        def paste(voxels: memoryview) -> None:
            slices = np.ndarray((*shape, 1), spec.dtype, voxels, order="F")
            out[...] = slices[x, y, :: wanted.step, c]

        size = spec.dtype.itemsize * shape[0] * shape[1] * shape[2]
        decode_outside("crackle", data, size, paste, z=[wanted[0], wanted[-1] + 1], shape=shape)

    def decode_points(self, data: Buffer, spec: ChunkSpec, points: NDArray[np.int64]) -> NDArray[Any]:
        """Return the voxels at points (n, 3), decoded with slices that are near; ValueError as `decode`."""
        order = np.argsort(points[:, 2], kind="stable")
        along = points[order, 2]
        found = np.empty((len(points), 1), spec.dtype)
        for some in np.split(order, np.flatnonzero(np.diff(along) > _GAP) + 1):
            low, high = points[some].min(axis=0), points[some].max(axis=0) + 1
            x, y, z = (slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
            part = np.empty((*(high - low), 1), spec.dtype, order="F")
            self.decode_into(data, spec, (x, y, z, slice(0, 1)), part)
            found[some] = part[tuple((points[some] - low).T)]
        return found

    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> NDArray[Any] | None:
        """Return the labels of whole slices, from those of their components; ValueError as `decode`.

        None where a box cuts slices, and for streams that list labels in another way.
        """
        x, y, z, _ = (range(length)[part] for length, part in zip(spec.shape, box, strict=True))
        cut = len(x) < spec.shape[0] or len(y) < spec.shape[1]
        return None if cut else labels_of_slices(data, spec, z)
