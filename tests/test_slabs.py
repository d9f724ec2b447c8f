"""Slice by slice: the writer and the reader of slabs against a numpy array."""

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
from volumes import make, noise

from precomp import Bbox, CloudVolume
from precomp.errors import AlignmentError, ArgumentError, EmptyVolumeError, OutOfBoundsError, StoreError

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
    with pytest.raises(ArgumentError, match=r"z = 101, 103, 104, .* closed"):
        fill(vol, {100: image, 102: image})
    with pytest.raises(ArgumentError, match=r"z = 101, .* z = 116"):
        fill(vol, {100: image, 116: image})
    assert not any(vol.exists(vol.bounds).values())


def test_what_is_there_of_the_last_slab_is_written_where_chunks_may_be_written_in_part(
    vol: CloudVolume,
) -> None:
    vol.non_aligned_writes = vol.fill_missing = True
    with vol.slab_writer() as writer:
        for z in (100, 101, 105):
            writer.write(z, z)
    assert [int(image.max()) for _, image in vol.slices()] == [100, 101, 0, 0, 0, 105] + 14 * [0]


def test_an_error_in_the_block_leaves_whole_slabs(vol: CloudVolume) -> None:
    with pytest.raises(ArgumentError):
        fill(vol, {**dict.fromkeys(range(100, 119), 7), 119: "no image"})
    assert sum(vol.exists(vol.bounds).values()) == 6
    assert (vol[:, :, 100:116] == 7).all()
    with pytest.raises(EmptyVolumeError):
        vol[:, :, 116]


@pytest.mark.parametrize(
    ("z", "image", "error"),
    [
        (99, 0, OutOfBoundsError),
        (120, 0, OutOfBoundsError),
        (100.5, 0, ArgumentError),
        (100, np.zeros((30, 40), np.uint8), ArgumentError),
        (100, np.zeros((40, 30), np.int64), ArgumentError),
        (100, np.zeros(40, np.uint8), ArgumentError),
        (100, 256, ArgumentError),
    ],
)
def test_a_wrong_slice_is_refused(vol: CloudVolume, z: Any, image: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        fill(vol, {z: image})
    assert not any(vol.exists(vol.bounds).values())


def test_a_slab_is_written_once(vol: CloudVolume) -> None:
    with vol.slab_writer(bbox=Bbox((-5, 3, 100), (11, 19, 116))) as writer:
        for z in range(100, 116):
            writer.write(z, 1)
            if z < 115:
                writer.write(z, 2)  # the slab still fills
        with pytest.raises(ArgumentError, match="already"):
            writer.write(100, 1)
    assert [int(image.max()) for _, image in vol.slices(bbox=Bbox((-5, 3, 100), (11, 19, 116)))] == 15 * [
        2
    ] + [1]


def test_a_box_off_the_grid_and_an_axis_that_is_none(vol: CloudVolume) -> None:
    with pytest.raises(AlignmentError, match="nearest aligned box"):
        vol.slab_writer(bbox=Bbox((0, 3, 100), (11, 19, 116)))
    for use in (vol.slab_writer, lambda axis: list(vol.slices(axis))):
        with pytest.raises(ArgumentError, match="axis"):
            use(axis="t")


def test_a_failed_write_is_raised_and_no_thread_stays(
    vol: CloudVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()

    def broken(*_: Any, **__: Any) -> None:
        raise StoreError("8_8_40/x: the disk is on fire")

    monkeypatch.setattr(vol._layer.scale(0).objects.store, "put", broken)
    with pytest.raises(StoreError, match="fire"):
        fill(vol, dict.fromkeys(range(100, 120), 7))
    assert threading.active_count() == before


def test_every_chunk_is_fetched_once(vol: CloudVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    vol[...] = 1
    reader = vol._layer.scale(0).reader
    fetched: list[str] = []
    get = reader._read_into
    monkeypatch.setattr(reader, "_read_into", lambda key, *rest: (fetched.append(key), get(key, *rest))[1])
    assert len(list(vol.slices())) == 20
    assert len(fetched) == len(set(fetched)) == 12
    before = threading.active_count()
    for _ in vol.slices():
        break  # a reader that loses interest leaves nothing behind
    assert threading.active_count() == before


MEASURE = """
import resource, sys, numpy as np
from precomp import CloudVolume
path, mode = sys.argv[1:]
info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), (512, 512, 512))
vol = CloudVolume(path, info=info)
vol.commit_info()
image = np.ones((512, 512), np.uint8)
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
if mode == "write":
    before = peak()
    with vol.slab_writer() as writer:
        for z in range(512):
            writer.write(z, image)
else:
    vol[...] = 1
    before = peak()
    assert sum(int(image[0, 0]) for _, image in vol.slices()) == 512
print((peak() - before) / (512 * 512 * 64))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("mode", ["write", "read"])
def test_two_slabs_are_in_memory_at_most(tmp_path: Path, mode: str) -> None:
    command = [sys.executable, "-c", MEASURE, f"file://{tmp_path}/ds/image", mode]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2.4  # slabs, and what the interpreter and the threads take beside
