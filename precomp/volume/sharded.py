"""Scales whose chunks lie in shards. Imported for those only."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeAlias

import numpy as np

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

_AT_ONCE = 2**15  # chunks of which there is more than a number

_Group: TypeAlias = tuple[int, Listed[ChunkRef]]
"""A shard's number, and chunks of it."""


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
    spec, layout, cells = info.scales[mip].sharding, info.shard_layout(mip), Cells(grid, name)
    assert spec is not None
    assert layout is not None
    most = cells.count if layout.hashed else layout.chunks_per_minishard
    form = Format(Locator(spec), objects.compressor, most)
    kept = IndexCache(INDEX_BYTES) if cache is None else cache
    return ShardedStore(objects, form, cells, kept, min(4 * chunk_bytes(info, grid) + 2**20, LARGEST))


def stored(shards: ShardedStore, plan: Plan, workers: int) -> Iterator[ChunkRef]:
    """Yield the chunks of a plan that are stored, as it is now."""
    found: list[ChunkRef] = []

    def look(group: _Group) -> None:
        shard, refs = group
        ids = shards.cells.ids_of(ref.key for ref in refs)
        there = shards.stored_of(ShardGroup(shard, ids, refs)).tolist()
        found.extend(ref for ref, is_there in zip(refs, there, strict=True) if is_there)

    for_each(_Groups(shards, plan), lambda: look, workers, reads=True)
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

    def remove(group: _Group) -> None:
        _, refs = group
        try:
            objects.store.delete([ref.key for ref in refs])
        finally:
            for ref in refs:
                forget(ref)
        if tick is not None:
            tick(len(refs))

    groups = _Groups(shards, plan)
    for_each(groups, lambda: remove, shards.at_once(groups.shards, workers))


def fill(
    objects: Objects,
    shards: ShardedStore,
    plan: Plan,
    key_there: Callable[[ChunkRef], str],
    chunk: Callable[[ChunkRef], Blob | None],
    nbytes: int,
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
        nbytes: of a chunk, or a little more.
        cache_control: of the shards.
        workers: threads.
        tick: called with the number of chunks done.
    """
    groups = _Groups(shards, plan, key_there)
    at_once = shards.at_once(groups.shards, workers, groups.largest * nbytes)

    def put(group: _Group) -> None:
        shard, refs = group
        chunks: dict[str, Blob | None] = {}

        def fetch(ref: ChunkRef) -> None:
            chunks[key_there(ref)] = chunk(ref)

        for_each(refs, lambda: fetch, workers // at_once, reads=True)
        with shards.told(objects, chunks):
            shards.put_all(shard, chunks, cache_control)
        if tick is not None:
            tick(len(refs))

    for_each(groups, lambda: put, at_once)


def _key(ref: ChunkRef) -> str:
    return ref.key


class _Groups:
    """The chunks of a plan by shards.

    Of each there are some bytes only, before it is its shard's turn: a plan may be of millions.

    Attributes:
        shards: their numbers.
        largest: the most chunks that one of them gets.
    """

    def __init__(self, shards: ShardedStore, plan: Plan, key: Callable[[ChunkRef], str] = _key) -> None:
        """`key` gives that of a chunk where the shards are."""
        found = [np.zeros(0, np.uint64)]
        for start in range(0, len(plan), _AT_ONCE):
            ids = shards.cells.ids_of(map(key, plan.refs(start, start + _AT_ONCE)))
            found.append(shards.reader.form.locator.locate_all(ids)[0])
        numbers = np.concatenate(found)
        self._plan, self._order = plan, numbers.argsort(kind="stable")
        values, starts = np.unique(numbers[self._order], return_index=True)
        self._ends = np.append(starts, len(numbers))
        self.shards: list[int] = values.tolist()
        self.largest = int(np.diff(self._ends).max(initial=0))

    def __len__(self) -> int:
        return len(self.shards)

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[_Group]:
        """Yield the shards number `start` to `stop` (exclusive), each with its chunks."""
        for at in range(len(self))[start:stop]:
            places = self._order[self._ends[at] : self._ends[at + 1]]
            runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
            yield (
                self.shards[at],
                Listed(chain.from_iterable(self._plan.refs(int(run[0]), int(run[-1]) + 1) for run in runs)),
            )
