"""VolumeCutout: what it knows of its place, and the images it saves."""

import copy
import os
import pickle
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from precomp.cutout import VolumeCutout
from precomp.errors import ArgumentError, MissingDependencyError, StoreError
from precomp.geometry import Bbox
from precomp.imaging import label_colors, save_slices

BOX = Bbox((10, -20, 30), (14, -15, 33))  # 4, 5, 3


def cutout(
    array: Any = None, start: tuple[int, int, int] = (10, -20, 30), layer_type: str = "image"
) -> VolumeCutout:
    if array is None:
        array = np.arange(60, dtype=np.uint8).reshape((4, 5, 3, 1), order="F")
    box = Bbox(start, [low + n for low, n in zip(start, array.shape, strict=False)])
    return VolumeCutout.wrap(
        array, dataset_name="retina", layer="em", mip=2, layer_type=layer_type, bounds=box
    )


def coordinates(start: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Every voxel holds its own absolute coordinates: x, y, z and the channel, in base 100, each plus 50."""
    grid = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    shifted = [axis + low + 50 for axis, low in zip(grid, (*start, 0), strict=True)]
    return np.sum([axis * 100**i for i, axis in enumerate(shifted)], axis=0)  # type: ignore[no-any-return]


def assert_truthful(cut: Any) -> None:
    """If `cut`, made of `coordinates`, claims bounds, its voxels must be those of that box, in order."""
    if isinstance(cut, VolumeCutout) and cut.bounds is not None:
        corner = tuple(cut.bounds.minpt)
        expected = coordinates(corner, (*cut.shape[:3], 1))[..., 0]
        first = np.asarray(cut) if cut.ndim == 3 else np.asarray(cut)[..., 0] if cut.shape[3] else expected
        assert np.array_equal(first % 10**6, expected % 10**6)
        assert cut.bounds.size3() == cut.shape[:3]


SLICES = st.builds(
    slice, *[st.none() | st.integers(-6, 6)] * 2, st.none() | st.sampled_from([1, 1, 1, 2, -1])
)
INDEX = (
    SLICES
    | st.integers(-3, 2)
    | st.just(Ellipsis)
    | st.none()
    | st.lists(st.integers(-3, 2), min_size=1, max_size=3)
    | st.booleans()
)


class TestPlace:
    def test_wrap_is_a_view_with_its_names(self) -> None:
        array = np.zeros((4, 5, 3, 2), np.uint16, order="F")
        cut = cutout(array)
        assert np.shares_memory(cut, array)
        assert cut.flags.f_contiguous
        assert (cut.dataset_name, cut.layer, cut.mip, cut.layer_type) == ("retina", "em", 2, "image")
        assert (cut.bounds, cut.num_channels, str(cut.dtype)) == (BOX, 2, "uint16")
        assert type(np.asarray(cut)) is np.ndarray
        assert not isinstance(array, VolumeCutout)

    @pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 2, 1), (5, 4, 3, 1), (4, 5, 3, 1, 1)])
    def test_wrap_refuses_another_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ArgumentError, match="expected shape"):
            VolumeCutout.wrap(
                np.zeros(shape), dataset_name="", layer="", mip=0, layer_type="image", bounds=BOX
            )

    def test_wrap_without_a_box(self) -> None:
        array = np.zeros((2, 3, 2, 1))
        cut = VolumeCutout.wrap(array, dataset_name="", layer="", mip=0, layer_type="image", bounds=None)
        assert cut.bounds is None
        assert cut[:1].bounds is None

    @given(st.lists(INDEX, max_size=5).map(tuple) | INDEX)
    def test_any_index_is_numpys_and_never_lies(self, index: Any) -> None:
        plain = coordinates((10, -20, 30), (3, 3, 3, 3))  # a cube: no shape gives anything away
        cut = cutout(plain)
        try:
            expected = plain[index]
        except IndexError:
            with pytest.raises(IndexError):
                cut[index]
            return
        part = cut[index]
        assert np.array_equal(part, expected)
        assert isinstance(part, VolumeCutout) == isinstance(expected, np.ndarray)
        assert_truthful(part)

    @given(st.tuples(*[st.tuples(st.integers(0, 5), st.integers(0, 5))] * 4), st.integers(3, 4))
    def test_ranges_keep_the_box(self, ends: Any, axes: int) -> None:
        cut = cutout(coordinates((10, -20, 30), (4, 5, 3, 2)))
        part = cut[tuple(slice(low, high) for low, high in ends[:axes])]
        assert part.bounds is not None
        assert_truthful(part)
        again = part[..., 1:, :, :]
        assert again.bounds is not None
        assert_truthful(again)

    def test_what_indexing_keeps(self) -> None:
        cut = cutout()
        assert cut[:].bounds == cut[...].bounds == cut[()].bounds == cut[::1].bounds == BOX
        assert cut[1:3, -2:].bounds == Bbox((11, -17, 30), (13, -15, 33))
        assert cut[..., 1:, :].bounds == cut[:, :, 1:].bounds == Bbox((10, -20, 31), (14, -15, 33))
        assert cut[np.int64(1) : np.int64(2)].bounds == Bbox((11, -20, 30), (12, -15, 33))
        flat = cut[..., 0]
        assert (flat.shape, flat.bounds, flat.num_channels) == ((4, 5, 3), BOX, None)
        assert flat[1:].bounds == Bbox((11, -20, 30), (14, -15, 33))
        assert cut[3:1].bounds == Bbox((13, -20, 30), (13, -15, 33))
        for lost in (cut[0], cut[::2], cut[::-1], cut[[0, 1]], cut[:, 0], cut[None], cut[cut > 3], flat[0]):
            assert lost.bounds is None
            assert lost.dataset_name == "retina"

    def test_rearranged_cubes_know_no_box(self) -> None:
        cut = cutout(coordinates((10, -20, 30), (3, 3, 3, 3)))
        rearranged = [
            cut.T,
            cut.transpose(1, 0, 2, 3),
            np.swapaxes(cut, 0, 1),
            np.moveaxis(cut, 0, 2),
            np.flip(cut, 0),
            np.rot90(cut),
            np.roll(cut, 1, 0),
            cut.reshape(3, 3, 3, 3, order="F").T,
            cut.ravel().reshape(3, 3, 3, 3),
            cut.take([2, 1, 0], axis=0),
            cut.repeat(3, axis=0)[::3].T,
            np.cumsum(cut, axis=0),
            cut @ np.asarray(cut),
            np.add.reduce(cut, axis=0, keepdims=True),
            np.zeros_like(cut),
            np.sort(cut, axis=0),
            np.sort(cut),
            np.partition(cut, 1, axis=0),
        ]
        for array in rearranged:
            assert array.shape[1:] == (3, 3, 3)
            assert getattr(array, "bounds", None) is None

    def test_voxels_moved_in_place_know_no_box(self) -> None:
        cut, parted = cutout(), cutout()
        flat = cut[..., 0]
        assert cut.bounds == flat.bounds == parted.bounds == BOX
        cut.sort(axis=0)
        parted.partition(1, axis=2)
        assert (cut.bounds, parted.bounds) == (None, None)
        assert (cut.layer, cut.mip) == ("em", 2)

    def test_in_place_change_of_shape(self) -> None:
        cut = cutout(np.zeros((4, 5, 3, 1), order="F").copy())
        cut.shape = (5, 4, 3, 1)
        assert cut.bounds is None
        cut.shape = (60,)
        assert cut.bounds is None

    def test_elementwise_results_keep_the_box(self) -> None:
        cut, plain = cutout(), np.asarray(cutout())
        results: list[Any] = [cut + 1, 2 - cut, -cut, cut == 3, np.sqrt(cut), cut + plain, plain * cut]
        results += [*divmod(cut, 7), np.clip(cut, 1, 3), np.where(cut > 3, cut, cut) + cut]
        results += [cut.copy(), cut.copy("F"), cut.astype("f4"), cut.view(), cut.view("i1"), copy.copy(cut)]
        for same in results:
            assert isinstance(same, VolumeCutout)
            assert (same.bounds, same.layer, same.mip) == (BOX, "em", 2)
        others: list[Any] = [cut + np.zeros((4, 5, 3, 2)), cut[:, :1] + cut, cut.astype("u2", "C").view("u1")]
        for other in others:
            assert other.bounds is None

    def test_arithmetic_of_different_boxes(self) -> None:
        here, there = cutout(), cutout(start=(0, 0, 0))
        apart: Any = here - there
        together: Any = here - here[:]
        assert (apart.bounds, together.bounds) == (None, BOX)
        here += there
        assert here.bounds == BOX

    def test_out_and_where(self) -> None:
        cut, out = cutout(), np.empty((4, 5, 3, 1), np.uint8)
        assert np.add(cut, 1, out=out) is out
        assert np.array_equal(out, np.asarray(cut) + 1)
        target = cutout(np.zeros((4, 5, 3, 1), np.uint8), start=(0, 0, 0))
        assert np.add(cut, 1, out=target) is target
        assert target.bounds == Bbox((0, 0, 0), (4, 5, 3))
        results: Any = np.divmod(cut, 7, out=(None, target))  # type: ignore[arg-type]  # numpy allows None here
        quotient, rest = results
        assert rest is target
        assert (quotient.bounds, target.bounds) == (BOX, Bbox((0, 0, 0), (4, 5, 3)))
        mask = cut > 30
        assert np.sum(out, where=mask) == out[np.asarray(mask)].sum()
        np.add.at(cut, (0, 0, 0, 0), 5)
        assert cut[0, 0, 0, 0] == 5

    def test_reductions_are_plain_scalars(self) -> None:
        cut = cutout()
        for value in (
            cut.sum(),
            cut.mean(),
            cut.max(),
            cut.std(),
            cut.all(),
            np.median(cut),
            cut[0, 0, 0, 0],
        ):
            assert isinstance(value, np.generic)
        assert cut.sum(axis=3).bounds is None
        assert np.array_equal(cut.sum(axis=3), np.asarray(cut)[..., 0])

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickling(self, protocol: int) -> None:
        cut = cutout(np.asfortranarray(np.random.default_rng(1).random((4, 5, 3, 2))))
        for original in (cut, cut[1:], cut.T, cut[..., 0]):
            found = pickle.loads(pickle.dumps(original, protocol))
            assert type(found) is VolumeCutout
            assert np.array_equal(found, original)
            assert found.__dict__ == original.__dict__
            assert found.bounds == original.bounds
            assert found.flags.f_contiguous == original.flags.f_contiguous

    def test_deepcopy(self) -> None:
        cut = cutout()
        found = copy.deepcopy({"a": cut})["a"]
        assert np.array_equal(found, cut)
        assert not np.shares_memory(found, cut)
        assert (found.bounds, found.layer) == (BOX, "em")

    def test_an_array_of_unknown_origin(self) -> None:
        cut = np.zeros((2, 2, 2, 1)).view(VolumeCutout)
        assert (cut.dataset_name, cut.layer, cut.mip, cut.layer_type, cut.bounds) == ("", "", None, "", None)


def images(folder: str | Path) -> list[NDArray[Any]]:
    arrays = []
    for name in sorted(os.listdir(folder)):
        with Image.open(Path(folder) / name) as image:
            arrays.append(np.asarray(image))
    return arrays


class TestSaveImages:
    @pytest.fixture(autouse=True)
    def _in_empty_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_default_place(self) -> None:
        folder = cutout().save_images()
        assert folder == "./saved_images/retina/em/2/10-14_-20--15_30-33"
        assert sorted(os.listdir(folder)) == ["00000.png", "00001.png", "00002.png"]

    # Neuroglancer's xy, xz and yz panels: (row, column) of voxel (x, y, z) of a (4, 5, 3) box.
    @pytest.mark.parametrize(
        ("axis", "number", "place", "shape"),
        [
            ("z", 2, (1, 3), (5, 4)),
            ("y", 1, (2, 3), (3, 4)),
            ("x", 3, (1, 0), (5, 3)),
            (2, 2, (1, 3), (5, 4)),
            (1, 1, (2, 3), (3, 4)),
            (0, 3, (1, 0), (5, 3)),
        ],
    )
    def test_orientation(
        self, axis: Any, number: int, place: tuple[int, int], shape: tuple[int, int]
    ) -> None:
        array = np.zeros((4, 5, 3, 1), np.uint8)
        array[3, 1, 2] = 200
        slices = images(cutout(array).save_images("out", axis))
        assert len(slices) == {"z": 3, 2: 3, "y": 5, 1: 5, "x": 4, 0: 4}[axis]
        for i, image in enumerate(slices):
            expected = np.zeros(shape, np.uint8)
            if i == number:
                expected[place] = 200
            assert np.array_equal(image, expected)

    def test_three_dimensions_are_one_channel(self) -> None:
        cut = cutout()
        folder = cut[1:, :, 2:, 0].save_images()
        assert folder.endswith("/11-14_-20--15_32-33")
        assert np.array_equal(images(folder)[0], np.asarray(cut)[1:, :, 2, 0].T)
        with pytest.raises(ArgumentError, match="expected a cutout of shape"):
            cut[0].save_images("out")

    def test_rgb_and_channels(self) -> None:
        array = np.random.default_rng(0).integers(0, 256, (4, 5, 3, 3), np.uint8)
        assert np.array_equal(images(cutout(array).save_images("rgb"))[1], array[:, :, 1].transpose(1, 0, 2))
        assert np.array_equal(images(cutout(array).save_images("x", "x"))[1], array[1, :, ::-1])
        assert np.array_equal(images(cutout(array).save_images("one", channel=2))[1], array[:, :, 1, 2].T)
        with pytest.raises(ArgumentError, match=r"channel: expected one of \[0, 1\], found None"):
            cutout(array[..., :2]).save_images()
        with pytest.raises(ArgumentError, match=r"one of \[0, 1, 2\], found None"):
            cutout(array.astype("u2")).save_images()
        for wrong in (3, -1, "red", 0.0):
            with pytest.raises(ArgumentError, match=r"channel: expected one of \[0, 1, 2\]"):
                cutout(array).save_images(channel=wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("dtype", ["uint16", ">u2"])
    def test_sixteen_bits(self, dtype: str) -> None:
        array = np.array([0, 1, 300, 65535]).astype(dtype).reshape(4, 1, 1, 1)
        for image_format in ("png", "TIFF"):
            image = images(cutout(array).save_images(image_format, image_format=image_format))[0]
            assert image.dtype == np.uint16
            assert image.tolist() == [[0, 1, 300, 65535]]
        assert images(cutout(array).save_images("bmp", image_format="bmp"))[0].tolist() == [[0, 0, 1, 255]]

    @pytest.mark.parametrize(
        ("values", "dtype", "expected"),
        [
            ([-128, 0, 127], "int8", [0, 128, 255]),
            ([-5, 0, 5], "int64", [0, 128, 255]),
            ([0, 2**63, 2**64 - 2**11], "uint64", [0, 128, 255]),
            ([-3e38, 0, 3e38], "float32", [0, 128, 255]),
            ([0.25, 0.5, 1.25], ">f4", [0, 64, 255]),
            ([1, np.nan, 3, np.inf, -np.inf, 2], "float32", [0, 0, 255, 255, 0, 128]),
            ([np.nan, np.inf, 7], "float32", [0, 0, 0]),
            ([np.nan, np.nan], "float64", [0, 0]),
            ([4, 4], "int32", [0, 0]),
            ([False, True], "bool", [0, 255]),
            ([True, True], "bool", [255, 255]),
        ],
    )
    def test_other_dtypes_fill_eight_bits(self, values: Any, dtype: str, expected: list[int]) -> None:
        array = np.array(values).astype(dtype)
        in_one_slice = cutout(array.reshape(-1, 1, 1, 1)).save_images("one")
        assert images(in_one_slice)[0].tolist() == [expected]
        over_all_slices = cutout(array.reshape(1, 1, -1, 1)).save_images("all")
        assert [image.item() for image in images(over_all_slices)] == expected

    @pytest.mark.parametrize("name", ["PNG", "JPEG", "jpg", "TIFF", "bmp"])
    def test_formats(self, name: str) -> None:
        folder = cutout(np.full((16, 8, 2, 1), 77, np.uint8)).save_images("out", image_format=name)
        assert sorted(os.listdir(folder)) == [f"00000.{name.lower()}", f"00001.{name.lower()}"]
        for image in images(folder):
            assert image.shape == (8, 16)
            assert np.abs(image.astype(int) - 77).max() <= 1

    def test_segments_are_coloured(self) -> None:
        labels = np.array([0, 1, 2, 2**63, 0, 2]).astype(np.uint64).reshape(3, 1, 2, 1)
        first, second = images(cutout(labels, layer_type="segmentation").save_images())
        assert np.array_equal(first[0], label_colors(labels[:, 0, 0, 0]))
        assert np.array_equal(second[0], label_colors(labels[:, 0, 1, 0]))
        assert first.shape == (1, 3, 3)
        assert second[0, 2].tolist() == label_colors(np.array([2])).tolist()[0]
        with pytest.raises(ArgumentError, match="channel"):
            cutout(np.zeros((2, 2, 2, 3), np.uint8), layer_type="segmentation").save_images()

    def test_mask_of_a_segmentation_is_black_and_white(self) -> None:
        seg = cutout(np.arange(3, dtype=np.uint32).reshape(3, 1, 1, 1), layer_type="segmentation")
        assert images((seg == 1).save_images())[0].tolist() == [[0, 255, 0]]

    def test_names_cannot_climb_out(self) -> None:
        for name in ("../../evil", "..", "", ".", "/etc", "a\\..\\b", "C:\\x"):
            cut = cutout()
            cut.dataset_name = cut.layer = name
            folder = Path(cut.save_images()).resolve()
            assert len(folder.relative_to(Path.cwd() / "saved_images").parts) == 4

    def test_errors_write_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cut = cutout()
        wrong: list[tuple[VolumeCutout, dict[str, Any], str]] = [
            (cut[2:2], {}, "at least one voxel"),
            (cut, {"axis": "w"}, "axis: expected 'x', 'y' or 'z'"),
            (cut, {"axis": -1}, "axis"),
            (cut, {"axis": True}, "axis"),
            (cut, {"axis": np.array([1, 2])}, "axis"),
            (cut, {"image_format": "docx"}, "Pillow writes no 'docx' files"),
            (cut.T, {}, "directory: expected a path"),
            (cut, {"directory": 5}, "directory: expected a path, found 5"),
            (cut, {"directory": "nul\0"}, "directory: expected a path"),
        ]
        for array, arguments, problem in wrong:
            with pytest.raises(ArgumentError, match=problem):
                array.save_images(**arguments)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "PIL", None)
            with pytest.raises(MissingDependencyError, match=r"pip install 'precomp\[images\]'"):
                cut.save_images()
        assert os.listdir() == []

    def test_places_that_cannot_be_written(self) -> None:
        Path("file").touch()
        with pytest.raises(StoreError, match="the folder could not be made"):
            cutout().save_images("file")
        Path("out/00001.png").mkdir(parents=True)
        with pytest.raises(StoreError, match=r"00001\.png: could not be written"):
            cutout().save_images("out")

    def test_a_disk_without_room_keeps_the_old_picture(self) -> None:
        cut = cutout(np.random.default_rng(0).integers(0, 256, (64, 64, 2, 1), np.uint8))
        cut.save_images("out")
        before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # Python ignores the signal
        try:
            for folder in ("out", "new"):
                with pytest.raises(StoreError, match=r"00000\.png: could not be written .*free space"):
                    cut.save_images(folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
        assert os.listdir("new") == []

    def test_a_folder_may_be_named_in_bytes(self) -> None:
        assert cutout().save_images(b"si/bytes") == "si/bytes"  # type: ignore[arg-type]
        assert len(images("si/bytes")) == 3

    def test_pixels_that_a_format_cannot_hold(self) -> None:
        with pytest.raises(ArgumentError, match="image_format: 'xbm' cannot hold uint8 pixels") as caught:
            cutout().save_images("out", image_format="xbm")
        assert isinstance(caught.value.__cause__, OSError)

    def test_arrays_without_bounds_need_a_directory(self, tmp_path: Path) -> None:
        stepped = cutout()[::2]
        folder = tmp_path / "a" / "b"
        assert stepped.save_images(folder) == str(folder)
        assert images(folder)[0].shape == (5, 2)


class TestLabelColors:
    def test_golden(self) -> None:
        # MurmurHash3's fmix64 of 1 ends in the bytes c2 cb 2c, and 64 + 3 * 0x2c // 4 is 97.
        labels = np.array([0, 1, 2, 12345, 2**64 - 1], np.uint64)
        assert label_colors(labels).tolist() == [
            [0, 0, 0],
            [97, 216, 209],
            [237, 162, 68],
            [250, 194, 72],
            [88, 135, 161],
        ]

    def test_dtype_and_place_do_not_matter(self) -> None:
        labels = np.random.default_rng(0).integers(0, 100, (7, 8))
        colors = label_colors(labels)
        for dtype in ("u1", "i2", ">u4", "u8"):
            assert np.array_equal(label_colors(labels.astype(dtype)), colors)
        assert np.array_equal(label_colors(labels[2:3, ::2]), colors[2:3, ::2])

    @given(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=20))
    def test_only_zero_is_dark(self, labels: list[int]) -> None:
        assert label_colors(np.array(labels, np.uint64)).min() >= 64

    def test_neighbouring_labels_look_different(self) -> None:
        colors = label_colors(np.arange(1, 10_001)).astype(int)
        assert len(np.unique(colors, axis=0)) > 9_900
        distance = np.abs(np.diff(colors, axis=0)).sum(axis=1)
        assert (distance > 20).mean() > 0.98
        # Even over each channel: every eighth of 64..255 holds about an eighth of the labels.
        for channel in colors.T:
            counts = np.histogram(channel, 8, (64, 256))[0]
            assert counts.min() > 1100
            assert counts.max() < 1400


def test_save_slices_needs_no_cutout(tmp_path: Path) -> None:
    array = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    save_slices(array, tmp_path)
    assert images(tmp_path)[1].tolist() == [[1, 5], [3, 7]]
