"""Chunks of shards by their ids: bytes, of whatever they are."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from precomp.engine.cache import RecentlyUsed
from precomp.engine.objects import Objects
from precomp.engine.shards.files import File, Files, Proof
from precomp.engine.shards.ids import Ids
from precomp.engine.shards.index import Contents, Format
from precomp.engine.shards.looks import again_and_again, cut, runs
from precomp.interfaces import Blob, Buffer, ByteRange

__all__ = ["INDEX_BYTES", "IndexCache", "Minishard", "ShardReader", "proven"]

INDEX_BYTES = 2**26
"""How many bytes of indices a volume keeps in memory."""

_PAGE = 2**12  # minishards of which a shard's index is read at once
_GAP_NEAR, _GAP_FAR = 2**14, 2**18  # bytes between two parts that are rather read along than left out
_LARGEST_RUN = 2**23


class Minishard(NamedTuple):
    """The index of a minishard as it was read.

    Attributes:
        file: that the chunks are in.
        proofs: bytes that must still be there for this to be true.
        contents: of the minishard.
    """

    file: File
    proofs: tuple[Proof, ...]
    contents: Contents

    @property
    def nbytes(self) -> int:
        """Memory that it takes, or a little more."""
        return 1000 + 24 * len(self.contents.ids) + sum(len(proof.data) for proof in self.proofs)


class _Page(NamedTuple):
    """A part of a shard's own index.

    Attributes:
        file: with the chunks.
        base: what offsets count from in it.
        key: of the file with the index.
        first: the first minishard that it tells of.
        data: the bytes.
    """

    file: File
    base: int
    key: str
    first: int
    data: bytes

    @property
    def nbytes(self) -> int:
        """Memory that it takes, or a little more."""
        return 500 + len(self.data)

    def proof(self, first: int, last: int) -> Proof:
        """The numbers of minishards `first` to `last`."""
        at = 16 * (first - self.first)
        return Proof(self.key, 16 * first, self.data[at : at + 16 * (last - first + 1)])


IndexCache = RecentlyUsed[Minishard | _Page]


class ShardReader:
    """Reads the chunks of the shards in one folder. Safe to share between threads.

    Args:
        objects: where the files are.
        folder: of the files in it, without a final slash; '' for its top.
        form: of the shards.
        cache: for their indices; may be shared with other folders.
    """

    def __init__(self, objects: Objects, folder: str, form: Format, cache: IndexCache) -> None:
        self.objects, self.form, self.files = objects, form, Files(objects)
        self.gap = _GAP_NEAR if self.files.are_near else _GAP_FAR
        self._prefix = f"{folder}/" if folder else ""
        # With all that the meaning of an index depends on, for infos may be edited.
        self.cache, self._scope = cache, f"{objects.place}\n{folder}\n{form.locator.spec}\n{form.most}"

    def key(self, shard: int, suffix: str = ".shard") -> str:
        """Return the key of a shard's file."""
        return f"{self._prefix}{self.form.locator.name(shard)}{suffix}"

    def get(self, number: int, byte_range: ByteRange | None = None, most: int | None = None) -> Blob | None:
        """Return a chunk, or a part of it, as it is stored; None where there is none.

        `size` is the chunk's, `version` that of the shard. Raises ChunkDecodeError where an index is damaged
        or tells of more than `most` bytes, and StoreError.
        """

        def look() -> tuple[Blob | None] | None:
            found = self.find(number)
            if found is None:
                return (None,)
            minishard, start, stop = found
            low, high = (start, stop) if byte_range is None else cut(byte_range, start, stop)
            if most is not None and high - low > most:
                what = f"expected at most {most} bytes, found {high - low}"
                raise self.form.damaged(self.where(number), None, what)
            data = self.files.part(minishard.file, minishard.proofs, low, high)
            if data is None:
                self.forget(*self.form.locator.locate(number))
                return None
            return (self.blob(minishard, data, stop - start),)

        return again_and_again(look, lambda: self.where(number))[0]

    def blob(self, minishard: Minishard, data: Buffer, size: int) -> Blob:
        """Return the bytes of a chunk with what is known of them; `size` is that of the whole chunk."""
        packed = "gzip" if self.form.locator.spec.data_encoding == "gzip" else None
        return Blob(data, packed, version=minishard.file.version, size=size)

    def find(self, number: int, *, fresh: bool = False) -> tuple[Minishard, int, int] | None:
        """Return where a chunk is, or was when its index was read; None where there certainly is none.

        `fresh`: do not use what is in memory.
        """
        shard, minishard = self.form.locator.locate(number)

        def look() -> tuple[tuple[Minishard, int, int] | None] | None:
            kept = None if fresh else self.kept(shard, minishard)
            found = self.load(shard, [minishard], fresh=fresh).get(minishard) if kept is None else kept
            place = None if found is None else found.contents.place(number)
            if found is not None and place is not None:
                return ((found, *place),)
            if kept is not None and not self.files.confirm(kept.file, kept.proofs):
                self.forget(shard, minishard)
                return None
            return (None,)

        return again_and_again(look, lambda: self.where(number))[0]

    def where(self, number: int) -> str:
        """Name a chunk's id, minishard and shard, for errors."""
        shard, minishard = self.form.locator.locate(number)
        return f"chunk id {number}, minishard {minishard} of {self.objects.where(self.key(shard))}"

    def kept(self, shard: int, minishard: int) -> Minishard | None:
        """Return the index of a minishard that is in memory, be it true or not."""
        found = self.cache.get((self._scope, shard, minishard))
        assert not isinstance(found, _Page)
        return found

    def forget(self, shard: int, minishard: int) -> None:
        """Drop what is in memory of a minishard."""
        self.cache.drop((self._scope, shard, minishard))
        self.cache.drop((self._scope, shard, "page", minishard // _PAGE))

    def load(self, shard: int, minishards: Iterable[int], *, fresh: bool = False) -> dict[int, Minishard]:
        """Read indices of minishards and keep them; all of them are of one version of the shard.

        Of a minishard that has no chunks it is empty. Nothing is returned where there is no such shard.
        """
        wanted = sorted(set(minishards))
        if fresh:
            for minishard in wanted:
                self.forget(shard, minishard)

        def look() -> dict[int, Minishard] | None:
            found: dict[int, Minishard] = {}
            for first in sorted({minishard // _PAGE for minishard in wanted}):
                page = self._page(shard, first)
                if page is None:
                    return {}
                chosen = [minishard for minishard in wanted if minishard // _PAGE == first]
                some = self._indices(shard, page, chosen)
                if some is None or any(known.file != page.file for known in found.values()):
                    for minishard in wanted:
                        self.forget(shard, minishard)
                    return None
                found |= some
            return found

        found = again_and_again(look, lambda: self.objects.where(self.key(shard)))
        for minishard, index in found.items():
            self.cache.put((self._scope, shard, minishard), index)
        return found

    def ids_in(self, shard: int) -> Ids:
        """Return the ids of all chunks of a shard as it is now, in no order."""
        found = [np.zeros(0, np.uint64)]
        for number in range(-(-self.form.locator.minishards // _PAGE)):
            self.forget(shard, number * _PAGE)
            page = self._page(shard, number)
            if page is None:
                break
            pairs = np.frombuffer(page.data, "<u8").reshape(-1, 2)
            there = page.first + np.flatnonzero(pairs[:, 0] != pairs[:, 1])
            if len(there):
                found += (one.contents.ids for one in self.load(shard, there.tolist(), fresh=True).values())
        return np.concatenate(found)

    def _page(self, shard: int, number: int) -> _Page | None:
        """A part of the shard's own index; None where there is no such shard."""
        name = (self._scope, shard, "page", number)
        kept = self.cache.get(name)
        if isinstance(kept, _Page):
            return kept
        length = self.form.locator.index_length
        start, stop = 16 * _PAGE * number, min(16 * _PAGE * (number + 1), length)
        page = self._page_of(shard, self.key(shard), start, stop)
        if page is None:  # each of them, as a folder may have some in either form
            page = self._page_of(shard, self.key(shard, ".index"), start, stop)
        if page is not None:
            self.cache.put(name, page)
        return page

    def _page_of(self, shard: int, key: str, start: int, stop: int) -> _Page | None:
        blob = self.files.get(key, start, stop)
        if blob is None:
            return None
        where, length = self.objects.where(key), self.form.locator.index_length
        if blob.content_encoding is not None:
            raise self.form.damaged(
                where,
                None,
                f"expected a plain file, found {blob.content_encoding}: shards are not compressed",
            )
        data = bytes(blob.data)
        if len(data) < stop - start or (blob.size is not None and blob.size < length):
            raise self.form.damaged(
                where, None, f"expected an index of {length} bytes, found a file of {blob.size}"
            )
        file = File(key, blob.size, blob.version)
        if not key.endswith(".index"):
            return _Page(file, length, key, start // 16, data)
        data_key = self.key(shard, ".data")
        there = self.objects.store.stat(data_key)
        if there is None:
            raise self.form.damaged(where, None, f"expected its chunks in {data_key}, found no such file")
        return _Page(File(data_key, there.size, there.version), 0, key, start // 16, data)

    def _indices(self, shard: int, page: _Page, minishards: Sequence[int]) -> dict[int, Minishard] | None:
        """The indices of minishards of one page; None where the shard is not what it was."""
        where = self.objects.where(page.file.key)
        found, spans = {}, []
        # Also of those that are empty: the page may be an old one.
        all_told = [page.proof(minishards[0], minishards[-1])]
        for minishard in minishards:
            proof = page.proof(minishard, minishard)
            span = self.form.span(where, minishard, proof.data, page.base, page.file.size)
            if span is None:
                found[minishard] = Minishard(page.file, (proof,), Contents.none())
            else:
                spans.append((*span, minishard))
        for start, stop, group in runs(sorted(spans), self.gap, _LARGEST_RUN):
            data = self.files.part(page.file, all_told, start, stop)
            if data is None:
                return None
            memory = memoryview(data)
            for low, high, minishard in group:
                stored = bytes(memory[low - start : high - start])
                contents = self.form.contents(where, shard, minishard, stored, page.base, page.file.size)
                proofs = (page.proof(minishard, minishard), Proof(page.file.key, low, stored))
                found[minishard] = Minishard(page.file, proofs, contents)
        if not spans and not self.files.confirm(page.file, all_told):
            return None
        return found


def proven(indices: Iterable[Minishard]) -> tuple[File, list[Proof]] | None:
    """Return the file that these indices are of and what proves them; None where they are of several."""
    different = {id(index): index for index in indices}.values()
    file = next(iter(different)).file
    if any(index.file != file for index in different):
        return None
    return file, [proof for index in different for proof in index.proofs]
