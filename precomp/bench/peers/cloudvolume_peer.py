"""cloud-volume, in one process (it has threads of its own), without a cache or bars."""

from pathlib import Path
from typing import Any

import attrs
from numpy.typing import NDArray

from precomp.bench.layer import Int3, Layer
from precomp.bench.place import cloudpath

__all__ = ["open_layer"]


@attrs.frozen
class _Handle:
    volume: Any

    @property
    def shape(self) -> Int3:
        x, y, z, _ = map(int, self.volume.shape)
        return x, y, z

    def read(self, place: tuple[slice, slice, slice]) -> NDArray[Any]:
        voxels: NDArray[Any] = self.volume[place]
        return voxels

    def voxel(self, place: Int3) -> NDArray[Any]:
        voxels: NDArray[Any] = self.volume[place]
        return voxels

    def write(self, voxels: NDArray[Any]) -> None:
        self.volume[:, :, :] = voxels


def open_layer(folder: Path, layer: Layer) -> _Handle:
    """Open the layer in `folder`. `compress=False` writes plain names, which the default does not."""
    from cloudvolume import CloudVolume

    path, compress = cloudpath(folder, layer), layer.compress or False
    return _Handle(CloudVolume(path, parallel=1, progress=False, cache=False, compress=compress))
