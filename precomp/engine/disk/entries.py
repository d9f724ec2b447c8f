"""What lies in a cache folder, by size and time, as the system tells it."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

__all__ = ["DOCUMENTS", "HIDDEN", "Entry", "entries"]

HIDDEN = ".precomp-cache"
"""The folder, inside of a cache folder, of what is no part of the volume."""

DOCUMENTS = frozenset({"info", "provenance"})
"""Copies that make the folder a volume; they are never served, counted or dropped for room."""

_ABANDONED = 3600.0  # seconds; a file takes less to be written, unless its writer was killed


class Entry(NamedTuple):
    """A kept object: its key, its stored size in bytes, and when it was last used, in ns."""

    key: str
    size: int
    used: int


def entries(root: str, suffixes: Sequence[str], prefix: str = "", *, sweep: bool = False) -> Iterator[Entry]:
    """Yield what is kept below `root` under keys that start with `prefix`, a folder with its slash or ''.

    `suffixes` are those of compressed files. Another cache folder further below is passed over. `sweep`
    removes the unfinished files of writers that were killed. Raises OSError.
    """
    folders = [prefix]
    while folders:
        folder = folders.pop()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(root + "/" + folder) as found:
            for item in found:
                if item.name.startswith("."):
                    if sweep and item.name.endswith(".tmp"):
                        _sweep(item)
                elif item.is_dir(follow_symlinks=False):
                    if not os.path.isdir(f"{item.path}/{HIDDEN}"):
                        folders.append(f"{folder}{item.name}/")
                elif item.is_file() and (folder or item.name not in DOCUMENTS):
                    with suppress(FileNotFoundError):
                        status = item.stat()
                        key = folder + _without(item.name, suffixes)
                        yield Entry(key, status.st_size, status.st_mtime_ns)


def _sweep(item: "os.DirEntry[str]") -> None:
    with suppress(FileNotFoundError):
        if item.is_file() and item.stat().st_mtime < time.time() - _ABANDONED:
            os.unlink(item.path)


def _without(name: str, suffixes: Sequence[str]) -> str:
    for suffix in suffixes:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name
