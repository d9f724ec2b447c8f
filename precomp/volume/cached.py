"""What `vol.cache` returns: the copies of a volume's objects on the local disk."""

import builtins
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

from precomp import url
from precomp.engine.disk.entries import Entry
from precomp.engine.disk.folder import CacheFolder
from precomp.engine.disk.store import DiskCache
from precomp.errors import StoreError
from precomp.geometry import Bbox
from precomp.interfaces import CloudPath
from precomp.volume.caching import Caching
from precomp.volume.disk_cache import find_folder

if TYPE_CHECKING:
    from precomp.volume.access import Access

__all__ = ["VolumeCache"]

T = TypeVar("T")


class _Home(NamedTuple):
    """Where copies of a scale are: the folder, if there is one, the keys' start in it, the scale's key."""

    folder: CacheFolder | None
    prefix: str
    key: str


class VolumeCache:
    """The disk cache of a volume; true where it is enabled.

    Where it is not, this is about the default folder, which another volume may have filled. Methods raise
    StoreError where the folder cannot be read or changed.
    """

    def __init__(self, vol: "Access") -> None:
        self._vol = vol

    def __bool__(self) -> bool:
        return self.enabled

    def __repr__(self) -> str:
        """Show where it is."""
        if self._vol._layer.boxes is not None:  # which have none, and say so where one is asked for
            return "VolumeCache(enabled=False)"
        return f"VolumeCache({self.path!r}, enabled={self.enabled})"

    @property
    def enabled(self) -> bool:
        """Whether copies are kept and used. May be set, to a folder too, as `vol.cache` may."""
        return bool(self._vol._layer.caching.where)

    @enabled.setter
    def enabled(self, value: bool | str) -> None:
        self._vol._set_cache(value)

    @property
    def path(self) -> str:
        """The folder of the copies, or where they would be; it can be opened as a volume."""
        layer = self._vol._layer
        caching = layer.caching if layer.caching.where else Caching(True)
        return str(caching.folder(layer.path, layer.path, layer.origin(layer.path)))

    def list(self, mip: Any = None) -> list[str]:
        """Return the keys of the chunks of a mip (None: the working one) that are kept, sorted."""
        home = self._home(self._vol._mip if mip is None else self._vol._number(mip))
        return sorted({f"{home.key}/{entry.key[len(home.prefix) :]}" for entry in _entries(home)})

    @overload
    def num_files(self, all_mips: Literal[False] = False) -> int: ...
    @overload
    def num_files(self, all_mips: Literal[True]) -> builtins.list[int]: ...
    def num_files(self, all_mips: bool = False) -> int | builtins.list[int]:
        """Return how many chunks of the working mip are kept; with `all_mips` a list, one number a mip."""
        return self._counted(lambda entry: 1, all_mips)

    @overload
    def num_bytes(self, all_mips: Literal[False] = False) -> int: ...
    @overload
    def num_bytes(self, all_mips: Literal[True]) -> builtins.list[int]: ...
    def num_bytes(self, all_mips: bool = False) -> int | builtins.list[int]:
        """Return how many bytes the kept chunks of the working mip have, as stored; see `num_files`."""
        return self._counted(lambda entry: entry.size, all_mips)

    def flush(self, preserve: Any = None) -> None:
        """Drop all copies: the chunks of all mips, meshes, everything but info and provenance.

        With `preserve`, a Bbox or slices in voxels of mip 0, only chunks are dropped, and those that the
        box touches stay. Chunks that `lru_bytes` keeps in memory are dropped, too.
        """
        mips = self._vol.available_mips
        if preserve is not None:
            box = self._vol._box(preserve, 0)
            for mip in mips:
                self._drop(mip, box, touched=False)
        else:
            layer = self._vol._layer
            for place in {layer.path, *(url.resolve(layer.path, self._vol.mip_key(mip))[0] for mip in mips)}:
                if (folder := self._folder(place)) is not None:
                    _told(folder, folder.clear)
        self._forget()

    def flush_region(self, region: Any, mips: Any = None) -> None:
        """Drop the chunks that a box touches: a Bbox or slices in voxels of mip 0.

        `mips`: a mip or several, by number; None is the working one. Chunks that `lru_bytes` keeps in
        memory are dropped, all of them.
        """
        box = self._vol._box(region, 0)
        chosen = self._vol._mip if mips is None else mips
        for mip in chosen if isinstance(chosen, Iterable) else [chosen]:
            self._drop(self._vol._number(mip), box, touched=True)
        self._forget()

    def _drop(self, mip: int, box: Bbox, *, touched: bool) -> None:
        home, there = self._home(mip), self._vol.bbox_to_mip(box, 0, mip)
        if (folder := home.folder) is not None:
            keys = [entry.key for entry in _entries(home) if _touches(entry.key, there) is touched]
            _told(folder, lambda: folder.drop(keys))

    def _forget(self) -> None:
        memory = self._vol._layer.cache
        memory.resize(memory.limit)

    def _counted(self, measure: Callable[[Entry], int], all_mips: bool) -> int | builtins.list[int]:
        mips = self._vol.available_mips if all_mips else [self._vol._mip]
        counts = [sum(map(measure, _entries(self._home(mip)))) for mip in mips]
        return counts if all_mips else counts[0]

    def _home(self, mip: int) -> _Home:
        key = self._vol.mip_key(mip)
        place, folder = url.resolve(self._vol._layer.path, key)
        return _Home(self._folder(place), f"{folder}/", key.rstrip("/"))

    def _folder(self, place: CloudPath) -> CacheFolder | None:
        layer = self._vol._layer
        if not self.enabled:
            return find_folder(place, layer.registry, layer.origin(place))
        store = layer.objects(place).store
        return store.folder if isinstance(store, DiskCache) else None


def _entries(home: _Home) -> list[Entry]:
    folder = home.folder
    return [] if folder is None else _told(folder, lambda: list(folder.entries(home.prefix)))


def _touches(key: str, box: Bbox) -> bool:
    try:
        return Bbox.from_filename(key).intersects(box)
    except ValueError:  # no chunk of a box of its own
        return False


def _told(folder: CacheFolder, action: Callable[[], T]) -> T:
    try:
        return action()
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder.path}: the cache cannot be read or changed: {error}") from error
