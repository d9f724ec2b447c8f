"""Bbox: an immutable axis-aligned box, half open: `minpt` lies inside, `maxpt` just outside."""

import math
import operator
import re
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
from numpy.typing import DTypeLike

from precomp.errors import ArgumentError
from precomp.geometry.arguments import corner, items, slice_ends, triple, whole
from precomp.geometry.lines import Line, line_above, line_below, line_nearest
from precomp.geometry.vec import Vec

__all__ = ["Bbox"]

_INTEGER = "(0|-?[1-9][0-9]*)"
_FILENAME = re.compile("_".join([f"{_INTEGER}-{_INTEGER}"] * 3) + r"(?:\.(?:gz|br|zstd|zst))?")


@attrs.frozen(init=False, repr=False)
class Bbox:
    """The voxels from `minpt` (inclusive) to `maxpt` (exclusive), along x, y and z.

    Coordinates are Python numbers: integers of any size are exact, fractions are allowed. A box of
    size 0 along an axis is empty, but it still has a place: it is contained in what reaches around
    that place only, and `union` reaches out to it.

    Where a method takes another box, six numbers or three slices will do, as in `create`.

    Arithmetic takes a number or three of them and acts on both corners: `+` and `-` move the box,
    `*`, `/` and `//` scale it. `point in box` is `box.contains(point)`.

    >>> Bbox((0, 0, 0), (100, 64, 10)).expand_to_chunk_size((64, 64, 64))
    Bbox((0, 0, 0), (128, 64, 64))

    Attributes:
        minpt: the lowest corner, a Vec of 3.
        maxpt: the corner just beyond the highest voxel, a Vec of 3.

    Raises:
        ArgumentError: a corner is not three finite numbers, or `maxpt` lies below `minpt`.
    """

    minpt: Vec
    maxpt: Vec

    # Makes `array + box` come to Bbox instead of becoming an object array of boxes.
    __array_ufunc__: ClassVar[None] = None

    def __init__(self, minpt: Any, maxpt: Any) -> None:
        minpt, maxpt = corner(minpt, "minpt"), corner(maxpt, "maxpt")
        for axis, low, high in zip("xyz", minpt, maxpt, strict=True):
            if high < low:
                raise ArgumentError(
                    f"Bbox: maxpt.{axis} = {high} lies below minpt.{axis} = {low}; "
                    "expected minpt <= maxpt along every axis: exchange the two numbers"
                )
        self.__attrs_init__(minpt, maxpt)

    @classmethod
    def create(cls, box: Any) -> "Bbox":
        """Return `box` (a Bbox, six numbers as in `from_list` or slices as in `from_slices`) as a Bbox."""
        if isinstance(box, Bbox):
            return box
        parts = items(box, "a box", "a Bbox, six numbers or three slices")
        return cls.from_list(parts) if len(parts) == 6 else cls.from_slices(parts)

    @classmethod
    def from_list(cls, numbers: Any) -> "Bbox":
        """Make a box of `[x0, y0, z0, x1, y1, z1]`, any sequence or array.

        Raises:
            ArgumentError: there are not six numbers, or they make no box.
        """
        parts = items(numbers, "a box", "six numbers x0, y0, z0, x1, y1, z1")
        if len(parts) != 6:
            raise ArgumentError(f"a box of {len(parts)} numbers; expected six: x0, y0, z0, x1, y1, z1")
        return cls(parts[:3], parts[3:])

    @classmethod
    def from_delta(cls, minpt: Any, size: Any) -> "Bbox":
        """Make a box of its lowest corner and its size, three numbers each."""
        return cls(minpt, corner(minpt, "minpt") + corner(size, "size"))

    @classmethod
    def from_slices(cls, slices: Any) -> "Bbox":
        """Make a box of three slices of absolute coordinates; a fourth, of the channels, is ignored.

        An integer stands for that one voxel, a stop below the start for an empty slice at the
        start. A step of 1 or more is accepted and does not change the box.

        Raises:
            ArgumentError: the number of slices is wrong, an end is open, or a step is below 1.
        """
        parts = items(slices, "slices", "three slices")
        if len(parts) not in (3, 4):
            raise ArgumentError(f"{len(parts)} slices; expected 3 (x, y, z), or 4 with that of the channels")
        ends = [slice_ends(part, axis) for part, axis in zip(parts[:3], "xyz", strict=True)]
        return cls([start for start, _ in ends], [stop for _, stop in ends])

    @classmethod
    def from_filename(cls, filename: str) -> "Bbox":
        """Read the box from a chunk's name, `x0-x1_y0-y1_z0-z1` as Neuroglancer's specification has it.

        Folders before the name and a suffix .gz, .br, .zstd or .zst are ignored.

        Raises:
            ArgumentError: the text is no such name, or its numbers make no box.
        """
        match = _FILENAME.fullmatch(str(filename).rpartition("/")[2])
        try:
            if match is None:
                raise ValueError("expected x0-x1_y0-y1_z0-z1, such as 0-64_0-64_-16-0")
            numbers = [int(group) for group in match.groups()]
            return cls(numbers[::2], numbers[1::2])
        except ValueError as error:
            raise ArgumentError(f"{filename!r} is not the name of a chunk: {error}") from error

    def to_list(self) -> list[Any]:
        """Return `[x0, y0, z0, x1, y1, z1]`."""
        return [*self.minpt, *self.maxpt]

    def to_slices(self) -> tuple[slice, slice, slice]:
        """Return one slice an axis, of ints.

        Raises:
            ArgumentError: a coordinate is fractional.
        """
        x, y, z = (slice(low, high) for low, high in self._whole_ranges())
        return x, y, z

    def to_filename(self) -> str:
        """Return the name of the chunk that holds this box, `x0-x1_y0-y1_z0-z1`.

        Raises:
            ArgumentError: a coordinate is fractional.
        """
        return "_".join(f"{low}-{high}" for low, high in self._whole_ranges())

    def _whole_ranges(self) -> list[tuple[int, int]]:
        axes = zip("xyz", self.minpt, self.maxpt, strict=True)
        return [(whole(low, f"minpt.{axis}"), whole(high, f"maxpt.{axis}")) for axis, low, high in axes]

    def size3(self) -> Vec:
        """Return the extent along x, y and z."""
        return self.maxpt - self.minpt

    size = size3

    def volume(self) -> int:
        """Return the number of voxels, exactly; a float where the box has a fractional volume."""
        volume: int = math.prod(self.size3())
        return int(volume) if volume % 1 == 0 else volume

    def center(self) -> Vec:
        """Return the middle, halves included; exact, and of ints where it falls on whole numbers."""
        return Vec([total // 2 if total % 2 == 0 else total / 2 for total in self.minpt + self.maxpt])

    def empty(self) -> bool:
        """Tell whether there is no voxel inside: the size along some axis is 0."""
        return any(map(operator.eq, self.minpt, self.maxpt))

    def contains(self, point: Any) -> bool:
        """Tell whether the point, three numbers, lies inside: at `minpt` it does, at `maxpt` not."""
        axes = zip(self.minpt, corner(point, "point"), self.maxpt, strict=True)
        return all(low <= n < high for low, n, high in axes)

    def contains_bbox(self, other: Any) -> bool:
        """Tell whether both corners of `other` lie within this box, its faces included."""
        other = _as_box(other)
        axes = zip(self.minpt, other.minpt, other.maxpt, self.maxpt, strict=True)
        return all(low <= inner_low and inner_high <= high for low, inner_low, inner_high, high in axes)

    def intersects(self, other: Any) -> bool:
        """Tell whether the boxes share any voxel; boxes that only touch do not."""
        other = _as_box(other)
        low, high = map(max, self.minpt, other.minpt), map(min, self.maxpt, other.maxpt)
        return all(map(operator.lt, low, high))

    def intersection(self, other: Any) -> "Bbox":
        """Return the box that both share, also as `Bbox.intersection(a, b)`.

        Boxes that lie apart give an empty box of size (0, 0, 0).
        """
        other = _as_box(other)
        low = Vec(map(max, self.minpt, other.minpt))
        high = Vec(map(min, self.maxpt, other.maxpt))
        return Bbox(low, low if any(map(operator.lt, high, low)) else high)

    def union(self, other: Any) -> "Bbox":
        """Return the smallest box that contains both."""
        other = _as_box(other)
        return Bbox(map(min, self.minpt, other.minpt), map(max, self.maxpt, other.maxpt))

    def clamp(self, other: Any) -> "Bbox":
        """Return this box cut to lie within `other`; from apart, an empty box on its nearest face."""
        other = _as_box(other)
        return Bbox(_clamped(self.minpt, other), _clamped(self.maxpt, other))

    def expand_to_chunk_size(self, chunk_size: Any, offset: Any = (0, 0, 0)) -> "Bbox":
        """Return the smallest box on the chunk grid that contains this one.

        Args:
            chunk_size: voxels along x, y, z, each a whole number of 1 or more; or one for all.
            offset: where the grid starts, whole numbers: a scale's voxel_offset.

        Raises:
            ArgumentError: `chunk_size` or `offset` is not of that kind.
        """
        return self._snap(line_below, line_above, chunk_size, offset)

    def shrink_to_chunk_size(self, chunk_size: Any, offset: Any = (0, 0, 0)) -> "Bbox":
        """Return the largest box on the chunk grid that this one contains.

        Along an axis without a whole chunk its size is 0, on a grid line inside this box or, if
        there is none, at `minpt`. Arguments and errors are those of `expand_to_chunk_size`.
        """
        return self._snap(line_above, line_below, chunk_size, offset)

    def round_to_chunk_size(self, chunk_size: Any, offset: Any = (0, 0, 0)) -> "Bbox":
        """Return the box with each corner on its nearest line of the chunk grid, halfway on the upper.

        Arguments and errors are those of `expand_to_chunk_size`.
        """
        return self._snap(line_nearest, line_nearest, chunk_size, offset)

    def _snap(self, low: Line, high: Line, chunk_size: Any, offset: Any) -> "Bbox":
        chunks = [whole(n, "chunk_size") for n in triple(chunk_size, "chunk_size")]
        starts = [whole(n, "offset") for n in triple(offset, "offset")]
        if min(chunks) < 1:
            raise ArgumentError(f"chunk_size is {chunk_size!r}; expected 1 or more voxels along every axis")
        minpt = [low(*axis) for axis in zip(self.minpt, chunks, starts, strict=True)]
        maxpt = [high(*axis) for axis in zip(self.maxpt, chunks, starts, strict=True)]
        for i, place in enumerate(self.minpt):
            if maxpt[i] < minpt[i]:
                minpt[i] = maxpt[i] = place
        return Bbox(minpt, maxpt)

    def astype(self, dtype: DTypeLike) -> "Bbox":
        """Return the box with both corners converted as by `Vec.astype`."""
        return Bbox(self.minpt.astype(dtype), self.maxpt.astype(dtype))

    def __contains__(self, point: Any) -> bool:
        return self.contains(point)

    def __repr__(self) -> str:
        return f"Bbox({tuple(self.minpt)}, {tuple(self.maxpt)})"

    def _map(self, apply: Callable[[Vec, Vec], Vec], other: Any) -> "Bbox":
        by = triple(other, "the operand of a Bbox")
        a, b = apply(self.minpt, by), apply(self.maxpt, by)
        return Bbox(map(min, a, b), map(max, a, b))  # a negative factor exchanges the corners

    def __add__(self, other: Any) -> "Bbox":
        return self._map(operator.add, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Bbox":
        return self._map(operator.sub, other)

    def __mul__(self, other: Any) -> "Bbox":
        return self._map(operator.mul, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Bbox":
        return self._map(operator.truediv, other)

    def __floordiv__(self, other: Any) -> "Bbox":
        return self._map(operator.floordiv, other)


def _as_box(other: Any) -> Bbox:
    """Read the operand of a method as `Bbox.create` does, but no three numbers: those are a point."""
    if isinstance(other, Bbox):
        return other
    if hasattr(other, "minpt") and hasattr(other, "maxpt"):  # that of another library
        return Bbox(other.minpt, other.maxpt)
    parts = items(other, "the other box", "a Bbox, six numbers or three slices")
    if len(parts) != 6 and not any(isinstance(part, slice) for part in parts):
        raise ArgumentError(f"the other box: found {other!r}; expected a Bbox, six numbers or three slices")
    return Bbox.create(parts)


def _clamped(point: Vec, box: Bbox) -> Vec:
    return Vec(map(min, map(max, point, box.minpt), box.maxpt))
