"""The compression `gzip` (RFC 1952)."""

from precomp.errors import ArgumentError
from precomp.hookspecs import CompressorPlugin, hookimpl
from precomp.interfaces import Compressor

__all__ = ["precomp_register_compressors"]


def _build(level: int | None = None) -> Compressor:
    from precomp_plugins.compressors._gzip import Gzip  # it imports ISA-L, which many runs do not need

    if level is None:
        return Gzip()
    if level not in range(4):
        raise ArgumentError(f"level of gzip: expected 0 to 3 (the levels of ISA-L) or None, found {level!r}")
    return Gzip(level)


@hookimpl
def precomp_register_compressors() -> list[CompressorPlugin]:
    """Provide `gzip`."""
    return [CompressorPlugin("gzip", (".gz",), _build)]
