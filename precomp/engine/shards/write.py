"""An array into the chunks of a sharded scale, shard by shard."""

from collections.abc import Callable
from typing import Any

import attrs
from numpy.typing import NDArray

from precomp.engine.objects import Objects
from precomp.engine.scratch import Scratch
from precomp.engine.shards.build import Gathered, Parts
from precomp.engine.shards.rewrite import Edit, rewrite
from precomp.engine.shards.store import ShardedStore, ShardGroup
from precomp.engine.workers import Listed, for_each
from precomp.engine.write import ChunkWriter
from precomp.errors import TooLargeError
from precomp.grid import ChunkRef, Plan
from precomp.interfaces import Blob, Buffer, Compressor

__all__ = ["ShardWriter"]

_Pairs = list[tuple[int, ChunkRef]]


@attrs.frozen
class ShardWriter:
    """Writes the chunks of one sharded scale. Safe to share between threads.

    Each shard is read, changed and put back on the condition that nobody wrote it meanwhile. In memory are,
    for each shard in the works, its new chunks as they are stored, the old file and the new one; as many
    shards are in the works as there are workers, or as fit into memory (see ShardedStore.at_once).

    Attributes:
        chunks: encodes the chunks; its compression is that of the sharding.
        shards: where they go.
    """

    chunks: ChunkWriter
    shards: ShardedStore

    @property
    def compression(self) -> tuple[str, Compressor] | None:
        """How each chunk is compressed."""
        return self.chunks.compression

    @property
    def objects(self) -> Objects:
        """Where the chunks go."""
        return self.chunks.objects

    def compressed(self, data: Buffer) -> Blob:
        """Return the object that holds an encoded chunk."""
        return self.chunks.compressed(data)

    def write(
        self,
        plan: Plan,
        voxels: NDArray[Any],
        channels: slice | None,
        workers: int,
        tick: Callable[[int], object] | None = None,
    ) -> None:
        """Store `voxels`; everything as `ChunkWriter.write` does."""
        groups = Listed(self.shards.by_shard(plan))
        if self.chunks.fill is None and not (plan.whole and channels is None):
            for_each(groups, lambda: lambda group: self._require(group, channels), workers)
        anew = plan.whole and channels is None and len(plan) == self.shards.cells.count
        at_once = 1 if len(groups) < workers else self.shards.at_once([one.shard for one in groups], workers)
        helpers = workers // at_once

        def storer() -> Callable[[ShardGroup], None]:
            encoding, joining = Scratch(), Scratch()

            def store(group: ShardGroup) -> None:
                with self.shards.told(self.objects, [ref.key for ref in group.refs]):
                    self._store(group, voxels, channels, helpers, anew, encoding, joining)
                if tick is not None:
                    tick(len(group.refs))

            return store

        for_each(groups, storer, at_once)

    def _require(self, group: ShardGroup, channels: slice | None) -> None:
        for ref, stored in zip(group.refs, self.shards.stored_of(group).tolist(), strict=True):
            if not stored and (channels is not None or not ref.whole):
                raise self.chunks.missing(ref)

    def _store(
        self,
        group: ShardGroup,
        voxels: NDArray[Any],
        channels: slice | None,
        helpers: int,
        anew: bool,
        encoding: Scratch,
        joining: Scratch,
    ) -> None:
        whole = [pair for pair in group.pairs if pair[1].whole and channels is None]
        partly = [pair for pair in group.pairs if not (pair[1].whole and channels is None)]
        chosen = slice(None) if channels is None else channels
        try:
            layers, gone = self._encoded(whole, voxels, helpers, encoding)

            def edit(old: Parts, version: str | None) -> Edit:
                merged, removed = self._merged(partly, old, voxels, chosen, helpers)
                return Edit([*layers, *merged], gone | removed)

            rewrite(
                self.shards.reader,
                group.shard,
                edit,
                anew=anew,
                cache_control=self.chunks.cache_control,
                scratch=joining,
            )
        except TooLargeError:
            raise
        except MemoryError as error:
            raise self.chunks.too_large(group.refs[0]) from error
        finally:
            for ref in group.refs:
                self.chunks.reader.forget(ref)  # after a failure nobody knows what is stored

    def _encoded(
        self, whole: _Pairs, voxels: NDArray[Any], helpers: int, scratch: Scratch
    ) -> tuple[list[Parts], set[int]]:
        """What each thread has put together of the chunks that are written whole, and what is to go."""
        gathered: list[Gathered] = []
        gone: set[int] = set()
        expected = sum(self.chunks.reader.spec(ref).nbytes for _, ref in whole)
        expected = min(expected, 2 * expected // helpers)  # in each thread's memory
        form = self.shards.reader.form

        def encoder() -> Callable[[tuple[int, ChunkRef]], None]:
            own, room = Scratch(), scratch if helpers == 1 else Scratch()
            parts = Gathered(form, room, expected)
            gathered.append(parts)

            def encode(pair: tuple[int, ChunkRef]) -> None:
                number, ref = pair
                blob = self.chunks.encoded(ref, voxels[ref.target], own)
                if blob is None:
                    gone.add(number)
                else:
                    parts.put(number, blob.data)

            return encode

        if whole:
            for_each(Listed(whole), encoder, helpers)
        return [layer for parts in gathered if len((layer := parts.parts).contents.ids)], gone

    def _merged(
        self, partly: _Pairs, old: Parts, voxels: NDArray[Any], channels: slice, helpers: int
    ) -> tuple[list[Parts], set[int]]:
        """The chunks that are written in part, and what is to go."""
        new: dict[int, Buffer] = {}
        gone: set[int] = set()

        def merge(pair: tuple[int, ChunkRef]) -> None:
            number, ref = pair
            data = old.get(number)
            before = None if data is None else Blob(data, self.shards.packed)
            after = self.chunks.merged(ref, before, voxels[ref.target], channels, True)
            if after is None:
                gone.add(number)
            else:
                new[number] = after.data

        for_each(Listed(partly), lambda: merge, helpers)
        return Parts.each(new), gone
