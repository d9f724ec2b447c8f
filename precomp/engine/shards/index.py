"""The two indices of a shard, taken apart with every check, and made.

A shard begins with pairs of little-endian u64, start and end of each minishard's index; both count from the
end of these pairs, and equal ones mean that there is none. A minishard index, raw or gzip, is u64 [3, n] in C
order: ids, each less the one before; starts, each less the end of the chunk before; sizes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.engine.shards.ids import Ids, Locator
from precomp.errors import ChunkDecodeError
from precomp.interfaces import Buffer, Compressor

__all__ = ["MOST_CHUNKS", "Contents", "Format", "entry_of", "index_bytes"]

MOST_CHUNKS = 2**23
"""Of one minishard; an index of more is something else, and is not worth its memory."""

_ENTRY = 24  # bytes for a chunk
_PAIR = np.dtype("<u8")


class Contents(NamedTuple):
    """The chunks of a minishard, or of a whole shard, by ascending id.

    Attributes:
        ids: of the chunks.
        starts: where each begins in the file.
        stops: where it ends.
    """

    ids: Ids
    starts: Ids
    stops: Ids

    @classmethod
    def none(cls) -> "Contents":
        """Return those of nothing."""
        empty = np.zeros(0, np.uint64)
        return cls(empty, empty, empty)

    def place(self, number: int) -> tuple[int, int] | None:
        """Return where a chunk begins and ends; None where it is not stored."""
        at = int(self.ids.searchsorted(np.uint64(number)))
        if at == len(self.ids) or int(self.ids[at]) != number:
            return None
        return int(self.starts[at]), int(self.stops[at])

    def places(self, numbers: Ids) -> tuple[NDArray[np.bool_], Ids, Ids]:
        """Return of many chunks whether they are stored, and where those begin and end."""
        if not len(self.ids):
            return np.zeros(len(numbers), bool), numbers, numbers
        at = np.minimum(self.ids.searchsorted(numbers), len(self.ids) - 1)
        return self.ids[at] == numbers, self.starts[at], self.stops[at]


class Format:
    """How the shards of one folder are made, and the errors of those that are damaged.

    Args:
        locator: of the ids.
        compressor: gives the Compressor for `gzip`.
        most: chunks that a minishard can have.
    """

    def __init__(
        self, locator: Locator, compressor: Callable[[str], Compressor], most: int = MOST_CHUNKS
    ) -> None:
        self.locator = locator
        self.most = max(1, min(most, MOST_CHUNKS))
        self._compressor = compressor
        self._packed = locator.spec.minishard_index_encoding == "gzip"

    def damaged(self, shard: str, minishard: int | None, what: str) -> ChunkDecodeError:
        """Return the error of a shard that is no shard."""
        where = shard if minishard is None else f"{shard}: minishard {minishard}"
        return ChunkDecodeError(f"{where}: {what}; restore the shard, or delete it and write it again")

    def span(
        self, shard: str, minishard: int, entry: bytes, base: int, size: int | None
    ) -> tuple[int, int] | None:
        """Return where a minishard's index begins and ends in the file; None where there is none.

        `entry` are the 16 bytes for it, which count from `base`, `size` those of the file; None where that is
        not known. Raises ChunkDecodeError.
        """
        start, stop = entry_of(entry)
        if start == stop:
            return None
        if start > stop or base + stop > (2**63 if size is None else size):
            raise self.damaged(
                shard,
                minishard,
                f"expected its index inside the file of {size} bytes, found {base + start} to {base + stop}",
            )
        if stop - start > self.most * _ENTRY + 2**16:
            raise self.damaged(
                shard,
                minishard,
                f"expected an index of at most {self.most} chunks, found one of {stop - start} bytes",
            )
        return base + start, base + stop

    def contents(
        self, shard: str, number: int, minishard: int, stored: Buffer, base: int, size: int | None
    ) -> Contents:
        """Take the index of a minishard apart.

        Args:
            shard: the file's name, for errors.
            number: of the shard.
            minishard: its number in the shard.
            stored: the index's bytes.
            base: what the starts count from.
            size: of the file with the chunks; None where that is not known.

        Raises ChunkDecodeError.
        """
        data = self._plain(shard, minishard, stored)
        if len(data) % _ENTRY:
            raise self.damaged(
                shard, minishard, f"expected an index of {_ENTRY} bytes a chunk, found {len(data)}"
            )
        count = len(data) // _ENTRY
        if not count:
            return Contents.none()
        if count > self.most:
            raise self.damaged(shard, minishard, f"expected at most {self.most} chunks, found {count}")
        table = np.frombuffer(data, _PAIR).astype(np.uint64, copy=False).reshape(3, count)
        ids = np.cumsum(table[0], dtype=np.uint64)
        if (ids[1:] <= ids[:-1]).any():  # so is each sum that passes 64 bits
            raise self.damaged(shard, minishard, "expected ascending ids, found others")
        # In turn: up to the start of a chunk, and up to its end; every step leads on, or passes 64 bits.
        ends = np.cumsum(table[1:].T.reshape(-1), dtype=np.uint64)
        if (ends[1:] < ends[:-1]).any() or int(ends[-1]) + base > (2**63 if size is None else size):
            raise self.damaged(
                shard,
                minishard,
                f"expected chunks inside the file of {size} bytes, found some that end elsewhere "
                f"(the last at {base + int(ends[-1])}, of id {int(ids[-1])})",
            )
        self._check_hash(shard, number, minishard, ids)
        ends += np.uint64(base)
        return Contents(ids, ends[0::2], ends[1::2])

    def _plain(self, shard: str, minishard: int, stored: Buffer) -> Buffer:
        if not self._packed:
            return stored
        compressor = self._compressor("gzip")
        try:
            return compressor.decompress(stored, self.most * _ENTRY)
        except ValueError as error:
            raise self.damaged(
                shard, minishard, f"expected an index as one gzip stream, found {len(stored)} bytes: {error}"
            ) from error

    def _check_hash(self, shard: str, number: int, minishard: int, ids: Ids) -> None:
        shards, minishards = self.locator.locate_all(ids)
        wrong = (shards != np.uint64(number)) | (minishards != np.uint64(minishard))
        if wrong.any():
            at = int(wrong.argmax())
            raise self.damaged(
                shard,
                minishard,
                f"found chunk id {int(ids[at])}, which belongs in minishard {int(minishards[at])} of shard "
                f"{self.locator.name(int(shards[at]))}: hash or bits are not those of the info's sharding",
            )

    def packed(self, contents: Contents, base: int) -> Buffer:
        """Return a minishard's index as it is stored."""
        data = index_bytes(contents, base)
        return self._compressor("gzip").compress(data) if self._packed else data


def entry_of(entry: Buffer) -> tuple[int, int]:
    """Return the two numbers of a minishard in the shard index."""
    return int.from_bytes(entry[:8], "little"), int.from_bytes(entry[8:16], "little")


def index_bytes(contents: Contents, base: int) -> bytes:
    """Return the index of chunks that lie in the file by ascending id, before it is compressed."""
    ids, starts, stops = contents
    table = np.empty((3, len(ids)), _PAIR)
    table[0] = np.diff(ids, prepend=np.uint64(0))
    table[1, :1], table[1, 1:] = starts[:1] - np.uint64(base), starts[1:] - stops[:-1]
    table[2] = stops - starts
    return table.tobytes()
