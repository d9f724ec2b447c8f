"""Slice by slice: the writer and the reader of slabs against a numpy array."""

import itertools
import json
import queue
import re
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from volume_child import run
from volumes import make, noise

from precomp import Bbox, CloudVolume
from precomp.errors import AlignmentError, ArgumentError, EmptyVolumeError, OutOfBoundsError, StoreError
from precomp.volume.slab_writer import SlabWriter

sizes = st.tuples(*[st.integers(1, 14)] * 3)


def cut(voxels: np.ndarray[Any, Any], axis: int, place: int) -> np.ndarray[Any, Any]:
    image = voxels.take(place, axis=axis)
    return image[..., 0] if image.shape[-1] == 1 else image


@given(
    size=sizes,
    chunk=st.tuples(*[st.integers(1, 6)] * 3),
    offset=st.tuples(*[st.integers(-9, 9)] * 3),
    axis=st.integers(0, 2),
    kind=st.sampled_from([("uint8", 1), ("uint16", 3), ("float32", 2), ("uint64", 1)]),
    random=st.randoms(use_true_random=False),
)
def test_what_is_written_slice_by_slice_is_read_slice_by_slice(
    size: Any, chunk: Any, offset: Any, axis: int, kind: tuple[str, int], random: Any
) -> None:
    dtype, channels = kind
    path = f"mem://{uuid.uuid4()}/slabs/image"
    vol = make(path, size, dtype=dtype, channels=channels, chunk_size=chunk, voxel_offset=offset)
    voxels = noise(vol.shape, dtype)
    with vol.slab_writer(axis="xyz"[axis]) as writer:
        for start in range(0, size[axis], chunk[axis]):
            slab = list(range(start, min(start + chunk[axis], size[axis])))
            random.shuffle(slab)  # within a slab any order will do
            for place in slab:
                writer.write(place + offset[axis], cut(voxels, axis, place))
    np.testing.assert_array_equal(vol[...], voxels)
    read = list(vol.slices(axis="xyz"[axis]))
    assert [place for place, _ in read] == list(range(offset[axis], offset[axis] + size[axis]))
    for place, image in read:
        np.testing.assert_array_equal(image, cut(voxels, axis, place - offset[axis]))


@given(size=sizes, low=sizes, high=sizes, axis=st.integers(0, 2))
def test_slices_of_any_box(size: Any, low: Any, high: Any, axis: int) -> None:
    vol = make(f"mem://{uuid.uuid4()}/slabs/image", size, chunk_size=(4, 4, 4), voxel_offset=(0, 0, 0))
    voxels = noise(vol.shape)
    vol[...] = voxels
    minpt = [min(a, b, n - 1) for a, b, n in zip(low, high, size, strict=True)]
    maxpt = [max(min(max(a, b), n), m + 1) for a, b, n, m in zip(low, high, size, minpt, strict=True)]
    box = Bbox(minpt, maxpt)
    part = voxels[box.to_slices()]
    read = list(vol.slices("xyz"[axis], box))
    assert [place for place, _ in read] == list(range(minpt[axis], maxpt[axis]))
    for place, image in read:
        np.testing.assert_array_equal(image, cut(part, axis, place - minpt[axis]))


@pytest.fixture
def vol(tmp_path: Path) -> CloudVolume:
    return make(tmp_path / "ds" / "image")  # z from 100 to 120, chunks of 16


def fill(vol: CloudVolume, images: dict[Any, Any]) -> None:
    with vol.slab_writer() as writer:
        for z, image in images.items():
            writer.write(z, image)


def test_missing_slices_are_named(vol: CloudVolume) -> None:
    image = np.zeros((40, 30), np.uint8)
    with pytest.raises(ArgumentError, match=r"^z = 101, 103 to 119: missing when .* closed.*bbox="):
        fill(vol, {100: image, 102: image})
    with pytest.raises(
        ArgumentError, match=r"^z = 101 to 115: missing in the slab z = 100 to 115, and z = 116"
    ):
        fill(vol, {100: image, 116: image})
    assert not any(vol.exists(vol.bounds).values())


def test_a_slab_that_got_no_slice_is_missing_too(vol: CloudVolume) -> None:
    with pytest.raises(ArgumentError, match=r"^z = 100 to 119: missing when"):
        fill(vol, {})
    with pytest.raises(ArgumentError, match=r"^z = 100 to 115: missing when"):
        fill(vol, dict.fromkeys(range(116, 120), 7))
    with pytest.raises(ArgumentError, match=r"^z = 116 to 119: missing when"):
        fill(vol, dict.fromkeys(range(100, 116), 7))
    assert (vol[...] == 7).all()  # what was whole is stored
    writer = vol.slab_writer("x")
    for x in (*range(-5, 11), *range(27, 35)):
        writer.write(x, 8)
    with pytest.raises(ArgumentError, match=r"^x = 11 to 26: missing when"):
        writer.close()


def test_slices_that_were_left_out_may_still_come(vol: CloudVolume) -> None:
    with vol.slab_writer() as writer:
        for z in range(115, 100, -1):
            writer.write(z, 1)
        with pytest.raises(
            ArgumentError, match=r"^z = 100: missing in the slab z = 100 to 115, and z = 117 of"
        ):
            writer.write(117, 1)
        for z in (100, *range(119, 115, -1)):
            writer.write(z, 1)
    assert (vol[...] == 1).all()


def test_slices_may_be_left_out_anywhere_where_chunks_may_be_written_in_part(vol: CloudVolume) -> None:
    vol.non_aligned_writes = vol.fill_missing = True
    fill(vol, {z: z for z in (117, 118, 100, 101, 105)})
    assert [int(image.max()) for _, image in vol.slices()] == [
        *(100, 101, 0, 0, 0, 105, *11 * [0]),
        *(117, 118, 0),
    ]
    fill(vol, {116: 3})  # the neighbours stay
    assert [int(image.max()) for _, image in vol.slices(bbox=np.s_[:, :, 115:])] == [0, 3, 117, 118, 0]
    fill(vol, {})
    with vol.slab_writer(bbox=np.s_[0:3, 5:7, 100:120]) as writer:
        writer.write(101, np.full((3, 2), 9, np.uint8))
        writer.write(118, 9)
        with pytest.raises(ArgumentError, match=r"z = 102: its slab, z = 100 to 115, is written already"):
            writer.write(102, 9)
    assert int((vol[...] == 9).sum()) == 12


def test_an_error_in_the_block_leaves_whole_slabs(vol: CloudVolume) -> None:
    with pytest.raises(ArgumentError):
        fill(vol, {**dict.fromkeys(range(100, 119), 7), 119: "no image"})
    assert sum(vol.exists(vol.bounds).values()) == 6
    assert (vol[:, :, 100:116] == 7).all()
    with pytest.raises(EmptyVolumeError):
        vol[:, :, 116]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_slice_that_was_read_can_be_written(axis: str, channels: int) -> None:
    source = make(f"mem://{uuid.uuid4()}/slabs/image", channels=channels)
    source[...] = noise(source.shape)
    target = make(f"mem://{uuid.uuid4()}/slabs/image", channels=channels)
    place = "xyz".index(axis)
    with target.slab_writer(axis) as writer:
        for number in range(source.bounds.minpt[place], source.bounds.maxpt[place]):
            read = source[(slice(None),) * place + (number,)]
            assert (read.ndim, read.shape[place]) == (4, 1)
            writer.write(number, read)
    np.testing.assert_array_equal(target[...], source[...])


SHAPE = r"expected a slice of shape \(40, 30\), first axis x, second y, got "


@pytest.mark.parametrize(
    ("z", "image", "error", "text"),
    [
        (99, 0, OutOfBoundsError, "z = 99 is not inside"),
        (120, 0, OutOfBoundsError, "z = 120 is not inside"),
        (100.5, 0, ArgumentError, "z: expected a whole number, got 100.5"),
        (
            100,
            np.zeros((30, 40), np.uint8),
            ArgumentError,
            rf"z = 100: {SHAPE}\(30, 40\); .*np.swapaxes\(image, 0, 1\)",
        ),
        (101, np.zeros((40, 31), np.uint8), ArgumentError, rf"z = 101: {SHAPE}\(40, 31\); reshape or cut"),
        (102, np.zeros((40, 30), np.int64), ArgumentError, "z = 102: the volume holds uint8, .* int64"),
        (103, np.zeros(40, np.uint8), ArgumentError, rf"z = 103: {SHAPE}\(40,\)"),
        (104, np.zeros((40, 30, 2), np.uint8), ArgumentError, rf"z = 104: {SHAPE}\(40, 30, 2\); reshape"),
        (105, np.zeros((1, 40, 30, 1), np.uint8), ArgumentError, rf"z = 105: {SHAPE}"),
        (106, 256, ArgumentError, r"z = 106: .*256\)? does not fit uint8"),
        (107, [[1], [1, 2]], ArgumentError, "z = 107: expected an array or a scalar"),
        (108, "no image", ArgumentError, "z = 108: the value to write: .*no image"),
    ],
)
def test_a_wrong_slice_is_refused(
    vol: CloudVolume, z: Any, image: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=f"^{text}"):
        fill(vol, {z: image})
    assert not any(vol.exists(vol.bounds).values())


@pytest.mark.parametrize(
    ("axis", "wrong", "text"),
    [
        (
            "x",
            (20, 30, 3),
            r"x = 5: expected a slice of shape \(30, 20, 3\), first axis y, second z, channels last",
        ),
        ("y", (40, 20), r"y = 5: expected a slice of shape \(40, 20, 3\), first axis x, second z"),
    ],
)
def test_a_wrong_slice_with_channels_is_refused(axis: str, wrong: Any, text: str) -> None:
    vol = make(f"mem://{uuid.uuid4()}/slabs/image", channels=3)
    writer = vol.slab_writer(axis)
    with pytest.raises(ArgumentError, match=text) as caught:
        writer.write(5, np.zeros(wrong, np.uint8))
    assert ("transposed" in str(caught.value)) == (axis == "x")
    with pytest.raises(ArgumentError, match="missing"):
        writer.close()


def test_a_slab_is_written_once(vol: CloudVolume) -> None:
    with vol.slab_writer(bbox=Bbox((-5, 3, 100), (11, 19, 116))) as writer:
        for z in range(100, 116):
            writer.write(z, 1)
            if z < 115:
                writer.write(z, 2)  # the slab still fills
        with pytest.raises(ArgumentError, match="z = 100: its slab, z = 100 to 115, is written already"):
            writer.write(100, 1)
    assert [int(image.max()) for _, image in vol.slices(bbox=Bbox((-5, 3, 100), (11, 19, 116)))] == 15 * [
        2
    ] + [1]


def test_a_box_off_the_grid_or_outside_is_refused_at_the_call(vol: CloudVolume) -> None:
    with pytest.raises(AlignmentError, match="nearest aligned box"):
        vol.slab_writer(bbox=Bbox((0, 3, 100), (11, 19, 116)))
    for use in (vol.slab_writer, vol.slices):
        with pytest.raises(OutOfBoundsError):
            use(bbox=Bbox((-5, 3, 100), (11, 19, 132)))


@pytest.mark.parametrize("axis", ["t", "", "xy", None, True, 3, -1, 1.0, np.array([1, 2]), ("x",)])
def test_an_axis_that_is_none_is_refused_at_the_call(vol: CloudVolume, axis: Any) -> None:
    for use in (vol.slab_writer, vol.slices):
        with pytest.raises(ArgumentError, match=r"^axis: expected 'x', 'y' or 'z', or 0, 1 or 2, found"):
            use(axis)


def test_an_axis_may_be_a_number(vol: CloudVolume) -> None:
    vol[...] = 1
    for axis in (1, np.int64(1), "y"):
        assert [place for place, _ in vol.slices(axis)] == list(range(3, 33))  # type: ignore[arg-type]


def test_autocrop_cuts_the_box_and_the_slices(vol: CloudVolume) -> None:
    vol.autocrop = True
    box = Bbox((-21, 3, 84), (27, 50, 132))  # leaves the volume at its low end in x, and at both in z
    images = {z: noise((48, 47), seed=z) for z in range(84, 132)}
    with vol.slab_writer(bbox=box) as writer:
        for z, image in images.items():
            writer.write(z, image)
    expected = np.stack([images[z][16:, :30] for z in range(100, 120)], axis=-1)
    np.testing.assert_array_equal(vol[-5:27, :, :][..., 0], expected)
    read = list(vol.slices(bbox=box))
    assert [z for z, _ in read] == list(range(100, 120))
    for z, image in read:
        np.testing.assert_array_equal(image, images[z][16:, :30])
    with vol.slab_writer(bbox=Bbox((100, 100, 300), (110, 120, 302))) as writer:
        writer.write(301, 1)  # nothing of it lies inside
    assert list(vol.slices(bbox=Bbox((100, 100, 300), (110, 120, 302)))) == []


def test_a_closed_writer_takes_nothing(vol: CloudVolume) -> None:
    writer = vol.slab_writer(bbox=Bbox((-5, 3, 100), (11, 19, 116)))
    for z in range(100, 116):
        writer.write(z, 1)
    writer.close()
    writer.close()
    for use in (lambda: writer.write(100, 1), writer.__enter__):
        with pytest.raises(ArgumentError, match=r"closed; make a new one with vol\.slab_writer\(\)"):
            use()
    with pytest.raises(KeyError), vol.slab_writer() as writer:
        raise KeyError
    with pytest.raises(ArgumentError, match="closed"):
        writer.write(100, 1)


def test_a_writer_keeps_layer_mip_and_options(vol: CloudVolume) -> None:
    other = make(vol.cloudpath.replace("image", "two"), max_mip=1)
    with vol.slab_writer() as writer:
        images = vol.slices()
        for z in range(100, 120):
            vol.layer, vol.mip, vol.compress = "two", 1, "gzip"
            writer.write(z, 7)
    assert vol.layer == "two"
    assert not any({**other.exists(other.bounds), **other.exists(other.mip_bounds(1), mip=1)}.values())
    first = CloudVolume(vol.cloudpath.replace("two", "image"))
    assert (first[...] == 7).all()
    assert {path.suffix for path in Path(first.cloudpath.removeprefix("file://"), "8_8_40").iterdir()} == {""}
    assert all((image == 7).all() for _, image in images)


def test_slabs_are_written_past_the_cache_of_their_volume(vol: CloudVolume) -> None:
    vol.lru_bytes = 2**20
    for value in (1, 2):
        fill(vol, dict.fromkeys(range(100, 120), value))
        assert (vol[...] == value).all()
        assert all((image == value).all() for _, image in vol.slices())


def test_one_bar_for_all_slabs(vol: CloudVolume, capfd: pytest.CaptureFixture[str]) -> None:
    vol.progress = True
    fill(vol, dict.fromkeys(range(100, 120), 1))
    list(vol.slices())
    assert vol.progress is True
    out, err = capfd.readouterr()
    assert out == ""
    for title in ("writing image", "reading image"):
        bars = [line for line in err.replace("\n", "\r").split("\r") if line.startswith(title)]
        assert all("/20 " in bar for bar in bars)
        assert "20/20 " in bars[-1]


# ------------------------------------------------------------------------- writes that fail


def break_slab(monkeypatch: pytest.MonkeyPatch, vol: CloudVolume, name: str) -> None:
    """From now on chunks whose names end so cannot be stored."""
    store = vol._layer.scale(0).objects.store
    put = store.put

    def broken(key: str, *rest: Any, **options: Any) -> Any:
        if key.endswith(name):
            raise StoreError(f"{key}: the disk is on fire")
        return put(key, *rest, **options)

    monkeypatch.setattr(store, "put", broken)


@pytest.mark.parametrize("caught_in", [None, "write", "write and block"])
def test_after_a_failed_write_the_writer_is_broken(
    monkeypatch: pytest.MonkeyPatch, caught_in: str | None
) -> None:
    before = threading.active_count()
    vol = make(f"mem://{uuid.uuid4()}/slabs/image", size=(20, 20, 40), chunk_size=(20, 20, 10))
    break_slab(monkeypatch, vol, "_110-120")
    message = r"_110-120: the disk is on fire; the slices z = 110 to 129 are not all stored"
    told = []

    def work(writer: SlabWriter) -> None:
        for z in range(100, 140):
            try:
                writer.write(z, 1)
            except StoreError as error:
                if caught_in is None:
                    raise
                told.append((z, str(error)))
        if caught_in == "write and block":
            raise KeyError("something else")

    with (
        pytest.raises(KeyError if caught_in == "write and block" else StoreError) as caught,
        vol.slab_writer() as w,
    ):
        work(w)
    if caught_in == "write and block":
        (note,) = caught.value.__notes__
        assert re.search(message, note)
    else:
        assert re.search(message, str(caught.value))
        assert isinstance(caught.value.__cause__, StoreError)
        assert not hasattr(caught.value, "__notes__")
    if caught_in is not None:  # the slab after the broken one was full at 129
        assert [z for z, _ in told] == list(range(129, 140))
        assert all(re.search(message, text) for _, text in told)
    for use in (lambda: w.write(139, 1), w.close, w.__enter__):
        with pytest.raises(StoreError, match=message):
            use()
    assert threading.active_count() == before
    assert [key[-7:] for key, there in vol.exists(vol.bounds).items() if there] == ["100-110"]


def test_a_failed_write_that_ends_with_missing_slices_or_at_the_end_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vol = make(f"mem://{uuid.uuid4()}/slabs/image", size=(20, 20, 40), chunk_size=(20, 20, 10))
    break_slab(monkeypatch, vol, "_130-140")
    with pytest.raises(StoreError, match="the slices z = 130 to 139 are not all stored"):
        fill(vol, dict.fromkeys(range(100, 140), 1))
    with pytest.raises(StoreError, match="the slices z = 100 to 109, 130 to 139 are not all") as caught:
        fill(vol, dict.fromkeys([*range(130, 140), 100], 1))
    assert isinstance(caught.value.__cause__, StoreError)


def test_a_failed_write_is_a_note_of_the_error_in_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    vol = make(f"mem://{uuid.uuid4()}/slabs/image", size=(20, 20, 40), chunk_size=(20, 20, 10))
    break_slab(monkeypatch, vol, "_100-110")

    def work() -> None:
        with vol.slab_writer() as writer:
            for z in range(100, 112):
                writer.write(z, 1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        work()
    assert re.search(
        r"100-110: the disk is on fire; the slices z = 100 to 119 are", caught.value.__notes__[0]
    )


def test_whatever_fails_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch, vol: CloudVolume) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a stranger's store")

    monkeypatch.setattr(vol._layer.scale(0).objects.store, "put", fail)
    with pytest.raises(StoreError, match="a stranger's store; the slices") as caught:
        fill(vol, dict.fromkeys(range(100, 120), 1))
    assert isinstance(caught.value.__cause__, RuntimeError)
    vol.non_aligned_writes = True
    with pytest.raises(EmptyVolumeError, match=r"fill_missing.*; the slices z = 100 to 115"):
        fill(vol, {100: 1})


# ------------------------------------------------------- what happens at the same time, and when


def test_a_slab_is_written_while_the_next_one_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    vol = make(f"mem://{uuid.uuid4()}/slabs/image", size=(20, 20, 30), chunk_size=(20, 20, 10))
    store, events = vol._layer.scale(0).objects.store, list[str]()
    put, go_on = store.put, threading.Event()

    def slow(key: str, *rest: Any, **options: Any) -> Any:
        name = key[-7:]
        events.append(f"begin {name}")
        if not go_on.wait(20):
            events.append("nobody else was at work")
        put(key, *rest, **options)
        events.append(f"end {name}")

    monkeypatch.setattr(store, "put", slow)
    with vol.slab_writer() as writer:
        for z in range(100, 119):
            writer.write(z, z)  # the last slice of the second slab waits for the first
        go_on.set()
        for z in range(119, 130):
            writer.write(z, z)
    assert events == [
        f"{what} {name}" for name in ("100-110", "110-120", "120-130") for what in ("begin", "end")
    ]
    assert vol[0, 5, :].ravel().tolist() == list(range(100, 130))


def test_the_next_slab_is_fetched_in_advance_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    vol = make(f"mem://{uuid.uuid4()}/slabs/image", size=(20, 20, 40), chunk_size=(20, 20, 10))
    vol[...] = noise(vol.shape)
    fetcher = vol._layer.scale(0).reader._fetcher
    get, fetched = fetcher._get, queue.SimpleQueue[str]()
    monkeypatch.setattr(fetcher, "_get", lambda key, *rest: (fetched.put(key[-7:]), get(key, *rest))[1])
    images = vol.slices()
    assert next(images)[0] == 100
    assert [fetched.get(timeout=20) for _ in range(2)] == ["100-110", "110-120"]
    for _ in range(9):
        next(images)
    assert fetched.empty()  # as long as the first slab is in use
    next(images)
    assert fetched.get(timeout=20) == "120-130"
    assert [z for z, _ in images] == list(range(111, 140))
    assert fetched.get(timeout=20) == "130-140"
    assert fetched.empty()


def test_every_chunk_is_fetched_once(vol: CloudVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    vol[...] = 1
    fetcher = vol._layer.scale(0).reader._fetcher
    fetched: list[str] = []
    get = fetcher.read_into
    monkeypatch.setattr(fetcher, "read_into", lambda key, *rest: (fetched.append(key), get(key, *rest))[1])
    assert len(list(vol.slices())) == 20
    assert len(fetched) == len(set(fetched)) == 12
    before = threading.active_count()
    for _ in vol.slices():
        break  # a reader that loses interest leaves nothing behind
    assert threading.active_count() == before


def test_a_million_million_slabs_cost_nothing_before_they_come() -> None:
    many = 10**12
    vol = make(
        f"mem://{uuid.uuid4()}/slabs/image", (2, 2, many), chunk_size=(2, 2, 1), voxel_offset=(0, 0, 0)
    )
    vol.fill_missing = True
    (z, image), *_ = itertools.islice(vol.slices(), 3)
    assert (z, image.sum()) == (0, 0)
    writer = vol.slab_writer()
    for z in (many - 1, 5, 4, many // 2):
        writer.write(z, 1)
    with pytest.raises(
        ArgumentError, match=f"^z = 0 to 3, 6 to {many // 2 - 1}, {many // 2 + 1} to {many - 2}: missing"
    ):
        writer.close()
    assert vol[0, 0, many - 1].item() == vol[0, 0, 5].item() == 1


def test_killed_writers_leave_whole_chunks(tmp_path: Path) -> None:
    assert run("killed_slabs", f"file://{tmp_path}/ds/image", 12) == "whole\n" * 12


MEASURE = """
import json, sys, numpy as np
from precomp import CloudVolume
path, mode, dtype, chunk, encoding, compress = json.loads(sys.argv[1])
depth = 5 * chunk[2]
size = (512, 512, depth)
info = CloudVolume.create_new_info(1, "image", dtype, encoding, (4, 4, 40), (0, 0, 0), size, chunk_size=chunk)
vol = CloudVolume(path, info=info, compress=compress)
vol.commit_info()
image = np.random.default_rng(0).integers(0, 256, (512, 512)).astype(dtype)
def memory(name):
    return int(open("/proc/self/status").read().split(name + ":")[1].split()[0]) * 1024
def write():
    with vol.slab_writer() as writer:
        for z in range(depth):
            writer.write(z, image)
if mode == "write":
    before = memory("VmRSS")
    write()
else:
    write()
    open("/proc/self/clear_refs", "w").write("5")  # forget the peak
    before = memory("VmRSS")
    assert all((found == image).all() for _, found in vol.slices())
print((memory("VmHWM") - before) / (512 * 512 * chunk[2] * image.itemsize))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("dtype", "chunk", "encoding", "compress", "chunks_in_hand"),
    [
        ("uint8", (64, 64, 64), "raw", None, 0),
        ("uint8", (64, 64, 64), "npz", None, 0),
        ("uint64", (64, 64, 16), "raw", "gzip", 0),
        ("float32", (32, 32, 32), "raw", None, 0),
        ("uint8", (512, 512, 64), "raw", None, 1),  # one chunk a slab
        ("uint8", (512, 512, 64), "npz", None, 2),  # encoded, then compressed
        ("uint64", (512, 512, 16), "raw", "gzip", 2),
    ],
)
@pytest.mark.parametrize("mode", ["write", "read"])
def test_two_slabs_and_the_chunks_in_hand_are_in_memory_at_most(
    tmp_path: Path,
    mode: str,
    dtype: str,
    chunk: Any,
    encoding: str,
    compress: str | None,
    chunks_in_hand: int,
) -> None:
    arguments = json.dumps([f"file://{tmp_path}/ds/image", mode, dtype, chunk, encoding, compress])
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2.4 + chunks_in_hand  # and what the interpreter and the threads take
