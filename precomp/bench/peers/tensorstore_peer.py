"""tensorstore, without a cache; everything else as it is by default.

`order="F"`, as a Fortran-ordered result costs it a third of the default one, for which it turns the axes.
"""

import os
from pathlib import Path
from typing import Any

import attrs
from numpy.typing import NDArray

from precomp.bench.layer import BUCKET, Int3, Layer
from precomp.bench.place import cloudpath

__all__ = ["open_layer"]


@attrs.frozen
class _Handle:
    store: Any

    @property
    def shape(self) -> Int3:
        x, y, z, _ = map(int, self.store.shape)
        return x, y, z

    def read(self, place: tuple[slice, slice, slice]) -> NDArray[Any]:
        voxels: NDArray[Any] = self.store[place].read(order="F").result()
        return voxels

    def voxel(self, place: Int3) -> NDArray[Any]:
        voxels: NDArray[Any] = self.store[place].read().result()
        return voxels

    def write(self, voxels: NDArray[Any]) -> None:
        self.store.write(voxels).result()


def open_layer(folder: Path, layer: Layer) -> _Handle:
    """Open the layer in `folder`. A context of its own: nothing is kept from earlier ones."""
    import tensorstore

    spec = {"driver": "neuroglancer_precomputed", "kvstore": _kvstore(folder, layer)}
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})
    return _Handle(tensorstore.open(spec, open=True, context=context).result())


def _kvstore(folder: Path, layer: Layer) -> dict[str, Any]:
    if layer.protocol == "file":
        return {"driver": "file", "path": f"{folder}/"}
    if layer.protocol == "http":
        return {"driver": "http", "base_url": f"{cloudpath(folder, layer)}/"}
    place = {"bucket": BUCKET, "path": f"{folder}/".lstrip("/")}
    if layer.protocol == "gs":  # where that is says the environment
        return {"driver": "gcs", **place}
    where = {"endpoint": os.environ["AWS_ENDPOINT_URL"], "aws_region": os.environ["AWS_REGION"]}
    return {"driver": "s3", **place, **where}
