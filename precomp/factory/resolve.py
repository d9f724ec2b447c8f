"""What a volume's tables amount to once they lie over each other."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from precomp import url
from precomp.errors import (
    CloudPathError,
    ConfigError,
    PluginConflictError,
    UnknownEncodingError,
    UnknownProtocolError,
)
from precomp.factory.config import Config, Link
from precomp.factory.creation import check_create
from precomp.factory.findings import Absent, Findings, Layered, joined
from precomp.factory.tables import DefaultsTable, VolumeTable
from precomp.hookspecs import ProtocolPlugin
from precomp.interfaces import CloudPath
from precomp.jsonio import unstructure
from precomp.jsonio.problems import member
from precomp.plugins import Registry

__all__ = ["Resolved", "check_protocols", "resolve"]


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
    path = _path(top.values.get("cloudpath"))
    if isinstance(path, CloudPathError):
        findings.add(top.place_of(".cloudpath"), path)
    if not isinstance(path, CloudPath):
        return None
    below = Layered(joined(place, ".options")).over(
        config.place(f".protocols{member(path.scheme)}"), registry.options.get(path.scheme, {})
    )
    options, effective = _with_own(below, links), None
    try:
        effective = _check_options(options, registry.protocol(path.scheme), findings)
    except (UnknownProtocolError, PluginConflictError) as error:
        absent.append(Absent(top.place_of(".cloudpath"), error))
    except ConfigError as error:
        absent.append(Absent(options.place, error))
    if table is None:
        return None
    compressor = "gzip" if table.compress is True else table.compress
    try:
        if compressor:
            registry.compressor_plugin(compressor)
    except (UnknownEncodingError, PluginConflictError) as error:
        absent.append(Absent(top.place_of(".compress"), error))
    settings = {field.name: getattr(table, field.name) for field in attrs.fields(DefaultsTable)}
    shown = {} if effective is None else unstructure(effective)
    return Resolved(place, path, settings, options.values, shown, create, absent)


def check_protocols(config: Config, registry: Registry, findings: Findings) -> None:
    """Note what is wrong with the tables `[protocols.SCHEME]`, each taken alone.

    One that nothing serves is wrong where it cannot be right: no volume has that scheme, it is none
    that every precomp knows, and there is no failed or disabled plugin that might serve it.
    """
    complete = all(plugin.state not in ("failed", "blocked") for plugin in registry.plugins)
    tables = [link.table for links in config.volumes.values() for link in links]
    plausible = {_scheme(table.get("cloudpath")) for table in tables} | url.WELL_KNOWN_SCHEMES
    for scheme, options in config.protocols.items():
        place = config.place(".protocols" + member(scheme))
        try:
            protocol = registry.protocol(scheme)
        except UnknownProtocolError as error:
            if complete and scheme not in plausible:
                findings.add(place, error)
        except PluginConflictError:
            continue  # a matter of the volumes that need it
        else:
            with contextlib.suppress(ConfigError):  # likewise
                _check_options(Layered(place).over(place, options), protocol, findings, partial=True)


def _path(text: Any) -> CloudPath | CloudPathError | None:
    try:
        return url.parse(text) if isinstance(text, str) else None
    except CloudPathError as error:
        return error


def _scheme(text: Any) -> str | None:
    path = _path(text)
    return path.scheme if isinstance(path, CloudPath) else None


def _with_own(below: Layered, links: Sequence[Link]) -> Layered:
    """The options of a protocol with a volume's own on top; inherited ones only from the same protocol."""
    options, before = below, None
    for link in links:
        own = _scheme(link.table["cloudpath"]) if "cloudpath" in link.table else before
        table = link.table.get("options", {})
        if own != before or table is None:
            options, before = below, own
        if isinstance(table, Mapping):
            options = options.over(joined(link.place, ".options"), table)
    return options


def _check_options(
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
