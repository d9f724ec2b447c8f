"""The encoding `jpeg`: a chunk as one JPEG image, for uint8 with 1 or 3 channels. Lossy."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec
from precomp_plugins.codecs._need import need

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[jpeg]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._jpeg import Jpeg

    need("jpeg", "simplejpeg", "simplejpeg", _INSTALL)
    return Jpeg() if scale.jpeg_quality is None else Jpeg(scale.jpeg_quality)


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `jpeg`."""
    return [
        CodecPlugin(
            "jpeg",
            _build,
            dtypes=("uint8",),
            channels=(1, 3),
            lossy=True,
            viewable=True,
            install_hint=_INSTALL,
            compressible=False,
            requires=("simplejpeg",),
            content_type="image/jpeg",
        )
    ]
