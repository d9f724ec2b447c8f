"""The tables of a config as records. Each field is a key; what it means says the docstring of CloudVolume."""

from typing import Annotated, Any, Literal

import attrs

from precomp.errors import did_you_mean
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
    Size,
    Size3,
    ZfpcNumber,
)
from precomp.volume.caching import CACHE_BYTES
from precomp.volume.settings import is_header

__all__ = ["CreateTable", "DefaultsTable", "PluginsTable", "VolumeTable"]


def _mip(value: object) -> None:
    level = type(value) is int and value >= 0
    resolution = (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(type(nm) in (int, float) and nm > 0 for nm in value)
    )
    if not (level or resolution):
        raise ValueError("expected a mip such as 0, or a resolution in nm such as [8, 8, 40]")


def _seconds(value: object) -> None:
    if (type(value) is int and value < 0) or (isinstance(value, str) and not is_header(value)):
        raise ValueError(
            "expected false, true, a number of seconds from 0 on, or the text of Cache-Control in "
            "printable ASCII characters"
        )


def _threads(value: object) -> None:
    if type(value) is int and value < 1:
        raise ValueError("expected a number of threads from 1 on, or true for one per core")


def _no_folder(value: object) -> None:
    if isinstance(value, str):
        raise ValueError("expected true or false; a folder holds one volume, name it in that one's table")


def _folder(value: object) -> None:
    if value == "":
        raise ValueError("expected false, true for the default folder, or a folder")


def _room(value: object) -> None:
    if type(value) is int and value < 1:
        raise ValueError("must be at least 1; cache = false switches the cache off")


def _not_negative(value: int) -> None:
    if value < 0:
        raise ValueError("must be at least 0")


def _creatable(name: str) -> None:
    if name.lower() not in CREATABLE_DATA_TYPES:
        known = ", ".join(CREATABLE_DATA_TYPES)
        raise ValueError(f"must be one of {known}{did_you_mean(name.lower(), CREATABLE_DATA_TYPES)}")


@attrs.frozen(kw_only=True)
class DefaultsTable:
    """The table `[defaults]`: arguments of CloudVolume that hold for every volume."""

    mip: Annotated[Any, _mip] = 0
    bounded: bool = True
    fill_missing: bool = False
    autocrop: bool = False
    background_color: int | float = 0
    non_aligned_writes: bool = False
    delete_black_uploads: bool = False
    progress: bool | None = None
    compress: bool | str | None = None
    cdn_cache: Annotated[bool | int | str, _seconds] = False
    parallel: Annotated[bool | int | None, _threads] = None
    lru_bytes: Annotated[int, _not_negative] = 0
    cache: Annotated[bool | str, _no_folder] = False
    cache_bytes: Annotated[int | None, _room] = CACHE_BYTES
    cache_validate: bool = False


@attrs.frozen(kw_only=True)
class VolumeTable(DefaultsTable):
    """A table `[volumes.NAME]`.

    Attributes:
        cache: true for the default folder, or a folder, which counts from that of the config file, too.
        cloudpath: of the layer; a relative local path counts from the folder of the config file.
        like: another volume whose table this one starts from; `cloudpath` may come from there.
        options: of the path's protocol; they come before those of `[protocols.SCHEME]`, key by key.
        secrets: short for the key `secrets` of `options`: the fields of a secret file, or the path of one,
            which counts from the folder of the config file.
        create: what to make the layer of where it does not exist yet, a `CreateTable`.
    """

    cloudpath: str
    cache: Annotated[bool | str, _folder] = False
    like: str | None = None
    options: dict[str, Any] | None = None
    secrets: dict[str, Any] | str | None = attrs.field(default=None, repr=False)
    create: dict[str, Any] | None = None


@attrs.frozen(kw_only=True)
class CreateTable:
    """A table `[volumes.NAME.create]`: the arguments of `CloudVolume.create_new_info`."""

    num_channels: Size
    layer_type: Literal["image", "segmentation"]
    data_type: Annotated[str, _creatable]
    encoding: str
    resolution: Resolution3
    voxel_offset: Coordinate3
    volume_size: Size3
    mesh: str | bool | None = None
    chunk_size: Size3 = (64, 64, 64)
    max_mip: Annotated[int, _not_negative] = 0
    factor: Size3 = (2, 2, 1)
    skeletons: str | bool | None = None
    compressed_segmentation_block_size: Size3 = (8, 8, 8)
    jpeg_quality: JpegQuality | None = None
    png_level: PngLevel | None = None
    jxl_quality: JxlQuality | None = None
    jxl_effort: JxlEffort | None = None
    jxl_decodingspeed: JxlDecodingSpeed | None = None
    fpzip_precision: FpzipPrecision | None = None
    zfpc_rate: ZfpcNumber | None = None
    zfpc_precision: ZfpcNumber | None = None
    zfpc_tolerance: ZfpcNumber | None = None
    zfpc_correlated_dims: CorrelatedDims | None = None
    sharding: bool | dict[str, Any] | None = None


@attrs.frozen(kw_only=True)
class PluginsTable:
    """The table `[plugins]`: the arguments of `precomp.plugins.load`.

    Attributes:
        prefer: distributions, entry point names or `distribution:entry`; of several plugins that claim
            one name, the first of these gets it.
        disable: entry point names or `distribution:entry` of plugins that shall not be imported.
    """

    prefer: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
