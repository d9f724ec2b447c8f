"""The stores of a layer with copies on the local disk before them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from precomp.engine.objects import Objects
from precomp.interfaces import CloudPath, Store
from precomp.plugins import Registry
from precomp.volume.caching import Caching

if TYPE_CHECKING:
    from precomp.engine.shards.store import ShardedStore

__all__ = ["Copies", "origin_of"]


class Copies:
    """What a layer has on the local disk, and the places that its info points to. Opens nothing until asked.

    It is given what it needs of the layer with each call: of two that hold each other the chunks in memory
    would stay after the last use.

    Attributes:
        caching: whether and where copies are kept.
    """

    def __init__(self, registry: Registry, caching: Caching) -> None:
        self.caching = caching
        self._registry = registry
        self._opened: dict[CloudPath, Objects] = {}

    def objects(self, path: CloudPath, layer: CloudPath, remote: Callable[[CloudPath], Objects]) -> Objects:
        """Return the objects of `path`, which is `layer` or where its info points to.

        `remote` gives the objects of a place where they come from.
        """
        if not self.caching.where:
            return remote(path)
        found = self._opened.get(path)
        if found is None:
            found = self._opened.setdefault(path, self._open(path, layer, remote(path)))
        return found

    def of_shards(
        self, path: CloudPath, layer: CloudPath, remote: Objects, shards: "ShardedStore"
    ) -> Objects:
        """Return the chunks of a sharded scale in `path`; single ones are kept, no whole shards."""
        store = self._kept(shards, path, layer, remote)
        return Objects(store, self._registry.compressor, str(path), shards.within)

    def _open(self, path: CloudPath, layer: CloudPath, remote: Objects) -> Objects:
        store = self._kept(remote.store, path, layer, remote)
        return remote if store is remote.store else Objects(store, self._registry.compressor, str(path))

    def _kept(self, store: Store, path: CloudPath, layer: CloudPath, remote: Objects) -> Store:
        """What keeps copies of the objects of `store`, which come from `remote`; else `store` itself."""
        origin = origin_of(remote)
        folder = self.caching.folder(path, layer, origin)
        if folder is None:
            return store
        from precomp.volume.disk_cache import open_cache  # most volumes have no use for it

        return open_cache(store, path, folder, self._registry, self.caching, origin)


def origin_of(remote: Objects) -> str:
    """What tells services apart that serve one cloudpath (see TellsOrigin); empty for the usual one."""
    origin: str = getattr(remote.store, "origin", "")
    return origin
