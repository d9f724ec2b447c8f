"""Voxels in and out of a volume: what `vol[...]` and its kin do."""

from collections.abc import Iterator, Sequence, Sized
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import attrs
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from precomp.cutout import VolumeCutout
from precomp.errors import ArgumentError, UnsupportedError
from precomp.geometry import Bbox
from precomp.progress import Tick, progress_bar
from precomp.volume import voxels
from precomp.volume.box_io import BoxIO
from precomp.volume.frames import Frames
from precomp.volume.indexing import Request, parse_box, parse_index
from precomp.volume.properties import Mip
from precomp.volume.reading import Reading
from precomp.volume.requests import allocate, as_voxels, check_bounds, crop, fitting
from precomp.volume.scale_io import ScaleIO
from precomp.volume.services import no_files
from precomp.volume.settings import (
    Cache,
    Parallel,
    checked_parallel,
    worker_count,
)
from precomp.volume.switches import Switches
from precomp.volume.writers import make_writer

if TYPE_CHECKING:
    from precomp.volume.cached import VolumeCache
    from precomp.volume.slab_writer import SlabWriter

__all__ = ["Access"]

# A box of a chunk's size touches 27. To ask whether there is a terminal costs as much as a voxel.
_FEW_CHUNKS = 28
_NO_BAR: AbstractContextManager[Tick | None] = nullcontext()


class Access(Frames, Switches):
    """The part of CloudVolume that reads and writes voxels."""

    def __copy__(self) -> Self:
        """Return a volume with options of its own; info, and chunks kept in memory, are shared."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, _settings=attrs.evolve(self._settings))
        return twin

    @property
    def cache(self) -> "VolumeCache":
        """The copies on the local disk. May be set: True (the default folder), False, or a folder."""
        from precomp.volume.cached import VolumeCache

        return VolumeCache(self)

    @cache.setter
    def cache(self, value: Cache) -> None:
        self._set_cache(value)

    def __getitem__(self, index: Any) -> VolumeCutout:
        """Read voxels; always 4D back. Raises as `download` does."""
        return self._read(index, self._mip)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole working mip, for numpy's functions; `copy=False` cannot be had."""
        if copy is False:
            raise ArgumentError(
                "copy=False: a volume's voxels are always read into a new array; use vol[...]"
            )
        return np.asarray(self[...], dtype=dtype)

    def _read(
        self, index: Any, mip: int, parallel: Parallel = None, segids: list[int] | None = None
    ) -> VolumeCutout:
        io = self._layer.scale(mip)
        request = self._request(io, index)
        return self._cutout(self._fetch(io, request, parallel, segids=segids), io, request, mip)

    def _cutout(self, array: NDArray[Any], io: ScaleIO | BoxIO, request: Request, mip: int) -> VolumeCutout:
        return VolumeCutout.wrap(
            array,
            dataset_name=self._layer.path.dataset,
            layer=self._layer.path.layer,
            mip=mip,
            layer_type=io.info.type,
            bounds=request[:2] if request.step == (1, 1, 1) else None,
        )

    def _request(self, io: ScaleIO | BoxIO, index: Any) -> Request:
        grid = io.grid
        request = parse_index(index, grid.offset, grid.stop, io.info.num_channels)
        if self._settings.autocrop:
            return crop(request, grid)[0]
        if self._settings.bounded:
            advice = "read inside, or set bounded=False to read background there"
            check_bounds(request.minpt, request.maxpt, grid, advice)
        return request

    def _fetch(
        self,
        io: ScaleIO | BoxIO,
        request: Request,
        parallel: Parallel = None,
        out: NDArray[Any] | None = None,
        segids: list[int] | None = None,
    ) -> NDArray[Any]:
        reading = self._reading(io, segids)
        # Before the plan, as that of a box for which no memory does may have millions of parts.
        found = allocate(request.shape, io.dtype) if out is None else out
        plan = reading.plan(request)
        workers = 1 if len(plan) == 1 else self._threads(io, request.shape, parallel)
        with self._bar(plan, "reading") as tick:
            reading.read(request, plan, found, workers, tick)
        return found

    def _reading(self, io: ScaleIO | BoxIO, segids: list[int] | None = None) -> Reading:
        settings = self._settings
        background = fitting(settings.background_color, io.dtype, "background_color")
        if isinstance(io, BoxIO):
            self._layer.check_settings(settings)  # some can be set without a look at the layer
        return Reading(io, background, background if settings.fill_missing else None, segids)

    def __setitem__(self, index: Any, value: ArrayLike) -> None:
        """Store a 3D or 4D array of exactly the box's shape and the volume's dtype, or a scalar.

        Raises ArgumentError, OutOfBoundsError, AlignmentError, all before anything is written;
        EmptyVolumeError where a missing chunk would be written in part; StoreError, ReadOnlyError.
        """
        self._write(index, value, self._mip)

    def _write(self, index: Any, value: ArrayLike, mip: int) -> None:
        self._layer.check_writable()
        io, settings = self._layer.scale(mip), self._settings
        request = parse_index(index, io.grid.offset, io.grid.stop, io.info.num_channels)
        array = as_voxels(value, request.shape, io.info.dtype)
        if settings.autocrop:
            request, kept = crop(request, io.grid)
            array = array[kept]
        if isinstance(io, BoxIO):
            self._layer.check_settings(settings)
            boxes, partly = io.plan(request), settings.non_aligned_writes
            with self._bar(boxes, "writing") as tick:
                io.write(request, boxes, array, partly=partly, workers=self._workers(io), tick=tick)
            return
        writer = make_writer(io, self._settings, self._layer)
        plan = io.grid.plan(request.minpt, request.maxpt, request.step)
        with self._bar(plan, "writing") as tick:
            voxels.write(
                io,
                request,
                plan,
                array,
                writer,
                partly=settings.non_aligned_writes,
                workers=self._threads(io, request.shape) if writer.compression is None else self._workers(io),
                tick=tick,
            )

    def slab_writer(self, axis: str = "z", bbox: Any = None) -> "SlabWriter":
        """Return a writer for slices that come one by one, `with vol.slab_writer() as w: w.write(z, image)`.

        It fills slabs of chunks of the working mip, in a chunk-aligned box (None: the whole volume), all
        of whose slices have to come.
        Raises ArgumentError, AlignmentError, OutOfBoundsError; see SlabWriter.
        """
        from precomp.volume.slab_writer import SlabWriter  # as few volumes are read or written by slices

        return SlabWriter(self, axis, self._box(bbox, self._mip), self._mip)

    def slices(self, axis: str = "z", bbox: Any = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (z, image) for every slice of a box (None: the whole volume) of the working mip.

        An image has the other two axes in their order, then channels where there are several. Every
        chunk is fetched once, and the next slab of chunks in advance, so that two slabs are in memory, and
        the chunks in hand. Raises as `download` does, for a wrong axis or box at once.
        """
        from precomp.volume.slabs import slices

        return slices(self, axis, self._box(bbox, self._mip), self._mip)

    def exists(self, bbox: Any, mip: Mip | None = None) -> dict[str, bool]:
        """Tell of every chunk that the box touches whether it is stored: chunk key to bool.

        Raises OutOfBoundsError, ArgumentError for more than ten million chunks, and UnsupportedError where
        a service of boxes does not tell.
        """
        io = self._layer.scale(self._mip if mip is None else self._number(mip))
        if isinstance(io, BoxIO):
            raise UnsupportedError(no_files(self._layer.path))
        return voxels.exists(io, self._chunk_box(io, bbox), self._workers(io))

    def delete(self, bbox: Any, mip: Mip | None = None) -> None:
        """Delete the chunks of a chunk-aligned box; absent ones are fine. At the BOSS, set any box to zero.

        Raises AlignmentError, OutOfBoundsError and ArgumentError (more than ten million chunks)
        before anything is deleted.
        """
        io = self._layer.scale(self._mip if mip is None else self._number(mip))
        box = self._chunk_box(io, bbox)
        if isinstance(io, BoxIO):
            self._layer.check_writable()
            io.erase(box, self._workers(io))
            return
        plan = voxels.plan_box(io, box)
        with self._bar(plan, "deleting") as tick:
            voxels.delete(io, box, self._workers(io), tick)

    def _chunk_box(self, io: ScaleIO | BoxIO, bbox: Any) -> Bbox:
        box = parse_box(bbox, io.grid.offset, io.grid.stop, io.info.num_channels)
        return box.clamp(Bbox(io.grid.offset, io.grid.stop)) if self._settings.autocrop else box

    def _reading_bar(self, plan: Sized) -> AbstractContextManager[Tick | None]:
        return self._bar(plan, "reading")

    def _bar(self, plan: Sized, verb: str) -> AbstractContextManager[Tick | None]:
        wanted = self._settings.progress
        if wanted is False or (wanted is None and len(plan) < _FEW_CHUNKS):
            return _NO_BAR
        return progress_bar(len(plan), f"{verb} {self._layer.path.layer}", wanted)

    def _threads(self, io: ScaleIO | BoxIO, shape: Sequence[int], parallel: Parallel = None) -> int:
        """As many threads as were asked for; where nothing was said, none for work that gains nothing."""
        given = self._settings.parallel if parallel is None else parallel
        if isinstance(io, BoxIO):
            return self._workers(io, parallel=given)
        if given is None and self._layer.workers(io) is None and voxels.is_quick(io, shape):
            return 1
        return self._workers(io, parallel=given)

    def _workers(self, *scales: ScaleIO | BoxIO, parallel: Parallel = None) -> int:
        """How many threads to use for the chunks of these scales."""
        given = self._settings.parallel if parallel is None else checked_parallel(parallel)
        return worker_count(given, self._layer.workers(*scales))
