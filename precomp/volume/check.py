"""Does an info suit the plugins that are loaded? The models know no codec, so it is asked here."""

import sys
import warnings

from precomp.errors import InfoError, PrecompWarning, UnknownEncodingError
from precomp.grid import ChunkGrid
from precomp.hookspecs import CodecPlugin
from precomp.info import CREATABLE_DATA_TYPES, VolumeInfo
from precomp.plugins import Registry

__all__ = ["check_creatable", "check_scale", "warn_old_type", "warn_unviewable"]


def check_scale(registry: Registry, info: VolumeInfo, mip: int, name: str) -> CodecPlugin:
    """Return the codec declaration of scale `mip`; `name` stands in errors.

    Raises UnknownEncodingError where no plugin provides the encoding, and InfoError where the
    encoding cannot hold the data type or the number of channels, or a sharding cannot number the chunks.
    """
    try:
        plugin = registry.codec(info.scales[mip].encoding_name)
    except UnknownEncodingError as error:
        raise UnknownEncodingError(f"{name}: info.scales[{mip}].encoding: {error}") from error
    data_type = info.data_type.lower()
    dtypes = None if plugin.dtypes is None else list(plugin.dtypes)
    channels = None if plugin.channels is None else list(plugin.channels)
    where = f"{name}: info.scales[{mip}].encoding: {plugin.encoding}"
    if dtypes is not None and data_type not in dtypes:
        raise InfoError(f"{where} holds {_or(dtypes)}, not {data_type}; choose another encoding")
    if channels is not None and info.num_channels not in channels:
        raise InfoError(
            f"{where} holds {_or(channels)} channels, not {info.num_channels}; choose another encoding"
        )
    if info.scales[mip].sharding is not None:
        from precomp.engine.shards.cells import Cells  # most volumes have no use for it

        Cells(ChunkGrid.of(info.scales[mip]), name)
    return plugin


def check_creatable(info: VolumeInfo, name: str) -> None:
    """Raise InfoError where a new layer would have the data type, or the spelling, of old ones only."""
    for mip, scale in enumerate(info.scales):
        if scale.encoding != scale.encoding.lower():
            raise InfoError(f"{name}: info.scales[{mip}].encoding: {scale.encoding} has to be lower case")
    if info.data_type.lower() in CREATABLE_DATA_TYPES and info.data_type not in CREATABLE_DATA_TYPES:
        raise InfoError(f"{name}: info.data_type: {info.data_type} has to be lower case")
    if info.data_type not in CREATABLE_DATA_TYPES:
        raise InfoError(
            f"{name}: info.data_type: {info.data_type} is read but not created, since no viewer shows it; "
            f"use {_or(CREATABLE_DATA_TYPES)}"
        )


def warn_old_type(info: VolumeInfo, name: str) -> None:
    """Warn where Neuroglancer cannot show the data type."""
    if info.data_type.lower() not in CREATABLE_DATA_TYPES:
        _warn(f"{name}: Neuroglancer cannot show the data type {info.data_type}")


def warn_unviewable(plugin: CodecPlugin) -> None:
    """Warn where the stock Neuroglancer viewer cannot show the encoding of a new layer."""
    if not plugin.viewable:
        _warn(f"Neuroglancer cannot show the encoding {plugin.encoding}; precomp reads and writes it")


def _warn(text: str) -> None:
    """Warn of the line that called precomp, however deep in it this is."""
    level, frame = 1, sys._getframe()
    package = __name__.partition(".")[0]
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(text, PrecompWarning, stacklevel=level)


def _or(values: object) -> str:
    names = [str(value) for value in values]  # type: ignore[attr-defined]
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
