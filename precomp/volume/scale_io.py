"""One scale of a layer: where its chunks are, and how they are read and written."""

import math
from functools import cached_property
from typing import TYPE_CHECKING

from precomp.engine.cache import ChunkCache
from precomp.engine.objects import Objects
from precomp.engine.read import ChunkReader
from precomp.grid import ChunkGrid, ChunkRef
from precomp.hookspecs import CodecPlugin
from precomp.info import VolumeInfo
from precomp.interfaces import Codec
from precomp.plugins import Registry
from precomp.volume.check import check_scale

if TYPE_CHECKING:
    from precomp.engine.shards.batches import BatchReader
    from precomp.engine.shards.store import ShardedStore

__all__ = ["ScaleIO", "chunk_bytes"]


def chunk_bytes(info: VolumeInfo, grid: ChunkGrid) -> int:
    """Return the size of a decoded chunk that is not truncated."""
    return math.prod(grid.chunk) * info.num_channels * info.dtype.itemsize


class ScaleIO:
    """What it takes to read and write one scale. Immutable, safe to share between threads.

    The codec is built when voxels are first asked for: whoever lists, deletes or copies chunks needs none.

    Attributes:
        info: of the layer.
        dtype: of a voxel.
        chunk_nbytes: size of a decoded chunk.
        grid: of the chunks, under the keys that `objects` knows.
        objects: where the chunks are, each under a key of its own, be they in shards or not.
        shards: of a sharded scale, where it is.
    """

    def __init__(
        self,
        registry: Registry,
        name: str,
        info: VolumeInfo,
        mip: int,
        grid: ChunkGrid,
        objects: Objects,
        cache: ChunkCache,
        shards: "ShardedStore | None" = None,
    ) -> None:
        """`name` stands in errors, `gs://b/ds/layer/info`; `cache` keeps decoded chunks."""
        self.info = info
        self.dtype = info.dtype
        self.chunk_nbytes = chunk_bytes(info, grid)
        self.grid = grid
        self.objects, self.shards = objects, shards
        self._registry, self._name, self._mip, self._cache = registry, name, mip, cache

    @property
    def workers(self) -> int | None:
        """How many threads the store would have; None where it does not say."""
        return self.objects.workers

    @property
    def key(self) -> str:
        """The scale's key in the info; where that climbs out of the layer, the store knows another."""
        return self.info.scales[self._mip].key

    @property
    def encoding(self) -> str:
        """How the chunks are encoded, lower case."""
        return self.info.scales[self._mip].encoding_name

    @cached_property
    def plugin(self) -> CodecPlugin:
        """The declaration of the encoding. Raises UnknownEncodingError, InfoError."""
        return check_scale(self._registry, self.info, self._mip, self._name)

    @cached_property
    def codec(self) -> Codec:
        """The codec of this scale. Raises MissingDependencyError, PluginError, and as `plugin` does."""
        name, scale = self.plugin.encoding, self.info.scales[self._mip]
        codec: Codec = self._registry.make("encoding", name, self.info, scale, place=self._name)
        return codec

    @cached_property
    def reader(self) -> ChunkReader:
        """Reads the chunks. Raises as `codec` does."""
        return ChunkReader(
            self.objects, self.codec, self.encoding, self.dtype, self.info.num_channels, self._cache
        )

    @cached_property
    def batches(self) -> "BatchReader | None":
        """Reads several chunks at once, where they are in shards and no copies are kept of each."""
        if self.shards is None or self.objects.store is not self.shards:
            return None
        from precomp.engine.shards.batches import BatchReader  # most volumes have no use for it

        return BatchReader(self.reader, self.shards)

    def forget(self, ref: ChunkRef) -> None:
        """Drop a chunk from the cache: it has been written, or may have been."""
        if self._cache.limit:
            self.reader.forget(ref)
