"""Opening cache folders, and what is kept in them beside chunks."""

import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any

from precomp import jsonio, url
from precomp.engine.disk.claim import claim, default_folder, is_claimed, overlap
from precomp.engine.disk.documents import as_kept
from precomp.engine.disk.entries import HIDDEN
from precomp.engine.disk.folder import CacheFolder
from precomp.engine.disk.store import DiskCache
from precomp.engine.objects import Objects
from precomp.errors import ArgumentError, InfoError, PrecompWarning, UnknownProtocolError
from precomp.interfaces import CloudPath, Store, UsesSuffixes
from precomp.plugins import Registry
from precomp.volume.caching import Caching
from precomp.volume.options import Options

__all__ = ["find_folder", "keep_info", "keep_provenance", "open_cache"]

# What may change in a scale without making other chunks of those that are there.
_HARMLESS = frozenset(
    {"size", "resolution", "extra", "hidden", "jpeg_quality", "png_level", "fpzip_precision"}
    | {"jxl_quality", "jxl_effort", "jxl_decodingspeed"}
    | {"zfpc_rate", "zfpc_precision", "zfpc_tolerance", "zfpc_correlated_dims"}
)


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
    kept = CacheFolder(folder, chunks, registry.suffixes, limit)
    if make:
        claim(records, folder, path, origin, kept.drop_all)
    elif not is_claimed(records, folder, path, origin):
        return None
    return kept


def _local(folder: str, registry: Registry) -> Store:
    head, tail = os.path.split(folder)
    # Not by parsing: a folder of any name will do, `info` too.
    path = CloudPath("file", PurePath(head).as_posix(), tail)
    try:
        options = Options("file").structured("file", registry)
    except UnknownProtocolError as error:
        raise UnknownProtocolError(f"cache: copies are files of the protocol 'file': {error}") from error
    store: Store = registry.make("protocol", "file", path, options, place=f"cache {folder}")
    return store


def _changed_scales(before: bytes, after: bytes) -> list[str] | None:
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


def keep_info(layer: CloudPath, data: bytes, objects: Callable[[CloudPath], Objects]) -> None:
    """Put the info that was just fetched beside the copies; drop those that must have changed with it."""
    store = objects(layer).store
    if not isinstance(store, DiskCache):
        return
    before, after = store.document("info"), as_kept("info", data)
    if before is not None and before != after:
        keys = _changed_scales(before, after)
        if keys is None:
            store.clear()
        for key in keys or ():
            with suppress(InfoError):  # in the older one; under such a key there was nothing
                place, folder = url.resolve(layer, key)
                there = objects(place).store
                if isinstance(there, DiskCache):
                    there.clear(f"{folder}/")
    store.keep_document("info", data)


def keep_provenance(data: bytes, objects: Objects) -> None:
    """Put the provenance that was just fetched beside the copies."""
    if isinstance(objects.store, DiskCache):
        objects.store.keep_document("provenance", data)
