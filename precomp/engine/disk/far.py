"""Parts of objects of a remote store, of which all is fetched where that is no waste."""

from collections.abc import Sequence

from precomp.interfaces import Blob, ByteRange, GetsRanges, Store
from precomp.ranges import cut

__all__ = ["Far"]

_LARGEST_FETCHED = 2**26  # bytes; of a larger object that is asked for in part, only the part is fetched
_LARGE_KNOWN = 10_000  # keys that are remembered for that


class Far:
    """Fetches whole objects where parts are wanted, and no more than a cache may keep.

    Args:
        remote: the store.
        limit: bytes that the cache keeps at the most; None for any number.
    """

    def __init__(self, remote: Store, limit: int | None) -> None:
        self._remote, self._limit = remote, limit
        self._ranged = remote if isinstance(remote, GetsRanges) else None
        self._large: set[str] = set()

    def parts(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return parts of an object, all of one version, without the rest of it; None means absent."""
        if len(ranges) > 1 and self._ranged is not None:
            return self._ranged.get_ranges(key, ranges)
        span = ByteRange(min(start for start, _ in ranges), max(stop for _, stop in ranges))
        blob = self._remote.get(key, span)
        return None if blob is None else [cut([(span.start, blob)], one) for one in ranges]

    def fetched(self, key: str, ranges: Sequence[ByteRange]) -> tuple[Sequence[Blob] | None, Blob | None]:
        """Return parts of an object, of one version, and all of it unless it is large; None means absent."""
        if key in self._large:
            return self.parts(key, ranges), None
        bound = _LARGEST_FETCHED if self._limit is None else min(_LARGEST_FETCHED, self._limit)
        first = None
        if len(ranges) == 1 and ranges[0].start == 0:  # that is often all, with a limit to it
            first = self._remote.get(key, ranges[0])
            if first is None:
                return None, None
            if _is_whole(first):
                return [first], first._replace(size=None)
            size = first.size
        else:
            found = self._remote.stat(key)
            if found is None:
                return None, None
            size = found.size
        if size is None or size <= bound:
            # It may have grown since.
            whole = self._remote.get(key, ByteRange(0, bound))
            if whole is None:
                return None, None
            if _is_whole(whole):
                return [cut([(0, whole)], one) for one in ranges], whole._replace(size=None)
        if len(self._large) < _LARGE_KNOWN:
            self._large.add(key)
        return self.parts(key, ranges) if first is None else [first], None


def _is_whole(blob: Blob) -> bool:
    return blob.size == memoryview(blob.data).nbytes
