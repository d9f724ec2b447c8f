"""`file://`: volumes on the local disk."""

from collections.abc import Iterable

import attrs

from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.interfaces import CloudPath, Store

__all__ = ["FileOptions", "open_store", "precomp_register_protocols"]


@attrs.frozen
class FileOptions:
    """The config's table `[protocols.file]`.

    Attributes:
        fsync: sync file and folder before a write returns, so that it survives a power cut. The
            info and provenance files always are synced.
    """

    fsync: bool = False


def open_store(path: CloudPath, options: FileOptions) -> Store:
    """Return the store of the layer's folder, which need not exist."""
    from precomp_plugins._file.names import layer_folder
    from precomp_plugins._file.store import FileStore

    return FileStore(layer_folder(path), fsync=options.fsync)


@hookimpl
def precomp_register_protocols() -> Iterable[ProtocolPlugin]:
    """Return the protocol `file`."""
    return [ProtocolPlugin("file", open_store, options=FileOptions)]
