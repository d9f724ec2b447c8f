"""Boxes to chunks: which chunks a box touches, under which keys, and which voxels go where.

Planning is per axis: a box of nx * ny * nz chunks needs nx + ny + nz small records at the most, and
the product is walked lazily. Plain ints throughout; this runs once per chunk.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import attrs

from precomp.errors import TooLargeError
from precomp.info import Scale
from precomp.interfaces import Slices3

__all__ = ["ChunkGrid", "ChunkRef", "Plan"]

Int3 = tuple[int, int, int]

_MAX_CHUNKS = 10**15  # of one request; at a microsecond each they take thirty years
_MOST_LISTED = 1024  # parts of an axis that are kept; those of a longer axis are made when they are needed


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


class _Axis(NamedTuple):
    """One axis of a request, every `step`-th voxel from `first` on; its parts are computed, not stored.

    Attributes:
        offset: the volume's first voxel.
        end: one past its last.
        chunk: length of a chunk.
        first: the first wanted voxel inside the volume.
        stop: no wanted voxel lies here or behind.
        step: from one wanted voxel to the next.
        skipped: how many wanted voxels come before `first`, outside the volume.
        chunks: how many chunks hold a wanted voxel.
    """

    offset: int
    end: int
    chunk: int
    first: int
    stop: int
    step: int
    skipped: int
    chunks: int

    @property
    def whole(self) -> bool:
        """True where every part is a whole chunk."""
        return not self.chunks or (self.part(0).whole and self.part(self.chunks - 1).whole)

    def parts(self, start: int, stop: int) -> list[_Part]:
        """The parts number `start` to `stop` (exclusive)."""
        return [self.part(number) for number in range(start, stop)]

    def part(self, number: int) -> _Part:
        """The share of the chunk that is `number` chunks with wanted voxels behind the first."""
        offset, end, chunk, first, stop, step, skipped, _ = self
        if step == 1:  # nearly always, and then simpler
            begin = first - (first - offset) % chunk + number * chunk
            limit = begin + chunk if begin + chunk < end else end
            low = first if first > begin else begin
            high = stop if stop < limit else limit
            start = skipped + low - first
            return _Part(
                f"{begin}-{limit}",
                limit - begin,
                slice(low - begin, high - begin, 1),
                slice(start, start + high - low),
                high - low == limit - begin,
            )
        if step <= chunk:  # no chunk is jumped over
            begin = first - (first - offset) % chunk + number * chunk
            before = -((first - begin) // step) if begin > first else 0
        else:
            before = number
            begin = first + before * step
            begin -= (begin - offset) % chunk
        low = first + before * step
        limit = min(begin + chunk, end)
        high = min(limit, stop)
        wanted = -((low - high) // step)
        return _Part(
            f"{begin}-{limit}",
            limit - begin,
            slice(low - begin, high - begin, step),
            slice(skipped + before, skipped + before + wanted),
            wanted == limit - begin,
        )


class Plan(Protocol):
    """The chunks of one request, x fastest; any run of them can be walked on its own."""

    def __len__(self) -> int:
        """How many chunks there are."""
        ...

    @property
    def whole(self) -> bool:
        """True where the request covers every chunk it touches wholly."""
        ...

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[ChunkRef]:
        """Yield the chunks number `start` to `stop` (exclusive)."""
        ...


class _SinglePlan(tuple[ChunkRef]):
    """The plan of a request that one chunk holds."""

    __slots__ = ()

    @property
    def whole(self) -> bool:
        return self[0].whole

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[ChunkRef]:
        return iter(self[start:stop])


class _BoxPlan:
    """The plan of a box of chunks, from its three axes."""

    __slots__ = ("_axes", "_count", "_listed", "_prefix")

    def __init__(self, prefix: str, axes: tuple[_Axis, _Axis, _Axis], count: int) -> None:
        self._prefix, self._axes, self._count = prefix, axes, count
        x, y, z = axes
        self._listed = _listed(x), _listed(y), _listed(z)

    def __len__(self) -> int:
        return self._count

    @property
    def whole(self) -> bool:
        return not self._count or all(axis.whole for axis in self._axes)

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[ChunkRef]:
        prefix, nx, ny = self._prefix, self._axes[0].chunks, self._axes[1].chunks
        stop = self._count if stop is None else min(stop, self._count)
        while start < stop:
            row, i = divmod(start, nx)
            k, j = divmod(row, ny)
            (y_name, y_length, y_source, y_target, y_whole), z = self._part(1, j), self._part(2, k)
            name, whole = f"_{y_name}_{z.name}", y_whole and z.whole
            z_length, z_source, z_target = z.length, z.source, z.target
            run = min(nx - i, stop - start, _MOST_LISTED)
            for x_name, x_length, x_source, x_target, x_whole in self._parts(0, i, i + run):
                yield ChunkRef(
                    f"{prefix}{x_name}{name}",
                    (x_length, y_length, z_length),
                    (x_source, y_source, z_source),
                    (x_target, y_target, z_target),
                    x_whole and whole,
                )
            start += run

    def _part(self, axis: int, number: int) -> _Part:
        listed = self._listed[axis]
        return self._axes[axis].part(number) if listed is None else listed[number]

    def _parts(self, axis: int, start: int, stop: int) -> list[_Part]:
        listed = self._listed[axis]
        return self._axes[axis].parts(start, stop) if listed is None else listed[start:stop]


def _listed(axis: _Axis) -> list[_Part] | None:
    return axis.parts(0, axis.chunks) if axis.chunks <= _MOST_LISTED else None


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
        Raises TooLargeError for more chunks than anybody can wait for.
        """
        if steps == (1, 1, 1) and (only := self._only(minpt, maxpt)) is not None:
            return _SinglePlan((only,))
        x, y, z = map(_axis, self.offset, self.stop, self.chunk, minpt, maxpt, steps)
        count = x.chunks * y.chunks * z.chunks
        if count > _MAX_CHUNKS:
            raise TooLargeError(
                f"{self.folder}: the request touches {count:,} chunks, more than {_MAX_CHUNKS:,}; "
                "work on smaller boxes in turn"
            )
        return _BoxPlan(f"{self.folder}/", (x, y, z), count)

    def _only(self, minpt: Sequence[int], maxpt: Sequence[int]) -> ChunkRef | None:
        """The chunk that holds the whole box; None where several do, or it is empty or not inside.

        The same as the plan of three axes says, at a fifth of the price: that counts for single voxels.
        """
        (x0, y0, z0), (x1, y1, z1) = minpt, maxpt
        (ox, oy, oz), (nx, ny, nz), (cx, cy, cz) = self.offset, self.stop, self.chunk
        if x0 < ox or y0 < oy or z0 < oz or x0 >= x1 or y0 >= y1 or z0 >= z1:
            return None
        x, y, z = x0 - (x0 - ox) % cx, y0 - (y0 - oy) % cy, z0 - (z0 - oz) % cz
        xe, ye, ze = min(x + cx, nx), min(y + cy, ny), min(z + cz, nz)
        if x1 > xe or y1 > ye or z1 > ze:
            return None
        shape, size = (xe - x, ye - y, ze - z), (x1 - x0, y1 - y0, z1 - z0)
        return ChunkRef(
            f"{self.folder}/{x}-{xe}_{y}-{ye}_{z}-{ze}",
            shape,
            (slice(x0 - x, x1 - x, 1), slice(y0 - y, y1 - y, 1), slice(z0 - z, z1 - z, 1)),
            (slice(0, size[0]), slice(0, size[1]), slice(0, size[2])),
            shape == size,
        )

    def count(self, minpt: Sequence[int], maxpt: Sequence[int]) -> int:
        """How many chunks the box touches, without planning them."""
        x, y, z = map(_axis, self.offset, self.stop, self.chunk, minpt, maxpt, (1, 1, 1))
        return x.chunks * y.chunks * z.chunks


def _axis(offset: int, end: int, chunk: int, low: int, high: int, step: int) -> _Axis:
    if step == 1 and offset <= low < high <= end:
        chunks = (high - 1 - offset) // chunk - (low - offset) // chunk + 1
        return _Axis(offset, end, chunk, low, high, 1, 0, chunks)
    # Voxel number `skipped` of the request is the first one that is not before the volume.
    skipped = -((low - offset) // step) if low < offset else 0
    first, stop = low + skipped * step, min(high, end)
    wanted = -((first - stop) // step) if first < stop else 0
    if step > chunk:  # each wanted voxel lies in a chunk of its own
        chunks = wanted
    elif wanted:
        last = first + (wanted - 1) * step
        chunks = (last - offset) // chunk - (first - offset) // chunk + 1
    else:
        chunks = 0
    return _Axis(offset, end, chunk, first, stop, step, skipped, chunks)
