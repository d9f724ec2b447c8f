"""Infos of new layers, and the lower scales of old ones, as plain dicts."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, Literal, TypedDict, cast

import attrs
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from precomp.errors import ArgumentError, did_you_mean
from precomp.info import (
    CREATABLE_DATA_TYPES,
    Coordinate3,
    CorrelatedDims,
    FpzipPrecision,
    JpegQuality,
    JxlDecodingSpeed,
    JxlEffort,
    JxlQuality,
    PngLevel,
    Resolution3,
    Scale,
    Size,
    Size3,
    VolumeInfo,
    ZfpcNumber,
)
from precomp.jsonio import plain, structure, unstructure
from precomp.shards import fitted, sharded

__all__ = ["EncodingSettings", "add_scale", "create_new_info", "reset_scales", "scale_key"]

_BLOCK_SIZE = (8, 8, 8)

# The fields of a scale that say how chunks of an encoding are written.
_SETTINGS = {
    "jpeg": ("jpeg_quality",),
    "png": ("png_level",),
    "jxl": ("jxl_quality", "jxl_effort", "jxl_decodingspeed"),
    "fpzip": ("fpzip_precision",),
    "zfpc": ("zfpc_rate", "zfpc_precision", "zfpc_tolerance", "zfpc_correlated_dims"),
}


class EncodingSettings(TypedDict, total=False):
    """How `create_new_info` lets chunks be written in some encodings; it describes each."""

    jpeg_quality: int | None
    png_level: int | None
    jxl_quality: int | None
    jxl_effort: int | None
    jxl_decodingspeed: int | None
    fpzip_precision: int | None
    zfpc_rate: float | None
    zfpc_precision: float | None
    zfpc_tolerance: float | None
    zfpc_correlated_dims: Sequence[bool] | None


def create_new_info(
    num_channels: int,
    layer_type: str,
    data_type: DTypeLike,
    encoding: str,
    resolution: ArrayLike,
    voxel_offset: ArrayLike,
    volume_size: ArrayLike,
    mesh: str | bool | None = None,
    chunk_size: ArrayLike = (64, 64, 64),
    max_mip: int = 0,
    factor: ArrayLike = (2, 2, 1),
    *,
    skeletons: str | bool | None = None,
    compressed_segmentation_block_size: ArrayLike | None = _BLOCK_SIZE,
    jpeg_quality: int | None = None,
    png_level: int | None = None,
    jxl_quality: int | None = None,
    jxl_effort: int | None = None,
    jxl_decodingspeed: int | None = None,
    fpzip_precision: int | None = None,
    zfpc_rate: float | None = None,
    zfpc_precision: float | None = None,
    zfpc_tolerance: float | None = None,
    zfpc_correlated_dims: Sequence[bool] | None = None,
    sharding: Any = None,
) -> dict[str, Any]:
    """Return the info of a new layer as a plain dict; nothing is written.

    Triples are x, y, z and may be any sequence or array; an integral float counts as an int.

    Args:
        num_channels: at least 1.
        layer_type: `image` or `segmentation`.
        data_type: a name or a numpy dtype, one that viewers show.
        encoding: of the chunks; whether a plugin provides it is found out when the info is used.
        resolution: nanometres per voxel at mip 0.
        voxel_offset: position of the first voxel at mip 0.
        volume_size: voxels at mip 0.
        mesh: folder of the meshes; True means `mesh`.
        chunk_size: voxels of a chunk, at every mip.
        max_mip: the number of the coarsest scale; 0 makes one scale.
        factor: how much coarser each scale is than the one above, in whole numbers.
        skeletons: folder of the skeletons; True means `skeletons`.
        compressed_segmentation_block_size: used with that encoding only.
        jpeg_quality: 0 to 100, used with jpeg only.
        png_level: 0 to 9, used with png only.
        jxl_quality: 0 to 100, used with jxl only, as the next two; 100 is without loss.
        jxl_effort: 1 to 10, how hard the encoder tries.
        jxl_decodingspeed: 0 to 4, how much size is given for quick decoding.
        fpzip_precision: bits kept of a voxel, 2 to 32, or 0 for all; used with fpzip only.
        zfpc_rate: bits for a voxel; used with zfpc only, as the next three. One of the first three at most.
        zfpc_precision: bit planes that are kept.
        zfpc_tolerance: the largest error of a voxel.
        zfpc_correlated_dims: four, whether voxels resemble their neighbours along x, y, z and channel.
        sharding: True chooses one for each scale, which `VolumeInfo.shard_layout` explains. A dict of
            `shard_bytes` or `memory` does so with other aims than those of `precomp.shard_layout`. A
            ShardingSpec, or its JSON, holds for every scale. None, False: each chunk is an object.

    Raises ArgumentError, naming the argument.

    >>> info = create_new_info(1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), (999, 999, 80), max_mip=1)
    >>> [(scale["key"], scale["size"]) for scale in info["scales"]]
    [('4_4_40', [999, 999, 80]), ('8_8_40', [500, 500, 80])]
    """
    encoding = _name("encoding", encoding)
    base = Scale(
        key="",  # made anew for each scale
        size=_argument("volume_size", volume_size, Size3),
        resolution=_argument("resolution", resolution, Resolution3),
        chunk_sizes=(_argument("chunk_size", chunk_size, Size3),),
        encoding=encoding,
        voxel_offset=_argument("voxel_offset", voxel_offset, Coordinate3),
        compressed_segmentation_block_size=_argument(
            "compressed_segmentation_block_size", compressed_segmentation_block_size, Size3 | None
        ),
        jpeg_quality=_argument("jpeg_quality", jpeg_quality, JpegQuality | None),
        png_level=_argument("png_level", png_level, PngLevel | None),
        jxl_quality=_argument("jxl_quality", jxl_quality, JxlQuality | None),
        jxl_effort=_argument("jxl_effort", jxl_effort, JxlEffort | None),
        jxl_decodingspeed=_argument("jxl_decodingspeed", jxl_decodingspeed, JxlDecodingSpeed | None),
        fpzip_precision=_argument("fpzip_precision", fpzip_precision, FpzipPrecision | None),
        **_zfpc_settings(zfpc_rate, zfpc_precision, zfpc_tolerance, zfpc_correlated_dims),
    )
    steps = _argument("factor", factor, Size3)
    mips = _argument("max_mip", max_mip, int)
    if mips < 0:
        raise ArgumentError(f"max_mip: must be at least 0, got {mips}")
    if mips and max(steps) == 1:
        raise ArgumentError(f"factor: one axis must be above 1 where max_mip is above 0, got {steps}")
    info = VolumeInfo(
        type=_argument("layer_type", _name("layer_type", layer_type), Literal["image", "segmentation"]),
        data_type=_data_type(data_type),
        num_channels=_argument("num_channels", num_channels, Size),
        scales=tuple(_scale_at(mip, base, steps, encoding) for mip in range(mips + 1)),
        mesh=_folder("mesh", mesh),
        skeletons=_folder("skeletons", skeletons),
    )
    return cast(dict[str, Any], unstructure(sharded(info, sharding)))


def add_scale(
    info: dict[str, Any], factor: ArrayLike, encoding: str | None = None, chunk_size: ArrayLike | None = None
) -> dict[str, Any]:
    """Append a scale to `info`, in place, or replace the one with that resolution; return the new entry.

    Args:
        info: as plain JSON values.
        factor: x, y, z in whole numbers, against mip 0.
        encoding: of the new scale; None takes that of mip 0.
        chunk_size: voxels of a chunk; None takes those of mip 0.

    Where mip 0 is sharded, so is the new scale, with the same number of chunks to a shard.

    Raises InfoError where `info` is not valid and ArgumentError where an argument is not.

    >>> info = create_new_info(1, "image", "uint8", "raw", (4, 4, 40), (5, 0, 0), (999, 999, 80))
    >>> add_scale(info, (4, 4, 1)) is info["scales"][1]
    True
    >>> info["scales"][1]["key"], info["scales"][1]["voxel_offset"]
    ('16_16_40', [1, 0, 0])
    """
    scales = structure(info, VolumeInfo, "info").scales
    base = scales[0]
    if chunk_size is not None:
        base = attrs.evolve(base, chunk_sizes=(_argument("chunk_size", chunk_size, Size3),))
    name = base.encoding_name if encoding is None else _name("encoding", encoding)
    new = _coarser(base, _argument("factor", factor, Size3), name)
    new = attrs.evolve(new, sharding=fitted(base, new))
    entry = unstructure(new)
    for mip, scale in enumerate(scales):
        if all(map(math.isclose, scale.resolution, new.resolution)):
            info["scales"][mip] = entry
            break
    else:
        info["scales"].append(entry)
    return cast(dict[str, Any], entry)


def reset_scales(info: dict[str, Any]) -> None:
    """Remove every scale of `info` but mip 0, in place."""
    del info["scales"][1:]


def scale_key(resolution: Sequence[float]) -> str:
    """Return the usual folder of a scale, `4.5_4_40`: integral values stand without a decimal point."""
    return "_".join(str(_number(_exact(nm))) for nm in resolution)


def _scale_at(mip: int, base: Scale, steps: tuple[int, int, int], encoding: str) -> Scale:
    try:
        factor = _argument(f"factor ** {mip}", [step**mip for step in steps], Size3)
        return _coarser(base, factor, encoding)
    except ArgumentError as error:
        if mip == 1:
            raise ArgumentError(f"factor: {steps} is too much for one step: {error}") from error
        raise ArgumentError(
            f"max_mip: at most {mip - 1} will do with a factor of {steps}: {error}"
        ) from error


def _coarser(base: Scale, factor: tuple[int, int, int], encoding: str) -> Scale:
    """The scale whose voxels are `factor` times those of `base`."""
    resolution = [_number(_exact(nm) * step) for nm, step in zip(base.resolution, factor, strict=True)]
    block_size = base.compressed_segmentation_block_size or _BLOCK_SIZE
    return Scale(
        key=scale_key(resolution),
        size=_triple(-(-size // step) for size, step in zip(base.size, factor, strict=True)),
        resolution=_argument("resolution times factor", resolution, Resolution3),
        chunk_sizes=(base.chunk_size,),
        encoding=encoding,
        voxel_offset=_triple(start // step for start, step in zip(base.offset, factor, strict=True)),
        compressed_segmentation_block_size=block_size if encoding == "compressed_segmentation" else None,
        **{name: getattr(base, name) for name in _SETTINGS.get(encoding, ())},
    )


def _zfpc_settings(rate: object, precision: object, tolerance: object, dims: object) -> dict[str, Any]:
    given = {"rate": rate, "precision": precision, "tolerance": tolerance}
    settings = {
        f"zfpc_{key}": _argument(f"zfpc_{key}", value, ZfpcNumber | None) for key, value in given.items()
    }
    if sum(value is not None and value >= 0 for value in settings.values()) > 1:
        raise ArgumentError("zfpc_rate, zfpc_precision, zfpc_tolerance: only one may be 0 or more")
    correlated = _argument("zfpc_correlated_dims", dims, CorrelatedDims | None)
    if correlated is not None and not any(correlated):
        raise ArgumentError("zfpc_correlated_dims: at least one of the four must be true")
    return {**settings, "zfpc_correlated_dims": correlated}


def _triple(values: Iterable[int]) -> tuple[int, int, int]:
    x, y, z = values
    return x, y, z


def _exact(nm: float) -> Fraction:
    """The number as it is written: 0.1 is a tenth here, so that three of them make 0.3."""
    return Fraction(str(nm))


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def _argument(name: str, value: object, kind: Any) -> Any:
    return structure(plain(value, name), kind, name, ArgumentError)


def _name(argument: str, value: object) -> str:
    name = _argument(argument, value, str).lower()
    if not name:
        raise ArgumentError(f"{argument}: must not be empty")
    return cast(str, name)


def _data_type(value: Any) -> str:
    try:
        name = value.lower() if isinstance(value, str) else np.dtype(value).name
    except TypeError as cause:
        raise ArgumentError(f"data_type: expected a name or a numpy dtype, got {value!r}") from cause
    if name not in CREATABLE_DATA_TYPES:
        known = ", ".join(CREATABLE_DATA_TYPES)
        hint = did_you_mean(name, CREATABLE_DATA_TYPES)
        raise ArgumentError(f"data_type: expected one that viewers show, {known}{hint}, got {value!r}")
    return name


def _folder(name: str, value: str | bool | None) -> str | None:
    if value is True:
        return name
    return cast(str, _argument(name, value, str)) if value else None
