"""The encoding `zfpc`: zfp streams in a container, for float32 with any number of channels."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec
from precomp_plugins.codecs._need import need

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[zfpc]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._zfpc import Zfpc

    need("zfpc", "zfpy", "zfpy", _INSTALL)
    given = (scale.zfpc_rate, scale.zfpc_precision, scale.zfpc_tolerance)
    rate, precision, tolerance = (-1 if value is None else value for value in given)
    return Zfpc(rate, precision, tolerance, scale.zfpc_correlated_dims or (True, True, True, True))


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `zfpc`."""
    return [
        CodecPlugin(
            "zfpc",
            _build,
            dtypes=("float32",),
            lossy=True,
            install_hint=_INSTALL,
            compressible=False,
            requires=("zfpy",),
        )
    ]
