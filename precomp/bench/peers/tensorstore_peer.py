"""tensorstore, without a cache; everything else as it is by default.

`order="F"`, as a Fortran-ordered result costs it a third of the default one, for which it turns the axes.
"""

import os
from pathlib import Path
from typing import Any

import attrs
from numpy.typing import NDArray

from precomp.bench.layer import BUCKET, Int3, Layer

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

    kvstore: dict[str, Any] = {"driver": "file", "path": f"{folder}/"}
    if layer.protocol == "s3":
        kvstore = {
            "driver": "s3",
            "bucket": BUCKET,
            "path": f"{folder}/".lstrip("/"),
            "endpoint": os.environ["AWS_ENDPOINT_URL"],
            "aws_region": os.environ["AWS_REGION"],
        }
    spec = {"driver": "neuroglancer_precomputed", "kvstore": kvstore}
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})
    return _Handle(tensorstore.open(spec, open=True, context=context).result())
