"""What a box has of labels: a mask of one, small numbers for all, and which there are."""

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.boxes import holds
from precomp.engine.labels import LabelSet, LabelTaker, distinct, runs_of
from precomp.engine.workers import for_each
from precomp.errors import ArgumentError
from precomp.interfaces import Slices3
from precomp.volume.box_io import BoxIO
from precomp.volume.indexing import Request, checked_segids
from precomp.volume.parts import read_parts
from precomp.volume.reading import Reading
from precomp.volume.requests import allocate, crop
from precomp.volume.scale_io import ScaleIO

__all__ = ["Bar", "checked", "labels_of", "mask_of", "renumbered"]

Bar = Callable[[Any], Any]
"""Makes a context that shows how many of some parts are done."""


def checked(label: Any, renumber: bool, segids: Any, layer_type: str) -> int | None:
    """Return the label of a mask, None where none is wanted. Raises ArgumentError for what makes no sense."""
    if label is None:
        if layer_type != "segmentation":
            raise ArgumentError(f"renumber: an {layer_type} layer has no labels to renumber; leave it out")
        return None
    if renumber:
        raise ArgumentError("renumber: a mask of one label has nothing to renumber; leave out one of the two")
    if segids is not None:
        raise ArgumentError(
            "segids: a mask shows one label and no others; leave out `label` for the voxels of several"
        )
    (one,) = checked_segids([label], layer_type, "label")
    return one


def mask_of(reading: Reading, request: Request, label: int, workers: int, bar: Bar) -> NDArray[np.bool_]:
    """Return where voxels have a label, shape (x, y, z, channel), Fortran order. Raises as Reading.read."""
    dtype = reading.io.dtype
    held = holds(dtype, label)
    mask = allocate(request.shape, np.dtype(np.bool_))
    part, kept = crop(request, reading.io.grid)
    if math.prod(part.shape) < math.prod(request.shape):  # some lies outside
        mask[...] = held and bool(reading.background == label)
    if isinstance(reading.io, BoxIO) and label:  # the service may leave out all others, which are 0 then
        reading = reading._replace(segids=[label])
    wanted, inside = dtype.type(label if held else 0), mask[kept]

    def visit(target: Slices3, voxels: NDArray[Any]) -> None:
        if held:
            np.equal(voxels, wanted, out=inside[target])
        else:
            inside[target] = False

    read_parts(reading, part, visit, workers, bar)
    return mask


def renumbered(
    reading: Reading, request: Request, workers: int, bar: Bar
) -> tuple[NDArray[Any], dict[int, int]]:
    """Return small numbers for labels, and the map from labels to them. Raises as Reading.read.

    0 stays 0; all other labels that occur become 1, 2, ... in ascending order.
    """
    part, kept = crop(request, reading.io.grid)
    numbers = _Numbers(request.shape)
    if math.prod(part.shape) < math.prod(request.shape):  # some lies outside
        background = int(reading.background)
        if reading.segids is not None and background not in reading.segids:
            background = 0
        numbers.put((slice(None),) * 3, np.full((1, 1, 1, 1), background, reading.io.dtype))

    def visit(target: Slices3, voxels: NDArray[Any]) -> None:
        x, y, z = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(kept, target, strict=True))
        numbers.put((x, y, z), voxels)

    read_parts(reading, part, visit, workers, bar)
    return numbers.ordered()


class _Numbers:
    """An array of numbers for labels, in the smallest dtype that holds them."""

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        self._out = allocate(shape, np.dtype(np.uint8))
        self._known = {0: 0}
        self._lock = threading.Lock()

    def put(self, target: Slices3, labels: NDArray[Any]) -> None:
        """Number the labels of a part in the order in which they come; from any thread."""
        heads, starts = runs_of(labels)
        values, places = np.unique(heads, return_inverse=True)
        with self._lock:
            known = self._known
            numbers = np.array([known.setdefault(one, len(known)) for one in values.tolist()])
            self._out = self._out.astype(_smallest(len(known) - 1), copy=False, order="F")
            numbers = numbers.astype(self._out.dtype)
        lengths = np.diff(starts, append=labels.size)
        spread = np.repeat(numbers[places], lengths).reshape(labels.shape, order="F")
        with self._lock:
            self._out[target] = spread

    def ordered(self) -> tuple[NDArray[Any], dict[int, int]]:
        """Return the array and the map, numbered by ascending labels."""
        labels = sorted(self._known, key=lambda label: (label != 0, label))
        final = {label: number for number, label in enumerate(labels)}
        if labels != list(self._known):
            table = np.array([final[label] for label in self._known], self._out.dtype)
            for z in range(self._out.shape[2]):  # so that no second array is needed
                self._out[:, :, z] = table[self._out[:, :, z]]
        return self._out, final


def _smallest(most: int) -> np.dtype[Any]:
    kinds = (np.uint8, np.uint16, np.uint32, np.uint64)
    return next(np.dtype(kind) for kind in kinds if most <= np.iinfo(kind).max)


def labels_of(reading: Reading, request: Request, workers: int, bar: Bar) -> NDArray[Any]:
    """Return the labels of a request's voxels, ascending. Raises as Reading.read.

    Voxels are decoded only where the codec cannot tell labels without them.
    """
    io = reading.io
    found = LabelSet(io.dtype)
    part, _ = crop(request, io.grid)
    if math.prod(part.shape) < math.prod(request.shape):  # some lies outside
        found.add(np.asarray(reading.background))
    if 0 not in part.shape:
        if isinstance(io, ScaleIO) and io.reader.decoder.lists is not None:
            _list(io, reading, part, found, workers, bar)
        else:
            read_parts(reading, part, lambda _, voxels: found.add(distinct(voxels)), workers, bar)
    return found.sorted()


def _list(io: ScaleIO, reading: Reading, request: Request, found: LabelSet, workers: int, bar: Bar) -> None:
    plan = io.grid.plan(request.minpt, request.maxpt, request.step)
    taker = LabelTaker(io.reader, request.channels, reading.fill, found)
    with bar(plan) as tick:
        if io.batches is not None and io.batches.suits(plan):
            io.batches.read(plan, taker, workers, tick)
        else:
            for_each(plan, lambda: io.reader.giver(taker, keep=False), workers, tick, reads=True)
