"""The hooks a plugin implements, the markers, and the records its hooks return.

A plugin is a module (or object) named by an entry point of the group `precomp`:

    [project.entry-points.precomp]
    ftp = "precomp_ftp"

Its hooks take no arguments, return declarations and run once per process. Nothing heavy is imported
until a declaration's `open` or `build` is called, so a declaration is cheap even where its SDK is not
installed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs
import pluggy

from precomp.info import Scale, VolumeInfo
from precomp.interfaces import CloudPath, Codec, Compressor, MeshExporter, Store, SupportsCutout

__all__ = [
    "ENTRY_POINT_GROUP",
    "INSTEAD_OF",
    "CodecPlugin",
    "CompressorPlugin",
    "MeshExporterPlugin",
    "ProtocolPlugin",
    "hookimpl",
    "hookspec",
    "instead_of",
    "precomp_register_codecs",
    "precomp_register_compressors",
    "precomp_register_mesh_exporters",
    "precomp_register_protocols",
]

ENTRY_POINT_GROUP = "precomp"
hookspec = pluggy.HookspecMarker("precomp")
hookimpl = pluggy.HookimplMarker("precomp")

INSTEAD_OF: Final = "instead_of"
"""The key of what `instead_of` returns."""


def instead_of(*names: str) -> Mapping[str, Any]:
    """Return the metadata of a field of a protocol's options that stands in place of other fields.

    Where the field has a value (neither None nor False) in one place, `CloudVolume(secrets=...)`, the fields
    `names` do not count in places further away, `[protocols.SCHEME] anonymous = true`. What stands in the
    same place still meets, and the class may refuse it.

    >>> @attrs.frozen
    ... class Options:
    ...     anonymous: bool = attrs.field(default=False, metadata=instead_of("secrets"))
    ...     secrets: Any = attrs.field(default=None, repr=False, metadata=instead_of("anonymous"))
    """
    return {INSTEAD_OF: names}


@attrs.frozen
class ProtocolPlugin:
    """Serves cloudpaths of one scheme.

    Attributes:
        scheme: the text before `://`, lower case.
        open: called with the layer's CloudPath and the options (None where `options` is None);
            returns a Store, or a SupportsCutout for a service of boxes.
        options: an attrs class; a config's `[protocols.SCHEME]` table is structured into it.
        install_hint: what to install when the SDK is missing, `pip install 'precomp[s3]'`.
        compress: the compressor used where a volume is not told (`compress=None`); None for none.
        workers: threads that pay where a volume is not told (`parallel=None`); None means one per
            core, with small requests served inline: right for stores without latency. A store may know
            better, see `precomp.interfaces.UsesWorkers`.
        requires: the modules of its SDK, `("boto3",)`. They are looked for and not imported, so that
            `precomp plugins` can tell what is missing; a dotted name imports what stands before the dot.
        read_only: True where nothing can be written; a write is then refused before anything is asked of
            the store, whose own writes have to raise ReadOnlyError all the same.
    """

    scheme: str
    open: Callable[[CloudPath, Any], Store | SupportsCutout]
    options: type[Any] | None = None
    install_hint: str | None = None
    compress: str | None = None
    workers: int | None = None
    requires: tuple[str, ...] = ()
    read_only: bool = False


@attrs.frozen
class CodecPlugin:
    """Provides one chunk encoding.

    Attributes:
        encoding: the name in the info, lower case.
        build: makes the codec for one scale; a missing SDK raises MissingDependencyError here.
        dtypes: the data types it can store; None for any.
        channels: the channel counts it can store; None for any.
        lossy: True where decoded voxels may differ from those written.
        viewable: True where the stock Neuroglancer viewer can show it.
        install_hint: what to install when the SDK is missing.
        compressible: False where the protocol's default compression would be wasted on it.
        requires: the modules of its SDK, as of a ProtocolPlugin.
        content_type: the MIME type of a chunk, for stores that keep one.
        quick: True where decoding takes hardly longer than copying, so that few chunks on the local disk are
            not worth a second thread.
    """

    encoding: str
    build: Callable[[VolumeInfo, Scale], Codec]
    dtypes: Iterable[str] | None = None
    channels: Iterable[int] | None = None
    lossy: bool = False
    viewable: bool = False
    install_hint: str | None = None
    compressible: bool = True
    requires: tuple[str, ...] = ()
    content_type: str = "application/octet-stream"
    quick: bool = False


@attrs.frozen
class CompressorPlugin:
    """Provides one outer compression.

    Attributes:
        name: the HTTP Content-Encoding token, `gzip`.
        suffixes: for stores that use file names; the first is written, all are read.
        build: `build(level=None)` makes the compressor; a missing SDK raises MissingDependencyError.
        install_hint: what to install when the SDK is missing.
        requires: the modules of its SDK, as of a ProtocolPlugin.
    """

    name: str
    suffixes: tuple[str, ...]
    build: Callable[..., Compressor]
    install_hint: str | None = None
    requires: tuple[str, ...] = ()


@attrs.frozen
class MeshExporterPlugin:
    """Provides one mesh file format.

    Attributes:
        name: what `file_format=` takes, `obj`.
        suffix: of the files, `.obj`.
        build: makes the exporter.
        install_hint: what to install when the SDK is missing.
        requires: the modules of its SDK, as of a ProtocolPlugin.
    """

    name: str
    suffix: str
    build: Callable[[], MeshExporter]
    install_hint: str | None = None
    requires: tuple[str, ...] = ()


@hookspec
def precomp_register_protocols() -> Iterable[ProtocolPlugin]:
    """Return the protocols that the plugin serves.

    >>> from precomp.hookspecs import ProtocolPlugin, hookimpl
    >>> from precomp.memory import MemoryStore
    >>> def open_scratch(path, options):
    ...     return MemoryStore()
    >>> @hookimpl
    ... def precomp_register_protocols():
    ...     return [ProtocolPlugin("scratch", open_scratch)]
    >>> precomp_register_protocols()[0].scheme
    'scratch'
    """
    raise AssertionError("a specification is never called")


@hookspec
def precomp_register_codecs() -> Iterable[CodecPlugin]:
    """Return the chunk encodings that the plugin provides.

    >>> import numpy as np
    >>> from precomp.hookspecs import CodecPlugin, hookimpl
    >>> class COrder:
    ...     def encode(self, chunk):
    ...         return chunk.tobytes("C")
    ...     def decode(self, data, spec):
    ...         return np.frombuffer(data, spec.dtype).reshape(spec.shape)
    >>> @hookimpl
    ... def precomp_register_codecs():
    ...     return [CodecPlugin("c-order", lambda info, scale: COrder(), dtypes=["uint8"])]
    >>> precomp_register_codecs()[0].encoding
    'c-order'
    """
    raise AssertionError("a specification is never called")


@hookspec
def precomp_register_compressors() -> Iterable[CompressorPlugin]:
    """Return the outer compressions that the plugin provides.

    >>> import lzma
    >>> from precomp.hookspecs import CompressorPlugin, hookimpl
    >>> class Xz:
    ...     def compress(self, data):
    ...         return lzma.compress(data)
    ...     def decompress(self, data, max_size):
    ...         decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
    ...         try:
    ...             out = decoder.decompress(data, max_size + 1)
    ...         except lzma.LZMAError as error:
    ...             raise ValueError(f"xz: {error}") from error
    ...         if len(out) > max_size or not decoder.eof or decoder.unused_data:
    ...             raise ValueError(f"xz: not one whole stream of at most {max_size} bytes")
    ...         return out
    >>> @hookimpl
    ... def precomp_register_compressors():
    ...     return [CompressorPlugin("xz", (".xz",), lambda level=None: Xz())]
    >>> precomp_register_compressors()[0].suffixes
    ('.xz',)
    """
    raise AssertionError("a specification is never called")


@hookspec
def precomp_register_mesh_exporters() -> Iterable[MeshExporterPlugin]:
    """Return the mesh file formats that the plugin writes.

    >>> from precomp.hookspecs import MeshExporterPlugin, hookimpl
    >>> class Xyz:
    ...     def export(self, mesh):
    ...         return b"".join(b"%r %r %r\\n" % tuple(v) for v in mesh.vertices.tolist())
    >>> @hookimpl
    ... def precomp_register_mesh_exporters():
    ...     return [MeshExporterPlugin("xyz", ".xyz", Xyz)]
    >>> precomp_register_mesh_exporters()[0].suffix
    '.xyz'
    """
    raise AssertionError("a specification is never called")
