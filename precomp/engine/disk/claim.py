"""Whose copies a cache folder holds: written down when it is made, and looked at whenever it is opened."""

import hashlib
import logging
import os
import zlib
from collections.abc import Callable
from typing import Any

from precomp import jsonio
from precomp.engine.disk.entries import HIDDEN
from precomp.errors import ArgumentError, ConditionFailedError, StoreError
from precomp.interfaces import Blob, CloudPath, Condition, Store

__all__ = ["claim", "default_folder", "is_claimed", "overlap"]

_CLAIM = "cache"  # the key, in the hidden folder
_FORMAT = 2
_LONGEST_PART = 200  # bytes
_UNSAFE = frozenset('%/\\:*?"<>|')
_log = logging.getLogger(__name__)


class _DamagedMarkError(Exception):
    """Nobody can tell whose copies a folder holds."""


def default_folder(path: CloudPath, origin: str = "") -> str:
    """Return the folder for `cache=True`, `~/.cache/precomp/gs/bucket/dataset/layer`.

    Below `$XDG_CACHE_HOME` where that is set. `origin` tells services apart that serve one cloudpath.
    """
    scheme = f"{path.scheme}@{origin}" if origin else path.scheme
    parts = [scheme, *path.bucket.strip("/").split("/"), *path.path.split("/")]
    return os.path.join(_root(), *(_safe(part) for part in parts if part))


def _root() -> str:
    root = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(root):  # a relative one is to be ignored, says its specification
        root = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(os.path.abspath(root), "precomp")


def claim(records: Store, folder: str, path: CloudPath, origin: str, drop_all: Callable[[], object]) -> None:
    """Make `folder` the cache folder of `path`, or see that it is.

    `records` is a store of local files in its hidden folder. Where its mark is damaged nobody knows whose
    copies it holds, so `drop_all` is called. Raises ArgumentError where it holds anything else, and OSError
    where it cannot be read or made.
    """
    found = (str(path), origin)
    fields = {"format": _FORMAT, "cloudpath": found[0], "origin": found[1], "checksum": _checksum(*found)}
    mark = Blob(jsonio.dumps(fields))
    try:
        if _claimed_by(records, folder, path, origin):
            return
    except _DamagedMarkError:
        _log.info("%s: the mark of this cache is damaged, and all in it is fetched anew", folder)
        drop_all()
        records.put(_CLAIM, mark)
        return
    if folder == default_folder(path, origin):  # which may hold the folders of layers further below
        os.makedirs(_root(), 0o700, exist_ok=True)  # what is in a private bucket is nobody else's business
    else:
        _check_empty(folder)
    try:
        records.put(_CLAIM, mark, condition=Condition(None))
    except ConditionFailedError:  # somebody was quicker
        _claimed_by(records, folder, path, origin)


def is_claimed(records: Store, folder: str, path: CloudPath, origin: str = "") -> bool:
    """Whether `folder` is the cache folder of `path`; False where it is nobody's, or nobody knows.

    Raises ArgumentError where it is somebody else's.
    """
    try:
        return _claimed_by(records, folder, path, origin)
    except _DamagedMarkError:
        return False


def _claimed_by(records: Store, folder: str, path: CloudPath, origin: str) -> bool:
    blob = records.get(_CLAIM)
    if blob is None:
        return False
    found = _mark_of(blob)
    if found != (str(path), origin):
        theirs, ours = (" at ".join(filter(None, one)) for one in (found, (str(path), origin)))
        raise ArgumentError(
            f"cache: the folder {folder} holds copies of {theirs}, not of {ours}; choose another folder, or "
            "remove this one"
        )
    return True


def _mark_of(blob: Blob) -> tuple[str, str]:
    """Return the cloudpath and the origin that a mark tells."""
    try:
        found: Any = jsonio.loads(bytes(blob.data), _CLAIM, StoreError)
    except StoreError as error:
        raise _DamagedMarkError from error
    fields = found if isinstance(found, dict) and found.get("format") == _FORMAT else {}
    cloudpath, origin = fields.get("cloudpath"), fields.get("origin")
    if not isinstance(cloudpath, str) or not isinstance(origin, str):  # or of another version
        raise _DamagedMarkError
    if fields.get("checksum") != _checksum(cloudpath, origin):  # one letter away may be another layer
        raise _DamagedMarkError
    return cloudpath, origin


def _checksum(cloudpath: str, origin: str) -> int:
    return zlib.crc32(f"{cloudpath}\n{origin}".encode("utf-8", "surrogatepass"))


def overlap(folder: str, layer: str) -> bool:
    """Whether one of two local folders is the other or lies in it."""
    ours, theirs = os.path.realpath(folder), os.path.realpath(layer)
    try:
        return os.path.commonpath([ours, theirs]) in (ours, theirs)
    except ValueError:  # on two drives
        return False


def _check_empty(folder: str) -> None:
    try:
        names = set(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        if os.path.isfile(folder):
            raise ArgumentError(f"cache: expected a folder, {folder} is a file; choose another") from error
        raise StoreError(f"{folder}: cannot list it: {error}; check its permissions") from error
    if others := names - {HIDDEN}:
        raise ArgumentError(
            f"cache: the folder {folder} is not empty and no cache of precomp's ({min(others)!r} is in "
            "it), and is left alone; choose one that is new or empty"
        )


def _safe(part: str) -> str:
    """A folder's name for one part of a cloudpath, another one for each, that leads nowhere else."""
    name = "".join(_escaped(char) if char in _UNSAFE or not char.isprintable() else char for char in part)
    if name.startswith("."):  # `..`, and names that a store of files keeps for itself
        name = f"%2E{name[1:]}"
    encoded = name.encode()
    if len(encoded) > _LONGEST_PART:
        return f"%{hashlib.sha256(encoded).hexdigest()}"
    return name


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
