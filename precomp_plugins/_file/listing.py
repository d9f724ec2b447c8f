"""Listing: the keys of the files below a folder."""

import os
from collections.abc import Iterator

from precomp_plugins._file.errors import failure
from precomp_plugins._file.io import stat_path

__all__ = ["list_files"]


def list_files(root: str, prefix: str, suffixes: tuple[str, ...]) -> Iterator[str]:
    """Yield the keys that start with `prefix` of the files below `root`, without `suffixes`, once each.

    `root` ends with a slash. Only the folders that can hold such keys are opened. Names that start
    with a dot are passed over; a link to a folder that it lies in is not followed. Raises StoreError
    where a folder cannot be read.
    """
    parts = prefix.split("/")[:-1]
    above = ["".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts))]
    try:
        seen = frozenset(_identity(root + folder) for folder in above)
    except OSError as error:
        raise failure("list", prefix, root, error) from error
    yield from _walk(root, "".join(f"{part}/" for part in parts), prefix, suffixes, seen)


def _walk(
    root: str,
    folder: str,
    prefix: str,
    suffixes: tuple[str, ...],
    above: frozenset[tuple[int, int] | None],
) -> Iterator[str]:
    try:
        here = _identity(root + folder)
        files, folders = ([], []) if here is None or here in above else _scan(root + folder)
    except OSError as error:
        raise failure("list", prefix, root + folder, error) from error
    for key in {folder + _without(suffixes, name) for name in files}:  # twins are one object
        if key.startswith(prefix):
            yield key
    for name in folders:
        below = f"{folder}{name}/"
        if below.startswith(prefix):
            yield from _walk(root, below, prefix, suffixes, above | {here})


def _identity(folder: str) -> tuple[int, int] | None:
    found = stat_path(folder)
    return None if found is None else (found.st_dev, found.st_ino)


def _scan(folder: str) -> tuple[list[str], list[str]]:
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif entry.is_file():
                    files.append(entry.name)
    except (FileNotFoundError, NotADirectoryError):
        pass  # removed meanwhile
    return files, folders


def _without(suffixes: tuple[str, ...], name: str) -> str:
    for suffix in suffixes:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name
