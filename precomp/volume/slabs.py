"""Slice by slice through a volume: whole slabs of chunks are read behind single slices."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from precomp.geometry import Bbox
from precomp.geometry.arguments import axis_number
from precomp.progress import progress_bar
from precomp.volume.box_io import BoxIO
from precomp.volume.requests import allocate
from precomp.volume.scale_io import ScaleIO
from precomp.volume.slab_layout import Slabs

if TYPE_CHECKING:
    from precomp.volume.access import Access

__all__ = ["slices"]


def slices(vol: "Access", axis: Any, box: Bbox, mip: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (coordinate, slice) along `axis`; every chunk is fetched once, the next slab in advance.

    Layer, mip and options are those of the call. Raises ArgumentError for an axis and OutOfBoundsError
    for a box at the call, what fetching raises where the slices are taken.
    """
    number, io, twin = axis_number(axis), vol._layer.scale(mip), copy(vol)
    inside = twin._request(io, box).box
    return _images(twin, io, Slabs.of(inside, number, io.grid))


def _images(vol: "Access", io: ScaleIO | BoxIO, slabs: Slabs) -> Iterator[tuple[int, NDArray[Any]]]:
    if not len(slabs):
        return
    wanted, vol._settings.progress = vol._settings.progress, False  # one bar for all slabs
    # Two arrays in turn: what malloc would keep of those freed in another thread is a third.
    buffers = [allocate(slabs.shape(io.info.num_channels), io.info.dtype) for _ in range(min(2, len(slabs)))]

    def fetch(number: int) -> NDArray[Any]:
        request = vol._request(io, slabs.part(*slabs.ends(number)))
        part = buffers[number % 2][tuple(slice(length) for length in request.shape)]
        return vol._fetch(io, request, out=part)

    with (
        progress_bar(slabs.high - slabs.low, f"reading {vol._layer.path.layer}", wanted, "slice") as tick,
        ThreadPoolExecutor(1, thread_name_prefix="precomp-slices") as pool,
    ):
        coming = pool.submit(fetch, 0)
        for number in range(len(slabs)):
            here = coming.result()
            if number + 1 < len(slabs):
                coming = pool.submit(fetch, number + 1)
            for offset, place in enumerate(range(*slabs.ends(number))):
                # A copy, as the slab after next goes to the same place.
                image = here[(slice(None),) * slabs.axis + (offset,)].copy(order="F")
                yield place, image[..., 0] if image.shape[2] == 1 else image
                if tick is not None:
                    tick(1)
