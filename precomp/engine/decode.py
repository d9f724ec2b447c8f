"""Bytes of one scale's chunks to voxels, and the errors of those that are damaged."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.objects import Objects
from precomp.engine.window import misplaced
from precomp.errors import ChunkDecodeError, MissingDependencyError, PluginError, PrecompError, TooLargeError
from precomp.interfaces import (
    Blob,
    Buffer,
    ChunkSpec,
    Codec,
    DecodesInto,
    DecodesPoints,
    HasLayout,
    Layout,
    ListsLabels,
    Slices4,
)

__all__ = ["LARGEST", "ChunkDecoder"]

LARGEST = 2**62  # bytes; no store holds a larger object, and C libraries take no larger number
_SPECS_KEPT = 64  # inner chunks are all alike, those at the edges differ in seven ways


class ChunkDecoder:
    """Decodes the chunks of one scale. Safe to share between threads.

    Attributes:
        codec: of the scale.
        dtype: of a voxel.
        channels: of a voxel.
        into: the codec, where it decodes into an array.
        placed: True where the codec may tell the places of voxels within a chunk.
        points: the codec, where it decodes single voxels.
        lists: the codec, where it may tell the labels of a chunk without decoding it.
    """

    def __init__(
        self, objects: Objects, codec: Codec, encoding: str, dtype: np.dtype[Any], channels: int
    ) -> None:
        self.codec, self.dtype, self.channels = codec, dtype, channels
        self.into = codec if isinstance(codec, DecodesInto) else None
        self.points = codec if isinstance(codec, DecodesPoints) else None
        self.lists = codec if isinstance(codec, ListsLabels) else None
        self._layout = codec.layout if isinstance(codec, HasLayout) else None
        self.placed = self._layout is not None
        self._objects = objects
        self._encoding = encoding
        self._known: dict[tuple[int, int, int], tuple[ChunkSpec, Layout | None]] = {}

    def known(self, shape: tuple[int, int, int]) -> tuple[ChunkSpec, Layout | None]:
        """What a stored chunk of `shape` (x, y, z) is, by the info, and where its voxels lie, if known.

        Raises PluginError where the codec says nonsense of it.
        """
        known = self._known.get(shape)
        if known is None:
            spec = ChunkSpec((*shape, self.channels), self.dtype)
            known = spec, self._layout_of(spec)
            if len(self._known) < _SPECS_KEPT:
                self._known[shape] = known
        return known

    def _layout_of(self, spec: ChunkSpec) -> Layout | None:
        if self._layout is None:
            return None
        try:
            layout = self._layout(spec)
            wrong = "" if layout is None else misplaced(layout, spec)
        except Exception as error:
            raise PluginError(
                f"{self._objects.place}: {self._encoding}: layout of {spec}: {error}"
            ) from error
        if wrong:
            raise PluginError(f"{self._objects.place}: {self._encoding}: layout of {spec}: {wrong}")
        return layout

    def decode(self, key: str, spec: ChunkSpec, blob: Blob) -> NDArray[Any]:
        """Decode a whole chunk; shape (x, y, z, channel), possibly a read-only view of the blob."""
        return self.decode_plain(key, spec, self.plain(key, spec, blob))

    def decode_plain(self, key: str, spec: ChunkSpec, data: Buffer) -> NDArray[Any]:
        """Decode a whole chunk from its bytes, which are not compressed any more."""
        try:
            voxels = self.codec.decode(data, spec)
            if voxels.shape != spec.shape or voxels.dtype != spec.dtype:
                raise ValueError(f"the codec returned {voxels.dtype}, shape {voxels.shape}")
        except Exception as error:
            raise self.damaged(key, spec, error) from error
        return voxels

    def decode_into(self, key: str, spec: ChunkSpec, blob: Blob, box: Slices4, target: NDArray[Any]) -> bool:
        """Decode a part straight into `target`; False where the codec cannot."""
        if self.into is None:
            return False
        data = self.plain(key, spec, blob)
        try:
            self.into.decode_into(data, spec, box, target)
        except Exception as error:
            raise self.damaged(key, spec, error) from error
        return True

    def part(self, key: str, spec: ChunkSpec, blob: Blob, box: Slices4) -> NDArray[Any]:
        """Decode a part of a chunk; possibly a read-only view of the blob."""
        if self.into is None:
            return self.decode(key, spec, blob)[box]
        shape = [len(range(length)[part]) for length, part in zip(spec.shape, box, strict=True)]
        out = np.empty(shape, spec.dtype, order="F")
        self.decode_into(key, spec, blob, box, out)
        return out

    def labels_in(self, key: str, spec: ChunkSpec, blob: Blob, box: Slices4) -> NDArray[Any] | None:
        """Return the labels of a part of a chunk, in any order; None where the codec cannot tell."""
        if self.lists is None:
            return None
        data = self.plain(key, spec, blob)
        try:
            labels = self.lists.labels_in(data, spec, box)
            if labels is not None and (labels.ndim != 1 or not labels.size or labels.dtype != spec.dtype):
                raise ValueError(f"the codec listed labels of {labels.dtype}, shape {labels.shape}")
        except Exception as error:
            raise self.damaged(key, spec, error) from error
        return labels

    def voxels_at(self, key: str, spec: ChunkSpec, blob: Blob, points: NDArray[np.int64]) -> NDArray[Any]:
        """Decode the voxels at points (n, 3), or the smallest box around them; shape (n, channel)."""
        if self.points is None:
            low, high = points.min(axis=0).tolist(), (points.max(axis=0) + 1).tolist()
            x, y, z = (slice(a, b, 1) for a, b in zip(low, high, strict=True))
            part = self.part(key, spec, blob, (x, y, z, slice(0, spec.shape[3], 1)))
            found: NDArray[Any] = part[tuple((points - low).T)]
            return found
        data = self.plain(key, spec, blob)
        try:
            voxels = self.points.decode_points(data, spec, points)
            if voxels.shape != (len(points), spec.shape[3]) or voxels.dtype != spec.dtype:
                raise ValueError(f"the codec returned {voxels.dtype}, shape {voxels.shape}")
        except Exception as error:
            raise self.damaged(key, spec, error) from error
        return voxels

    def limit(self, spec: ChunkSpec, layout: Layout | None) -> int:
        """The most bytes that a chunk can have once decompressed."""
        # No sane encoding of a chunk is longer than this; what is longer is a bomb.
        return min(4 * spec.nbytes + 2**20 if layout is None else layout.size, LARGEST)

    def plain(self, key: str, spec: ChunkSpec, blob: Blob) -> Buffer:
        """The bytes of a chunk as the codec knows them."""
        if blob.content_encoding is None:
            return blob.data
        x, y, z, _ = spec.shape
        return self._objects.plain(key, blob, self.limit(*self.known((x, y, z))))

    def damaged(self, key: str, spec: ChunkSpec, error: Exception) -> PrecompError:
        """Return the error for a chunk that cannot be decoded, to be raised `from error`."""
        what = f"a {self._encoding} chunk of {spec.dtype}, shape {spec.shape}"
        if isinstance(error, MemoryError):
            return TooLargeError(
                f"{self._objects.where(key)}: not enough memory for {what} ({spec.nbytes} bytes)"
            )
        if isinstance(error, ImportError):
            return MissingDependencyError(f"{self._objects.where(key)}: {what} cannot be decoded: {error}")
        return ChunkDecodeError(
            f"{self._objects.where(key)}: expected {what}, found damaged data ({error}); "
            "restore the chunk or write it again"
        )
