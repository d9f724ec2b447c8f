"""The encoding `compressed_segmentation`: small blocks, each with a table of its labels and indices."""

from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Codec
from precomp_plugins.codecs._need import need

__all__ = ["precomp_register_codecs"]

_INSTALL = "pip install 'precomp[cseg]'"


def _build(info: VolumeInfo, scale: Scale) -> Codec:
    from precomp_plugins.codecs._cseg.codec import CompressedSegmentation

    need("compressed_segmentation", "compressed_segmentation", "compressed-segmentation", _INSTALL)
    return CompressedSegmentation(scale.compressed_segmentation_block_size or (8, 8, 8))


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `compressed_segmentation`."""
    return [
        CodecPlugin(
            "compressed_segmentation",
            _build,
            dtypes=("uint32", "uint64"),
            viewable=True,
            install_hint=_INSTALL,
            requires=("compressed_segmentation",),
            quick=True,
        )
    ]
