"""`mem://`: volumes in this process's memory, shared by all that name the same path."""

from collections.abc import Iterable

from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.interfaces import CloudPath
from precomp.memory import MemoryStore, open_shared

__all__ = ["MemoryStore", "open_store", "precomp_register_protocols"]


def open_store(path: CloudPath, options: None = None) -> MemoryStore:
    """Return the view of the layer's folder; it needs no creation."""
    return open_shared(f"{path.bucket}/{path.path}".removesuffix("/"))


@hookimpl
def precomp_register_protocols() -> Iterable[ProtocolPlugin]:
    """Return the protocol `mem`."""
    return [ProtocolPlugin("mem", open_store)]
