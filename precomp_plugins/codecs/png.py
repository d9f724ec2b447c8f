"""The encoding `png`: a chunk as one PNG image, for uint8 and uint16 with 1 to 4 channels."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec
from precomp_plugins.codecs._need import need

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[png]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._png.codec import Png

    need("png", "imagecodecs", "imagecodecs", _INSTALL)
    return Png(scale.png_level)


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `png`."""
    return [
        CodecPlugin(
            "png",
            _build,
            dtypes=("uint8", "uint16"),
            channels=(1, 2, 3, 4),
            viewable=True,
            install_hint=_INSTALL,
            compressible=False,
            requires=("imagecodecs",),
            content_type="image/png",
        )
    ]
