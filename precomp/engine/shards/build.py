"""Shards as a whole: taken apart without a copy, joined with others, and put together.

A shard made here is its index, then the chunks by ascending id, whatever their minishards, so that neighbours
lie together; then the indices of the minishards, so that they can be fetched at once.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from precomp.engine.scratch import Scratch
from precomp.engine.shards.ids import by_value
from precomp.engine.shards.index import Contents, Format
from precomp.errors import UnsupportedError
from precomp.interfaces import Buffer

__all__ = ["Gathered", "Parts", "build", "finish", "join", "take_apart"]

LARGEST_INDEX = 2**28
"""Bytes of a shard's own index that are read or made as a whole."""


class Parts(NamedTuple):
    """Chunks and the memory they lie in.

    Attributes:
        data: the memory.
        contents: where they lie in it.
        owner: whose the memory is; while it lives nobody else uses it.
    """

    data: memoryview
    contents: Contents
    owner: Scratch | None = None

    @classmethod
    def each(cls, chunks: Mapping[int, Buffer]) -> "list[Parts]":
        """Take chunks by id, each with the memory it lies in, which is not copied."""
        found, start = [], np.zeros(1, np.uint64)
        for number, data in chunks.items():
            memory = memoryview(data).cast("B")
            ids, stops = np.array([[number], [memory.nbytes]], np.uint64)
            found.append(cls(memory, Contents(ids, start, stops)))
        return found

    def get(self, number: int) -> memoryview | None:
        """Return the bytes of a chunk; None where it is not there."""
        place = self.contents.place(number)
        return None if place is None else self.data[place[0] : place[1]]


def check_size(form: Format, place: str) -> None:
    """Raise UnsupportedError where shards have so large an index that they cannot be written."""
    if form.locator.index_length > LARGEST_INDEX:
        raise UnsupportedError(
            f"{place}: each shard begins with an index of 2**{form.locator.spec.minishard_bits} minishards, "
            f"{form.locator.index_length:,} bytes, which this version reads but does not write; choose fewer "
            "minishard_bits"
        )


def take_apart(form: Format, shard: str, number: int, data: Buffer) -> Parts:
    """Return the chunks of a shard, views of `data`. Raises ChunkDecodeError, naming `shard`."""
    memory = memoryview(data).cast("B")
    first, size = form.locator.index_length, memory.nbytes
    if size < first:
        raise form.damaged(shard, None, f"expected an index of {first} bytes, found a file of {size}")
    table = np.frombuffer(memory, "<u8", 2 * form.locator.minishards).reshape(-1, 2)
    found: list[Contents] = []
    for minishard in np.flatnonzero(table[:, 0] != table[:, 1]).tolist():
        span = form.span(
            shard, minishard, memory[16 * minishard : 16 * minishard + 16].tobytes(), first, size
        )
        assert span is not None
        stored = memory[span[0] : span[1]]
        found.append(form.contents(shard, number, minishard, stored, first, size))
    if not found:
        return Parts(memory, Contents.none())
    ids, starts, stops = (np.concatenate(column) for column in zip(*found, strict=True))
    order = ids.argsort()
    return Parts(memory, Contents(ids[order], starts[order], stops[order]))


class Gathered:
    """Memory that chunks are put into one after the other, by ascending id, with room for a shard's index."""

    def __init__(self, form: Format, scratch: Scratch, expected: int) -> None:
        """`expected` bytes will do for most; more are found when they are needed."""
        self._scratch = scratch
        self._end = form.locator.index_length
        self._memory = scratch.take(self._end + expected + 2**16)
        self._ids: list[int] = []
        self._starts: list[int] = []
        self._stops: list[int] = []

    def room(self, size: int) -> memoryview:
        """Return memory for the next chunk, which is not there before `add`."""
        if self._end + size > len(self._memory):
            self._memory = _larger(self._memory, self._end, self._end + size)
        return self._memory[self._end : self._end + size]

    def add(self, number: int, size: int) -> None:
        """Take what was put into the `room` for a chunk."""
        self._ids.append(number)
        self._starts.append(self._end)
        self._end += size
        self._stops.append(self._end)

    def put(self, number: int, data: Buffer) -> None:
        """Take a copy of a chunk."""
        size = memoryview(data).nbytes
        self.room(size)[:] = data
        self.add(number, size)

    @property
    def parts(self) -> Parts:
        """What is there."""
        columns = (np.array(column, np.uint64) for column in (self._ids, self._starts, self._stops))
        return Parts(self._memory, Contents(*columns), self._scratch)


def _larger(memory: memoryview, used: int, needed: int) -> memoryview:
    new = np.empty(2 * needed, np.uint8).data
    new[:used] = memory[:used]
    return new


def join(form: Format, layers: Iterable[Parts], removed: Iterable[int], scratch: Scratch) -> Parts:
    """Return the chunks of all layers, those of a later one instead of the same of an earlier one."""
    listed = list(layers)
    ids = np.concatenate([layer.contents.ids for layer in listed])
    source = np.repeat(np.arange(len(listed)), [len(layer.contents.ids) for layer in listed])
    starts = np.concatenate([layer.contents.starts for layer in listed])
    sizes = np.concatenate([layer.contents.stops for layer in listed]) - starts
    order = np.lexsort((source, ids))
    last = np.ones(len(order), bool)
    last[:-1] = ids[order][1:] != ids[order][:-1]
    order = order[last]
    gone = np.fromiter(removed, np.uint64)
    if len(gone):
        order = order[~np.isin(ids[order], gone)]
    begin = form.locator.index_length
    stops = begin + np.cumsum(sizes[order], dtype=np.uint64)
    new = Contents(ids[order], stops - sizes[order], stops)
    end = int(stops[-1]) if len(stops) else begin
    memory = scratch.take(end + _index_room(form, new))
    place = begin
    for layer, start, size in zip(
        source[order].tolist(), starts[order].tolist(), sizes[order].tolist(), strict=True
    ):
        memory[place : place + size] = listed[layer].data[start : start + size]
        place += size
    return Parts(memory, new, scratch)


def _index_room(form: Format, contents: Contents) -> int:
    return 2**16 + 24 * len(contents.ids) + 64 * min(form.locator.minishards, len(contents.ids))


def finish(form: Format, parts: Parts) -> memoryview:
    """Return the shard whose chunks lie in memory already, behind the room for its index.

    It is in the same memory, where that has room for the rest.
    """
    memory, contents, _ = parts
    base = form.locator.index_length
    end = int(contents.stops[-1]) if len(contents.ids) else base
    table = np.zeros((form.locator.minishards, 2), "<u8")
    indices: list[Buffer] = []
    stop = end
    for minishard, chosen in by_value(form.locator.locate_all(contents.ids)[1]):
        stored = form.packed(Contents(*(column[chosen] for column in contents)), base)
        table[minishard] = stop - base, stop - base + len(stored)
        indices.append(stored)
        stop += len(stored)
    if stop > len(memory):
        memory = _larger(memory, end, stop)
    memory[:base] = table.tobytes()
    memory[end:stop] = b"".join(indices)
    return memory[:stop]


def build(form: Format, chunks: Mapping[int, Buffer]) -> bytes:
    """Return the shard that holds these chunks, already encoded as the sharding wants them."""
    nothing = Parts(memoryview(b""), Contents.none())
    return bytes(finish(form, join(form, [nothing, *Parts.each(chunks)], (), Scratch())))
