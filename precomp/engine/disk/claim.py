"""Whose copies a cache folder holds: written down when it is made, and looked at whenever it is opened."""

import hashlib
import os
from typing import Any

from precomp import jsonio
from precomp.engine.disk.entries import HIDDEN
from precomp.errors import ArgumentError, ConditionFailedError, StoreError
from precomp.interfaces import Blob, CloudPath, Condition, Store

__all__ = ["claim", "claimed_by", "default_folder", "overlap"]

_CLAIM = "cache"  # the key, in the hidden folder
_FORMAT = 1
_LONGEST_PART = 200  # bytes
_UNSAFE = frozenset('%/\\:*?"<>|')


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


def claim(records: Store, folder: str, path: CloudPath, origin: str = "") -> None:
    """Make `folder` the cache folder of `path`, or see that it is.

    `records` is a store of local files in its hidden folder. Raises ArgumentError where it holds anything
    else, and OSError where it cannot be read or made.
    """
    if claimed_by(records, folder, path, origin):
        return
    if folder == default_folder(path, origin):  # which may hold the folders of layers further below
        os.makedirs(_root(), 0o700, exist_ok=True)  # what is in a private bucket is nobody else's business
    else:
        _check_empty(folder)
    text = jsonio.dumps({"format": _FORMAT, "cloudpath": str(path), "origin": origin})
    try:
        records.put(_CLAIM, Blob(text), condition=Condition(None))
    except ConditionFailedError:  # somebody was quicker
        claimed_by(records, folder, path, origin)


def claimed_by(records: Store, folder: str, path: CloudPath, origin: str = "") -> bool:
    """Whether `folder` is the cache folder of `path`; False where it is nobody's.

    Raises ArgumentError where it is somebody else's.
    """
    blob = records.get(_CLAIM)
    if blob is None:
        return False
    try:
        found: Any = jsonio.loads(bytes(blob.data), folder, StoreError)
    except StoreError:
        found = None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ArgumentError(
            f"cache: the folder {folder} was made by another version of precomp, or its mark is "
            "damaged; remove the folder, as all in it can be fetched again, or choose another"
        )
    if (found.get("cloudpath"), found.get("origin")) != (str(path), origin):
        theirs = " at ".join(filter(None, (str(found.get("cloudpath")), found.get("origin"))))
        ours = " at ".join(filter(None, (str(path), origin)))
        raise ArgumentError(
            f"cache: the folder {folder} holds copies of {theirs}, not of {ours}; choose another folder, or "
            "remove this one"
        )
    return True


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
    if names - {HIDDEN}:
        raise ArgumentError(
            f"cache: the folder {folder} is not empty and no cache of precomp's ({sorted(names)[0]!r} is in "
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
