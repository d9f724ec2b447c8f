"""The limit: the same files read and pasted, or cut and written, by bare numpy and the bare codecs.

It checks nothing, knows nothing but these layers, and keeps its threads. It also writes the files that the
others read, as none of them shall read its own.
"""

import functools
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.bench.layer import Box, Chunk, Int3, Layer, place_of
from precomp.bench.peers.bare import decode, encode, read_file, write_file
from precomp.bench.peers.whole import CORES, aligned, read_whole, share, write_whole

__all__ = ["open_layer"]

_INLINE = 16  # raw chunks; for less, handing them to threads costs more than it brings


@attrs.frozen
class _Handle:
    folder: str
    layer: Layer
    shape: Int3

    def read(self, place: tuple[slice, slice, slice]) -> NDArray[Any]:
        x, y, z = place
        box = Box((x.start, y.start, z.start), (x.stop, y.stop, z.stop))
        if self._is_raw and box == self.layer.whole:
            return read_whole(self.layer, self.folder)
        out = np.empty((*_size(box), 1), self.layer.dtype, order="F")

        def paste(chunks: Sequence[Chunk]) -> None:
            load = self._load_raw() if self._is_raw else self._load
            for chunk in chunks:
                common = _common(chunk.box, box)
                out[place_of(common, box.low)] = load(chunk, common)

        chunks = _all_chunks(self.layer) if box == self.layer.whole else self.layer.chunks(box)
        share(paste, chunks, 1 if self._is_raw and len(chunks) < _INLINE else CORES)
        return out

    def voxel(self, place: Int3) -> NDArray[Any]:
        (x, y, z), (nx, ny, nz), (sx, sy, sz) = place, self.layer.chunk, self.shape
        lx, ly, lz = x - x % nx, y - y % ny, z - z % nz
        hx, hy, hz = min(lx + nx, sx), min(ly + ny, sy), min(lz + nz, sz)
        number = x - lx + (hx - lx) * (y - ly + (hy - ly) * (z - lz))
        out = np.empty(1, self.layer.dtype)
        file = os.open(f"{self.folder}{lx}-{hx}_{ly}-{hy}_{lz}-{hz}", os.O_RDONLY)
        os.preadv(file, [out.data], number * out.itemsize)
        os.close(file)
        return out

    def write(self, voxels: NDArray[Any]) -> None:
        if self._is_raw:
            write_whole(self.layer, self.folder, voxels)
            return

        def store(chunks: Sequence[Chunk]) -> None:
            for chunk in chunks:
                write_file(self.folder + chunk.name, encode(self.layer, voxels[place_of(chunk.box)]))

        share(store, _all_chunks(self.layer), CORES)

    @property
    def _is_raw(self) -> bool:
        return self.layer.encoding == "raw" and not self.layer.compress

    def _load_raw(self) -> Callable[[Chunk, Box], NDArray[Any]]:
        """Return a reader of the z range alone; the rest of the chunk stays where it is."""
        scratch = aligned(math.prod(self.layer.chunk), self.layer.dtype)

        def load(chunk: Chunk, part: Box) -> NDArray[Any]:
            (x, y, _), (low, high) = _size(chunk.box), (part.low[2], part.high[2])
            wanted = scratch[: x * y * (high - low)]
            file = os.open(self.folder + chunk.name, os.O_RDONLY)
            os.preadv(file, [wanted.data], x * y * (low - chunk.box.low[2]) * scratch.itemsize)
            os.close(file)
            planes = wanted.reshape((x, y, high - low, 1), order="F")
            return planes[place_of(part, (*chunk.box.low[:2], low))]

        return load

    def _load(self, chunk: Chunk, part: Box) -> NDArray[Any]:
        voxels = decode(self.layer, read_file(self.folder + chunk.name), _size(chunk.box))
        return voxels[place_of(part, chunk.box.low)]


def open_layer(folder: Path, layer: Layer) -> _Handle:
    """Open the layer in `folder`."""
    info = json.loads(read_file(f"{folder}/info"))
    x, y, z = info["scales"][0]["size"]
    return _Handle(f"{layer.chunk_folder(folder)}/", layer, (x, y, z))


@functools.cache
def _all_chunks(layer: Layer) -> list[Chunk]:
    return layer.chunks(layer.whole)


def _common(one: Box, other: Box) -> Box:
    (a, b, c), (d, e, f) = map(max, one.low, other.low), map(min, one.high, other.high)
    return Box((a, b, c), (d, e, f))


def _size(box: Box) -> Int3:
    x, y, z = (high - low for low, high in zip(*box, strict=True))
    return x, y, z
