"""The encoding `fpzip`: floats, whole or some of their bits, for float32 and any number of channels."""

from precomp.errors import MissingDependencyError
from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[fpzip]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._fpzip import library
    from precomp_plugins.codecs._fpzip.codec import Fpzip

    try:
        library.library()
    except ImportError as error:
        raise MissingDependencyError(f"encoding fpzip needs fpzip: {_INSTALL} ({error})") from error
    return Fpzip(scale.fpzip_precision or 0)


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `fpzip`."""
    return [
        CodecPlugin(
            "fpzip",
            _build,
            dtypes=("float32",),
            lossy=True,
            install_hint=_INSTALL,
            compressible=False,
            requires=("fpzip",),
        )
    ]
