"""What a volume's tables amount to once they lie over each other."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from precomp import url
from precomp.errors import (
    ArgumentError,
    CloudPathError,
    ConfigError,
    PluginConflictError,
    UnknownEncodingError,
    UnknownProtocolError,
)
from precomp.factory.config import Config, Link
from precomp.factory.creation import check_create
from precomp.factory.environment import Unknown
from precomp.factory.findings import Absent, Findings, Layered, joined
from precomp.factory.tables import DefaultsTable, VolumeTable
from precomp.hookspecs import ProtocolPlugin
from precomp.interfaces import CloudPath
from precomp.jsonio import unstructure
from precomp.jsonio.problems import member
from precomp.plugins import Registry
from precomp.plugins.nearest import replaced
from precomp.volume.requests import fitting

__all__ = ["Resolved", "check_options", "resolve", "scheme_of"]


@attrs.frozen
class Resolved:
    """A volume that can be opened, unless something is absent.

    Attributes:
        place: where it stands, `precomp.toml: volumes.em`.
        path: of the layer.
        settings: arguments of CloudVolume.
        options: of the protocol, as the tables give them.
        effective: all options of the protocol; empty where the protocol is absent.
        create: the given arguments of `create_new_info`; None where nothing shall be created.
        absent: what the volume needs of plugins and does not get.
    """

    place: str
    path: CloudPath
    settings: Mapping[str, Any]
    options: Mapping[str, Any]
    effective: Mapping[str, Any]
    create: Mapping[str, Any] | None
    absent: Sequence[Absent]


def resolve(config: Config, links: Sequence[Link], registry: Registry, findings: Findings) -> Resolved | None:
    """Return what the tables `links` amount to, the last one on top; problems are noted.

    None where they leave nothing that could be opened.
    """
    place, absent = links[-1].place, list[Absent]()
    top = Layered(place).over(config.place(".defaults"), config.defaults)
    for link in links:
        top = top.over(link.place, link.table)
    table = top.structure(VolumeTable, findings)
    create = check_create([(link.place, link.table) for link in links], registry, findings, absent)
    if table is not None and create is not None:
        _check_background(table.background_color, create["data_type"], top, findings)
    path = _path(top.values.get("cloudpath"))
    if any(isinstance(link.table.get("cloudpath"), Unknown) for link in links):
        return None  # it is not known which options are right
    if isinstance(path, CloudPathError):
        findings.add(top.place_of(".cloudpath"), path)
    if not isinstance(path, CloudPath):
        return None
    below = Layered(joined(place, ".options")).over(
        config.place(f".protocols{member(path.scheme)}"), registry.options.get(path.scheme, {})
    )
    protocol = effective = None
    try:
        protocol = registry.protocol(path.scheme)
    except (UnknownProtocolError, PluginConflictError) as error:
        absent.append(findings.absent(top.place_of(".cloudpath"), error))
    options = _with_own(below, links, findings, None if protocol is None else protocol.options)
    try:
        effective = None if protocol is None else check_options(options, protocol, findings)
    except ConfigError as error:
        origin = registry.origin("protocol", path.scheme)
        absent.append(findings.absent(options.place, ConfigError(f"{origin}: {error}")))
    if table is None:
        return None
    compressor = "gzip" if table.compress is True else table.compress
    try:
        if compressor:
            registry.compressor_plugin(compressor)
    except (UnknownEncodingError, PluginConflictError) as error:
        absent.append(findings.absent(top.place_of(".compress"), error))
    settings = {field.name: getattr(table, field.name) for field in attrs.fields(DefaultsTable)}
    shown = {} if effective is None else unstructure(effective)
    return Resolved(place, path, settings, options.values, shown, create, absent)


def _check_background(value: Any, data_type: str, top: Layered, findings: Findings) -> None:
    """Note a background that the voxels of a new layer cannot hold; else the first read would tell."""
    try:
        fitting(value, np.dtype(data_type.lower()), "background_color")
    except ArgumentError as error:
        findings.add(top.place_of(".background_color"), str(error).removeprefix("background_color: "))


def _path(text: Any) -> CloudPath | CloudPathError | None:
    try:
        return url.parse(text) if isinstance(text, str) else None
    except CloudPathError as error:
        return error


def scheme_of(text: Any) -> str | None:
    """Return the scheme of a cloudpath; None for what is none."""
    path = _path(text)
    return path.scheme if isinstance(path, CloudPath) else None


def _with_own(below: Layered, links: Sequence[Link], findings: Findings, kind: type[Any] | None) -> Layered:
    """The options of a protocol with a volume's own on top; inherited ones only from the same protocol."""
    options, before = below, None
    for link in links:
        own = scheme_of(link.table["cloudpath"]) if "cloudpath" in link.table else before
        table = link.table.get("options", {})
        if own != before or table is None:
            options, before = below, own
        given = table if isinstance(table, Mapping) else {}
        secrets = {name: link.table[name] for name in ("secrets",) if name in link.table}
        if "secrets" in given and secrets:
            findings.add(joined(link.place, ".secrets"), "options.secrets says it too; leave one of them out")
        options = options.without(replaced(kind, {**given, **secrets}))
        options = options.over(joined(link.place, ".options"), given).over(link.place, secrets)
    return options


def check_options(
    options: Layered, protocol: ProtocolPlugin, findings: Findings, *, partial: bool = False
) -> Any:
    """Return the options as the protocol's record; None where it has none or problems were noted.

    Raises ConfigError where the plugin's class of options cannot be made of plain values.
    """
    if protocol.options is not None:
        return options.structure(protocol.options, findings, partial=partial)
    for key in options.values:
        findings.add(options.place_of(member(key)), f"the protocol {protocol.scheme!r} has no options")
    return None
