"""What the author of a codec gives to its tests, and the chunks that they encode."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from precomp.hookspecs import CodecPlugin
from precomp.info import CREATABLE_DATA_TYPES, Scale, VolumeInfo
from precomp.interfaces import ChunkSpec, Codec
from precomp.testing.checks import expect_voxels

__all__ = ["Case", "CodecKit", "Golden", "Shape"]

Shape: TypeAlias = tuple[int, int, int, int]
_Kind: TypeAlias = tuple[np.dtype[Any], int]

_SMALL = ((7, 5, 3), (2, 9, 4), (6, 6, 6), (1, 1, 1), (13, 1, 1), (1, 13, 1), (1, 1, 13))
_CHUNK = (64, 64, 64)


class Golden(NamedTuple):
    """Bytes that another program wrote, or that were put together by hand, and the voxels they hold.

    Attributes:
        data: the encoded chunk.
        chunk: the voxels, shape (x, y, z, channel).
    """

    data: bytes
    chunk: NDArray[Any]


class Case(NamedTuple):
    """A chunk to encode.

    Attributes:
        what: names it in a message.
        codec: for its dtype and channels.
        spec: of the chunk.
        chunk: the voxels, shape (x, y, z, channel), Fortran order.
    """

    what: str
    codec: Codec
    spec: ChunkSpec
    chunk: NDArray[Any]


class CodecKit:
    """The hooks and switches of `CodecTests`.

    `plugin` is all that is needed.

    Attributes:
        plugin: the declaration to test.
        golden: pins the format. A codec that swaps axes both ways passes every round trip. The x, y and z of
            one chunk at least are above 1 and different.
        dtypes: tried; empty for those that the plugin declares, or for all that a new layer can have.
        channels: tried; empty for those that the plugin declares, or for 1, 2 and 3.
        tolerance: how far a voxel of a lossy codec may be off, as a part of 255 in integers and of 1
            in floats, the ranges of its sample.
        scale_fields: further fields of the scale, `{"jpeg_quality": 90}`.
        refuses_more: False where the format allows anything to follow the encoded chunk.
        tells_size: False where an encoded chunk does not tell how many voxels it has.
    """

    plugin: ClassVar[CodecPlugin]
    golden: ClassVar[Sequence[Golden]] = ()
    dtypes: ClassVar[Sequence[str]] = ()
    channels: ClassVar[Sequence[int]] = ()
    tolerance: ClassVar[float] = 0.05
    scale_fields: ClassVar[Mapping[str, Any]] = {}
    refuses_more: ClassVar[bool] = True
    tells_size: ClassVar[bool] = True

    def make_codec(self, dtype: str, channels: int) -> Codec:
        """Return the codec of a scale of 64 x 64 x 64 chunks."""
        scale = Scale(
            key="8_8_40",
            size=(1000, 1000, 1000),
            resolution=(8, 8, 40),
            chunk_sizes=(_CHUNK,),
            encoding=self.plugin.encoding,
            **{"compressed_segmentation_block_size": (8, 8, 8), **self.scale_fields},
        )
        return self.plugin.build(VolumeInfo("image", dtype, channels, (scale,)), scale)

    def sample(self, shape: Shape, dtype: np.dtype[Any], seed: int = 0) -> NDArray[Any]:
        """Return voxels that the codec can hold, different along each axis.

        For a lossless codec any bits, for a lossy one slopes: of 0 to 255 in integers, of 0 to 1 in
        floats. Override it where the codec cannot hold that.
        """
        if self.plugin.lossy:
            return _slopes(shape, dtype, seed)
        rng = np.random.default_rng(seed)
        if dtype.kind == "b":
            return np.asfortranarray(rng.integers(0, 2, shape).astype(bool))
        bits = rng.bytes(int(np.prod(shape)) * dtype.itemsize)
        return np.frombuffer(bits, dtype).reshape(shape, order="F")

    def kinds(self) -> list[_Kind]:
        """Return the pairs of dtype and channels to try."""
        dtypes = self.dtypes or tuple(self.plugin.dtypes or CREATABLE_DATA_TYPES)
        channels = self.channels or tuple(self.plugin.channels or (1, 2, 3))
        return [(np.dtype(dtype), number) for dtype in dtypes for number in channels]

    def cases(
        self, sizes: Sequence[tuple[int, int, int]] = _SMALL, kinds: Sequence[_Kind] | None = None
    ) -> Iterator[Case]:
        """Yield a chunk of each dtype, number of channels and size."""
        for dtype, channels in kinds or self.kinds():
            codec = self.make_codec(dtype.name, channels)
            for seed, size in enumerate(sizes):
                shape = (*size, channels)
                what = f"{self.plugin.encoding}, {dtype}, shape {shape}"
                yield Case(what, codec, ChunkSpec(shape, dtype), self.sample(shape, dtype, seed))

    def needs(self, protocol: type) -> None:
        """Skip the test where the codec does not implement `protocol`."""
        dtype, channels = self.kinds()[0]
        if not isinstance(self.make_codec(dtype.name, channels), protocol):
            pytest.skip(f"the codec is no {protocol.__name__}")

    def expect(self, what: str, found: NDArray[Any], expected: NDArray[Any]) -> None:
        """Assert that these are the voxels, as exactly as the codec promises."""
        __tracebackhide__ = True
        if not self.plugin.lossy:
            expect_voxels(found, expected, what)
            return
        scale = 1 if expected.dtype.kind == "f" else 255
        expect_voxels(found, expected, what, self.tolerance * scale)


def _slopes(shape: Shape, dtype: np.dtype[Any], seed: int) -> NDArray[Any]:
    """Smooth voxels that are told apart from those with swapped or reversed axes."""
    axes = np.meshgrid(*(np.arange(length) / max(length - 1, 1) for length in shape), indexing="ij")
    steps = (0.4, 0.25, 0.12, 0.15)
    values = np.full(shape, (seed % 3) * 0.02)
    for step, axis in zip(steps, axes, strict=True):
        values += step * axis
    scaled = values if dtype.kind == "f" else np.rint(255 * values)
    return np.asfortranarray(scaled.astype(dtype))
