"""The encoding `raw`: a chunk's voxels as they are, without a header."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec

__all__ = ["precomp_register_codecs"]


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._raw import Raw

    return Raw()


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `raw`, for every data type and any number of channels."""
    return [CodecPlugin("raw", _build, viewable=True)]
