"""The info file of a layer as typed, frozen records. No I/O, and no knowledge of codecs.

The records trust their maker. What comes from outside goes through `precomp.jsonio.structure`, which
reads the rules from the field types: in `Annotated[int, check]` the check is called with the value
and raises a ValueError that says what the value must be.

Source of the format: Neuroglancer's precomputed volume and sharding specifications.
"""

import posixpath
from collections.abc import Callable, Mapping, Sized
from typing import Annotated, Any, Literal, TypeAlias

import attrs
import numpy as np

from precomp.errors import did_you_mean
from precomp.shard_layout import ShardLayout

__all__ = [
    "CREATABLE_DATA_TYPES",
    "READABLE_DATA_TYPES",
    "Coordinate3",
    "CorrelatedDims",
    "FpzipPrecision",
    "JpegQuality",
    "JxlDecodingSpeed",
    "JxlEffort",
    "JxlQuality",
    "PngLevel",
    "Resolution3",
    "Scale",
    "ShardingSpec",
    "Size",
    "Size3",
    "VolumeInfo",
    "ZfpcNumber",
]

CREATABLE_DATA_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")
"""What viewers show, so what new layers may hold."""

READABLE_DATA_TYPES = (*CREATABLE_DATA_TYPES, "int64", "float64", "bool")
"""What is read; the last three occur in old layers only."""

_LIMIT = 2**62  # leaves room for the sum of an offset and a size in 64 bits


def _between(low: int, high: int) -> Callable[[int], None]:
    def check(value: int) -> None:
        if value < low:
            raise ValueError(f"must be at least {low}")
        if value > high:
            raise ValueError(f"must be at most {high}")

    return check


def _positive(value: float) -> None:
    if not value > 0:  # NaN too
        raise ValueError("must be greater than 0")
    if value > _LIMIT:
        raise ValueError(f"must be at most {_LIMIT}")


def _fpzip_bits(value: int) -> None:
    if value != 0 and not 2 <= value <= 32:
        raise ValueError("must be 0, for no loss, or 2 to 32, the bits to keep of a voxel")


def _finite(value: float) -> None:
    if not -_LIMIT <= value <= _LIMIT:  # NaN too
        raise ValueError(f"must be a number up to {_LIMIT}")


def _not_empty(value: Sized) -> None:
    if not value:
        raise ValueError("must not be empty")


def _relative_path(key: str) -> None:
    if not key or key.startswith("/") or "\0" in key or "\\" in key:
        raise ValueError("must be a relative path such as '8_8_40', its parts separated by '/'")


def _readable_data_type(name: str) -> None:
    if name.lower() not in READABLE_DATA_TYPES:
        hint = did_you_mean(name.lower(), READABLE_DATA_TYPES)
        raise ValueError(f"must be one of {', '.join(READABLE_DATA_TYPES)}{hint}")


Size: TypeAlias = Annotated[int, _between(1, _LIMIT)]
"""A number of voxels or channels, at least 1."""

JpegQuality: TypeAlias = Annotated[int, _between(0, 100)]
PngLevel: TypeAlias = Annotated[int, _between(0, 9)]

JxlQuality: TypeAlias = Annotated[int, _between(0, 100)]
JxlEffort: TypeAlias = Annotated[int, _between(1, 10)]
JxlDecodingSpeed: TypeAlias = Annotated[int, _between(0, 4)]
FpzipPrecision: TypeAlias = Annotated[int, _fpzip_bits]
ZfpcNumber: TypeAlias = Annotated[int | float, _finite]
CorrelatedDims: TypeAlias = tuple[bool, bool, bool, bool]
"""Whether voxels resemble their neighbours along x, y, z and channel."""

_Coordinate: TypeAlias = Annotated[int, _between(-_LIMIT, _LIMIT)]
_Nanometres: TypeAlias = Annotated[int | float, _positive]
_Bits: TypeAlias = Annotated[int, _between(0, 64)]

Size3: TypeAlias = tuple[Size, Size, Size]
"""Voxels along x, y, z, each at least 1."""

Coordinate3: TypeAlias = tuple[_Coordinate, _Coordinate, _Coordinate]
"""A voxel position x, y, z."""

Resolution3: TypeAlias = tuple[_Nanometres, _Nanometres, _Nanometres]
"""Nanometres per voxel along x, y, z; ints and floats are kept apart, 4 stays 4."""


@attrs.frozen
class ShardingSpec:
    """How the chunks of a scale lie in shard files, `neuroglancer_uint64_sharded_v1`.

    Attributes:
        type: the `@type` of the JSON.
        preshift_bits: how far a chunk id is shifted right before it is hashed.
        hash: of the shifted id.
        minishard_bits: how many low bits of the hash number the minishard.
        shard_bits: how many bits above those number the shard.
        minishard_index_encoding: how each minishard index is compressed.
        data_encoding: how each chunk is compressed.
        extra: unknown fields, and optional ones that the JSON stated with their default value.
    """

    type: Literal["neuroglancer_uint64_sharded_v1"] = attrs.field(metadata={"json": "@type"})
    preshift_bits: _Bits
    hash: Literal["identity", "murmurhash3_x86_128"]
    minishard_bits: _Bits
    shard_bits: _Bits = attrs.field()
    minishard_index_encoding: Literal["raw", "gzip"] = "raw"
    data_encoding: Literal["raw", "gzip"] = "raw"
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    @shard_bits.validator
    def _hash_has_64_bits(self, _: Any, shard_bits: int) -> None:
        if self.minishard_bits + shard_bits > 64:
            raise ValueError(
                f"must be at most {64 - self.minishard_bits}, since the hash has 64 bits and "
                f"{self.minishard_bits} of them are minishard_bits, got {shard_bits}"
            )


@attrs.frozen
class Scale:
    """One level of detail of a volume.

    Attributes:
        key: folder of the chunks, relative to the layer; may hold `..`.
        size: voxels x, y, z.
        resolution: nanometres per voxel x, y, z.
        chunk_sizes: voxels x, y, z of a chunk; the first entry is used.
        encoding: of the chunks, in the letter case of the JSON.
        voxel_offset: position of the first voxel; None means 0, 0, 0.
        sharding: None where each chunk is an object of its own.
        compressed_segmentation_block_size: voxels x, y, z; required by that encoding.
        jpeg_quality: 0 to 100; None leaves it to the codec.
        png_level: 0 to 9; None leaves it to the codec.
        jxl_quality: 0 to 100, where 100 is without loss; None leaves it to the codec.
        jxl_effort: 1 to 10, how hard the encoder tries; None leaves it to the codec.
        jxl_decodingspeed: 0 to 4, how much size is given for quick decoding; None leaves it to the codec.
        fpzip_precision: the bits that are kept of a voxel, 2 to 32; 0 or None keeps all.
        zfpc_rate: bits for a voxel; negative or None for no fixed rate.
        zfpc_precision: bit planes that are kept; negative or None for no fixed precision.
        zfpc_tolerance: the largest error of a voxel; negative or None for no such limit.
        zfpc_correlated_dims: whether voxels resemble their neighbours along x, y, z and channel; None: all.
        extra: unknown fields, and optional ones that the JSON stated with their default value.
    """

    key: Annotated[str, _relative_path]
    size: Size3
    resolution: Resolution3
    chunk_sizes: Annotated[tuple[Size3, ...], _not_empty]
    encoding: Annotated[str, _not_empty]
    voxel_offset: Coordinate3 | None = None
    sharding: ShardingSpec | None = None
    compressed_segmentation_block_size: Size3 | None = attrs.field(default=None)
    jpeg_quality: JpegQuality | None = None
    png_level: PngLevel | None = None
    jxl_quality: JxlQuality | None = None
    jxl_effort: JxlEffort | None = None
    jxl_decodingspeed: JxlDecodingSpeed | None = None
    fpzip_precision: FpzipPrecision | None = None
    zfpc_rate: ZfpcNumber | None = None
    zfpc_precision: ZfpcNumber | None = None
    zfpc_tolerance: ZfpcNumber | None = attrs.field(default=None)
    zfpc_correlated_dims: CorrelatedDims | None = attrs.field(default=None)
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    @compressed_segmentation_block_size.validator
    def _needs_block_size(self, _: Any, block_size: Size3 | None) -> None:
        # Superfluous ones are harmless, so only a missing one is refused.
        if block_size is None and self.encoding_name == "compressed_segmentation":
            raise ValueError("required where encoding is compressed_segmentation, usually [8, 8, 8]")

    @zfpc_tolerance.validator
    def _one_zfpc_mode(self, _: Any, tolerance: float | None) -> None:
        given = [value for value in (self.zfpc_rate, self.zfpc_precision, tolerance) if value is not None]
        if sum(value >= 0 for value in given) > 1:
            raise ValueError("only one of zfpc_rate, zfpc_precision and zfpc_tolerance may be 0 or more")

    @zfpc_correlated_dims.validator
    def _some_correlated(self, _: Any, dims: tuple[bool, ...] | None) -> None:
        if dims is not None and not any(dims):
            raise ValueError("at least one of the four must be true")

    @property
    def encoding_name(self) -> str:
        """The encoding in lower case."""
        return self.encoding.lower()

    @property
    def chunk_size(self) -> Size3:
        """Voxels x, y, z of a stored chunk."""
        return self.chunk_sizes[0]

    @property
    def offset(self) -> Coordinate3:
        """Position x, y, z of the first voxel."""
        return self.voxel_offset or (0, 0, 0)


@attrs.frozen
class VolumeInfo:
    """The info of an image or segmentation layer.

    Attributes:
        type: of the layer.
        data_type: in the letter case of the JSON; see `dtype`.
        num_channels: at least 1.
        scales: finest first, at least one, each with a key of its own.
        mesh: folder of the meshes, relative to the layer.
        skeletons: folder of the skeletons, relative to the layer.
        segment_properties: folder of the segment properties, relative to the layer.
        extra: unknown fields, and optional ones that the JSON stated with their default value.
    """

    type: Literal["image", "segmentation"]
    data_type: Annotated[str, _readable_data_type]
    num_channels: Size
    scales: Annotated[tuple[Scale, ...], _not_empty] = attrs.field()
    mesh: str | None = None
    skeletons: str | None = None
    segment_properties: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    @scales.validator
    def _keys_differ(self, _: Any, scales: tuple[Scale, ...]) -> None:
        # Two scales in one folder would overwrite each other's chunks.
        first: dict[str, int] = {}
        for mip, scale in enumerate(scales):
            other = first.setdefault(posixpath.normpath(scale.key), mip)
            if other != mip:
                raise ValueError(f"scale {mip} has the key of scale {other}; every scale needs its own")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of a voxel, in native byte order; `dtype.name` is the data type in lower case."""
        return np.dtype(self.data_type.lower())

    def shard_layout(self, mip: int) -> ShardLayout | None:
        """What the sharding of a scale amounts to, as text with its reasons; None where it has none."""
        scale = self.scales[mip]
        spec, (cx, cy, cz), (nx, ny, nz) = scale.sharding, scale.chunk_size, scale.size
        if spec is None:
            return None
        return ShardLayout(
            (-(-nx // cx), -(-ny // cy), -(-nz // cz)),
            cx * cy * cz * self.num_channels * self.dtype.itemsize,
            spec.preshift_bits,
            spec.minishard_bits,
            spec.shard_bits,
            spec.hash != "identity",
        )
