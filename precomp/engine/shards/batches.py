"""Chunks of a sharded scale: those that lie close are read at once."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from precomp.engine.paste import Paste
from precomp.engine.read import ChunkReader
from precomp.engine.scratch import Scratch
from precomp.engine.shards.ids import by_value
from precomp.engine.shards.looks import again_and_again, runs
from precomp.engine.shards.reader import Minishard, proven
from precomp.engine.shards.store import ShardedStore, ShardGroup
from precomp.engine.shards.windows import WindowReader
from precomp.engine.takers import Taker
from precomp.engine.workers import Listed, Parts, for_each
from precomp.grid import ChunkRef

__all__ = ["BatchReader"]

Tick: TypeAlias = Callable[[int], object]
_Place: TypeAlias = tuple[int, int, tuple[ChunkRef, Minishard]]  # where a chunk begins and ends

_PARTS = 32  # chunks of which parts are read with one look at the index
_FEW = 16  # chunks for which arrays cost more than they bring
_AT_ONCE = 2**15  # chunks that are looked up before any of them is read
_RUNS_EACH = 4  # at least for each thread: the last one of them is not to be waited for long
_RUN_NEAR, _RUN_FAR = 2**20, 2**23  # bytes; what is near stays in the processor's cache until it is decoded


class _Run(NamedTuple):
    """Chunks of one shard that are read at once.

    Attributes:
        shard: its number.
        start: where the first begins.
        stop: where the last ends.
        chunks: in the order of their places.
        in_parts: whether parts of them are to be read, and not all from `start` to `stop`.
    """

    shard: int
    start: int
    stop: int
    chunks: list[_Place]
    in_parts: bool = False


class BatchReader:
    """Reads chunks of one sharded scale. Safe to share between threads."""

    def __init__(self, chunks: ChunkReader, store: ShardedStore) -> None:
        self._chunks, self._store, self._shards = chunks, store, store.reader
        self._longest = _RUN_NEAR if store.is_near else _RUN_FAR
        self._in_parts = store.is_near and store.packed is None and chunks.decoder.placed

    def suits(self, plan: Parts[ChunkRef]) -> bool:
        """Whether this is the way to read these chunks; else they are better read one by one."""
        return len(plan) > 1 and not self._chunks.keeps

    def read(self, plan: Parts[ChunkRef], taker: Taker, workers: int, tick: Tick | None) -> None:
        """Give each chunk of `plan` to `taker`. Raises as the function of ChunkReader.paster."""
        in_parts = self._in_parts and isinstance(taker, Paste)
        for start in range(0, len(plan), _AT_ONCE):
            places = self._regions(start, min(start + _AT_ONCE, len(plan)), workers)
            groups = [group for place in places for group in self._store.by_shard(plan, *place)]
            found: list[_Run] = []

            def look_up(group: ShardGroup, found: list[_Run] = found) -> None:
                found.extend(self._look_up(group, taker, tick, in_parts))

            if self._store.is_near:
                for group in groups:
                    look_up(group)
            else:
                for_each(Listed(groups), lambda: look_up, workers, reads=True)
                found.sort(key=lambda run: run[:2])
            if self._store.is_near and workers > 1:
                found = _shared(found, workers)
            for_each(Listed(found), lambda: self._reading(taker, tick), workers, reads=True)

    def _regions(self, start: int, stop: int, workers: int) -> list[tuple[int, int]]:
        """Cut chunks of a plan into one region for each thread, see precomp.engine.workers.

        In a shard chunks of all regions may lie in turns. For a far one it is better to read them so.
        """
        count = max(1, min(workers, (stop - start) // _FEW)) if self._store.is_near else 1
        return list(itertools.pairwise(start + (stop - start) * at // count for at in range(count + 1)))

    def _look_up(self, group: ShardGroup, taker: Taker, tick: Tick | None, in_parts: bool) -> Iterator[_Run]:
        """Find the chunks of one shard; what is missing is told at once."""
        places = self._known(group) if len(group.refs) <= _FEW else None
        if places is None:
            places = self._found(group, taker, tick)
        places.sort(key=lambda place: place[:2])
        if in_parts:
            firsts = range(0, len(places), _PARTS)
            return (_Run(group.shard, 0, 0, places[at : at + _PARTS], True) for at in firsts)
        return (_Run(group.shard, *run) for run in runs(places, self._shards.gap, self._longest))

    def _found(self, group: ShardGroup, taker: Taker, tick: Tick | None) -> list[_Place]:
        """Where the chunks are; `taker` is told of those that certainly are not stored."""
        places: list[_Place] = []
        missing = 0
        for index, chosen in self._indices(group):
            ids = group.ids[chosen]
            none = np.zeros(len(ids), bool)
            found, starts, stops = (none, ids, ids) if index is None else index.contents.places(ids)
            for at, there, start, stop in zip(
                chosen.tolist(), found.tolist(), starts.tolist(), stops.tolist(), strict=True
            ):
                ref = group.refs[at]
                if there and index is not None:
                    places.append((start, stop, (ref, index)))
                else:
                    missing += 1
                    taker.missing(ref)
        if missing and tick is not None:
            tick(missing)
        return places

    def _known(self, group: ShardGroup) -> list[_Place] | None:
        """Where few chunks are, by indices in memory; None where those do not tell of all of them."""
        locate, places = self._shards.form.locator.locate, list[_Place]()
        for number, ref in zip(group.ids.tolist(), group.refs, strict=True):
            index = self._shards.kept(*locate(number))
            place = None if index is None else index.contents.place(number)
            if index is None or place is None:
                return None
            places.append((*place, (ref, index)))
        return places

    def _indices(self, group: ShardGroup) -> Iterator[tuple[Minishard | None, NDArray[np.intp]]]:
        """Yield each minishard's index with its chunks; one that lacks any of them is as it is now."""
        wanted = by_value(self._shards.form.locator.locate_all(group.ids)[1])
        known: dict[int, Minishard] = {}
        for minishard, chosen in wanted:
            index = self._shards.kept(group.shard, minishard)
            if index is None:
                continue
            complete = bool(index.contents.places(group.ids[chosen])[0].all())
            if complete or self._shards.files.confirm(index.file, index.proofs):
                known[minishard] = index
            else:
                self._shards.forget(group.shard, minishard)
        rest = [minishard for minishard, _ in wanted if minishard not in known]
        if rest:
            known |= self._shards.load(group.shard, rest)
        return ((known.get(minishard), chosen) for minishard, chosen in wanted)

    def _reading(self, taker: Taker, tick: Tick | None) -> Callable[[_Run], None]:
        """Return a function, for one thread, that reads a run and gives its chunks away."""
        scratch, windows = Scratch(), None
        if isinstance(taker, Paste):
            windows = WindowReader(self._chunks, self._shards.files, scratch, taker.out, taker.channels)

        def read(run: _Run) -> None:
            queue = [run]

            def look() -> bool | None:
                again: list[_Run] = []
                for one in queue:
                    if one.in_parts and windows is not None:
                        done = windows.paste(one.chunks)
                    else:
                        done = self._given(one, scratch, taker)
                    if done and tick is not None:
                        tick(len(one.chunks))
                    if not done:  # the shard was replaced, most likely: look where the chunks are now
                        again += self._look_up(self._forgotten(one), taker, tick, False)
                queue[:] = again
                return True if not again else None

            again_and_again(look, lambda: self._shards.objects.where(self._shards.key(run.shard)))

        return read

    def _forgotten(self, run: _Run) -> ShardGroup:
        refs = [ref for _, _, (ref, _) in run.chunks]
        ids = self._store.cells.ids_of(ref.key for ref in refs)
        for number in ids.tolist():
            self._shards.forget(*self._shards.form.locator.locate(number))
        return ShardGroup(run.shard, ids, refs)

    def _given(self, run: _Run, scratch: Scratch, taker: Taker) -> bool:
        """Read a run and give its chunks away; False where the shard is not what it was."""
        start, stop, places = run.start, run.stop, run.chunks
        for low, high, (ref, _) in places:
            self._check_size(ref, high - low)
        indices = proven(index for _, _, (_, index) in places)
        if indices is None:
            return False
        file, proofs = indices
        memory = scratch.take(stop - start, start) if self._store.is_near else None
        data = self._shards.files.part(file, proofs, start, stop, memory)
        if data is None:
            return False
        view = memoryview(data)
        for low, high, (ref, index) in places:
            blob = self._shards.blob(index, view[low - start : high - start], high - low)
            taker.blob(ref, blob)
        return True

    def _check_size(self, ref: ChunkRef, size: int) -> None:
        most = 2 * self._chunks.limit(ref) + 2**16
        if size > most:
            wrong = ValueError(f"found {size} bytes, more than any such chunk has")
            raise self._chunks.decoder.damaged(ref.key, self._chunks.spec(ref), wrong) from wrong


def _shared(runs: list[_Run], workers: int) -> list[_Run]:
    """Cut runs that are too long for all threads to have work."""
    most = max(1, sum(len(run.chunks) for run in runs) // (workers * _RUNS_EACH))
    return [part for run in runs for part in _parts(run, most)]


def _parts(run: _Run, most: int) -> Iterator[_Run]:
    if run.in_parts or len(run.chunks) <= most:
        yield run
        return
    for at in range(0, len(run.chunks), most):
        chunks = run.chunks[at : at + most]
        yield _Run(run.shard, chunks[0][0], max(stop for _, stop, _ in chunks), chunks)
