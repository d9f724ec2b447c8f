"""One scale of a layer: where its chunks are, and how they are read and written."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from precomp.engine.cache import ChunkCache
from precomp.engine.objects import Objects
from precomp.engine.read import ChunkReader
from precomp.errors import MissingDependencyError
from precomp.grid import ChunkGrid, ChunkRef
from precomp.hookspecs import CodecPlugin
from precomp.info import VolumeInfo
from precomp.interfaces import Codec
from precomp.plugins import Registry
from precomp.volume.check import check_scale

__all__ = ["ScaleIO", "telling_what_is_missing"]


class ScaleIO:
    """What it takes to read and write one scale. Immutable, safe to share between threads.

    The codec is built when voxels are first asked for: whoever lists, deletes or copies chunks needs none.

    Attributes:
        info: of the layer.
        dtype: of a voxel.
        chunk_nbytes: size of a decoded chunk.
        grid: of the chunks, under the keys that `objects` knows.
        objects: where the chunks are.
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
    ) -> None:
        """`name` stands in errors, `gs://b/ds/layer/info`; `cache` keeps decoded chunks."""
        self.info = info
        self.dtype = info.dtype
        self.chunk_nbytes = math.prod(grid.chunk) * info.num_channels * self.dtype.itemsize
        self.grid = grid
        self.objects = objects
        self._registry, self._name, self._mip, self._cache = registry, name, mip, cache

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
        """The codec of this scale. Raises MissingDependencyError, and as `plugin` does."""
        with telling_what_is_missing(f"the encoding {self.plugin.encoding}", self.plugin.install_hint):
            return self.plugin.build(self.info, self.info.scales[self._mip])

    @cached_property
    def reader(self) -> ChunkReader:
        """Reads the chunks. Raises as `codec` does."""
        return ChunkReader(
            self.objects, self.codec, self.encoding, self.dtype, self.info.num_channels, self._cache
        )

    def forget(self, ref: ChunkRef) -> None:
        """Drop a chunk from the cache: it has been written, or may have been."""
        if self._cache.limit:
            self.reader.forget(ref)


@contextmanager
def telling_what_is_missing(what: str, hint: str | None) -> Iterator[None]:
    """Turn a plugin's ImportError into a MissingDependencyError with the line that installs it."""
    try:
        yield
    except MissingDependencyError:
        raise
    except ImportError as error:
        advice = hint or "install it"
        raise MissingDependencyError(
            f"{what} needs a package that is not there ({error}); {advice}"
        ) from error
