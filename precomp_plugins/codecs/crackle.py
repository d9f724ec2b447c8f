"""The encoding `crackle`: cracks between segments, for integers with one channel."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec
from precomp_plugins.codecs._need import need

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[crackle]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._crackle.codec import Crackle

    need("crackle", "crackle", "crackle-codec", _INSTALL)
    return Crackle()


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `crackle`."""
    return [
        CodecPlugin(
            "crackle",
            _build,
            dtypes=("uint8", "uint16", "uint32", "uint64"),
            channels=(1,),
            install_hint=_INSTALL,
            compressible=False,
            requires=("crackle",),
        )
    ]
