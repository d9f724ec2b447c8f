"""The encodings `npz` and `npz_uint8`: a chunk as a `.npy` file in a zlib stream."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec

__all__ = ["precomp_register_codecs"]


def _build_npz(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._npz import Npz

    return Npz()


def _build_npz_uint8(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._npz import NpzUint8

    return NpzUint8()


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `npz`, for every data type, and `npz_uint8`, for float32."""
    return [
        CodecPlugin("npz", _build_npz),
        CodecPlugin("npz_uint8", _build_npz_uint8, dtypes=("float32",), lossy=True),
    ]
