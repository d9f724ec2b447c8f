"""What a config says about plugins, each table and name taken alone, whether or not a volume needs it."""

import contextlib

from precomp import plugins
from precomp.errors import ConfigError, PluginConflictError, UnknownProtocolError, did_you_mean
from precomp.factory.config import Config
from precomp.factory.findings import Findings, Layered
from precomp.factory.resolve import check_options, scheme_of
from precomp.jsonio.problems import member
from precomp.plugins import Registry

__all__ = ["check_disabled", "check_protocols"]


def check_protocols(config: Config, registry: Registry, findings: Findings) -> list[str]:
    """Note what is wrong with the tables `[protocols.SCHEME]`, and return what may be right elsewhere.

    That is a table whose protocol no plugin serves here and no volume uses. It is wrong where it is nearly
    called like one that is served.
    """
    tables = [link.table for links in config.volumes.values() for link in links]
    used, idle = {scheme_of(table.get("cloudpath")) for table in tables}, []
    for scheme, options in config.protocols.items():
        place = config.place(".protocols" + member(scheme))
        try:
            protocol = registry.protocol(scheme)
        except UnknownProtocolError as error:
            if scheme in used:
                continue  # a matter of the volumes that need it
            if did_you_mean(scheme, registry.schemes):
                findings.add(place, error)
            else:
                idle.append(f"{place}: no plugin serves this protocol here, and no volume uses it: {error}")
        except PluginConflictError:
            continue  # likewise
        else:
            with contextlib.suppress(ConfigError):  # likewise
                check_options(Layered(place).over(place, options), protocol, findings, partial=True)
    return idle


def check_disabled(config: Config, registry: Registry) -> list[str]:
    """Return which names in `plugins.disable` are those of no plugin that is installed here."""
    return [
        f"{config.place(f'.plugins.disable[{number}]')}: {problem}"
        for number, name in enumerate(config.plugins.disable)
        for problem in plugins.unknown_names(registry, [name])
    ]
