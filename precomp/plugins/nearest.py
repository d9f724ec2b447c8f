"""Which options of a protocol count, where some lie nearer to the volume than others.

An argument of CloudVolume is nearer than a volume's table, that one is nearer than the table of the protocol.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from precomp.hookspecs import INSTEAD_OF

__all__ = ["replaced"]


def replaced(kind: type[Any] | None, nearer: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the options that do not count where they lie further away than the table `nearer`.

    `kind` is the protocol's class of options; see `precomp.hookspecs.instead_of`.
    """
    if kind is None or not attrs.has(kind):
        return frozenset()
    given = (field for field in attrs.fields(kind) if _is_given(nearer.get(field.alias)))
    return frozenset(name for field in given for name in field.metadata.get(INSTEAD_OF, ()))


def _is_given(value: Any) -> bool:
    return value is not None and value is not False
