"""The distributions on `sys.path` that bring plugins, read from the files that their installers left there.

importlib.metadata finds the same and is asked wherever something is out of the ordinary: a zip file on the
path, a finder of one's own, metadata that are damaged. To import it takes longer than all plugins together.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from precomp.hookspecs import ENTRY_POINT_GROUP

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = ["Found", "Place", "describe", "places", "read"]

Place: TypeAlias = "str | Distribution"
"""The folder of a distribution's metadata, or what another finder makes of one."""

_SECTION = f"[{ENTRY_POINT_GROUP}]"
_POINT = re.compile(r"([^=]+?)\s*=\s*([\w.]+)\s*(?::\s*([\w.]+)\s*)?(?:\[.*\]\s*)?")
_METADATA = (".dist-info", ".egg-info")
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


class Found(NamedTuple):
    """A distribution with plugins: its entry points by name, each with what loads it."""

    name: str
    version: str
    points: tuple[tuple[str, Callable[[], object]], ...]


def places() -> Iterator[Place]:
    """Yield every distribution, those of the first folder of `sys.path` first."""
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        yield from _ask_importlib()
        return
    for entry in map(str, sys.path):
        try:
            with os.scandir(entry or ".") as files:
                names = [
                    file.name for file in files if file.name.lower().endswith((".dist-info", ".egg-info"))
                ]
        except (FileNotFoundError, PermissionError):
            continue
        except OSError:  # a zip file
            yield from _ask_importlib(entry)
            continue
        yield from (os.path.join(entry, name) for name in names)
        if entry.lower().endswith(".egg"):
            yield from _ask_importlib(entry)


def read(place: Place) -> Found | None:
    """Return what a distribution brings; None where it has no plugins, as nearly all. May raise anything."""
    if not isinstance(place, str):
        return _thorough(place)
    text = _text(place, "entry_points.txt")
    if _SECTION not in text:
        return None
    head = (_text(place, "METADATA") or _text(place, "PKG-INFO")).partition("\n\n")[0]
    identity = dict(re.findall(r"^(Name|Version): *(\S+) *$", head, re.MULTILINE))
    points = [_POINT.fullmatch(line) for line in _lines(text)]
    if len(identity) < 2 or not all(points):
        from importlib.metadata import PathDistribution
        from pathlib import Path

        return _thorough(PathDistribution(Path(place)))
    loaders = tuple((point[1], _loader(point[2], point[3])) for point in points if point)
    return Found(identity["Name"], identity["Version"], loaders)


def describe(place: Place) -> str:
    """Return the folder that a distribution lies in, to name it where it cannot be read."""
    return os.path.dirname(place) if isinstance(place, str) else str(place.locate_file(""))


def _ask_importlib(*path: str) -> Iterator[Place]:
    from importlib.metadata import distributions

    return iter(distributions(path=list(path)) if path else distributions())


def _text(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read()
    except _ABSENT:
        return ""


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of the section of our group that are neither empty nor a comment."""
    ours = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            ours = line == _SECTION
        elif ours and line and not line.startswith("#"):
            yield line


def _loader(module: str, attributes: str | None) -> Callable[[], object]:
    names = (attributes or "").split(".") if attributes else []
    return lambda: reduce(getattr, filter(None, names), import_module(module))


def _thorough(distribution: "Distribution") -> Found | None:
    if _SECTION not in (distribution.read_text("entry_points.txt") or ""):
        return None
    metadata = distribution.metadata
    if not metadata["Name"]:
        raise ValueError("METADATA has no Name")
    points = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
    return Found(metadata["Name"], metadata["Version"], tuple((point.name, point.load) for point in points))
