"""Slice by slice into a volume: whole slabs of chunks are written behind single slices."""

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from copy import copy
from types import TracebackType
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike, NDArray

from precomp.errors import AlignmentError, ArgumentError, OutOfBoundsError, PrecompError, StoreError
from precomp.geometry import Bbox
from precomp.geometry.arguments import axis_number
from precomp.progress import progress_bar
from precomp.volume import voxels
from precomp.volume.box_io import BoxIO
from precomp.volume.indexing import whole_number
from precomp.volume.requests import allocate, as_slice, check_bounds
from precomp.volume.slab_filling import Filling
from precomp.volume.slab_layout import Numbers, Slabs, across, on_grid, shown_runs

if TYPE_CHECKING:
    from precomp.volume.access import Access

__all__ = ["SlabWriter"]

_ADVICE = "write all slices of a slab before those of another"


class SlabWriter:
    """Takes single slices and writes whole slabs of chunks; a context manager.

    Slices come slab by slab, within a slab in any order; a slab is as thick as a chunk. A full slab is
    written in the background while the next one fills, so there are two slabs in memory at most, and the
    chunks in hand: each thread that writes has one, encoded, and compressed where `compress` says so.

    At the end of the `with` block all slabs are on their way and waited for. A slice of the box that did
    not come is an ArgumentError then, which names it, and its slab is not stored. Where the volume has
    non_aligned_writes, any slices may be left out: what there is of a slab is written when a slice of
    another slab comes, and at the end.

    Once a slab could not be written the writer is broken: every later `write` and `close` raises that
    error, with the slices that are not stored. After an error in the block only whole slabs have been
    written, and if one of them failed the error has a note of it.

    Layer, mip and options are those that the volume had when it made the writer. With autocrop, slices
    have the shape of the box asked for and are cut like any other array. For one thread at a time.
    """

    def __init__(self, vol: "Access", axis: Any, box: Bbox, mip: int) -> None:
        """Raises AlignmentError where `box` is off the chunk grid, OutOfBoundsError, ArgumentError."""
        self._axis, self._mip, self._asked = axis_number(axis), mip, box
        self._vol, io = copy(vol), vol._layer.scale(mip)
        settings = self._vol._settings
        if settings.autocrop:
            box = box.clamp(Bbox(io.grid.offset, io.grid.stop))
        check_bounds(box.minpt, box.maxpt, io.grid, "choose a bbox inside, or set autocrop=True")
        self._partly = settings.non_aligned_writes
        if not (self._partly or isinstance(io, BoxIO) or on_grid(box, io.grid)):
            raise AlignmentError(f"{voxels.misaligned(io, box)}; choose such a bbox for the slabs")
        self._dtype, self._channels = io.info.dtype, io.info.num_channels
        self._slabs = Slabs.of(box, self._axis, io.grid)
        self._written = Numbers()  # slabs, those on their way included
        self._filling: Filling | None = None
        self._buffers: list[NDArray[Any]] = []
        self._storing: tuple[int, Future[None]] | None = None
        self._error: BaseException | None = None
        self._lost = ""
        self._closed = False
        self._ending = ExitStack()
        slices, title = self._slabs.high - self._slabs.low, f"writing {vol._layer.path.layer}"
        self._tick = self._ending.enter_context(progress_bar(slices, title, settings.progress, "slice"))
        settings.progress = False  # of the single slabs
        self._pool = self._ending.enter_context(ThreadPoolExecutor(1, thread_name_prefix="precomp-slabs"))

    def __enter__(self) -> "SlabWriter":
        """Return the writer itself. Raises ArgumentError where it is closed."""
        self._check_usable()
        return self

    def write(self, coordinate: int, image: ArrayLike) -> None:
        """Take one slice: shape of the other two axes, then channels where there are several; or a number.

        Raises OutOfBoundsError, and ArgumentError for a wrong shape or dtype, for a slice whose slab is
        written already, for a closed writer, and, naming them, for slices left out of the slab before; a
        failed write of an earlier slab is raised here too.
        """
        self._check_usable()
        place = whole_number(coordinate, "xyz"[self._axis])
        name, asked = self._name(place), self._asked
        if not asked.minpt[self._axis] <= place < asked.maxpt[self._axis]:
            raise OutOfBoundsError(f"{name} is not inside the writer's box {asked}")
        shape = [int(length) for length in asked.size3()]
        shape[self._axis] = 1
        image = as_slice(image, name, self._axis, (*shape, self._channels), self._dtype)
        if self._slabs.low <= place < self._slabs.high:  # else autocrop drops it
            filling = self._slab_of(place)
            filling.take(place, image[self._cropped()])
            if filling.full:
                self._store(filling)

    def close(self) -> None:
        """Write what is left and wait for it; what `with` does at its end. Closing again does nothing.

        Raises ArgumentError, naming them, for slices that did not come, and the error of a failed write.
        """
        already, self._closed = self._closed, True
        with self._ending:
            self._check_sound()
            if already:
                return
            self._wait()
            if self._filling is not None and (self._partly or self._filling.full):
                self._store(self._filling)
                self._wait()
            if not self._partly:
                self._check_complete()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the writer; after an error drop the slab that is not full."""
        if error is None:
            self.close()
            return
        self._closed = True
        with self._ending, suppress(PrecompError):  # it is told of in the note
            self._wait()
        if self._error is not None and error.__cause__ is not self._error:
            error.add_note(f"Besides, a slab could not be written: {self._failure()}")

    def _slab_of(self, place: int) -> Filling:
        """Return the slab that has the slice; where that is another than the one in hand, store that one."""
        number, filling = self._slabs.number(place), self._filling
        if filling is not None and filling.number == number:
            return filling
        if number in self._written:
            slab = self._name(*self._slabs.ends(number))
            raise ArgumentError(f"{self._name(place)}: its slab, {slab}, is written already; {_ADVICE}")
        if filling is not None:
            if not (self._partly or filling.full):
                missing, slab = filling.missing, self._name(*self._slabs.ends(filling.number))
                raise ArgumentError(
                    f"{shown_runs(self._axis, missing)}: missing in the slab {slab}, and {self._name(place)} "
                    f"of another slab came; {_ADVICE}"
                )
            self._store(filling)
        self._filling = self._begin(number)
        return self._filling

    def _begin(self, number: int) -> Filling:
        # Two buffers in turn: that of the slab before last is free, as that slab was waited for.
        if len(self._buffers) < 2:
            self._buffers.append(allocate(self._slabs.shape(self._channels), self._dtype))
        else:
            self._buffers.reverse()
        low, high = self._slabs.ends(number)
        return Filling(number, self._axis, low, self._buffers[-1][across(self._axis, 0, high - low)])

    def _store(self, filling: Filling) -> None:
        self._wait()  # for the slab before, so that two are in memory at most
        self._written.add(filling.number)
        self._filling = None
        self._storing = filling.number, self._pool.submit(self._put, filling)

    def _put(self, filling: Filling) -> None:
        for low, high in filling.there:
            self._vol._write(self._slabs.part(low, high), filling.voxels(low, high), self._mip)
            if self._tick is not None:
                self._tick(high - low)

    def _wait(self) -> None:
        """Wait for the slab that is on its way. Raises its error."""
        if self._storing is None:
            return
        number, future = self._storing
        self._error = future.exception()
        self._storing = None
        if self._error is not None:
            lost = {number} if self._filling is None else {number, self._filling.number}
            self._lost = shown_runs(self._axis, [self._slabs.ends(each) for each in sorted(lost)])
        self._check_sound()

    def _check_usable(self) -> None:
        self._check_sound()
        if self._closed:
            raise ArgumentError("this slab writer is closed; make a new one with vol.slab_writer()")

    def _check_sound(self) -> None:
        if self._error is not None:
            raise self._failure() from self._error

    def _failure(self) -> PrecompError:
        """The error of the write that failed, with what it means for the slabs."""
        known = (kind for kind in type(self._error).__mro__ if kind.__module__ == PrecompError.__module__)
        kind: type[PrecompError] = next(known, StoreError)
        return kind(
            f"{self._error}; the slices {self._lost} are not all stored, and this writer takes no more: "
            "write them again with a new slab_writer(bbox=...)"
        )

    def _check_complete(self) -> None:
        missing: list[tuple[int, int]] = []
        for first, stop in self._written.gaps(len(self._slabs)):
            low, high = self._slabs.ends(first)[0], self._slabs.ends(stop - 1)[1]
            if self._filling is not None and first <= self._filling.number < stop:
                begin, end = self._slabs.ends(self._filling.number)
                missing += [(low, begin), *self._filling.missing, (end, high)]
            else:
                missing.append((low, high))
        if missing:
            raise ArgumentError(
                f"{shown_runs(self._axis, missing)}: missing when the slab writer was closed, so their slabs "
                "are not stored; write every slice of the box, or pass bbox= to write a part of the volume"
            )

    def _cropped(self) -> tuple[slice, ...]:
        """What is left of a slice of the box that was asked for."""
        box, starts = self._slabs.box, self._asked.minpt
        kept = [slice(int(a - s), int(b - s)) for a, b, s in zip(box.minpt, box.maxpt, starts, strict=True)]
        kept[self._axis] = slice(None)
        return tuple(kept)

    def _name(self, low: int, high: int | None = None) -> str:
        return shown_runs(self._axis, [(low, low + 1 if high is None else high)])
