"""The engine's short cuts against the plain way: rows, scratch memory, reads into memory, single chunks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from volumes import make, noise, parts

from precomp import CloudVolume
from precomp.engine.rows import copy_rows
from precomp.engine.scratch import Scratch
from precomp.errors import ChunkDecodeError, EmptyVolumeError, PrecompError
from precomp.grid import ChunkGrid
from precomp.interfaces import Buffer, ByteRange, ReadsInto
from precomp_plugins.codecs.raw import Raw

DTYPES = ("bool", "uint8", "int16", "uint32", "uint64", "float32", ">u2", ">f8")


layouts = st.tuples(st.permutations(range(4)), st.tuples(*[st.sampled_from([1, 1, 1, 2, -1])] * 4))
lengths = st.sampled_from([1, 2, 5, 9, 17, 64])
shapes = st.tuples(lengths, st.integers(1, 6), st.integers(1, 5), st.integers(1, 3))


def laid_out(layout: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """An array and a view of it of `shape`: any order of axes, with steps, backwards, with a margin."""
    order, steps = layout
    room = np.zeros([shape[axis] * abs(steps[axis]) + 2 for axis in order], dtype)
    inner = tuple(slice(1, None, step) if step > 0 else slice(-2, None, step) for step in steps)
    view = room.transpose(np.argsort(order))[inner]
    return room, view[tuple(slice(0, n) for n in shape)]


@given(layouts, layouts, shapes, st.sampled_from(DTYPES), st.booleans())
def test_rows_are_copied_as_numpy_copies_voxels(
    a: Any, b: Any, shape: tuple[int, ...], name: str, other_order: bool
) -> None:
    dtype = np.dtype(name)
    _, source = laid_out(a, shape, dtype.newbyteorder() if other_order else dtype)
    source[...] = np.random.default_rng(0).integers(0, 2 if name == "bool" else 100, shape)
    (room, target), (model_room, model) = laid_out(b, shape, dtype), laid_out(b, shape, dtype)
    copy_rows(target, source)
    model[...] = source
    assert np.array_equal(room, model_room)  # the margin too


def test_a_broadcast_scalar_is_spread() -> None:
    target = np.zeros((20, 3, 2, 1), np.uint16, order="F")
    copy_rows(target, np.broadcast_to(np.uint16(7), target.shape))
    assert (target == 7).all()


# --- scratch memory ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(0, 5_000)), min_size=1, max_size=20))
def test_scratch_memory_is_as_long_as_asked_for_and_aligned(wanted: list[tuple[int, int]]) -> None:
    scratch = Scratch()
    for size, start in wanted:
        memory = scratch.take(size, start)
        assert (len(memory), memory.readonly, memory.format) == (size, False, "B")
        address = np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
        assert (address - start) % 64 == 0


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 300)), min_size=1, max_size=9))
def test_parts_of_scratch_memory_do_not_overlap(wanted: list[tuple[int, int]]) -> None:
    ranges = [ByteRange(start, start + size) for start, size in wanted]
    parts = Scratch().split(ranges)
    assert parts is not None
    assert Scratch().split(ranges, sum(stop - start for start, stop in ranges) - 1) is None
    assert [(start, start + len(memory)) for start, memory in parts] == ranges
    for number, (_, memory) in enumerate(parts):
        memory[:] = bytes([number]) * len(memory)
    assert all(bytes(memory) == bytes([n]) * len(memory) for n, (_, memory) in enumerate(parts))
    for start, memory in parts:
        assert (np.frombuffer(memory, np.uint8).__array_interface__["data"][0] - start) % 64 == 0


def test_scratch_memory_that_nobody_has() -> None:
    with pytest.raises(MemoryError):
        Scratch().take(2**62)


# --- reads into memory against reads of blobs ---------------------------------------------------------

SIZE, CHUNK, OFFSET = (150, 90, 70), (96, 64, 48), (-7, 0, 3)


@pytest.fixture(scope="module", params=[("uint8", 1), ("uint16", 3), ("float32", 2), ("uint64", 1)])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A volume that reads into memory, one of the same files that does not, and the voxels."""
    dtype, channels = request.param
    path = tmp_path_factory.mktemp("engine") / "ds" / "image"
    vol = make(path, SIZE, dtype=dtype, channels=channels, chunk_size=CHUNK, voxel_offset=OFFSET)
    voxels = noise(vol.shape, dtype)
    vol[...] = voxels
    plain = CloudVolume(path)
    reader = plain._layer.scale(0).reader
    assert isinstance(plain._layer.objects().store, ReadsInto)
    assert reader._read_into is not None
    reader._read_into = None
    return vol, plain, voxels


@given(part=parts(SIZE), one=st.booleans(), workers=st.sampled_from([None, 1, 3]))
def test_memory_and_blobs_hold_the_same(
    pair: Any, part: tuple[slice, ...], one: bool, workers: int | None
) -> None:
    vol, plain, voxels = pair
    channels = slice(1, 2) if one and vol.num_channels > 1 else slice(0, vol.num_channels)
    index = tuple(slice(a.start + o, a.stop + o, a.step) for a, o in zip(part, OFFSET, strict=True))
    vol.parallel = workers
    expected = voxels[(*part, channels)]
    np.testing.assert_array_equal(vol[(*index, channels)], expected)
    np.testing.assert_array_equal(plain[(*index, channels)], expected)


DAMAGES: list[tuple[Callable[[bytes], bytes | None], type[PrecompError]]] = [
    (lambda data: None, EmptyVolumeError),
    (lambda data: b"", ChunkDecodeError),
    (lambda data: data[:-1], ChunkDecodeError),
    (lambda data: data + b"x", ChunkDecodeError),
    (lambda data: data + data, ChunkDecodeError),
]


@pytest.mark.parametrize(("damage", "error"), DAMAGES)
@pytest.mark.parametrize("into", [True, False])
def test_damage_is_found_either_way(
    tmp_path: Path, damage: Callable[[bytes], bytes | None], error: type[PrecompError], into: bool
) -> None:
    vol = make(tmp_path / "ds" / "image", CHUNK, chunk_size=CHUNK, voxel_offset=(0, 0, 0), fill_missing=False)
    vol[...] = 1
    (chunk,) = (tmp_path / "ds" / "image" / "8_8_40").iterdir()
    damaged = damage(chunk.read_bytes())
    chunk.unlink()
    if damaged is not None:
        chunk.write_bytes(damaged)
    if not into:
        vol._layer.scale(0).reader._read_into = None
    for index in ((5, 5, 5), np.s_[3:90, 2:60, 1:40], ...):
        with pytest.raises(error, match="8_8_40/0-96_0-64_0-48"):
            vol[index]


# --- plans of one chunk -----------------------------------------------------------------------------

axes = st.tuples(st.integers(-30, 30), st.integers(1, 24), st.integers(1, 13))  # offset, size, chunk


@given(st.data(), st.tuples(axes, axes, axes))
def test_the_plan_of_one_chunk_is_that_of_the_axes(data: st.DataObject, drawn: Sequence[Any]) -> None:
    offset, size, chunk = zip(*drawn, strict=True)
    grid = ChunkGrid("s", offset, size, chunk)
    lows = [data.draw(st.integers(o - 3, o + n + 2)) for o, n in zip(offset, size, strict=True)]
    highs = [data.draw(st.integers(low, low + 4)) for low in lows]
    only = grid._only(lows, highs)
    every = list(grid.plan(tuple(lows), tuple(highs), [1, 1, 1]).refs())  # a list: by the axes
    inside = all(o <= a and b <= o + n for o, n, a, b in zip(offset, size, lows, highs, strict=True))
    if only is None:
        assert len(every) != 1 or not inside
    else:
        assert every == [only]
        plan = grid.plan(tuple(lows), tuple(highs), (1, 1, 1))
        assert (len(plan), plan.whole, list(plan.refs()), list(plan.refs(1))) == (1, only.whole, [only], [])


# --- parts of a stranger's codec ----------------------------------------------------------------------


class OddPart(NamedTuple):
    result: Any
    ranges: tuple[ByteRange, ...] = (ByteRange(0, 1),)

    def decode(self, parts: Sequence[Buffer]) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    "result",
    [
        None,
        KeyError("x"),
        np.zeros((1, 1, 1, 1), np.float64),
        np.zeros((1, 1, 1, 1), np.uint8),
        np.zeros((2, 3, 4), np.uint8),
    ],
)
@pytest.mark.parametrize("place", ["file", "mem"])
def test_a_part_of_another_shape_or_dtype_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Any, place: str
) -> None:
    path = tmp_path / "ds" / "image" if place == "file" else f"mem:/{tmp_path}/ds/odd"
    vol = make(path, CHUNK, chunk_size=CHUNK, voxel_offset=(0, 0, 0))
    vol[...] = 1
    monkeypatch.setattr(Raw, "part", lambda *arguments: OddPart(result))
    with pytest.raises(ChunkDecodeError, match=r"8_8_40/0-96_0-64_0-48: expected a raw chunk"):
        vol[0:2, 0:3, 0:4]
    monkeypatch.setattr(Raw, "part", lambda *arguments: {}["x"])
    with pytest.raises(ChunkDecodeError, match=r"8_8_40/0-96_0-64_0-48: expected a raw chunk"):
        vol[0:2, 0:3, 0:4]


def test_the_bytes_given_to_a_codec_cannot_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vol = make(tmp_path / "ds" / "image", CHUNK, chunk_size=CHUNK, voxel_offset=(0, 0, 0))
    vol[...] = 1
    given: list[Buffer] = []
    decode = Raw.decode
    monkeypatch.setattr(
        Raw, "decode", lambda self, data, spec: (given.append(data), decode(self, data, spec))[1]
    )
    vol[...]
    assert memoryview(given[0]).readonly
