"""A sharded scale as a store of chunks under their ordinary keys."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.engine.objects import Objects
from precomp.engine.shards.build import Parts
from precomp.engine.shards.cells import Cells
from precomp.engine.shards.ids import Ids, by_value
from precomp.engine.shards.index import Format
from precomp.engine.shards.reader import IndexCache, ShardReader
from precomp.engine.shards.rewrite import Edit, rewrite
from precomp.engine.workers import Parts as Chunks
from precomp.errors import ConditionFailedError
from precomp.grid import ChunkRef
from precomp.interfaces import Blob, Buffer, ByteRange, Condition, Modify, Stat

__all__ = ["ShardGroup", "ShardedStore"]

_FEW = 64  # chunks
_MOST_MEMORY = (
    2**32
)  # bytes that shards in the works may take together, where a single one does not take more
_COPIES = 3  # of a shard in the works: the new chunks, the old file, the new one


class ShardGroup(NamedTuple):
    """Chunks of one shard, by ascending id.

    Attributes:
        shard: its number.
        ids: of the chunks.
        refs: the chunks.
    """

    shard: int
    ids: Ids
    refs: list[ChunkRef]

    @property
    def pairs(self) -> list[tuple[int, ChunkRef]]:
        """The chunks with their ids."""
        return list(zip(self.ids.tolist(), self.refs, strict=True))


class ShardedStore:
    """The chunks of one sharded scale, each under the key that it would have unsharded.

    A chunk's version is that of its shard. Each put, update and deletion reads and writes a whole shard: who
    has several chunks to write uses `put_all`, by shards. Safe to share between threads.

    Args:
        objects: of the store with the shards.
        form: of the shards.
        cells: the chunks of the scale.
        cache: for indices.
        limit: bytes that a chunk can have once decompressed.

    Attributes:
        reader: of the shards.
        cells: as given.
    """

    def __init__(self, objects: Objects, form: Format, cells: Cells, cache: IndexCache, limit: int) -> None:
        self.reader = ShardReader(objects, cells.grid.folder, form, cache)
        self.cells, self._limit, self._objects = cells, limit, objects
        self._packed = form.locator.spec.data_encoding == "gzip"
        # On the instance, for others have to tell what the store can do.
        if self.reader.files.are_near and not self._packed:
            self.read_into = self._read_into
        workers: int | None = getattr(objects.store, "workers", None)
        if workers is not None:
            self.workers: int = workers

    @property
    def is_near(self) -> bool:
        """True where a request costs next to nothing, as on a local disk."""
        return self.reader.files.are_near

    @property
    def packed(self) -> str | None:
        """How each chunk is compressed, a Content-Encoding token."""
        return "gzip" if self._packed else None

    @property
    def block(self) -> tuple[int, int, int]:
        """How many chunks along x, y, z lie in one shard; 1 where a hash spreads them."""
        spec = self.reader.form.locator.spec
        if spec.hash != "identity":
            return 1, 1, 1
        return self.cells.code.block(spec.preshift_bits + spec.minishard_bits)

    @staticmethod
    def told(objects: Objects, keys: Iterable[str]) -> AbstractContextManager[None]:
        """Hold while chunks are written past `objects`: tells a cache on the local disk, if that is one."""
        writing = getattr(objects.store, "writing", None)
        told: AbstractContextManager[None] = nullcontext() if writing is None else writing(keys)
        return told

    def within(self, key: str) -> str:
        """Name a chunk's shard and minishard, for errors."""
        number = self.cells.id_of(key)
        shard, minishard = self.reader.form.locator.locate(number)
        return f"chunk id {number}, minishard {minishard} of {self.reader.key(shard)}"

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return a chunk as stored or a part of it; None means absent."""
        return self.reader.get(self.cells.id_of(key), byte_range, 2 * self._limit + 2**16)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts of a chunk, all of one version; None means absent."""
        first = min(part.start for part in ranges)
        blob = self.get(key, ByteRange(first, max(part.stop for part in ranges)))
        if blob is None:
            return None
        data = memoryview(blob.data)
        return [blob._replace(data=data[start - first : max(start, stop) - first]) for start, stop in ranges]

    def _read_into(self, key: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        number = self.cells.id_of(key)
        found = self.reader.find(number)
        if found is None:
            return False
        minishard, start, stop = found
        if stop - start != size:
            return False
        return self.reader.files.parts_into(
            minishard.file, minishard.proofs, [(start + offset, memory) for offset, memory in parts]
        )

    def by_shard(self, plan: Chunks[ChunkRef], start: int = 0, stop: int | None = None) -> list[ShardGroup]:
        """Return the chunks number `start` to `stop` (exclusive) of a plan, by shards."""
        refs = list(plan.refs(start, stop))
        if len(refs) <= _FEW:
            return self._few_by_shard(refs)
        ids = self.cells.ids_of(ref.key for ref in refs)
        order = ids.argsort()
        return [
            ShardGroup(shard, ids[chosen], [refs[at] for at in chosen.tolist()])
            for shard, places in by_value(self.reader.form.locator.locate_all(ids[order])[0])
            for chosen in [order[places]]
        ]

    def _few_by_shard(self, refs: Sequence[ChunkRef]) -> list[ShardGroup]:
        """The same for so few that arrays cost more than they bring."""
        locate, groups = self.reader.form.locator.locate, dict[int, list[tuple[int, ChunkRef]]]()
        for ref in refs:
            number = self.cells.id_of(ref.key)
            groups.setdefault(locate(number)[0], []).append((number, ref))
        found = []
        for shard, pairs in groups.items():
            pairs.sort(key=itemgetter(0))
            ids = np.array([number for number, _ in pairs], np.uint64)
            found.append(ShardGroup(shard, ids, [ref for _, ref in pairs]))
        return found

    def at_once(self, shards: Sequence[int], workers: int, new: int = 0) -> int:
        """How many of these shards `workers` threads may have in the works, for all to fit into memory.

        `new`: bytes of the new chunks of one, where those are not in memory already.
        """
        if min(len(shards), workers) < 2:
            return 1
        sampled = {shards[0], shards[len(shards) // 2], shards[-1]}
        stats = [self._objects.store.stat(self.reader.key(shard)) for shard in sampled]
        largest = max((stat.size or 0 for stat in stats if stat is not None), default=0)
        each = max(_COPIES * max(largest, new), 1)
        return max(1, min(workers, _MOST_MEMORY // each))

    def stored_of(self, group: ShardGroup) -> NDArray[np.bool_]:
        """Tell which chunks of a group are stored, as it is now."""
        stored = np.zeros(len(group.ids), bool)
        minishards = by_value(self.reader.form.locator.locate_all(group.ids)[1])
        found = self.reader.load(group.shard, [minishard for minishard, _ in minishards], fresh=True)
        for minishard, chosen in minishards:
            if minishard in found:
                stored[chosen] = found[minishard].contents.places(group.ids[chosen])[0]
        return stored

    def stat(self, key: str) -> Stat | None:
        """Return a chunk's size, its shard's version and the encoding, as they are now; None means absent."""
        found = self.reader.find(self.cells.id_of(key), fresh=True)
        if found is None:
            return None
        minishard, start, stop = found
        return Stat(stop - start, minishard.file.version, self.packed)

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> None:
        """Store a chunk. The result is None: a version that is known early may be another's already."""
        number = self.cells.id_of(key)

        def edit(old: Parts, version: str | None) -> Edit:
            if condition is not None:
                _check(key, condition, old.contents.place(number) is not None, version)
            return Edit(Parts.each({number: self.stored(key, blob)}))

        self._rewrite(number, edit, blob.cache_control)

    def update(self, key: str, modify: Modify) -> None:
        """Replace a chunk by `modify(chunk)` such that no concurrent update is lost."""
        number = self.cells.id_of(key)

        def edit(old: Parts, version: str | None) -> Edit:
            data = old.get(number)
            after = modify(None if data is None else Blob(data, self.packed, version=version))
            if after is None:
                return Edit((), [number])
            return Edit(Parts.each({number: self.stored(key, after)}))

        self._rewrite(number, edit, None)

    def _rewrite(self, number: int, edit: Any, cache_control: str | None) -> None:
        shard, _ = self.reader.form.locator.locate(number)
        rewrite(self.reader, shard, edit, cache_control=cache_control)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove chunks; absent ones are fine."""
        shards: dict[int, list[int]] = {}
        for key in keys:
            number = self.cells.id_of(key)
            shards.setdefault(self.reader.form.locator.locate(number)[0], []).append(number)
        for shard, numbers in shards.items():
            self.remove(shard, numbers)

    def remove(self, shard: int, numbers: Sequence[int]) -> None:
        """Remove chunks of one shard."""
        rewrite(self.reader, shard, lambda old, version: Edit((), set(numbers)))

    def put_all(
        self, shard: int, chunks: Mapping[str, Blob | None], cache_control: str | None = None
    ) -> None:
        """Store chunks of one shard at once; None removes one."""
        new = {
            self.cells.id_of(key): self.stored(key, blob) for key, blob in chunks.items() if blob is not None
        }
        gone = {self.cells.id_of(key) for key, blob in chunks.items() if blob is None}
        edit = Edit(Parts.each(new), gone)
        rewrite(self.reader, shard, lambda old, version: edit, cache_control=cache_control)

    def stored(self, key: str, blob: Blob) -> Buffer:
        """Return a chunk's bytes as they are stored in a shard."""
        if blob.content_encoding == self.packed:
            return blob.data
        plain = self._objects.plain(key, blob, self._limit)
        return self._objects.compressor("gzip").compress(plain) if self._packed else plain

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys of the chunks that are stored and start with `prefix`."""
        folder = f"{self.cells.grid.folder}/"
        for key in self._objects.store.list(folder):
            name, dot, suffix = key[len(folder) :].rpartition(".")
            shard = _number(name) if suffix in ("shard", "index") and dot else None
            if shard is not None and self.reader.form.locator.name(shard) == name:
                chunks = self.cells.keys_of(self.reader.ids_in(shard))
                yield from (chunk for chunk in chunks if chunk.startswith(prefix))


def _number(name: str) -> int | None:
    try:
        return int(name, 16)
    except ValueError:
        return None


def _check(key: str, condition: Condition, there: bool, version: str | None) -> None:
    if condition.version is None and there:
        raise ConditionFailedError(f"{key}: expected no chunk, found one; nothing was written")
    if condition.version is not None and (not there or condition.version != version):
        raise ConditionFailedError(
            f"{key}: expected a chunk in version {condition.version} of its shard, found version {version}; "
            "nothing was written, read it again"
        )
