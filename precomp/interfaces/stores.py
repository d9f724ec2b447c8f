"""What a protocol's plugin implements: a store of bytes under keys, or a service of boxes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

from precomp.interfaces.values import Blob, ByteRange, Condition, Stat

__all__ = [
    "AsksAhead",
    "FiltersSegments",
    "GetsRanges",
    "Modify",
    "ReadsInto",
    "SplitsBoxes",
    "Store",
    "SupportsCutout",
    "SupportsUpdate",
    "TellsOrigin",
    "UsesSuffixes",
    "UsesWorkers",
]

Modify: TypeAlias = Callable[[Blob | None], Blob | None]
"""From what is stored (None: nothing) to what shall be stored (None: delete it)."""


class Store(Protocol):
    """Bytes under keys, all relative to one folder (a layer). Safe to call from many threads.

    Every failure other than absence raises a `StoreError` (or a kin) that names the key and
    chains its cause. A key never holds an empty part, `.`, `..`, a leading slash or NUL; a store
    refuses one that does, with a `StoreError`.
    """

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or the part of it inside `byte_range`; None means absent."""
        ...

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        """Store `blob` whole or not at all and return its version.

        Must not keep a reference to `blob.data`. Raises ConditionFailedError, and writes nothing,
        where `condition` does not hold.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects; absent ones are fine."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, in any order, all pages."""
        ...

    def stat(self, key: str) -> Stat | None:
        """Return size, version and encoding without reading; None means absent."""
        ...


@runtime_checkable
class SupportsUpdate(Protocol):
    """A store with its own safe read-modify-write, say under a lock."""

    def update(self, key: str, modify: Modify) -> None:
        """Replace the object by `modify(object)` such that no concurrent update is lost.

        `modify` may be called more than once. What it raises passes through and nothing is written.
        """
        ...


@runtime_checkable
class GetsRanges(Protocol):
    """A store that reads several ranges of one object as it was at one moment."""

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return the parts in the order of `ranges`, all of the same version; None means absent."""
        ...


@runtime_checkable
class AsksAhead(Protocol):
    """A store that can send a request before anybody waits for its answer.

    So few threads keep many requests under way, which spares handing the interpreter from one to another.
    """

    @property
    def is_near(self) -> bool:
        """Whether that is better than a thread for each request: where an answer is soon here."""
        ...

    def ask(self, key: str, byte_range: ByteRange | None = None) -> AbstractContextManager[object] | None:
        """Send the request of a `get` that this thread will make within the context that is returned.

        What goes wrong with it is not told here: that `get` tries again and tells. None: nothing was sent.
        Whatever is not used is given up at the end of the context, or with the last reference to it.
        A context may have a method `is_here(seconds: float) -> bool`, whether the answer begins to come
        within so many seconds: one that hangs then keeps no others waiting.
        Raises StoreError for what is no key.
        """
        ...


@runtime_checkable
class ReadsInto(Protocol):
    """A store that reads into the caller's memory, which spares new memory for every chunk."""

    def read_into(self, key: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        """Fill each memory with the object's bytes from an offset on, all of the same version.

        Only where the object is `size` bytes long and stored plain. False, whatever then stands in
        the memory, where it is absent, compressed, of another size or unreadable: `get` tells which.
        """
        ...


@runtime_checkable
class UsesSuffixes(Protocol):
    """A store that shows an object's compression by the name's suffix instead of a header."""

    def set_suffixes(self, suffixes: Mapping[str, Sequence[str]]) -> None:
        """Take the table encoding -> suffixes, `{"gzip": (".gz",), ...}`; the first is written."""
        ...


@runtime_checkable
class TellsOrigin(Protocol):
    """A store whose cloudpath says not all of where it is: other services may have the same buckets."""

    @property
    def origin(self) -> str:
        """The address of the service, empty for the usual one; caches keep one apart from another."""
        ...


@runtime_checkable
class UsesWorkers(Protocol):
    """A store that knows how many threads pay: one with latency, as requests that are few wait longest."""

    @property
    def workers(self) -> int:
        """Threads to use, for small requests too, where a volume is not told (`parallel=None`)."""
        ...


@runtime_checkable
class SupportsCutout(Protocol):
    """A service of boxes of voxels instead of keys (the BOSS): what a protocol's `open` may return instead.

    A box is never empty, lies inside the bounds that the info tells for its mip, and is given in absolute
    voxels x, y, z of that mip; `maxpt` is exclusive. Safe to call from many threads. Every failure raises a
    PrecompError that names the layer and chains its cause. May have `workers`, see UsesWorkers.
    """

    def read_info(self) -> dict[str, Any]:
        """Return the info of the layer as the service describes it; its chunks are what slabs are cut by.

        Raises InfoNotFoundError, which says what is missing, where there is no such layer.
        """
        ...

    def read_box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> NDArray[Any]:
        """Return the voxels of the box, shape (x, y, z, channel), in the dtype of the info.

        What was never written is zero.
        """
        ...

    def write_box(self, mip: int, minpt: Sequence[int], voxels: NDArray[Any]) -> None:
        """Store `voxels`, shape (x, y, z, channel), in the dtype of the info; zeros erase what was there.

        Must not change `voxels` or keep them; they may be a view in any memory order.
        """
        ...

    def create(self, info: Mapping[str, Any]) -> None:
        """Create the layer that `info` describes, as far as the service knows what an info says.

        Where there is such a layer already nothing is done. Raises InfoError where there is another one,
        or where the service cannot hold one like this.
        """
        ...


@runtime_checkable
class SplitsBoxes(Protocol):
    """A service that wants large boxes in several requests; else each box is one, whatever its size."""

    def split(
        self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]
    ) -> Iterable[tuple[Sequence[int], Sequence[int]]]:
        """Return the boxes (minpt, maxpt) that fill the box without overlap, one for each request.

        They are read and written in several threads at a time, so their size bounds the memory.
        """
        ...


@runtime_checkable
class FiltersSegments(Protocol):
    """A service that sends the voxels of some segments only, where all others are zero."""

    def read_segments(
        self, mip: int, minpt: Sequence[int], maxpt: Sequence[int], segids: Sequence[int]
    ) -> NDArray[Any]:
        """Return what `read_box` does, with zero for all voxels that are none of `segids`."""
        ...
