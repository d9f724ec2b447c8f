"""A box in slabs along one axis, by arithmetic: there may be millions of them."""

from bisect import bisect_right
from collections.abc import Iterator

import attrs

from precomp.geometry import Bbox
from precomp.grid import ChunkGrid

__all__ = ["Numbers", "Slabs", "across", "on_grid", "shown_runs"]

_MAX_SHOWN = 10


@attrs.frozen
class Slabs:
    """The slabs of a box, numbered from 0; they end where the chunks do. None is made before it is asked for.

    Attributes:
        box: of whole voxels.
        axis: 0, 1 or 2, across the slabs.
        low: where the box begins along that axis.
        high: where it ends (exclusive).
        first: the last line of the chunk grid at or below `low`.
        thickness: of a chunk.
    """

    box: Bbox
    axis: int
    low: int
    high: int
    first: int
    thickness: int

    @classmethod
    def of(cls, box: Bbox, axis: int, grid: ChunkGrid) -> "Slabs":
        """Cut a box where the chunks of `grid` end."""
        low, high = int(box.minpt[axis]), int(box.maxpt[axis])
        thickness = grid.chunk[axis]
        return cls(box, axis, low, high, low - (low - grid.offset[axis]) % thickness, thickness)

    def __len__(self) -> int:
        """How many slabs there are."""
        return -((self.first - self.high) // self.thickness) if self.low < self.high else 0

    def number(self, place: int) -> int:
        """Return the number of the slab that has the slice at coordinate `place`."""
        return (place - self.first) // self.thickness

    def ends(self, number: int) -> tuple[int, int]:
        """Return the coordinate of the slab's first slice, and one past that of its last."""
        start = self.first + number * self.thickness
        return max(self.low, start), min(self.high, start + self.thickness)

    def part(self, low: int, high: int) -> Bbox:
        """Return the box of the slices from coordinate `low` to `high` (exclusive)."""
        minpt, maxpt = list(self.box.minpt), list(self.box.maxpt)
        minpt[self.axis], maxpt[self.axis] = low, high
        return Bbox(minpt, maxpt)

    def shape(self, channels: int) -> tuple[int, int, int, int]:
        """Return a shape (x, y, z, channel) that every slab fits in."""
        shape = [int(length) for length in self.box.size3()]
        shape[self.axis] = min(self.thickness, shape[self.axis])
        x, y, z = shape
        return x, y, z, channels


class Numbers:
    """A set of whole numbers, kept in runs: it takes the memory of its gaps, not of its members."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []  # exclusive

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._starts, number) - 1
        return place >= 0 and number < self._stops[place]

    def add(self, number: int) -> None:
        """Take in a number that is not there yet."""
        place = bisect_right(self._starts, number)
        follows = place > 0 and self._stops[place - 1] == number
        precedes = place < len(self._starts) and self._starts[place] == number + 1
        if follows and precedes:
            self._stops[place - 1] = self._stops[place]
            del self._starts[place], self._stops[place]
        elif follows:
            self._stops[place - 1] += 1
        elif precedes:
            self._starts[place] = number
        else:
            self._starts.insert(place, number)
            self._stops.insert(place, number + 1)

    def gaps(self, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the runs (start, stop) of numbers from 0 to `stop` (exclusive) that are not there."""
        begin = 0
        for start, end in zip([*self._starts, stop], [*self._stops, stop], strict=True):
            if begin < start:
                yield begin, start
            begin = end


def across(axis: int, low: int, high: int) -> tuple[slice, ...]:
    """Return the index of an array's layers from `low` to `high` (exclusive) across `axis`."""
    return (slice(None),) * axis + (slice(low, high),)


def on_grid(box: Bbox, grid: ChunkGrid) -> bool:
    """Tell whether a box inside the volume has whole chunks only; planning them would list them."""
    ends = zip(box.minpt, box.maxpt, grid.offset, grid.chunk, grid.stop, strict=True)
    return box.empty() or all(
        (low - offset) % chunk == 0 and (high == stop or (high - offset) % chunk == 0)
        for low, high, offset, chunk, stop in ends
    )


def shown_runs(axis: int, runs: list[tuple[int, int]]) -> str:
    """Return the text of ascending runs (start, stop) of slices: `z = 3, 5 to 7`."""
    joined: list[tuple[int, int]] = []
    for low, high in runs:
        if joined and joined[-1][1] == low:
            joined[-1] = (joined[-1][0], high)
        elif low < high:
            joined.append((low, high))
    texts = [str(low) if high == low + 1 else f"{low} to {high - 1}" for low, high in joined[:_MAX_SHOWN]]
    return f"{'xyz'[axis]} = {', '.join(texts)}" + (", ..." if len(joined) > _MAX_SHOWN else "")
