"""Requests against one scale: alignment is checked here, then the engine works."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from precomp.engine.paste import Paste
from precomp.engine.workers import for_each
from precomp.engine.write import ChunkWriter
from precomp.errors import AlignmentError, ArgumentError
from precomp.geometry import Bbox
from precomp.grid import ChunkRef, Plan
from precomp.progress import Tick
from precomp.volume.box_io import BoxIO
from precomp.volume.indexing import Request, triple
from precomp.volume.requests import allocate, check_bounds, inside
from precomp.volume.scale_io import ScaleIO

if TYPE_CHECKING:
    from precomp.engine.shards.write import ShardWriter

__all__ = ["delete", "exists", "is_quick", "misaligned", "plan_box", "read", "write"]

_MAX_LISTED_CHUNKS = 10_000_000

# Threads cost more than they bring for a request of so few bytes, and for chunks of so few bytes,
# which take less time to move than to hand the interpreter from one thread to another.
_QUICK_REQUEST = 2 * 2**20
_QUICK_CHUNK = 2**16


def is_quick(io: ScaleIO, shape: Sequence[int]) -> bool:
    """Tell whether one thread is as fast as many to read so many voxels, where the store has no latency."""
    few = io.chunk_nbytes <= _QUICK_CHUNK or math.prod(shape) * io.dtype.itemsize <= _QUICK_REQUEST
    return few and (io.reader.partial or io.plugin.quick)  # others gain from threads


def read(
    io: ScaleIO,
    request: Request,
    plan: Plan,
    *,
    background: Any,
    fill: Any,
    workers: int,
    tick: Tick | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the voxels of `request`, shape (x, y, z, channel), Fortran order, or put them into `out`.

    `plan` is that of the request.

    What lies outside the volume becomes `background`. Missing chunks become `fill`; None: they raise
    EmptyVolumeError. Raises TooLargeError, ChunkDecodeError, StoreError.
    """
    voxels = allocate(request.shape, io.dtype) if out is None else out
    if not voxels.size:
        return voxels
    if not inside(request.minpt, request.maxpt, io.grid):
        voxels[...] = background
    batches = io.batches
    if batches is not None and batches.suits(plan):
        batches.read(plan, Paste(io.reader, voxels, request.channels, fill), workers, tick)
    else:
        reader, channels = io.reader, request.channels
        ask = reader.asker(voxels, channels) if workers > 1 else None
        for_each(plan, lambda: reader.paster(voxels, channels, fill), workers, tick, reads=True, ask=ask)
    return voxels


def write(
    io: ScaleIO,
    request: Request,
    plan: Plan,
    voxels: NDArray[Any],
    writer: "ChunkWriter | ShardWriter",
    *,
    partly: bool,
    workers: int,
    tick: Tick | None = None,
) -> None:
    """Store `voxels`, shape of `request`. `partly` allows chunks to be written in part.

    `plan` is that of the request.

    Raises OutOfBoundsError and AlignmentError before anything is written, and what ChunkWriter raises.
    """
    advice = "a write has to lie inside; cut it, or set autocrop=True"
    check_bounds(request.minpt, request.maxpt, io.grid, advice)
    if not voxels.size:
        return
    channels = None if request.channels == slice(0, io.info.num_channels, 1) else request.channels
    if not partly and not (plan.whole and channels is None):
        if request.step != (1, 1, 1) or channels is not None:
            what = "a write with steps, or of some channels only, rewrites chunks in part"
        else:
            what = misaligned(io, request.box)
        raise AlignmentError(
            f"{what}; write whole chunks, or set non_aligned_writes=True (slower: chunks are read first)"
        )
    writer.write(plan, voxels, channels, workers, tick)


def plan_box(io: ScaleIO, box: Bbox) -> Plan:
    """Plan the chunks of a box. Raises OutOfBoundsError, and ArgumentError for more than ten million."""
    minpt, maxpt = triple(box.minpt, "box"), triple(box.maxpt, "box")
    check_bounds(minpt, maxpt, io.grid, "choose a box inside")
    count = io.grid.count(minpt, maxpt)
    if count > _MAX_LISTED_CHUNKS:
        raise ArgumentError(
            f"{box} has {count:,} chunks, more than {_MAX_LISTED_CHUNKS:,}; work on smaller boxes in turn"
        )
    return io.grid.plan(minpt, maxpt)


def exists(io: ScaleIO, box: Bbox, workers: int) -> dict[str, bool]:
    """Tell of every chunk that the box touches whether it is stored."""
    plan, stat = plan_box(io, box), io.objects.store.stat
    start, key = len(io.grid.folder), io.key.rstrip("/")
    found = dict.fromkeys((key + ref.key[start:] for ref in plan.refs()), False)

    def look(ref: ChunkRef) -> None:
        found[key + ref.key[start:]] = stat(ref.key) is not None

    if io.shards is None:
        for_each(plan, lambda: look, workers, reads=True)
        return found
    from precomp.volume.sharded import stored  # most volumes have no use for it

    return found | {key + ref.key[start:]: True for ref in stored(io.shards, plan, workers)}


def delete(io: ScaleIO, box: Bbox, workers: int, tick: Tick | None = None) -> None:
    """Delete the chunks of an aligned box. Raises AlignmentError before anything is deleted."""
    plan = plan_box(io, box)
    if not plan.whole:
        raise AlignmentError(f"{misaligned(io, box)}; delete whole chunks")

    def remove(ref: ChunkRef) -> None:
        try:
            io.objects.store.delete([ref.key])
        finally:
            io.forget(ref)

    if io.shards is None:
        for_each(plan, lambda: remove, workers, tick)
        return
    from precomp.volume import sharded

    sharded.delete(io.objects, io.shards, plan, io.forget, workers, tick)


def misaligned(io: ScaleIO | BoxIO, box: Bbox) -> str:
    """Say that a box is off the chunk grid, and name the nearest one that is not."""
    grid = io.grid
    around = box.expand_to_chunk_size(grid.chunk, grid.offset).clamp(Bbox(grid.offset, grid.stop))
    return (
        f"{box} does not lie on the chunk grid (chunks of {grid.chunk} counted from {grid.offset}); "
        f"the nearest aligned box around it is {around}"
    )
