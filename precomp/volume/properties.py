"""What a volume tells of itself: properties of the layer, and of each scale as `mip_NAME(mip)`."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np

from precomp import url
from precomp.errors import ScaleNotFoundError
from precomp.geometry import Bbox, Vec
from precomp.info import Scale, VolumeInfo
from precomp.volume.indexing import whole_number
from precomp.volume.layer import Layer
from precomp.volume.names import KnownNames

__all__ = ["AtWorkingMip", "Properties"]

T = TypeVar("T")
Mip = int | Sequence[float]


class AtWorkingMip(Generic[T]):
    """The read-only property that gives `mip_NAME(mip)` at the working mip."""

    def __init__(self, method: Callable[[Any, Any], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, vol: None, owner: type) -> "AtWorkingMip[T]": ...
    @overload
    def __get__(self, vol: object, owner: type) -> T: ...
    def __get__(self, vol: Any, owner: type) -> Any:
        return self if vol is None else self._method(vol, vol.mip)

    def __set__(self, vol: object, value: object) -> None:
        raise AttributeError(
            f"{self._name} is read only; edit vol.info and call commit_info() to change a layer"
        )


class Properties(KnownNames):
    """The read-only side of CloudVolume. Coordinates are voxels of the mip in question, x, y, z."""

    _layer: Layer
    _mip: int

    def _number(self, mip: Any) -> int:
        """Return the number of a mip given as such or as a resolution. Raises ScaleNotFoundError."""
        document = self._layer.document
        if isinstance(mip, (list, tuple, np.ndarray)) and len(np.shape(mip)) == 1:
            for number, scale in enumerate(document.model().scales):
                if Vec(*scale.resolution) == mip:
                    return number
            raise ScaleNotFoundError(document.no_mip(mip))
        number = whole_number(mip, "mip")
        document.model_at(number)
        return number

    def _scale(self, mip: Any) -> Scale:
        number = self._number(mip)
        return self._layer.document.model_at(number).scales[number]

    @property
    def metadata(self) -> VolumeInfo:
        """The info as a typed, immutable record."""
        return self._layer.document.model()

    @property
    def available_mips(self) -> list[int]:
        """The numbers of all mips; 0 is the finest."""
        return list(range(len(self.metadata.scales)))

    @property
    def scales(self) -> list[dict[str, Any]]:
        """`info['scales']`, live."""
        document = self._layer.document
        document.model_at(self._mip)  # after an edit there may be none
        scales: list[dict[str, Any]] = document.raw["scales"]
        return scales

    @property
    def num_channels(self) -> int:
        """How many channels a voxel has."""
        return self._layer.document.model_at(self._mip).num_channels

    @property
    def layer_type(self) -> str:
        """`image` or `segmentation`."""
        return self._layer.document.model_at(self._mip).type

    @property
    def data_type(self) -> str:
        """The voxels' data type as numpy knows it, `uint8`."""
        return self._layer.document.model_at(self._mip).data_type.lower()

    @property
    def dtype(self) -> str:
        """The same as `data_type`."""
        return self.data_type

    @property
    def cloudpath(self) -> str:
        """Where the layer is, after redirects: `gs://bucket/dataset/image`."""
        return str(self._layer.path)

    @property
    def layer_cloudpath(self) -> str:
        """The same as `cloudpath`."""
        return self.cloudpath

    @property
    def base_cloudpath(self) -> str:
        """The dataset's path with a final slash, `gs://bucket/dataset/`."""
        return url.base_cloudpath(self._layer.path)

    @property
    def info_cloudpath(self) -> str:
        """Where the info file is, `gs://bucket/dataset/image/info`."""
        return url.info_cloudpath(self._layer.path)

    def mip_scale(self, mip: Mip) -> dict[str, Any]:
        """The scale's part of the info as a dict, live."""
        return self.scales[self._number(mip)]

    def mip_shape(self, mip: Mip) -> Vec:
        """Size of the volume in voxels and its number of channels: x, y, z, channels."""
        return Vec(*self._scale(mip).size, self.num_channels)

    def mip_volume_size(self, mip: Mip) -> Vec:
        """Size of the volume in voxels: x, y, z."""
        return Vec(*self._scale(mip).size)

    def mip_encoding(self, mip: Mip) -> str:
        """How chunks are encoded: `raw`, `jpeg`, ..."""
        return self._scale(mip).encoding.lower()

    def mip_resolution(self, mip: Mip) -> Vec:
        """Size of a voxel in nanometres: x, y, z."""
        return Vec(*self._scale(mip).resolution)

    def mip_downsample_ratio(self, mip: Mip) -> Vec:
        """Size of a voxel in voxels of mip 0: x, y, z."""
        return self.mip_resolution(mip) / self.mip_resolution(0)

    def mip_chunk_size(self, mip: Mip) -> Vec:
        """Size of a stored chunk in voxels: x, y, z."""
        return Vec(*self._scale(mip).chunk_size)

    def mip_key(self, mip: Mip) -> str:
        """The folder that holds the scale's chunks, `8_8_40`."""
        return self._scale(mip).key

    def mip_voxel_offset(self, mip: Mip) -> Vec:
        """Coordinates of the first voxel: x, y, z."""
        return Vec(*self._scale(mip).offset)

    def mip_bounds(self, mip: Mip) -> Bbox:
        """The box of the whole volume."""
        offset = self.mip_voxel_offset(mip)
        return Bbox(offset, offset + self.mip_volume_size(mip))

    mip_underlying = mip_chunk_size

    scale = AtWorkingMip(mip_scale)
    shape = AtWorkingMip(mip_shape)
    volume_size = AtWorkingMip(mip_volume_size)
    encoding = AtWorkingMip(mip_encoding)
    resolution = AtWorkingMip(mip_resolution)
    downsample_ratio = AtWorkingMip(mip_downsample_ratio)
    chunk_size = AtWorkingMip(mip_chunk_size)
    underlying = AtWorkingMip(mip_underlying)
    key = AtWorkingMip(mip_key)
    voxel_offset = AtWorkingMip(mip_voxel_offset)
    bounds = AtWorkingMip(mip_bounds)
