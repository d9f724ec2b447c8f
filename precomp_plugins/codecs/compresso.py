"""The encoding `compresso`: boundaries of segments in small windows."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec
from precomp_plugins.codecs._need import need

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[compresso]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._compresso.codec import Compresso

    need("compresso", "compresso", "compresso", _INSTALL)
    return Compresso()


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `compresso`."""
    return [
        CodecPlugin(
            "compresso",
            _build,
            dtypes=("uint8", "uint16", "uint32", "uint64"),
            channels=(1,),
            viewable=True,
            install_hint=_INSTALL,
            compressible=False,
            requires=("compresso",),
        )
    ]
