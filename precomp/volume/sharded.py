"""Scales whose chunks lie in shards. Imported for those only."""

from collections.abc import Callable, Iterator

from precomp.engine.decode import LARGEST
from precomp.engine.objects import Objects
from precomp.engine.shards.cells import Cells
from precomp.engine.shards.ids import Locator
from precomp.engine.shards.index import Format
from precomp.engine.shards.reader import INDEX_BYTES, IndexCache
from precomp.engine.shards.store import ShardedStore, ShardGroup
from precomp.engine.workers import Listed, for_each
from precomp.grid import ChunkGrid, ChunkRef, Plan
from precomp.info import VolumeInfo
from precomp.interfaces import Blob
from precomp.progress import Tick
from precomp.volume.scale_io import chunk_bytes

__all__ = ["delete", "fill", "open_shards", "stored"]


def open_shards(
    objects: Objects, info: VolumeInfo, mip: int, grid: ChunkGrid, name: str, cache: IndexCache | None
) -> ShardedStore:
    """Return the chunks of a sharded scale under their ordinary keys.

    Args:
        objects: of the store with the shards.
        info: of the layer.
        mip: of the scale.
        grid: of its chunks, under the keys that `objects` knows.
        name: of the info, for errors.
        cache: for indices; None makes one.

    Raises InfoError where the grid has too many chunks.
    """
    spec, cells = info.scales[mip].sharding, Cells(grid, name)
    assert spec is not None
    form = Format(Locator(spec), objects.compressor, cells.count)
    kept = IndexCache(INDEX_BYTES) if cache is None else cache
    return ShardedStore(objects, form, cells, kept, min(4 * chunk_bytes(info, grid) + 2**20, LARGEST))


def stored(shards: ShardedStore, plan: Plan, workers: int) -> Iterator[ChunkRef]:
    """Yield the chunks of a plan that are stored, as it is now."""
    found: list[ChunkRef] = []

    def look(group: ShardGroup) -> None:
        there = shards.stored_of(group).tolist()
        found.extend(ref for ref, is_there in zip(group.refs, there, strict=True) if is_there)

    for_each(Listed(shards.by_shard(plan)), lambda: look, workers, reads=True)
    return iter(found)


def delete(
    objects: Objects,
    shards: ShardedStore,
    plan: Plan,
    forget: Callable[[ChunkRef], None],
    workers: int,
    tick: Tick | None,
) -> None:
    """Delete the chunks of a plan, shard by shard, by way of `objects`, and `forget` each."""

    def remove(group: ShardGroup) -> None:
        try:
            objects.store.delete([ref.key for ref in group.refs])
        finally:
            for ref in group.refs:
                forget(ref)
        if tick is not None:
            tick(len(group.refs))

    for_each(Listed(shards.by_shard(plan)), lambda: remove, workers)


def fill(
    objects: Objects,
    shards: ShardedStore,
    plan: Plan,
    key_there: Callable[[ChunkRef], str],
    chunk: Callable[[ChunkRef], Blob | None],
    cache_control: str | None,
    workers: int,
    tick: Tick | None,
) -> None:
    """Store chunks from elsewhere, shard by shard.

    Args:
        objects: a cache on the local disk, or the shards themselves.
        shards: where the chunks go.
        plan: the chunks, by their keys elsewhere.
        key_there: gives the key of each here.
        chunk: gives its object; None removes it here.
        cache_control: of the shards.
        workers: threads.
        tick: called with the number of chunks done.
    """

    def put(group: tuple[int, list[ChunkRef]]) -> None:
        shard, refs = group
        chunks = {key_there(ref): chunk(ref) for ref in refs}
        with shards.told(objects, chunks):
            shards.put_all(shard, chunks, cache_control)
        if tick is not None:
            tick(len(refs))

    groups: dict[int, list[ChunkRef]] = {}
    for ref in plan.refs():
        groups.setdefault(shards.shard_of(key_there(ref)), []).append(ref)
    for_each(Listed(groups.items()), lambda: put, workers)
