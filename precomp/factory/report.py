"""What a config comes to, to be shown: plain values without secrets."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from precomp.errors import PluginConflictError, UnknownProtocolError
from precomp.factory.resolve import Resolved
from precomp.jsonio.secrets import hidden, masked
from precomp.plugins import Registry

__all__ = ["describe"]


def describe(
    label: str,
    volumes: Mapping[str, Resolved],
    registry: Registry,
    secrets: Collection[str],
    problems: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the config's name, its volumes, and all problems, as values that JSON can hold."""
    found = [*(str(one) for volume in volumes.values() for one in volume.absent), *problems]
    shown = {
        name: {
            "cloudpath": masked(str(volume.path), secrets),
            "protocol": _origin(volume.path.scheme, registry),
            "settings": masked(volume.settings, secrets),
            "options": masked(volume.effective, secrets),
            "create": masked(volume.create, secrets),
        }
        for name, volume in volumes.items()
    }
    return {
        "config": label,
        "problems": [hidden(one, secrets) for one in dict.fromkeys(found)],
        "volumes": shown,
    }


def _origin(scheme: str, registry: Registry) -> dict[str, str] | None:
    """The plugin that serves a scheme; None where none does."""
    try:
        plugin = registry.origin("protocol", scheme)
    except (UnknownProtocolError, PluginConflictError):
        return None
    fields = attrs.asdict(plugin, filter=attrs.filters.include("entry", "distribution", "version"))
    return {"scheme": scheme, **fields}
