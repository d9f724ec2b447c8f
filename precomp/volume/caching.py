"""Where a volume keeps copies of its objects on the local disk, and how that is opened."""

import os
import warnings
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import attrs

from precomp import jsonio
from precomp.engine.disk.claim import claim, claimed_by, default_folder, overlap
from precomp.engine.disk.entries import HIDDEN
from precomp.engine.disk.folder import CacheFolder
from precomp.engine.disk.store import DiskCache
from precomp.errors import ArgumentError, InfoError, PrecompWarning
from precomp.interfaces import CloudPath, Store, UsesSuffixes
from precomp.plugins import Registry
from precomp.volume.options import Options

__all__ = ["CACHE_BYTES", "Caching", "changed_scales", "find_folder", "open_cache"]

CACHE_BYTES = 10 * 2**30
"""How much is kept where nothing else is said."""

# What may change in a scale without making other chunks of those that are there.
_HARMLESS = frozenset({"size", "resolution", "extra", "hidden", "jpeg_quality", "png_level"})


def _absolute(where: bool | str | os.PathLike[str]) -> bool | str:
    return where if isinstance(where, bool) else os.path.abspath(os.path.expanduser(os.fspath(where)))


@attrs.frozen
class Caching:
    """Whether and where copies are kept.

    Attributes:
        where: True: the default folder, or a folder, which counts from the working directory of now;
            False: nowhere.
        limit: bytes at the most; None for any number.
        validate: whether the version of a copy is compared before it is used.
    """

    where: bool | str = attrs.field(default=False, converter=_absolute)
    limit: int | None = CACHE_BYTES
    validate: bool = False

    def folder(self, path: CloudPath, layer: CloudPath, origin: str) -> str | None:
        """Return the folder for the copies of `path`, which is `layer` or where its info points to.

        None where none is kept: a folder that was named holds one place only.
        """
        if isinstance(self.where, str):
            return self.where if path == layer else None
        return default_folder(path, origin) if self.where else None


def open_cache(
    store: Store, path: CloudPath, folder: str, registry: Registry, caching: Caching, origin: str
) -> Store:
    """Return a store that keeps copies of the objects of `store`, which is the one of `path`.

    Where the folder cannot be used for want of rights or room that is a PrecompWarning, and `store` itself
    is returned. Raises ArgumentError where it is the wrong folder.
    """
    if path.scheme == "file" and overlap(folder, f"{path.bucket.rstrip('/')}/{path.path}"):
        raise ArgumentError(
            f"cache: the folder {folder} lies in the layer {path} or the other way round; choose another"
        )
    try:
        kept = _opened(folder, path, registry, caching.limit, origin, make=True)
        assert kept is not None
    except OSError as error:
        warnings.warn(
            f"{path} is read without a cache, for {folder} cannot be used: {error}",
            PrecompWarning,
            stacklevel=2,
        )
        return store
    return DiskCache(store, kept, validate=caching.validate, place=str(path))


def find_folder(path: CloudPath, registry: Registry, origin: str) -> CacheFolder | None:
    """Return the default cache folder of `path`; None where there is none."""
    return _opened(default_folder(path, origin), path, registry, None, origin, make=False)


def _opened(
    folder: str, path: CloudPath, registry: Registry, limit: int | None, origin: str, *, make: bool
) -> CacheFolder | None:
    chunks, records = _local(folder, registry), _local(os.path.join(folder, HIDDEN), registry)
    if isinstance(chunks, UsesSuffixes):
        chunks.set_suffixes(registry.suffixes)
    if make:
        claim(records, folder, path, origin)
    elif not claimed_by(records, folder, path, origin):
        return None
    return CacheFolder(folder, chunks, registry.suffixes, limit)


def _local(folder: str, registry: Registry) -> Store:
    head, tail = os.path.split(folder)
    # Not by parsing: a folder of any name will do, `info` too.
    path = CloudPath("file", PurePath(head).as_posix(), tail)
    options = Options("file").structured("file", registry)
    store: Store = registry.make("protocol", "file", path, options, place=f"cache {folder}")
    return store


def changed_scales(before: bytes, after: bytes) -> list[str] | None:
    """Return the keys of scales whose chunks cannot be what they were, by two infos; None: of all."""
    try:
        old, new = (jsonio.loads(text, "info") for text in (before, after))
        if any(old.get(field) != new.get(field) for field in ("type", "data_type", "num_channels")):
            return None
        olds, news = ({scale["key"]: _essence(scale) for scale in info["scales"]} for info in (old, new))
    except (InfoError, AttributeError, KeyError, TypeError):  # a copy that somebody damaged
        return None
    return [key for key, scale in olds.items() if news.get(key) != scale]


def _essence(scale: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in scale.items() if field not in _HARMLESS}
