"""precomp, with the options that a volume has by itself."""

from pathlib import Path
from typing import Any

import attrs
from numpy.typing import NDArray

from precomp.bench.layer import Int3, Layer
from precomp.bench.place import cloudpath
from precomp.volume import CloudVolume

__all__ = ["open_layer"]


@attrs.frozen
class _Handle:
    volume: CloudVolume

    @property
    def shape(self) -> Int3:
        x, y, z = map(int, self.volume.volume_size)
        return x, y, z

    def read(self, place: tuple[slice, slice, slice]) -> NDArray[Any]:
        return self.volume[place]

    def voxel(self, place: Int3) -> NDArray[Any]:
        return self.volume[place]

    def write(self, voxels: NDArray[Any]) -> None:
        self.volume[...] = voxels


def open_layer(folder: Path, layer: Layer) -> _Handle:
    """Open the layer in `folder`."""
    compress = layer.compress if layer.protocol == "file" else layer.compress or False
    return _Handle(CloudVolume(cloudpath(folder, layer), compress=compress))
