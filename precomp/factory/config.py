"""A config whose tables have the right shape: from plain values, with `like` followed and paths absolute."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import attrs

from precomp import url
from precomp.errors import CloudPathError, ConfigError, did_you_mean
from precomp.factory.environment import Unknown, fill_in
from precomp.factory.findings import Findings, Layered, joined
from precomp.factory.tables import DefaultsTable, PluginsTable, VolumeTable
from precomp.jsonio.problems import member, wrong

__all__ = ["Config", "Link", "is_path", "parse"]

Table = Mapping[str, Any]


class Link(NamedTuple):
    """A table that a volume is made of, and where it stands: `precomp.toml: volumes.em`."""

    place: str
    table: Table


@attrs.frozen
class Config:
    """What stands in a config.

    Attributes:
        label: what the config is called in errors.
        volumes: from a name to its table, after all those that it is like; empty where these are wrong.
        protocols: from a scheme to its table.
        defaults: for every volume.
        plugins: which to prefer, which to disable.
    """

    label: str
    volumes: Mapping[str, tuple[Link, ...]]
    protocols: Mapping[str, Table]
    defaults: Table
    plugins: PluginsTable

    def place(self, path: str) -> str:
        """Return where `.volumes.em` is, `precomp.toml: volumes.em`."""
        return joined(f"{self.label}:", path)


@attrs.frozen(kw_only=True)
class _Sections:
    """The top level of a config."""

    volumes: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    protocols: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    plugins: PluginsTable = attrs.field(factory=PluginsTable)
    defaults: dict[str, Any] = attrs.field(factory=dict)


def is_path(text: str) -> bool:
    """Whether a text is a cloudpath or local path, and so can be no name of a volume."""
    return re.search(r"[/\\]|^~|^\.{1,2}$", text) is not None


def parse(raw: Any, label: str, folder: str, findings: Findings) -> Config:
    """Return the config in plain values; problems are noted, and what has some is left out.

    `folder`: what relative local cloudpaths count from. Raises ConfigError where it is no table.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{label}: {wrong('a table', raw)}")
    filled = {
        str(key): fill_in(value, place, findings)
        for key, value in raw.items()
        for place in [joined(f"{label}:", member(str(key)))]
    }
    sections = _Sections(**_sound(filled, label, findings))
    place = f"{label}: volumes"
    for name, table in sections.volumes.items():
        if not name or is_path(name):
            findings.add(place + member(name), "this reads as a path, not as the name of a volume; rename it")
        if isinstance(table.get("cloudpath"), str) and not isinstance(table["cloudpath"], Unknown):
            table["cloudpath"] = _absolute(table["cloudpath"], folder)
        cache = table.get("cache")
        if isinstance(cache, str) and cache and not isinstance(cache, Unknown):
            table["cache"] = os.path.join(folder, os.path.expanduser(cache))
        if isinstance(table.get("secrets"), str) and not isinstance(table["secrets"], Unknown):
            table["secrets"] = _file(table["secrets"], folder)
    findings.structure(sections.defaults, DefaultsTable, f"{label}: defaults")
    chains = {name: tuple(_chain(name, sections.volumes, place, findings)) for name in sections.volumes}
    return Config(label, chains, sections.protocols, sections.defaults, sections.plugins)


def _sound(filled: Table, label: str, findings: Findings) -> dict[str, Any]:
    """The sections that have the right shape; the others are noted."""
    fields = {field.name: field.type for field in attrs.fields(attrs.resolve_types(_Sections))}
    sound = {}
    for key, value in filled.items():
        place = joined(f"{label}:", member(key))
        if key not in fields:
            findings.add(place, f"unknown table{did_you_mean(key, fields)}, expected {', '.join(fields)}")
            continue
        made = findings.structure(value, fields[key], place)
        if made is None and key in ("volumes", "protocols") and isinstance(value, dict):
            made = {name: table for name, table in value.items() if isinstance(table, dict)}
        if made is not None:
            sound[key] = made
    return sound


def _absolute(text: str, folder: str) -> str:
    """Return a cloudpath, a relative local path counted from `folder`; what is no cloudpath as it is."""
    try:
        scheme = url.parse(text).scheme
    except CloudPathError:
        return text  # whoever opens it says what is wrong
    local = text.removeprefix("precomputed://")
    if scheme != "file" or local.lower().startswith("file:"):
        return text
    return os.path.join(folder, os.path.expanduser(local))


def _file(text: str, folder: str) -> str:
    """Return the path of a secret file, a relative one counted from `folder`."""
    path = os.path.expanduser(text)
    return text if os.path.isabs(path) else os.path.join(folder, path)


def _chain(name: str, volumes: Mapping[str, Table], place: str, findings: Findings) -> Iterator[Link]:
    """Yield the tables that a volume is made of, its own last; none where `like` leads nowhere."""
    trail, own = [name], place + member(name)
    while (like := volumes[trail[-1]].get("like")) is not None:
        known = isinstance(like, str) and like in volumes
        if known and like not in trail:
            trail.append(like)
            continue
        here = f"{place}{member(trail[-1])}.like"
        circle = trail[trail.index(like) :] if known else []
        if circle and like == min(circle):  # once for all that are in it
            way = " -> ".join([*circle, like])
            findings.add(here, f"the volumes are like each other in a circle, {way}; break it")
        elif isinstance(like, str) and not circle and not findings.has(place + member(like)):
            hint = did_you_mean(like, volumes)
            findings.add(here, f"there is no volume {like!r}{hint}, expected one of {', '.join(volumes)}")
        # All else that is wrong with this table; what it lacks, the others may have.
        Layered(own).over(own, volumes[name]).structure(VolumeTable, findings, partial=True)
        return
    for step in reversed(trail):
        yield Link(place + member(step), volumes[step])
