"""The compression `zstd` (RFC 8878)."""

from precomp.errors import ArgumentError, MissingDependencyError
from precomp.hookspecs import CompressorPlugin, hookimpl
from precomp.interfaces import Compressor

__all__ = ["precomp_register_compressors"]

_INSTALL = "pip install 'precomp[compress]'"
_MAX_LEVEL = 19  # those above need a window of more than 8 MiB, which browsers refuse (RFC 9659)


def _build(level: int | None = None) -> Compressor:
    from precomp_plugins.compressors._zstd import Zstd

    try:
        import zstandard  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"compression zstd needs zstandard: {_INSTALL}") from error
    if level is None:
        return Zstd()
    if level not in range(1, _MAX_LEVEL + 1):
        raise ArgumentError(f"level of zstd: expected 1 to {_MAX_LEVEL} or None, found {level!r}")
    return Zstd(level)


@hookimpl
def precomp_register_compressors() -> list[CompressorPlugin]:
    """Provide `zstd`, written as `.zstd` and read as `.zst` too."""
    return [CompressorPlugin("zstd", (".zstd", ".zst"), _build, _INSTALL, requires=("zstandard",))]
