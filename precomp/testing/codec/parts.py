"""Parts of a chunk: what the optional protocols read equals a part of what `decode` reads."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import DecodesInto, DecodesPoints, HasLayout, Layout, Slices3, Slices4
from precomp.testing.checks import expect_voxels
from precomp.testing.codec.base import CodecKit, Shape

__all__ = ["PartTests", "boxes"]

_SIZES = ((7, 5, 3), (64, 48, 40))


def boxes(shape: Shape) -> Iterator[Slices4]:
    """Voxels, rows, planes, slabs, all, and boxes with steps, of all channels, the first and the last."""
    channels = shape[3]
    wanted = [slice(0, channels), slice(0, 1), slice(channels - 1, channels)]
    for x, y, z in _boxes3(shape):
        yield from ((x, y, z, c) for c in (wanted if channels > 1 else wanted[:1]))


def _boxes3(shape: Shape) -> Iterator[Slices3]:
    x, y, z = (slice(0, length) for length in shape[:3])
    first, last = (slice(0, 1),) * 3, [slice(length - 1, length) for length in shape[:3]]
    middle = [slice(length // 2, length // 2 + 1) for length in shape[:3]]
    yield from ((x, y, z), first, (last[0], last[1], last[2]), (middle[0], middle[1], middle[2]))
    yield from ((x, middle[1], middle[2]), (middle[0], y, middle[2]), (middle[0], middle[1], z))
    yield from ((x, y, middle[2]), (x, middle[1], z), (middle[0], y, z), (x, y, slice(1, shape[2])))
    inner = [slice(length // 4, length // 4 + max(length // 2, 1)) for length in shape[:3]]
    yield inner[0], inner[1], inner[2]
    yield slice(0, shape[0], 2), slice(1, shape[1], 3), slice(0, shape[2], 2)


def _view(data: bytes, layout: Layout, shape: Shape, what: str) -> NDArray[Any]:
    """The chunk as `layout` sees it."""
    found = isinstance(layout, Layout)
    assert found, f"layout, {what}: expected a precomp.interfaces.Layout or None, found {layout!r}"
    assert layout.size == len(data), (
        f"layout, {what}: size {layout.size}, the encoded chunk has {len(data)} bytes"
    )
    steps = zip(shape, layout.strides, strict=True)
    end = layout.start + sum((length - 1) * stride for length, stride in steps) + layout.dtype.itemsize
    inside = min(layout.start, *layout.strides) >= 0 and end <= len(data)
    assert inside, f"layout, {what}: {layout} reaches out of the {len(data)} bytes of the chunk"
    return np.ndarray(shape, layout.dtype, data, layout.start, layout.strides)


class PartTests(CodecKit):
    """`HasLayout`, `DecodesInto` and `DecodesPoints`; skipped for a codec that has none."""

    def test_layout(self) -> None:
        """Tells where each voxel of an encoded chunk is, and how long the chunk is."""
        self.needs(HasLayout)
        told = 0
        for what, codec, spec, chunk in self.cases(_SIZES):
            assert isinstance(codec, HasLayout)
            layout = codec.layout(spec)
            if layout is None:
                continue
            told += 1
            data = bytes(codec.encode(chunk))
            seen = _view(data, layout, spec.shape, what).astype(spec.dtype)
            expect_voxels(seen, codec.decode(data, spec), f"layout, {what}, against decode")
        assert told, "layout: found None for every chunk"

    def test_decode_into(self) -> None:
        """Writes exactly the box, into arrays of any memory order, and nothing beside it."""
        self.needs(DecodesInto)
        for what, codec, spec, chunk in self.cases(_SIZES):
            assert isinstance(codec, DecodesInto)
            data = bytes(codec.encode(chunk))
            whole = codec.decode(data, spec)
            for box in boxes(spec.shape):
                for lay_out in (np.asfortranarray, np.ascontiguousarray):
                    part = lay_out(whole[box])
                    where = f"decode_into, {what}, box {box}, out of strides {part.strides}"
                    self.expect_into(partial(codec.decode_into, data, spec, box), part, where)

    def test_decode_points(self) -> None:
        """Returns the voxels at points in any order, at the same one too."""
        self.needs(DecodesPoints)
        rng = np.random.default_rng(0)
        for what, codec, spec, chunk in self.cases(_SIZES):
            assert isinstance(codec, DecodesPoints)
            data = bytes(codec.encode(chunk))
            whole = codec.decode(data, spec)
            for count in (1, 2, 3, 200):
                points = rng.integers(0, spec.shape[:3], (count, 3))
                found = codec.decode_points(data, spec, points)
                where = f"decode_points, {what}, {count} points, against decode"
                shape = np.shape(found)
                wanted = (count, spec.shape[3])
                assert shape == wanted, f"{where}: expected shape {wanted} (point, channel), found {shape}"
                expect_voxels(
                    found[:, np.newaxis, np.newaxis], whole[tuple(points.T)][:, np.newaxis, np.newaxis], where
                )

    def test_decode_points_refuses_damage(self) -> None:
        """As `decode` does."""
        self.needs(DecodesPoints)
        for what, codec, spec, chunk in self.cases(_SIZES[:1]):
            assert isinstance(codec, DecodesPoints)
            data = bytes(codec.encode(chunk))
            points = np.argwhere(np.ones(spec.shape[:3], bool))
            for cut in (0, 1, len(data) // 2, len(data) - 1):
                try:
                    codec.decode_points(data[:cut], spec, points)
                except Exception:  # noqa: BLE001  as above
                    continue
                raise AssertionError(
                    f"decode_points of the first {cut} of {len(data)} bytes, {what}: expected an error"
                )

    def test_decode_into_refuses_damage(self) -> None:
        """As `decode` does."""
        self.needs(DecodesInto)
        for what, codec, spec, chunk in self.cases(_SIZES[:1]):
            assert isinstance(codec, DecodesInto)
            data, out = bytes(codec.encode(chunk)), np.zeros(spec.shape, spec.dtype)
            x, y, z, c = (slice(0, length) for length in spec.shape)
            for cut in (0, 1, len(data) // 2, len(data) - 1):
                try:
                    codec.decode_into(data[:cut], spec, (x, y, z, c), out)
                except Exception:  # noqa: BLE001  as above
                    continue
                raise AssertionError(
                    f"decode_into of the first {cut} of {len(data)} bytes, {what}: expected an error"
                )

    @staticmethod
    def expect_into(decode_into: Callable[[NDArray[Any]], None], expected: NDArray[Any], what: str) -> None:
        """Assert that the voxels `expected` are written into the middle of a larger array, and no more."""
        __tracebackhide__ = True
        around = np.pad(expected, 1)  # in the same memory order
        around[...] = 1
        inside = (slice(1, -1),) * 4
        wanted = around.copy(order="K")
        wanted[inside] = expected
        decode_into(around[inside])
        expect_voxels(around[inside], expected, f"{what}, against decode")
        assert around.tobytes() == wanted.tobytes(), f"{what}: it wrote beside the array that it was given"
