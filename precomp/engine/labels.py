"""Which labels chunks have: each once, however many chunks there are."""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.read import ChunkReader
from precomp.grid import ChunkRef
from precomp.interfaces import Blob

__all__ = ["LabelSet", "LabelTaker", "distinct", "runs_of"]

_FEW = 2**16  # labels that are gathered before they are sorted among all others


def runs_of(voxels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the first voxel of each run of equal ones, in Fortran order, and where the runs start.

    In segments neighbours are alike: what is done once a run is done several times as fast.
    """
    flat = voxels.reshape(-1, order="F")
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    return flat[starts], starts


def distinct(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return each value of an array that is not empty once, ascending."""
    flat = voxels.reshape(-1, order="A")
    changes = flat[1:] != flat[:-1]
    if 4 * np.count_nonzero(changes) > flat.size:
        return np.unique(flat)
    return np.unique(np.append(flat[1:][changes], flat[:1]))


class LabelSet:
    """Labels, each once. Safe to share between threads."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._lock = threading.Lock()
        self._known: NDArray[Any] = np.zeros(0, dtype)
        self._new: list[NDArray[Any]] = []
        self._count = 0

    def add(self, labels: NDArray[Any]) -> None:
        """Take more labels, any number of times."""
        labels = np.unique(labels)
        with self._lock:
            self._new.append(labels)
            self._count += labels.size
            if self._count > max(_FEW, self._known.size):
                self._merge()

    def sorted(self) -> NDArray[Any]:
        """Return all labels, ascending."""
        with self._lock:
            self._merge()
            return self._known

    def _merge(self) -> None:
        self._known = np.unique(np.concatenate([self._known, *self._new]))
        self._new, self._count = [], 0


class LabelTaker:
    """A Taker that asks the codec for the labels, and decodes voxels where it cannot tell.

    Args:
        reader: of the chunks.
        channels: of the volume, that are looked at.
        fill: what a missing chunk is taken for; None: it raises EmptyVolumeError.
        found: where the labels go.
    """

    def __init__(self, reader: ChunkReader, channels: slice, fill: Any, found: LabelSet) -> None:
        self._reader, self._channels, self._fill, self._found = reader, channels, fill, found

    def blob(self, ref: ChunkRef, blob: Blob) -> None:
        """Ask for the labels of the wanted voxels."""
        spec, box, decoder = self._reader.spec(ref), (*ref.source, self._channels), self._reader.decoder
        blob = Blob(decoder.plain(ref.key, spec, blob))  # to be decompressed once
        labels = decoder.labels_in(ref.key, spec, blob, box)
        if labels is None:
            labels = distinct(decoder.part(ref.key, spec, blob, box))
        self._found.add(labels)

    def chunk(self, ref: ChunkRef, chunk: NDArray[Any]) -> None:
        """Look at the wanted voxels of a decoded chunk."""
        self._found.add(distinct(chunk[(*ref.source, self._channels)]))

    def missing(self, ref: ChunkRef) -> None:
        """Take what stands for them."""
        self._found.add(np.asarray(self._reader.missing(ref.key, self._fill)))
