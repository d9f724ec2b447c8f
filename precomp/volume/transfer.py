"""Chunks from one volume to another."""

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from precomp.engine.workers import for_each
from precomp.errors import (
    AlignmentError,
    ArgumentError,
    EmptyVolumeError,
    InfoNotFoundError,
    UnknownEncodingError,
)
from precomp.geometry import Bbox
from precomp.grid import ChunkRef
from precomp.interfaces import Blob
from precomp.progress import Tick, progress_bar
from precomp.shard_layout import SHARD_BYTES
from precomp.volume import voxels
from precomp.volume.box_io import BoxIO
from precomp.volume.indexing import triple
from precomp.volume.requests import check_bounds
from precomp.volume.scale_io import ScaleIO
from precomp.volume.settings import Compress, cache_control
from precomp.volume.writers import make_writer

if TYPE_CHECKING:
    from precomp.volume.facade import CloudVolume

__all__ = ["open_or_make", "transfer"]

# Where voxels have to be read and written, so many chunks of the target at a time, or fewer: no more bytes.
_BLOCK = (8, 8, 1)
_BLOCK_BYTES = 2**27


def open_or_make(
    source: "CloudVolume", cloudpath: Any, compress: Compress, options: Any, secrets: Any
) -> "tuple[CloudVolume, bool]":
    """Return the volume at `cloudpath`, and False; where there is none, one with the source's info and True.

    The new one's info is not saved yet.
    """
    kind = type(source)
    opened = {"options": options, "secrets": secrets, "registry": source._layer.registry}
    try:
        return kind(cloudpath, compress=compress, **opened), False
    except InfoNotFoundError:
        target = kind(
            cloudpath,
            info=source.info,
            create=True,
            provenance=copy.deepcopy(dict(source.provenance)),
            compress=compress,
            **opened,
        )
        if target._layer.boxes is not None:
            target.info = _without_storage(source.info)
        return target, True


def _without_storage(info: dict[str, Any]) -> dict[str, Any]:
    """The info for a service of boxes, which has no shards and no folders."""
    plain = {
        key: value for key, value in info.items() if key not in ("mesh", "skeletons", "segment_properties")
    }
    scales = [{key: value for key, value in one.items() if key != "sharding"} for one in info["scales"]]
    return {**plain, "scales": scales}


def transfer(
    source: "CloudVolume", mip: int, target: "CloudVolume", box: Bbox, *, recompress: bool, is_new: bool
) -> None:
    """Copy the chunks of `box` (voxels of `mip`) to the target's working mip; first the info where it is new.

    Raises ArgumentError, OutOfBoundsError and AlignmentError before anything is written.
    """
    here, there = source._layer.scale(mip), target._layer.scale(target.mip)
    if here.info.dtype != there.info.dtype or here.info.num_channels != there.info.num_channels:
        raise ArgumentError(
            f"{source.cloudpath} holds {here.info.num_channels} x {here.info.dtype}, {target.cloudpath} "
            f"{there.info.num_channels} x {there.info.dtype}; both must be equal"
        )
    if isinstance(there, BoxIO):
        target._layer.check_settings(target._settings)
        check_bounds(triple(box.minpt, "box"), triple(box.maxpt, "box"), there.grid, "choose a box inside")
        count = there.grid.count(box.minpt, box.maxpt)
    else:
        plan = voxels.plan_box(there, box)
        if not plan.whole:
            raise AlignmentError(f"{voxels.misaligned(there, box)}; copy whole chunks of the target")
        count = len(plan)
    if is_new:
        target.commit_info()
        if isinstance(there, BoxIO):
            there = target._layer.scale(target.mip)  # as the service has made it
        else:
            target.commit_provenance()
    with progress_bar(count, f"copying {source.layer}", source.progress) as tick:
        if not (isinstance(here, BoxIO) or isinstance(there, BoxIO)) and _alike(here, there):
            _copy_objects(source, here, target, there, box, recompress, tick)
        else:
            _copy_voxels(source, mip, target, there, box, tick)


def _alike(here: ScaleIO, there: ScaleIO) -> bool:
    a, b = here.grid, there.grid
    same_chunks = (a.offset, a.size, a.chunk) == (b.offset, b.size, b.chunk)
    return same_chunks and here.encoding == there.encoding


def _copy_objects(
    source: "CloudVolume",
    here: ScaleIO,
    target: "CloudVolume",
    there: ScaleIO,
    box: Bbox,
    recompress: bool,
    tick: Tick | None,
) -> None:
    # In shards chunks are compressed as the target's info says, whatever its options say.
    writer = None
    if recompress and there.shards is None:
        writer = make_writer(there, target._settings, target._layer)
    cache, content_type = cache_control(target.cdn_cache), _content_type(there)
    prefix, new_prefix = f"{here.grid.folder}/", f"{there.grid.folder}/"

    def key_there(ref: ChunkRef) -> str:
        return new_prefix + ref.key[len(prefix) :]

    def copy_of(ref: ChunkRef) -> Blob | None:
        blob = here.objects.store.get(ref.key)
        if blob is None:
            if not source.fill_missing:
                raise EmptyVolumeError(
                    f"{ref.key}: the chunk is not stored in {source.cloudpath}; "
                    "set fill_missing=True to leave it out of the copy"
                )
            return None
        if writer is not None:
            return writer.compressed(here.objects.plain(ref.key, blob, here.reader.limit(ref)))
        return Blob(blob.data, blob.content_encoding, blob.content_type or content_type, cache)

    def copy_one(ref: ChunkRef) -> None:
        blob = copy_of(ref)
        if blob is None:
            there.objects.store.delete([key_there(ref)])
        else:
            there.objects.store.put(key_there(ref), blob)

    workers, plan = source._workers(here, there), voxels.plan_box(here, box)
    if there.shards is None:
        for_each(plan, lambda: copy_one, workers, tick)
        return
    from precomp.volume import sharded

    nbytes = there.chunk_nbytes
    sharded.fill(there.objects, there.shards, plan, key_there, copy_of, nbytes, cache, workers, tick)


def _content_type(io: ScaleIO) -> str | None:
    """Return that of the chunks; None where no plugin knows the encoding, which a copy does not need."""
    try:
        return io.plugin.content_type
    except UnknownEncodingError:
        return None


def _block(there: ScaleIO | BoxIO) -> NDArray[Any]:
    """How many voxels x, y, z to copy at a time."""
    counts, most = list(_BLOCK), _BLOCK_BYTES
    if isinstance(there, ScaleIO) and there.shards is not None and max(there.shards.block) > 1:
        # Each shard is read and written with every part of it: as much of one as may be at a time.
        counts, most = list(there.shards.block), SHARD_BYTES
    nbytes = math.prod(there.grid.chunk) * there.info.num_channels * there.dtype.itemsize
    while max(counts) > 1 and nbytes * math.prod(counts) > most:
        counts[counts.index(max(counts))] //= 2
    return np.array(there.grid.chunk) * counts


def _copy_voxels(
    source: "CloudVolume",
    mip: int,
    target: "CloudVolume",
    there: ScaleIO | BoxIO,
    box: Bbox,
    tick: Tick | None,
) -> None:
    block = _block(there)
    stop = np.array(box.maxpt)
    for z in range(int(box.minpt.z), int(box.maxpt.z), int(block[2])):
        for y in range(int(box.minpt.y), int(box.maxpt.y), int(block[1])):
            for x in range(int(box.minpt.x), int(box.maxpt.x), int(block[0])):
                low = np.array([x, y, z])
                part = Bbox(low, np.minimum(low + block, stop))
                target[part] = np.asarray(source.download(part, mip))
                if tick is not None:
                    tick(there.grid.count(part.minpt, part.maxpt))
