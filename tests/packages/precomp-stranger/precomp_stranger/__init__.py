"""Layers in SQLite files, `stranger://`; the encoding `delta`, the compression `xz`, the format `ply`."""

from pathlib import Path

import attrs

from precomp.hookspecs import CodecPlugin, CompressorPlugin, MeshExporterPlugin, ProtocolPlugin, hookimpl

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64")


@attrs.frozen
class StrangerOptions:
    """The config's table `[protocols.stranger]`.

    Attributes:
        folder: where the files are, one for each bucket.
        timeout: seconds to wait for other writers.
        fsync: whether a write survives a power cut.
    """

    folder: str
    timeout: float = 30.0
    fsync: bool = False


def open_store(path, options):
    from precomp_stranger.store import SqliteStore

    Path(options.folder).mkdir(parents=True, exist_ok=True)
    file = Path(options.folder, f"{path.bucket}.sqlite")
    return SqliteStore(file, path.path, options.timeout, options.fsync)


def build_delta(info, scale):
    from precomp_stranger.formats import Delta

    return Delta()


def build_xz(level=None):
    from precomp_stranger.formats import Xz

    return Xz(6 if level is None else level)


def build_ply():
    from precomp_stranger.formats import Ply

    return Ply()


@hookimpl
def precomp_register_protocols():
    return [ProtocolPlugin("stranger", open_store, options=StrangerOptions)]


@hookimpl
def precomp_register_codecs():
    return [CodecPlugin("delta", build_delta, dtypes=INTEGERS, compressible=False)]


@hookimpl
def precomp_register_compressors():
    return [CompressorPlugin("xz", (".xz",), build_xz)]


@hookimpl
def precomp_register_mesh_exporters():
    return [MeshExporterPlugin("ply", ".ply", build_ply)]
