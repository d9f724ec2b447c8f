"""What is read and written: a layer's description, its info file, the boxes and names of its chunks."""

import itertools
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import attrs

__all__ = ["BUCKET", "JPEG_QUALITY", "Box", "Chunk", "Int3", "Layer", "empty", "place_of"]

Int3 = tuple[int, int, int]
JPEG_QUALITY = 85  # stated in the info, as the default of tensorstore is another one
BUCKET = "bench"  # on S3 and Google Storage, where a layer has the key that is its folder's name
_KEY = "8_8_40"
_DTYPES = {"em": "uint8", "labels": "uint64", "floats": "float32"}
_BYTES = {"uint8": 1, "uint64": 8, "float32": 4}
_SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "hash": "identity",
    "preshift_bits": 2,
    "minishard_bits": 2,
    "shard_bits": 0,
    "minishard_index_encoding": "gzip",
    "data_encoding": "raw",
}


class Box(NamedTuple):
    """The voxels from `low` to `high` (exclusive), x, y, z. A pair of lists in JSON."""

    low: Int3
    high: Int3


class Chunk(NamedTuple):
    """A stored chunk: the name of its file and the voxels that it holds."""

    name: str
    box: Box


def place_of(box: Box, origin: Int3 = (0, 0, 0)) -> tuple[slice, slice, slice]:
    """Return the slices of `box` in an array whose first voxel is `origin`."""
    x, y, z = (slice(lo - o, hi - o) for lo, hi, o in zip(*box, origin, strict=True))
    return x, y, z


def _int3(value: Sequence[int]) -> Int3:
    x, y, z = value
    return x, y, z


@attrs.frozen
class Layer:
    """One scale of one channel, with its first voxel at (0, 0, 0).

    Attributes:
        kind: of the data: `em` is uint8, `labels` uint64, `floats` float32.
        shape: in voxels, x, y, z.
        chunk: likewise.
        encoding: `raw`, `jpeg`, `png`, `compressed_segmentation`, `compresso`, `crackle` or `fpzip`.
        compress: `gzip` or None.
        protocol: `file`, `s3`, `gs` or `http`.
        sharded: whether all chunks are in one shard; cloud-volume writes no more than one.
    """

    kind: str
    shape: Int3 = attrs.field(converter=_int3)
    chunk: Int3 = attrs.field(converter=_int3, default=(64, 64, 64))
    encoding: str = "raw"
    compress: str | None = None
    protocol: str = "file"
    sharded: bool = False

    @property
    def dtype(self) -> str:
        """Of a voxel."""
        return _DTYPES[self.kind]

    @property
    def nbytes(self) -> int:
        """Of all voxels."""
        return math.prod(self.shape) * _BYTES[self.dtype]

    @property
    def whole(self) -> Box:
        """The box of all voxels."""
        return Box((0, 0, 0), self.shape)

    def info(self) -> dict[str, Any]:
        """Return the content of the info file."""
        scale: dict[str, Any] = {
            "key": _KEY,
            "size": self.shape,
            "resolution": [8, 8, 40],
            "voxel_offset": [0, 0, 0],
            "chunk_sizes": [self.chunk],
            "encoding": self.encoding,
        }
        if self.encoding == "jpeg":
            scale["jpeg_quality"] = JPEG_QUALITY
        if self.encoding == "compressed_segmentation":
            scale["compressed_segmentation_block_size"] = [8, 8, 8]
        if self.sharded:
            scale["sharding"] = _SHARDING
        layer_type = "segmentation" if self.kind == "labels" else "image"
        return {"type": layer_type, "data_type": self.dtype, "num_channels": 1, "scales": [scale]}

    def commit(self, folder: Path) -> None:
        """Write the info file, and make the empty folder of the chunks."""
        self.chunk_folder(folder).mkdir(parents=True, exist_ok=True)
        (folder / "info").write_text(json.dumps(self.info()), encoding="utf-8")

    def chunk_folder(self, folder: Path) -> Path:
        """Return where the chunks of the layer in `folder` are."""
        return folder / _KEY

    def chunks(self, box: Box) -> list[Chunk]:
        """Return the chunks that `box` touches, x fastest."""
        spans = []
        for lo, hi, length, size in zip(*box, self.chunk, self.shape, strict=True):
            starts = range(lo - lo % length, hi, length)
            spans.append([(start, min(start + length, size)) for start in starts])
        suffix = ".gz" if self.compress == "gzip" else ""
        return [
            Chunk(f"{x[0]}-{x[1]}_{y[0]}-{y[1]}_{z[0]}-{z[1]}{suffix}", Box(*zip(x, y, z, strict=True)))
            for z, y, x in itertools.product(*reversed(spans))
        ]


def empty(folder: Path) -> None:
    """Remove what is in `folder`; the folder stays."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
