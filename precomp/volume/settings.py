"""The options of a volume, checked when they are set."""

import os
from typing import Any, Generic, TypeVar, overload

import attrs

from precomp.errors import ArgumentError
from precomp.hookspecs import ProtocolPlugin
from precomp.plugins import Registry

__all__ = [
    "CdnCache",
    "Compress",
    "Option",
    "Parallel",
    "Settings",
    "cache_control",
    "check_compress",
    "compressor_name",
    "worker_count",
]

Compress = bool | str | None
CdnCache = bool | int | str
Parallel = bool | int | None

T = TypeVar("T")

_MAX_AGE = 3600  # seconds, for cdn_cache=True


def _parallel(_: Any, __: Any, value: Any) -> None:
    if value is not None and not ((isinstance(value, int) and value >= 1) or value is False):
        raise ArgumentError(
            f"parallel: expected a number of threads from 1 on, True (one per core) or None, got {value!r}"
        )


@attrs.define
class Settings:
    """How a volume reads and writes; `CloudVolume`'s docstring tells what each means."""

    bounded: bool = attrs.field(default=True, converter=bool)
    fill_missing: bool = attrs.field(default=False, converter=bool)
    autocrop: bool = attrs.field(default=False, converter=bool)
    non_aligned_writes: bool = attrs.field(default=False, converter=bool)
    delete_black_uploads: bool = attrs.field(default=False, converter=bool)
    background_color: int | float = 0
    progress: bool | None = None
    compress: Compress = None
    cdn_cache: CdnCache = False
    parallel: Parallel = attrs.field(default=None, validator=_parallel)


class Option(Generic[T]):
    """A property of a volume that reads and sets the field of the same name in its Settings."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, vol: None, owner: type) -> "Option[T]": ...
    @overload
    def __get__(self, vol: object, owner: type) -> T: ...
    def __get__(self, vol: Any, owner: type) -> Any:
        return self if vol is None else getattr(vol._settings, self._name)

    def __set__(self, vol: Any, value: T) -> None:
        setattr(vol._settings, self._name, value)


def compressor_name(compress: Compress, protocol: ProtocolPlugin, compressible: bool) -> str | None:
    """The compressor to write with: what was asked for, else the protocol's own choice."""
    if compress is None:
        return protocol.compress if compressible else None
    if compress is True:
        return "gzip"
    return compress or None


def check_compress(compress: Any, registry: Registry) -> None:
    """Raise ArgumentError or UnknownEncodingError where no compressor is named by `compress`."""
    if not (compress is None or isinstance(compress, (bool, str))):
        raise ArgumentError(f"compress: expected None, a bool or a compressor's name, got {compress!r}")
    if isinstance(compress, str) and compress:
        registry.compressor(compress)


def cache_control(cdn_cache: CdnCache) -> str:
    """The Cache-Control text of `cdn_cache`: False no-cache, True an hour, N seconds, text as it is."""
    if isinstance(cdn_cache, str):
        return cdn_cache
    if cdn_cache is False:
        return "no-cache"
    return f"max-age={_MAX_AGE if cdn_cache is True else cdn_cache}"


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return os.cpu_count() or 1


def worker_count(parallel: Parallel, protocol: ProtocolPlugin) -> int:
    """How many threads to use at the most."""
    if parallel is None:
        return protocol.workers or cores()
    return cores() if parallel is True else max(1, parallel)
