"""Where an info sends its readers instead."""

from typing import Any

from precomp import url
from precomp.errors import InfoError
from precomp.interfaces import CloudPath
from precomp.plugins import Registry

__all__ = ["redirected"]


def redirected(path: CloudPath, target: Any, registry: Registry) -> CloudPath:
    """Return the place that the field `redirect` of the info at `path` names. Raises InfoError."""
    if not isinstance(target, str):
        raise InfoError(f"{path}/info: redirect: expected a cloudpath, found {target!r}")
    if "://" not in target:  # a local path would depend on the reader's working directory
        raise InfoError(f"{path}/info: redirect: expected PROTOCOL://..., found {target!r}")
    try:
        place = url.parse(target)
        registry.protocol(place.scheme)
        return place
    except ValueError as error:
        raise InfoError(f"{path}/info: redirect: {error}") from error
