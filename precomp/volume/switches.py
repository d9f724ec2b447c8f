"""The options of an open volume, as properties that may be set."""

from typing import Any

import attrs

from precomp.volume.layer import Layer
from precomp.volume.settings import Cache, CdnCache, Compress, Option, Parallel, Settings

__all__ = ["Switches"]


class Switches:
    """The part of CloudVolume that holds its options."""

    _layer: Layer
    _settings: Settings

    @property
    def compress(self) -> Compress:
        """What chunks are compressed with, as it was given."""
        return self._settings.compress

    @compress.setter
    def compress(self, value: Compress) -> None:
        self._set("compress", value)

    bounded = Option[bool]("True: outside the volume is an error; False: it is background.")
    fill_missing = Option[bool]("True: a chunk that is not stored reads as background.")
    autocrop = Option[bool]("True: requests are cut down to the bounds.")
    background_color = Option[int | float]("What stands for background.")
    non_aligned_writes = Option[bool]("True: writes may start and end anywhere.")
    delete_black_uploads = Option[bool]("True: whole chunks of background are deleted, not stored.")
    progress = Option[bool | None]("True shows bars, False none, None on a terminal.")
    cdn_cache = Option[CdnCache]("Cache-Control of the chunks.")
    parallel = Option[Parallel]("Number of worker threads; True one per core, None what suits.")

    @property
    def lru_bytes(self) -> int:
        """How many bytes of decoded chunks are kept in memory, 0 for none. To set it empties the cache."""
        return self._layer.cache.limit

    @lru_bytes.setter
    def lru_bytes(self, value: int) -> None:
        self._set("lru_bytes", value)
        self._layer.cache.resize(self._settings.lru_bytes)

    def _set(self, name: str, value: Any) -> None:
        """Change a setting that not every kind of layer can have."""
        self._layer.check_settings(attrs.evolve(self._settings, **{name: value}))
        setattr(self._settings, name, value)

    def _set_cache(self, value: Cache) -> None:
        self._set("cache", value)
        self._layer.caching = attrs.evolve(self._layer.caching, where=self._settings.cache)

    @property
    def cache_bytes(self) -> int | None:
        """How many bytes of copies are kept on the local disk at the most; None for any number."""
        return self._layer.caching.limit

    @cache_bytes.setter
    def cache_bytes(self, value: int | None) -> None:
        self._settings.cache_bytes = value
        self._layer.caching = attrs.evolve(self._layer.caching, limit=self._settings.cache_bytes)

    @property
    def cache_validate(self) -> bool:
        """Whether the version of a copy is compared with the store's each time before it is used."""
        return self._layer.caching.validate

    @cache_validate.setter
    def cache_validate(self, value: bool) -> None:
        self._settings.cache_validate = value
        self._layer.caching = attrs.evolve(self._layer.caching, validate=self._settings.cache_validate)
