"""What is fetched of a chunk: all of it, or the bytes that hold the wanted voxels."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from numpy.typing import NDArray

from precomp.engine.decode import LARGEST, ChunkDecoder
from precomp.engine.window import Window, window_of
from precomp.grid import ChunkRef
from precomp.interfaces import AsksAhead, Blob, ByteRange, ChunkSpec, GetsRanges, Layout, ReadsInto, Store

__all__ = ["ChunkFetcher", "Wanted"]

_LARGEST_READ_INTO = 2**26  # bytes; whether a larger chunk is there at all is looked up before there is room
# What one more range costs, as bytes that are read along in the same time: of a local file, over a network.
_NEAR, _FAR = 2**15, 2**20


class Wanted(NamedTuple):
    """What is wanted of a chunk.

    Attributes:
        ref: the chunk, and which of its voxels.
        spec: what the stored chunk is.
        layout: of a chunk that has one.
        channels: that are wanted.
        whole: whether that is all of the chunk.
        target: where the voxels go.
    """

    ref: ChunkRef
    spec: ChunkSpec
    layout: Layout | None
    channels: slice
    whole: bool
    target: NDArray[Any]


class ChunkFetcher:
    """Fetches the chunks of one scale. Safe to share between threads.

    Attributes:
        read_into: the store's; None where it has none.
        request_cost: of one more range, in bytes.
        plain: no ranged read has met a compressed chunk yet.
    """

    def __init__(self, store: Store, decoder: ChunkDecoder) -> None:
        self._decoder = decoder
        self._get = store.get
        self._get_ranges = store.get_ranges if isinstance(store, GetsRanges) else None
        self._asking: AsksAhead | None = store if isinstance(store, AsksAhead) else None
        self.read_into = store.read_into if isinstance(store, ReadsInto) else None
        self.request_cost = _FAR if self.read_into is None else _NEAR
        self.plain = True

    @property
    def asks(self) -> bool:
        """Whether `ask` is better than a thread for each request."""
        return self._asking is not None and self._asking.is_near

    def ask(self, wanted: Wanted) -> AbstractContextManager[object] | None:
        """Send the request that `parts` or `all_of` will make for a chunk; see AsksAhead.ask."""
        assert self._asking is not None
        window = self._window(wanted)
        ranges = [self._most(wanted.spec, wanted.layout)] if window is None else window.ranges()
        return self._asking.ask(wanted.ref.key, ranges[0]) if len(ranges) == 1 else None

    def parts(self, wanted: Wanted) -> tuple[Window, Sequence[Blob] | None] | None:
        """Return what to paste of a chunk, which is nothing where it is absent; None: it is to be read whole.

        Raises ChunkDecodeError where it is broken.
        """
        window = self._window(wanted)
        if window is None:
            return None
        key, ranges = wanted.ref.key, window.ranges()
        blobs: Sequence[Blob] | None
        if len(ranges) == 1:
            blob = self._get(key, ranges[0])
            blobs = None if blob is None else [blob]
        elif self._get_ranges is None:  # parts fetched one by one could be of two versions of the chunk
            return None
        else:
            blobs = self._get_ranges(key, ranges)
        if blobs is not None and not self._are_plain(key, wanted.spec, window, blobs):
            return None
        return window, blobs

    def all_of(self, key: str, spec: ChunkSpec, layout: Layout | None) -> Blob | None:
        """Return a chunk as it is stored; None: absent. Raises ChunkDecodeError where it is far too long."""
        most = self._most(spec, layout)
        if most is None:
            return self._get(key)
        blob = self._get(key, most)
        if blob is not None and blob.size is not None and blob.size > most.stop:
            wrong = ValueError(f"found {blob.size} bytes, more than any such chunk has")
            raise self._decoder.damaged(key, spec, wrong) from wrong
        return blob

    def _most(self, spec: ChunkSpec, layout: Layout | None) -> ByteRange | None:
        """Return what to fetch of a whole chunk: where ranges cost nothing, no more than it can have."""
        if self._get_ranges is None:
            return None
        return ByteRange(0, 2 * self._decoder.limit(spec, layout) + 2**16)

    def _window(self, wanted: Wanted) -> Window | None:
        """Return the bytes to fetch of a chunk; None where that is all of them."""
        ref, spec, layout, channels, whole, target = wanted
        far = self.read_into is None or spec.nbytes > _LARGEST_READ_INTO
        if layout is not None and not whole and far and self.plain and layout.size <= LARGEST:
            return window_of(layout, ref.source, channels, target.shape, self.request_cost)
        return None

    def _are_plain(self, key: str, spec: ChunkSpec, window: Window, blobs: Sequence[Blob]) -> bool:
        """Whether bytes of an object are bytes of the chunk; raises ChunkDecodeError where it is broken."""
        size = window.layout.size
        for blob in blobs:
            if blob.content_encoding is not None:
                self.plain = False  # nor are they for its neighbours: stop trying
                return False
            found = len(blob.data)
            if blob.size != size or found != window.length:
                wrong = ValueError(f"expected {size} bytes, found {blob.size}, {found} in a part")
                raise self._decoder.damaged(key, spec, wrong) from wrong
        return True
