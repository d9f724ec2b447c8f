"""What stands between the brackets of `vol[...]`, as a box of voxels and a run of channels."""

import operator
import reprlib
from collections.abc import Iterable, Sequence
from numbers import Real
from types import EllipsisType
from typing import Any, NamedTuple

import numpy as np

from precomp.errors import ArgumentError, OutOfBoundsError
from precomp.geometry import Bbox

__all__ = [
    "Int3",
    "Request",
    "as_index",
    "checked_segids",
    "parse_box",
    "parse_index",
    "triple",
    "whole_number",
]

Int3 = tuple[int, int, int]

_AXES = ("x", "y", "z", "channel")


class Request(NamedTuple):
    """Voxels `minpt` to `maxpt` (exclusive), every `step`-th, and channels of a volume."""

    minpt: Int3
    maxpt: Int3
    step: Int3
    channels: slice

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape (x, y, z, channel) of the array asked for."""
        (x0, y0, z0), (x1, y1, z1), (xs, ys, zs), c = self
        return -((x0 - x1) // xs), -((y0 - y1) // ys), -((z0 - z1) // zs), -((c.start - c.stop) // c.step)

    @property
    def box(self) -> Bbox:
        """The box asked for."""
        return Bbox(self.minpt, self.maxpt)


def parse_index(index: Any, minpt: Sequence[int], maxpt: Sequence[int], channels: int) -> Request:
    """Read `index` into a volume from `minpt` to `maxpt` (exclusive).

    It may hold slices, ints and `...`, or be a Bbox; absent axes and open ends are the volume's.

    Numbers are absolute voxel coordinates, never "from the end". A stop before its start is an empty
    range. Raises ArgumentError for what is none of these, and OutOfBoundsError for a channel the
    volume has not; the box itself is not compared with the bounds.
    """
    x, y, z, c = _four(index)
    x0, x1, xs = _span(x, 0, minpt[0], maxpt[0])
    y0, y1, ys = _span(y, 1, minpt[1], maxpt[1])
    z0, z1, zs = _span(z, 2, minpt[2], maxpt[2])
    c0, c1, cs = _span(c, 3, 0, channels)
    if not 0 <= c0 <= c1 <= channels:
        raise OutOfBoundsError(
            f"channels {c0} to {c1} were asked for, the volume has channels 0 to {channels} (exclusive)"
        )
    return Request((x0, y0, z0), (x1, y1, z1), (xs, ys, zs), slice(c0, c1, cs))


def parse_box(box: Any, minpt: Sequence[int], maxpt: Sequence[int], channels: int) -> Bbox:
    """Read a Bbox, six numbers or slices as a box of whole voxels; open ends are the volume's.

    Raises ArgumentError where it is none, has steps, or leaves out channels: a box has all of them.
    """
    request = parse_index(as_index(box), minpt, maxpt, channels)
    if request.step != (1, 1, 1) or request.channels != slice(0, channels, 1):
        raise ArgumentError(f"expected a box, which has no steps and all channels, got {_shown(box)}")
    return request.box


def as_index(bbox: Any) -> Any:
    """Return the index that an argument `bbox` amounts to.

    It may be six numbers [x0, y0, z0, x1, y1, z1], a Bbox, or what stands between the brackets of
    `vol[...]`, as a list too. Raises ArgumentError for anything else.
    """
    axes = bbox.ndim if isinstance(bbox, np.ndarray) else None
    items = list(bbox) if isinstance(bbox, (list, tuple)) or axes == 1 else []
    if any(isinstance(item, slice) or item is Ellipsis for item in items):
        return tuple(items)
    if len(items) == 6:
        try:
            return Bbox.from_list(items)
        except ArgumentError as error:
            raise ArgumentError(f"bbox: {error}") from error
    if isinstance(bbox, (Bbox, tuple, slice, EllipsisType, Real)) or axes == 0:
        return bbox
    raise ArgumentError(
        "bbox: expected a Bbox, six numbers [x0, y0, z0, x1, y1, z1] or slices, as in "
        f"np.s_[0:64, 0:64, 5], got {_shown(bbox)}"
    )


def checked_segids(segids: int | Iterable[int], layer_type: str, name: str = "segids") -> list[int]:
    """Return the ids of segments as a list. Raises ArgumentError where a layer has none, or one is no id."""
    if layer_type != "segmentation":
        raise ArgumentError(f"{name}: an {layer_type} layer has no segments; leave it out")
    found = segids if isinstance(segids, Iterable) else [segids]
    ids = [whole_number(one, name) for one in found]
    wrong = next((one for one in ids if not 0 <= one < 2**64), None)
    if wrong is not None:
        raise ArgumentError(f"{name}: expected ids from 0 to 2**64 - 1, got {wrong}")
    return ids


def whole_number(value: Any, what: str) -> int:
    """Return an int, a numpy int or an integral float as an int. Raises ArgumentError naming `what`."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, (bool, np.bool_, np.ndarray)):
        if hasattr(value, "__index__"):
            return operator.index(value)
        if isinstance(value, (float, np.floating)) and float(value).is_integer():
            return int(value)
    raise ArgumentError(f"{what}: expected a whole number, got {_shown(value)}")


def _four(index: Any) -> list[Any]:
    """Spread `index` over the axes x, y, z, channel; None stands for a full axis."""
    if isinstance(index, Bbox):
        return [*index.to_slices(), slice(None)]
    items = list(index) if isinstance(index, tuple) else [index]
    ellipses = [place for place, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise ArgumentError(
            f"an index has one '...' at most, got {len(ellipses)}; write ':' for each other axis"
        )
    if len(items) - len(ellipses) > 4:
        raise ArgumentError(
            "a volume has the axes x, y, z and channel, vol[x, y, z, channel], got "
            f"{len(items) - len(ellipses)} indices; leave some out"
        )
    if ellipses:
        place = ellipses[0]
        items[place : place + 1] = [slice(None)] * (5 - len(items))
    return items + [slice(None)] * (4 - len(items))


def _span(item: Any, axis: int, low: int, high: int) -> tuple[int, int, int]:
    if type(item) is int:
        return item, item + 1, 1
    name = _AXES[axis]
    if not isinstance(item, slice):
        start = whole_number(item, f"index of axis {name}")
        return start, start + 1, 1
    step = 1 if item.step is None else whole_number(item.step, f"step of axis {name}")
    if step < 1:
        advice = "flip the array afterwards" if step else "leave it out to take every voxel"
        raise ArgumentError(f"step of axis {name}: must be at least 1, got {step}; {advice}")
    start, stop = item.start, item.stop
    if type(start) is not int:
        start = low if start is None else whole_number(start, f"start of axis {name}")
    if type(stop) is not int:
        stop = high if stop is None else whole_number(stop, f"stop of axis {name}")
    return start, stop if stop > start else start, step


def triple(value: Sequence[Any] | Any, what: str) -> Int3:
    """Return three whole numbers from one or from three. Raises ArgumentError naming `what`."""
    items = list(value) if hasattr(value, "__len__") else [value] * 3
    if len(items) != 3:
        raise ArgumentError(f"{what}: expected a number or three (x, y, z), got {_shown(value)}")
    x, y, z = (whole_number(item, what) for item in items)
    return x, y, z


def _shown(value: Any) -> str:
    return reprlib.repr(value) if not isinstance(value, np.ndarray) else f"an array of shape {value.shape}"
