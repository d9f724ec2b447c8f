"""Boxes to chunks: which chunks a box touches, under which keys, and which voxels go where.

Planning is per axis: a box of nx * ny * nz chunks needs nx + ny + nz small records, and the
product is walked lazily. Plain ints throughout; this runs once per chunk.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import attrs

from precomp.errors import TooLargeError
from precomp.info import Scale
from precomp.interfaces import Slices3

__all__ = ["ChunkGrid", "ChunkRef", "Plan"]

Int3 = tuple[int, int, int]

_MAX_PARTS = 10_000_000  # along one axis, some 400 bytes each


class ChunkRef(NamedTuple):
    """One chunk of a request.

    Attributes:
        key: of the chunk in the layer's store, `8_8_40/0-64_0-64_0-64`.
        shape: voxels (x, y, z) of the stored chunk, truncated at the volume's edge.
        source: the wanted voxels within the chunk.
        target: where they go within the request.
        whole: True where the request covers every voxel of the chunk.
    """

    key: str
    shape: Int3
    source: Slices3
    target: Slices3
    whole: bool


class _Part(NamedTuple):
    """A chunk's share of a request along one axis."""

    name: str
    length: int
    source: slice
    target: slice
    whole: bool


@attrs.frozen
class Plan:
    """The chunks of one request, x fastest; any run of them can be walked on its own."""

    prefix: str
    x: Sequence[_Part]
    y: Sequence[_Part]
    z: Sequence[_Part]

    def __len__(self) -> int:
        """How many chunks there are."""
        return len(self.x) * len(self.y) * len(self.z)

    @property
    def whole(self) -> bool:
        """True where the request covers every chunk it touches wholly."""
        return all(part.whole for axis in (self.x, self.y, self.z) for part in axis)

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[ChunkRef]:
        """Yield the chunks number `start` to `stop` (exclusive)."""
        prefix, nx, ny = self.prefix, len(self.x), len(self.y)
        for number in range(start, len(self) if stop is None else stop):
            row, i = divmod(number, nx)
            k, j = divmod(row, ny)
            x, y, z = self.x[i], self.y[j], self.z[k]
            yield ChunkRef(
                f"{prefix}{x.name}_{y.name}_{z.name}",
                (x.length, y.length, z.length),
                (x.source, y.source, z.source),
                (x.target, y.target, z.target),
                x.whole and y.whole and z.whole,
            )


@attrs.frozen
class ChunkGrid:
    """The chunks of one scale. All coordinates are absolute voxels (x, y, z) of that scale.

    Source of the naming: Neuroglancer's precomputed volume specification, "unsharded chunk storage".

    Attributes:
        folder: the scale's key in the store, without a final slash.
        offset: the first voxel.
        size: of the volume, in voxels.
        chunk: size of a chunk; the last one of an axis is truncated.
        stop: one past the last voxel.
    """

    folder: str
    offset: Int3
    size: Int3
    chunk: Int3
    stop: Int3 = attrs.field(init=False)

    @stop.default
    def _one_past_the_end(self) -> Int3:
        (x, y, z), (nx, ny, nz) = self.offset, self.size
        return x + nx, y + ny, z + nz

    @classmethod
    def of(cls, scale: Scale, folder: str | None = None) -> "ChunkGrid":
        """Return the grid of a scale; `folder` where the store knows its key by another name."""
        return cls(scale.key if folder is None else folder, scale.offset, scale.size, scale.chunk_size)

    def plan(self, minpt: Sequence[int], maxpt: Sequence[int], steps: Sequence[int] = (1, 1, 1)) -> Plan:
        """Plan the request `minpt` to `maxpt` (exclusive), every `steps`-th voxel from `minpt` on.

        Parts of the request outside the volume have no chunk; the targets count from `minpt` still.
        Raises TooLargeError for more than ten million chunks along one axis.
        """
        axes = list(zip(self.offset, self.size, self.chunk, minpt, maxpt, steps, strict=True))
        for offset, size, chunk, lo, hi, step in axes:
            first, stop = _span(offset, size, chunk, lo, hi)
            chunks = min(stop - first, -((lo - hi) // step))
            if chunks > _MAX_PARTS:
                raise TooLargeError(
                    f"{self.folder}: the request touches {chunks:,} chunks along one axis, more than "
                    f"{_MAX_PARTS:,}; work on smaller boxes in turn"
                )
        x, y, z = (_parts(*axis) for axis in axes)
        return Plan(f"{self.folder}/", x, y, z)

    def count(self, minpt: Sequence[int], maxpt: Sequence[int]) -> int:
        """How many chunks the box touches, without planning them."""
        total = 1
        for offset, size, chunk, lo, hi in zip(self.offset, self.size, self.chunk, minpt, maxpt, strict=True):
            first, stop = _span(offset, size, chunk, lo, hi)
            total *= max(0, stop - first)
        return total


def _span(offset: int, size: int, chunk: int, lo: int, hi: int) -> tuple[int, int]:
    """The numbers (first, stop) of the chunks between voxels `lo` and `hi` of one axis."""
    lo, hi = max(lo, offset), min(hi, offset + size)
    if lo >= hi:
        return 0, 0
    return (lo - offset) // chunk, (hi - 1 - offset) // chunk + 1


def _parts(offset: int, size: int, chunk: int, lo: int, hi: int, step: int) -> list[_Part]:
    parts = []
    # The wanted voxel that comes next: number `skipped` of the request. From one chunk that holds
    # any to the next, since a step may jump over very many.
    skipped = max(0, -((lo - offset) // step))
    first, stop = lo + skipped * step, min(hi, offset + size)
    while first < stop:
        begin = first - (first - offset) % chunk
        end = min(begin + chunk, offset + size)
        wanted = -((first - min(end, stop)) // step)
        parts.append(
            _Part(
                f"{begin}-{end}",
                end - begin,
                slice(first - begin, min(end, stop) - begin, step),
                slice(skipped, skipped + wanted),
                wanted == end - begin,
            )
        )
        skipped += wanted
        first += wanted * step
    return parts
