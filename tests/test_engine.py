"""The engine's short cuts against the plain way: rows, scratch memory, reads into memory, single chunks."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from volumes import make, noise, parts

from precomp import CloudVolume
from precomp.engine.rows import copy_rows
from precomp.engine.scratch import Scratch
from precomp.engine.workers import Listed, for_each
from precomp.errors import ChunkDecodeError, EmptyVolumeError, PluginError, PrecompError
from precomp.grid import ChunkGrid
from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.interfaces import Buffer, ChunkSpec, Layout, ReadsInto
from precomp.plugins import Registry
from precomp_plugins import file
from precomp_plugins import memory as mem_plugin
from precomp_plugins.codecs._raw import Raw

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


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(1, 9), st.integers(0, 5_000))
def test_parts_of_scratch_memory_do_not_overlap(first: int, length: int, count: int, step: int) -> None:
    scratch = Scratch()
    parts = scratch.split(first, length, count, step)
    assert parts is not None
    assert scratch.split(first, length, count, step, count * length - 1) is None
    assert [(start, len(memory)) for start, memory in parts] == [
        (first + n * step, length) for n in range(count)
    ]
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
    assert reader._fetcher.read_into is not None
    reader._fetcher.read_into = None
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
        vol._layer.scale(0).reader._fetcher.read_into = None
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


ODD_LAYOUTS = {
    "no layout": 7,
    "a dtype of objects": Layout(np.dtype(object), (8, 8, 8, 8), 0, 10**9),
    "a name for a dtype": Layout("uint8", (1, 1, 1, 1), 0, 10**9),  # type: ignore[arg-type]
    "three strides": Layout(np.dtype("u1"), (1, 2, 3), 0, 10**9),  # type: ignore[arg-type]
    "a stride of half a byte": Layout(np.dtype("u1"), (0.5, 1, 1, 1), 0, 10**9),  # type: ignore[arg-type]
    "a negative stride": Layout(np.dtype("u1"), (-1, 1, 1, 1), 500, 10**9),
    "a negative start": Layout(np.dtype("u1"), (1, 1, 1, 1), -1, 10**9),
    "too short a chunk": Layout(np.dtype("u1"), (1, 96, 96 * 64, 0), 1, 96 * 64 * 48),
}


@pytest.mark.parametrize("place", ["file", "mem"])
@pytest.mark.parametrize("layout", ODD_LAYOUTS.values(), ids=ODD_LAYOUTS)
def test_nonsense_of_a_strangers_codec_is_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any, place: str
) -> None:
    path = tmp_path / "ds" / "image" if place == "file" else f"mem:/{tmp_path}/ds/odd"
    vol = make(path, CHUNK, chunk_size=CHUNK, voxel_offset=(0, 0, 0))
    monkeypatch.setattr(Raw, "layout", lambda *arguments: layout)
    with pytest.raises(PluginError, match=r"/ds/\w+: raw: layout of .*96, 64, 48"):
        vol[0:2, 0:3, 0:4]
    monkeypatch.setattr(Raw, "layout", lambda *arguments: {}["x"])
    with pytest.raises(PluginError, match=r"/ds/\w+: raw: layout of .*96, 64, 48.*'x'"):
        CloudVolume(vol.cloudpath)[0:2, 0:3, 0:4]


@attrs.frozen
class Placed:
    """A codec whose voxels lie anyhow behind a header, in an array of any memory order."""

    order: tuple[int, ...]
    header: int
    gap: int

    def layout(self, spec: ChunkSpec) -> Layout:
        voxel = 2 * spec.dtype.itemsize
        strides, step = [0, 0, 0, 0], voxel
        for axis in self.order:
            strides[axis] = step
            step = step * spec.shape[axis] + self.gap * voxel
        x, y, z, c = strides
        return Layout(spec.dtype.newbyteorder(">"), (x, y, z, c), self.header, self.header + step + 3)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        dtype, strides, start, size = self.layout(ChunkSpec(chunk.shape, chunk.dtype))  # type: ignore[arg-type]
        data = bytearray(os.urandom(size))
        np.ndarray(chunk.shape, dtype, data, start, strides)[...] = chunk
        return bytes(data)

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        dtype, strides, start, size = self.layout(spec)
        if len(data) != size:
            raise ValueError(f"expected {size} bytes")
        return np.ndarray(spec.shape, dtype, data, start, strides).astype(spec.dtype)


@given(
    order=st.permutations(range(4)),
    header=st.integers(0, 9),
    gap=st.sampled_from([0, 1, 9000]),
    part=parts((20, 9, 8)),
    channels=st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 2)),
    mem=st.booleans(),
)
def test_voxels_are_found_wherever_a_codec_puts_them(
    tmp_path_factory: pytest.TempPathFactory,
    order: Any,
    header: int,
    gap: int,
    part: Any,
    channels: Any,
    mem: bool,
) -> None:
    codec = Placed(tuple(order), header, gap)
    plugin = SimpleNamespace(
        precomp_register_codecs=hookimpl(lambda: [CodecPlugin("placed", lambda info, scale: codec)])
    )
    registry = Registry.of([file, mem_plugin, plugin])
    folder = tmp_path_factory.mktemp("placed")
    path = f"mem:/{folder}/ds/image" if mem else str(folder / "ds" / "image")
    info = CloudVolume.create_new_info(
        5, "image", "int16", "raw", (8, 8, 40), (-5, 3, 100), (20, 9, 8), chunk_size=(16, 5, 8)
    )
    info["scales"][0]["encoding"] = "placed"
    vol = CloudVolume(path, info=info, registry=registry)
    voxels = noise(vol.shape, "int16")
    vol[...] = voxels
    first, count, step = channels
    wanted = slice(first, min(first + count, 5), step)
    there = [
        slice(axis.start + o, axis.stop + o, axis.step) for axis, o in zip(part, (-5, 3, 100), strict=True)
    ]
    np.testing.assert_array_equal(vol[(*there, wanted)], voxels[(*part, wanted)])


def test_the_bytes_given_to_a_codec_cannot_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vol = make(f"mem:/{tmp_path}/ds/image", CHUNK, chunk_size=CHUNK, voxel_offset=(0, 0, 0))
    vol[...] = 1
    given: list[Buffer] = []
    decode = Raw.decode
    monkeypatch.setattr(
        Raw, "decode", lambda self, data, spec: (given.append(data), decode(self, data, spec))[1]
    )
    vol[...]
    assert memoryview(given[0]).readonly


# --- many threads ---------------------------------------------------------------------------------------


STUCK = """
import threading
from precomp.engine.workers import Listed, for_each
def task(number):
    assert threading.current_thread() is not threading.main_thread()
    print("stuck", flush=True)
    threading.Event().wait()
for_each(Listed(range(100)), lambda: task, 16)
"""


@pytest.mark.skipif(os.name != "posix", reason="there are no such signals here")
def test_a_second_interrupt_is_not_kept_waiting() -> None:
    """The caller of many threads waits and does not work, so that it hears of it whatever they do."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", STUCK], **pipes) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        while child.poll() is None:  # there is no telling when the first one was heard
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.2)
        assert child.stderr.read().endswith(b"KeyboardInterrupt\n")


@pytest.mark.skipif(os.name != "posix", reason="there are no such signals here")
def test_a_second_interrupt_is_not_kept_waiting_where_the_caller_works_too() -> None:
    main, started, released = threading.main_thread(), threading.Event(), threading.Event()
    before = set(threading.enumerate())

    def task(number: int) -> None:
        if threading.current_thread() is main:
            started.wait()
            raise KeyboardInterrupt
        started.set()
        released.wait(0.3)  # the caller waits for this thread meanwhile
        signal.pthread_kill(main.ident or 0, signal.SIGINT)
        released.wait(10)

    try:
        with pytest.raises(KeyboardInterrupt):
            for_each(Listed(range(2)), lambda: task, 2)
        left = set(threading.enumerate()) - before
        assert len(left) == 1
    finally:
        released.set()
    left.pop().join()


@pytest.mark.parametrize("workers", [2, 5, 16])
def test_all_parts_are_done_once(workers: int) -> None:
    done: list[int] = []
    for_each(Listed(range(1000)), lambda: done.append, workers)
    assert sorted(done) == list(range(1000))


def test_threads_that_cannot_be_had_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    for_each(Listed(range(30)), lambda: done.append, 16)
    assert sorted(done) == list(range(30))
