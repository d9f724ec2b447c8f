"""Reading and writing through CloudVolume against a plain numpy array."""

import pickle
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
from precomp.errors import (
    AlignmentError,
    ArgumentError,
    EmptyVolumeError,
    OutOfBoundsError,
    TooLargeError,
)


@pytest.fixture
def layer(tmp_path: Path) -> str:
    return f"file://{tmp_path}/bucket/retina/image"


@pytest.fixture
def filled(layer: str) -> tuple[CloudVolume, np.ndarray[Any, Any]]:
    vol = make(layer)
    voxels = noise(vol.shape)
    vol[...] = voxels
    return vol, voxels


def test_the_whole_stack_comes_back(filled: Any) -> None:
    vol, voxels = filled
    image = vol[:, :, :]
    assert image.shape == (40, 30, 20, 1)
    assert image.dtype == np.uint8
    assert image.flags.f_contiguous
    assert image.flags.writeable
    np.testing.assert_array_equal(image, voxels)
    np.testing.assert_array_equal(CloudVolume(vol.cloudpath)[...], voxels)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (np.s_[0:10, 5:9, 100:120], np.s_[5:15, 2:6, 0:20]),
        (np.s_[0], np.s_[5:6]),
        (np.s_[-5, 3, 100], np.s_[0:1, 0:1, 0:1]),
        (np.s_[-5:-1], np.s_[0:4]),
        (np.s_[..., 0], np.s_[:, :, :, 0:1]),
        (np.s_[1:3, ...], np.s_[6:8]),
        (np.s_[..., 105:107, :], np.s_[:, :, 5:7]),
        (np.s_[:, 10:], np.s_[:, 7:]),
        (np.s_[::7, ::3, ::20], np.s_[::7, ::3, ::20]),
        (np.s_[1:30:40], np.s_[6:7]),
        (np.s_[np.int64(3), np.uint8(4) : np.float32(9.0), 110.0], np.s_[8:9, 1:6, 10:11]),
        (Bbox((0, 4, 101), (2, 6, 103)), np.s_[5:7, 1:3, 1:3]),
        (np.s_[10:5, 4:4], np.s_[0:0, 0:0]),
    ],
)
def test_an_index_is_absolute_and_keeps_its_axes(filled: Any, index: Any, expected: Any) -> None:
    vol, voxels = filled
    np.testing.assert_array_equal(vol[index], voxels[expected])


@pytest.mark.parametrize(
    "index",
    [
        np.s_[0, 4, 101, 0, 0],
        np.s_[::-1],
        np.s_[::0],
        "x",
        None,
        [1, 2],
        1.5,
        np.s_[..., ...],
        True,
        np.True_,
        np.str_("5"),
        np.complex64(5),
        np.datetime64("2020-01-01"),
        np.ones((40, 30, 20), bool),
        np.s_[0:5.5],
    ],
)
def test_what_is_no_index_is_refused(filled: Any, index: Any) -> None:
    with pytest.raises(ArgumentError):
        filled[0][index]


@pytest.mark.parametrize(
    "index", [np.s_[-6:0], np.s_[0:36], np.s_[:, 2], np.s_[..., 1], np.s_[..., -1], np.s_[..., 0:2]]
)
def test_outside_is_an_error_that_shows_request_and_bounds(filled: Any, index: Any) -> None:
    with pytest.raises(OutOfBoundsError):
        filled[0][index]
    with pytest.raises(OutOfBoundsError):
        filled[0][index] = 0


def test_unbounded_reads_pad_with_background(filled: Any) -> None:
    vol, voxels = filled
    vol.bounded = False
    padded = np.pad(voxels, ((1, 1), (1, 1), (1, 1), (0, 0)))
    np.testing.assert_array_equal(vol[-6:36, 2:34, 99:121], padded)
    np.testing.assert_array_equal(vol[-6:36:5, 2:34:3, 99:121:2], padded[::5, ::3, ::2])
    assert vol[:].shape == vol.shape  # an open end is the volume's bound
    assert vol[1000:1010, 4, 101].sum() == 0
    vol.background_color = 9
    assert (vol[1000:1010, 4, 101] == 9).all()
    with pytest.raises(OutOfBoundsError):
        vol[..., 1]
    with pytest.raises(OutOfBoundsError):
        vol[-6:11] = 0


def test_autocrop_cuts_requests_and_arrays(filled: Any) -> None:
    vol, voxels = filled
    vol.autocrop = True
    cut = vol[-100:0, :, 90:101]
    np.testing.assert_array_equal(cut, voxels[:5, :, :1])
    assert cut.bounds == Bbox((-5, 3, 100), (0, 33, 101))
    vol[-21:11, 3:19, 84:116] = np.full((32, 16, 32), 3, np.uint8)
    voxels[:16, :16, :16] = 3
    np.testing.assert_array_equal(vol[:], voxels)
    vol[100:200] = np.ones((100, 30, 20), np.uint8)  # nothing of it lies inside
    assert vol[100:200].shape == (0, 30, 20, 1)
    assert vol[-50:-20:7].shape == (0, 30, 20, 1)
    np.testing.assert_array_equal(vol[:], voxels)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_dtype_memory_order_and_byte_order(layer: str, dtype: str, channels: int) -> None:
    vol = make(layer, dtype=dtype, channels=channels)
    voxels = noise(vol.shape, dtype)
    vol[...] = np.asfortranarray(voxels).astype(np.dtype(dtype).newbyteorder(">"))
    np.testing.assert_array_equal(vol[...], voxels)
    vol[...] = voxels[::-1][::-1]
    np.testing.assert_array_equal(vol[...], voxels)
    assert vol[...].dtype == np.dtype(dtype)
    for channel in range(channels):
        np.testing.assert_array_equal(
            vol[1:9, 5:7, 101, channel], voxels[6:14, 2:4, 1:2, channel : channel + 1]
        )


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(256, "uint8"), (-1, "uint8"), (1.5, "uint8"), (2**64, "uint64"), (float("nan"), "int32"),
     ("a", "uint8"),
     (1e300, "float32"), (None, "float32"), (2**53 + 1.0, "int32"), (1j, "float32"),
     (np.timedelta64(3), "uint64"), (np.datetime64(3, "s"), "float32")],
)  # fmt: skip
def test_a_scalar_must_fit(layer: str, value: Any, dtype: str) -> None:
    vol = make(layer, dtype=dtype, fill_missing=True)
    with pytest.raises(ArgumentError):
        vol[...] = value
    assert not any(vol.exists(vol.bounds).values())


@pytest.mark.parametrize(
    ("value", "dtype"), [(255, "uint8"), (3.0, "uint8"), (2**64 - 1, "uint64"), (0.1, "float32")]
)
def test_a_scalar_fills_the_box(layer: str, value: Any, dtype: str) -> None:
    vol = make(layer, dtype=dtype)
    vol[...] = value
    assert (vol[...] == np.dtype(dtype).type(value)).all()


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((40, 30, 20), np.int16), np.zeros((40, 30, 20), bool), np.zeros((40, 30), np.uint8),
     np.ma.masked_array(np.zeros((40, 30, 20), np.uint8), mask=True),
     np.zeros((40, 30, 20, 2), np.uint8), np.zeros((1, 30, 20), np.uint8), [[1]]],
)  # fmt: skip
def test_a_wrong_dtype_or_shape_is_refused(layer: str, wrong: Any) -> None:
    vol = make(layer)
    with pytest.raises(ArgumentError):
        vol[...] = wrong
    assert not any(vol.exists(vol.bounds).values())


def test_unaligned_writes_are_refused_with_the_aligned_box(layer: str) -> None:
    vol = make(layer)
    with pytest.raises(AlignmentError, match=r"Bbox\(\(-5, 3, 100\), \(27, 19, 116\)\)"):
        vol[0:20, 3:19, 100:116] = 1
    vol[27:35, 19:33, 116:120] = 1  # the volume's edge counts as aligned
    with pytest.raises(AlignmentError):
        vol[::2] = 1
    assert sum(vol.exists(vol.bounds).values()) == 1


def test_non_aligned_writes_keep_what_is_around(filled: Any) -> None:
    vol, voxels = filled
    vol.non_aligned_writes = True
    vol[0:20, 4:5, 99 + 3 : 117] = np.full((20, 1, 15), 77, np.uint8)
    voxels[5:25, 1:2, 2:17] = 77
    np.testing.assert_array_equal(vol[...], voxels)
    vol[0:20:3, 4:30:5, 101] = np.full((7, 6, 1), 78, np.uint8)
    voxels[5:25:3, 1:27:5, 1:2] = 78
    np.testing.assert_array_equal(vol[...], voxels)


def test_a_part_of_a_missing_chunk_needs_fill_missing(layer: str) -> None:
    vol = make(layer, non_aligned_writes=True)
    with pytest.raises(EmptyVolumeError, match="8_8_40/11-27_3-19_100-116"):
        vol[-5:20, 3:19, 100:116] = 1
    assert not any(vol.exists(vol.bounds).values())  # also not the chunks that were covered wholly
    vol.fill_missing = True
    vol.background_color = 4
    vol[0:20, 3:19, 100:116] = 1
    expected = np.full((32, 16, 16, 1), 4)
    expected[5:25] = 1
    np.testing.assert_array_equal(vol[-5:27, 3:19, 100:116], expected)


def test_some_channels_only_are_written_right_or_refused(layer: str) -> None:
    vol = make(layer, channels=3)
    voxels = noise(vol.shape)
    with pytest.raises(AlignmentError):
        vol[..., 0:1] = voxels[..., 0:1]
    vol[...] = voxels
    vol.non_aligned_writes = True
    vol[..., 1] = voxels[..., 0:1]
    voxels[..., 1] = voxels[..., 0]
    np.testing.assert_array_equal(vol[...], voxels)
    np.testing.assert_array_equal(vol[..., ::2], voxels[..., ::2])


def test_a_missing_chunk_is_an_error_or_background(filled: Any) -> None:
    vol, voxels = filled
    vol.delete(np.s_[11:27, 3:19, 100:116])
    for workers in (1, 2, 8):
        vol.parallel = workers
        with pytest.raises(EmptyVolumeError, match="8_8_40/11-27_3-19_100-116"):
            vol[...]
        with pytest.raises(EmptyVolumeError, match="8_8_40/11-27_3-19_100-116"):
            vol[12, 4, 101]
    vol.fill_missing = True
    voxels[16:32, :16, :16] = 0
    np.testing.assert_array_equal(vol[...], voxels)
    np.testing.assert_array_equal(vol[10:13, 3:5, 101], voxels[15:18, 0:2, 1:2])


def test_exists_and_delete(filled: Any) -> None:
    vol, _ = filled
    keys = vol.exists(np.s_[0:12, 3:19, 100:116])
    assert keys == {"8_8_40/-5-11_3-19_100-116": True, "8_8_40/11-27_3-19_100-116": True}
    with pytest.raises(AlignmentError):
        vol.delete(np.s_[0:12, 3:19, 100:116])
    assert all(vol.exists(vol.bounds).values())
    vol.delete(vol.bounds)
    vol.delete(vol.bounds)
    assert not any(vol.exists(vol.bounds).values())
    with pytest.raises(OutOfBoundsError):
        vol.exists(np.s_[0:1000])


@pytest.mark.parametrize("index", [np.s_[::2], np.s_[..., 0:1], np.s_[-5:11:16, 3:19, 100:116]])
def test_a_box_of_chunks_has_no_steps_and_all_channels(layer: str, index: Any) -> None:
    vol = make(layer, channels=2)
    vol[...] = 5
    for use in (vol.exists, vol.delete):
        with pytest.raises(ArgumentError):
            use(index)
    assert all(vol.exists(np.s_[..., 0:2]).values())
    assert vol.exists([-5, 3, 100, 11, 19, 116]) == {"8_8_40/-5-11_3-19_100-116": True}


def test_ten_million_chunks_are_not_listed(layer: str) -> None:
    vol = make(layer, size=(16 * 4000, 16 * 4000, 16))
    for listing in (vol.exists, vol.delete):
        with pytest.raises(ArgumentError, match="16,000,000"):
            listing(vol.bounds)


def test_black_chunks_are_deleted_when_asked(filled: Any) -> None:
    vol, _ = filled
    vol.delete_black_uploads = True
    black = np.zeros((40, 30, 20), np.uint8)
    black[0, 0, 0] = 1
    vol[...] = black
    assert [key for key, there in vol.exists(vol.bounds).items() if there] == ["8_8_40/-5-11_3-19_100-116"]
    vol.fill_missing = True
    np.testing.assert_array_equal(vol[...][..., 0], black)


@pytest.mark.parametrize("protocol", ["file", "mem"])
def test_black_left_by_a_part_is_not_stored_where_that_is_safe(layer: str, protocol: str) -> None:
    path = layer if protocol == "file" else f"mem://{uuid.uuid4()}/black/image"
    vol = make(path, non_aligned_writes=True, fill_missing=True, delete_black_uploads=True)
    vol[0:5, 5, 105] = 0
    assert not any(vol.exists(vol.bounds).values())
    vol[0:5, 5, 105] = 1
    vol[0:5, 5, 105] = 0
    assert any(vol.exists(vol.bounds).values()) == (protocol == "mem")
    assert not vol[...].any()


def test_a_volume_larger_than_memory_is_one_error(layer: str) -> None:
    vol = make(layer, size=(10**6, 10**6, 10**6), fill_missing=True)
    with pytest.raises(TooLargeError):
        vol[...]
    assert vol[5, 5, 105].sum() == 0


def test_download_and_its_kin(filled: Any, tmp_path: Path) -> None:
    vol, voxels = filled
    box = Bbox((0, 4, 101), (10, 9, 111))
    inside = voxels[5:15, 1:6, 1:11]
    np.testing.assert_array_equal(vol.download(box), inside)
    np.testing.assert_array_equal(vol.download_point((5, 6, 106), size=(10, 4, 2)), voxels[5:15, 1:5, 5:7])
    vol.download_to_file(tmp_path / "cut.npy", box)
    np.testing.assert_array_equal(np.load(tmp_path / "cut.npy"), inside)
    vol.download_to_file(tmp_path / "cut.raw", box)
    assert (tmp_path / "cut.raw").read_bytes() == np.asarray(inside).tobytes("F")
    vol.delete(vol.bounds)
    with pytest.raises(EmptyVolumeError):
        vol.download_to_file(tmp_path / "none.raw", box)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bucket", "cut.npy", "cut.raw"]


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (np.s_[..., ...], r"one '\.\.\.' at most, got 2; write ':'"),
        (np.s_[..., 1, ...], r"one '\.\.\.' at most, got 2"),
        (np.s_[1, 2, 3, 0, 0], "axes x, y, z and channel.*got 5 indices"),
        (np.s_[1, 2, 3, 0, 0, ...], "axes x, y, z and channel.*got 5 indices"),
    ],
)
def test_an_index_of_too_many_parts_says_which(filled: Any, index: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        filled[0][index]
    with pytest.raises(ArgumentError, match=text):
        filled[0].download(index)


@pytest.mark.parametrize(
    "use", ["download", "exists", "delete", "to_file", "slices", "slab_writer", "transfer"]
)
@pytest.mark.parametrize(
    "wrong", ["x", b"x", {1}, [1, 2], [0, 0, 0, 1, 1], np.ones((3, 3)), [0, 0, 0, "a", 1, 1], CloudVolume]
)
def test_what_is_no_box_is_told_by_the_name_of_the_argument(filled: Any, use: str, wrong: Any) -> None:
    vol, voxels = filled
    uses = {
        "download": vol.download,
        "exists": vol.exists,
        "delete": vol.delete,
        "to_file": lambda box: vol.download_to_file("cut.raw", box),
        "slices": lambda box: vol.slices(bbox=box),
        "slab_writer": lambda box: vol.slab_writer(bbox=box),
        "transfer": lambda box: vol.transfer_to("mem://nothing/is/there", box),
    }
    with pytest.raises(
        ArgumentError, match=r"^bbox: (expected a Bbox, six numbers .* or slices|maxpt: .*'a')"
    ):
        uses[use](wrong)
    np.testing.assert_array_equal(vol[...], voxels)


@pytest.mark.parametrize("use", ["download", "exists", "delete"])
def test_a_box_has_to_be_given(filled: Any, use: str) -> None:
    with pytest.raises(ArgumentError, match=r"^bbox: expected a Bbox, six numbers .*, got None"):
        getattr(filled[0], use)(None)


def test_ways_to_write_a_box(filled: Any) -> None:
    vol, voxels = filled
    expected = voxels[5:9, 1:3, 1:2]
    ways: list[Any] = [
        Bbox((0, 4, 101), (4, 6, 102)),
        [0, 4, 101, 4, 6, 102],
        (0, 4, 101, 4, 6, 102),
        np.array([0, 4, 101, 4, 6, 102]),
        np.s_[0:4, 4:6, 101],
        list(np.s_[0:4, 4:6, 101]),
        np.s_[0:4, 4:6, 101, ...],
    ]
    for box in ways:
        np.testing.assert_array_equal(vol.download(box), expected)
    for box in (0, np.int64(0), np.array(0), np.s_[0:1], 0.0):
        np.testing.assert_array_equal(vol.download(box), voxels[5:6])
    assert vol.download(...).shape == vol.shape


@pytest.mark.parametrize("path", [None, 5, "", "a\0b", "no/such/folder/x.npy"])
def test_download_to_what_is_no_file(filled: Any, path: Any) -> None:
    with pytest.raises(ArgumentError, match="path"):
        filled[0].download_to_file(path, filled[0].bounds)


@pytest.mark.parametrize(
    ("point", "size"),
    [
        (None, 3),
        ((1, 2), 3),
        ((float("nan"), 1, 1), 3),
        (("a", 1, 1), 3),
        ((1, 1, 1), 0),
        ((1, 1, 1), (1, -4, 1)),
    ],
)
def test_download_around_what_is_no_point(filled: Any, point: Any, size: Any) -> None:
    with pytest.raises(ArgumentError, match=r"point|size"):
        filled[0].download_point(point, size=size)


def test_mips_and_coordinates(layer: str) -> None:
    vol = make(layer, max_mip=2, fill_missing=True)
    assert vol.bbox_to_mip(Bbox((-5, 3, 100), (10, 20, 120)), 0, 2) == Bbox((-2, 0, 100), (3, 5, 120))
    vol.mip = 1
    assert vol.slices_from_global_coords(np.s_[0:10, 5:9, 100:110]) == np.s_[0:5, 2:5, 100:110]
    vol.mip = [32, 32, 40]
    assert vol.mip == 2
    vol[...] = 3
    assert vol.download_point((0, 8, 105), size=4, mip=2).min() == 3
    assert (vol.download(vol.bounds, mip=[32, 32, 40]) == 3).all()


@given(
    offset=st.tuples(*[st.integers(-9, 9)] * 3),
    size=st.tuples(*[st.integers(1, 12)] * 3),
    ends=st.tuples(*[st.tuples(st.integers(0, 12), st.integers(0, 12))] * 3),
    mip=st.integers(1, 2),
)
def test_what_lies_inside_mip_0_lies_inside_every_mip(offset: Any, size: Any, ends: Any, mip: int) -> None:
    vol = make(f"mem://{uuid.uuid4()}/a/b", size, voxel_offset=offset, max_mip=2, fill_missing=True)
    cut = [[min(end, n) for end in pair] for pair, n in zip(ends, size, strict=True)]
    inside = tuple(slice(o + min(pair), o + max(pair)) for pair, o in zip(cut, offset, strict=True))
    vol.mip = mip
    found = vol.slices_from_global_coords(inside)
    assert vol[found].ndim == 4  # no OutOfBoundsError
    assert vol.slices_from_global_coords(Bbox.from_slices(inside)) == found
    covering = vol.bbox_to_mip(inside, 0, mip)
    assert Bbox.from_slices(found) == covering.clamp(vol.bounds)
    assert vol.slices_from_global_coords(np.s_[:, :, :]) == vol.bounds.to_slices()


def test_what_lies_outside_mip_0_stays_outside() -> None:
    vol = make("mem://outside/mip0/x", (4, 4, 4), voxel_offset=(1, 1, 1), max_mip=1, fill_missing=True)
    vol.mip = 1
    assert vol.slices_from_global_coords(np.s_[1:5, 1:5, 1:5]) == np.s_[0:2, 0:2, 1:5]
    assert vol.slices_from_global_coords(np.s_[0:6, 1:5, 1:5]) == np.s_[0:3, 0:3, 1:5]
    assert vol.slices_from_global_coords(Bbox((1, 1, 1), (4.5, 5, 5))) == np.s_[0:2, 0:2, 1:5]


@pytest.mark.parametrize(
    ("point", "size", "expected"),
    [
        ((10, 10, 110), 4, Bbox((8, 8, 108), (12, 12, 112))),
        ((10, 10, 110), 3, Bbox((9, 9, 109), (12, 12, 112))),  # the point is the voxel in the middle
        ((10, 10, 110), (1, 2, 5), Bbox((10, 9, 108), (11, 11, 113))),
        ((10.9, 10.2, 110.5), (1, 3, 3), Bbox((10, 9, 109), (11, 12, 112))),
        ((-3, 10, 110), (3, 1, 1), Bbox((-4, 10, 110), (-1, 11, 111))),
    ],
)
def test_download_point_has_the_point_in_the_middle(
    filled: Any, point: Any, size: Any, expected: Bbox
) -> None:
    vol, voxels = filled
    cut = vol.download_point(point, size=size)
    assert cut.bounds == expected
    np.testing.assert_array_equal(cut, voxels[(expected - vol.voxel_offset).to_slices()])


@pytest.mark.parametrize(
    ("point", "size", "expected"),
    [
        ((10, 11, 110), 3, Bbox((4, 4, 109), (7, 7, 112))),  # voxel (5, 5, 110) of mip 1
        ((-1, 11, 110), (1, 2, 1), Bbox((-1, 4, 110), (0, 6, 111))),
        ((-2, 12, 110), (1, 5, 1), Bbox((-1, 4, 110), (0, 9, 111))),
    ],
)
def test_download_point_of_a_coarser_mip(point: Any, size: Any, expected: Bbox) -> None:
    vol = make(f"mem://{uuid.uuid4()}/a/b", max_mip=1, fill_missing=True)
    assert vol.download_point(point, size=size, mip=1).bounds == expected


def test_volumes_travel_by_pickle(filled: Any) -> None:
    vol, voxels = filled
    vol.bounded, vol.mip, vol.compress = False, 0, "gzip"
    vol.provenance.description = "not saved"
    copy = pickle.loads(pickle.dumps(vol))
    assert (copy.bounded, copy.compress, copy.provenance.description) == (False, "gzip", "not saved")
    np.testing.assert_array_equal(copy[-5:35, 3:33, 100:120], voxels)


def test_one_volume_serves_many_threads(filled: Any) -> None:
    vol, voxels = filled
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(20):
                low = [int(rng.integers(0, n - 4)) for n in (40, 30, 20)]
                part = tuple(slice(a, a + 4) for a in low)
                index = tuple(slice(a + o, a + o + 4) for a, o in zip(low, (-5, 3, 100), strict=True))
                np.testing.assert_array_equal(vol[index], voxels[part])
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_concurrent_unaligned_writes_lose_nothing(layer: str) -> None:
    for path in (layer, "mem://unaligned/threads/image"):
        vol = make(path, size=(64, 1, 1), voxel_offset=(0, 0, 0), non_aligned_writes=True, fill_missing=True)

        def work(x: int, vol: CloudVolume = vol) -> None:
            vol[x, 0, 0] = x + 1

        threads = [threading.Thread(target=work, args=(x,)) for x in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(vol[...].ravel(), np.arange(1, 65))


def test_numpy_takes_a_volume(filled: Any) -> None:
    vol, voxels = filled
    np.testing.assert_array_equal(np.asarray(vol), voxels)
    assert np.asarray(vol, dtype=np.int32).dtype == np.int32
    assert np.mean(vol) == voxels.mean()
    with pytest.raises(ArgumentError):
        np.array(vol, copy=False)


def test_ragged_lists_are_refused(filled: Any) -> None:
    with pytest.raises(ArgumentError):
        filled[0][...] = [[1], [1, 2]]
    with pytest.raises(ArgumentError):
        CloudVolume.from_numpy([[1], [1, 2]], "mem://a/b/c")


def test_iteration_is_refused(filled: Any) -> None:
    with pytest.raises(TypeError):
        iter(filled[0])


@pytest.mark.parametrize("place", ["file", "mem"])
def test_no_channels_are_no_voxels(tmp_path: Path, place: str) -> None:
    path = tmp_path / "ds" / "image" if place == "file" else f"mem:/{tmp_path}/ds/image"
    vol = make(path, (64, 64, 64), channels=3, chunk_size=(64, 64, 64), voxel_offset=(0, 0, 0))
    vol[...] = 5
    empty = vol[0:2, 0:2, 0:2, 1:1]
    assert (empty.shape, empty.dtype) == ((2, 2, 2, 0), np.dtype("uint8"))
    vol[0:2, 0:2, 0:2, 1:1] = empty
    assert np.unique(vol[...]).tolist() == [5]
