"""The compression `br`, Brotli (RFC 7932): slower than gzip and tighter."""

from precomp.errors import ArgumentError, MissingDependencyError
from precomp.hookspecs import CompressorPlugin, hookimpl
from precomp.interfaces import Compressor

__all__ = ["precomp_register_compressors"]

_INSTALL = "pip install 'precomp[compress]'"


def _build(level: int | None = None) -> Compressor:
    from precomp_plugins.compressors._br import Brotli

    try:
        from brotli import Decompressor
    except ImportError as error:
        raise MissingDependencyError(f"compression br needs brotli: {_INSTALL}") from error
    if not hasattr(Decompressor, "can_accept_more_data"):
        raise MissingDependencyError(f"compression br needs brotli 1.2, to limit its output: {_INSTALL}")
    if level is None:
        return Brotli()
    if level not in range(12):
        raise ArgumentError(f"level of br: expected 0 to 11 or None, found {level!r}")
    return Brotli(level)


@hookimpl
def precomp_register_compressors() -> list[CompressorPlugin]:
    """Provide `br`."""
    return [CompressorPlugin("br", (".br",), _build, _INSTALL, requires=("brotli",))]
