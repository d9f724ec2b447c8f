"""The options of a volume, checked when they are set."""

import os
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Generic, TypeVar, overload

import attrs
import numpy as np

from precomp.engine.workers import cores
from precomp.errors import ArgumentError
from precomp.hookspecs import ProtocolPlugin
from precomp.plugins import Registry
from precomp.volume.caching import CACHE_BYTES, Caching

__all__ = [
    "Cache",
    "CdnCache",
    "Compress",
    "Option",
    "Parallel",
    "Settings",
    "cache_control",
    "check_compress",
    "checked_create",
    "checked_parallel",
    "compressor_name",
    "is_header",
    "worker_count",
]

Compress = bool | str | None
CdnCache = bool | int | str
Cache = bool | str | os.PathLike[str]
Parallel = bool | int | None

T = TypeVar("T")

_MAX_AGE = 3600  # seconds, for cdn_cache=True


def _plain(value: Any) -> Any:
    """A scalar of numpy as Python's: `np.True_` is not True, but is meant so. A duration stays one."""
    return value.item() if isinstance(value, np.generic) and not isinstance(value, np.timedelta64) else value


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_number(value: Any) -> bool:
    if type(value) is int or type(value) is float:  # nearly always, and Real takes its time
        return True
    return isinstance(value, Real) and not isinstance(value, np.timedelta64)  # an integer to numpy


def _is_count(value: Any, least: int) -> bool:
    if type(value) is int:
        return value >= least
    return isinstance(value, Integral) and _is_number(value) and not _is_bool(value) and int(value) >= least


def _checked(expected: str, fits: Callable[[Any], bool]) -> Callable[[Any, Any, Any], None]:
    def check(_: Any, field: Any, value: Any) -> None:
        if not fits(value):
            raise ArgumentError(f"{field.name}: expected {expected}, got {value!r}")

    return check


_switch = _checked("True or False", _is_bool)
_PARALLEL = "a number of threads from 1 on, True (one per core) or None"


def _made_plain(_: type, fields: "list[attrs.Attribute[Any]]") -> "list[attrs.Attribute[Any]]":
    return [field.evolve(converter=_plain) for field in fields]


@attrs.define(field_transformer=_made_plain)
class Settings:
    """How a volume reads and writes; `CloudVolume`'s docstring tells what each means.

    Scalars of numpy are kept as Python's.
    """

    bounded: bool = attrs.field(default=True, validator=_switch)
    fill_missing: bool = attrs.field(default=False, validator=_switch)
    autocrop: bool = attrs.field(default=False, validator=_switch)
    non_aligned_writes: bool = attrs.field(default=False, validator=_switch)
    delete_black_uploads: bool = attrs.field(default=False, validator=_switch)
    background_color: int | float = attrs.field(default=0, validator=_checked("a number", _is_number))
    progress: bool | None = attrs.field(
        default=None,
        validator=_checked("True, False or None", lambda value: value is None or _is_bool(value)),
    )
    compress: Compress = None
    cdn_cache: CdnCache = attrs.field(
        default=False,
        validator=_checked(
            "True, False, a number of seconds or a Cache-Control text of printable ASCII characters",
            lambda value: (
                is_header(value) if isinstance(value, str) else _is_bool(value) or _is_count(value, 0)
            ),
        ),
    )
    parallel: Parallel = attrs.field(
        default=None, validator=_checked(_PARALLEL, lambda value: _fits_parallel(value))
    )
    lru_bytes: int = attrs.field(
        default=0, validator=_checked("a number of bytes, 0 for no cache", lambda value: _is_count(value, 0))
    )
    cache: Cache = attrs.field(
        default=False, validator=_checked("True, False or a folder", lambda value: _fits_cache(value))
    )
    cache_bytes: int | None = attrs.field(
        default=CACHE_BYTES,
        validator=_checked(
            "a number of bytes from 1 on, or None for any number",
            lambda value: value is None or _is_count(value, 1),
        ),
    )
    cache_validate: bool = attrs.field(default=False, validator=_switch)

    @property
    def caching(self) -> Caching:
        """Where copies are kept, as a layer wants to know it."""
        return Caching(self.cache, self.cache_bytes, self.cache_validate)


def is_header(text: str) -> bool:
    """Whether a text can be the value of an HTTP header."""
    return text.isascii() and text.isprintable()


def _fits_cache(value: Any) -> bool:
    return _is_bool(value) or (isinstance(value, (str, os.PathLike)) and bool(os.fspath(value)))


def _fits_parallel(value: Any) -> bool:
    return value is None or _is_bool(value) or _is_count(value, 1)


def checked_parallel(value: Any) -> Parallel:
    """Return what `parallel=` may be. Raises ArgumentError."""
    plain: Parallel = _plain(value)
    if not _fits_parallel(plain):
        raise ArgumentError(f"parallel: expected {_PARALLEL}, got {value!r}")
    return plain


def checked_create(value: Any, info: Any) -> bool:
    """Return what `create=` may be. Raises ArgumentError."""
    if not _is_bool(_plain(value)):
        raise ArgumentError(f"create: expected True or False, got {value!r}")
    if value and info is None:
        raise ArgumentError(
            "create=True: expected an info that tells what to create, got none; pass "
            "info=CloudVolume.create_new_info(...)"
        )
    return bool(value)


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
    if not (compress is None or isinstance(compress, (bool, np.bool_, str))):
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


def worker_count(parallel: Parallel, wanted: int | None) -> int:
    """How many threads to use at the most; `wanted` by the store or its protocol where nothing was said."""
    if parallel is None:
        return wanted or cores()
    return cores() if parallel is True else max(1, int(parallel))
