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
from precomp.progress import Tick
from precomp.volume.scale_io import chunk_bytes

__all__ = ["delete", "open_shards", "stored"]


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

    for_each(Listed(shards.by_shard(plan)), lambda: look, workers)
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
