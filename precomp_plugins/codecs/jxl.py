"""The encoding `jxl`: a chunk as one JPEG XL image, for uint8 with 1, 3 or 4 channels."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec
from precomp_plugins.codecs._need import need

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[jxl]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._jxl import Jxl

    need("jxl", "imagecodecs", "imagecodecs", _INSTALL)
    given = {"quality": scale.jxl_quality, "effort": scale.jxl_effort, "speed": scale.jxl_decodingspeed}
    return Jxl(**{name: value for name, value in given.items() if value is not None})


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `jxl`."""
    return [
        CodecPlugin(
            "jxl",
            _build,
            dtypes=("uint8",),
            channels=(1, 3, 4),
            lossy=True,
            viewable=True,
            install_hint=_INSTALL,
            compressible=False,
            requires=("imagecodecs",),
            content_type="image/jxl",
        )
    ]
