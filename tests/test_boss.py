"""`boss://` on a server that does as the BOSS does: the info, voxels, creating, copying, processes."""

import json
import multiprocessing
import pickle
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import blosc
import numpy as np
import pytest
from boss_places import (
    DTYPES,
    SIZE,
    new_info,
    new_name,
    options,
    put_secret,
    sparse,
    stored,
    volume,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.boss import READER, boss_server
from volumes import make, noise, parts

from precomp import Bbox, CloudVolume, VolumeFactory
from precomp.errors import (
    AlignmentError,
    ArgumentError,
    CloudPathError,
    CredentialsError,
    InfoError,
    InfoNotFoundError,
    OutOfBoundsError,
    PluginError,
    ScaleNotFoundError,
    StoreError,
    UnsupportedError,
)
from precomp.testing import CutoutTests, VolumeStateMachine
from precomp.url import parse
from precomp_plugins._boss.blosc import pack
from precomp_plugins._boss.channel import BossChannel
from precomp_plugins.boss import BossOptions


@pytest.fixture(autouse=True, scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A home with a secret in it, and none of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    put_secret(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        yield


class TestInfo:
    def test_it_is_made_of_channel_experiment_and_frame(self) -> None:
        vol = volume("uint16", start=(8, 4, 2), stop=(108, 95, 40), levels=3)
        assert vol.info == {
            "type": "image",
            "data_type": "uint16",
            "num_channels": 1,
            "scales": [
                {
                    "key": f"{4 * f}_{4 * f}_40",
                    "size": size,
                    "voxel_offset": offset,
                    "resolution": [4 * f, 4 * f, 40],
                    "chunk_sizes": [[512, 512, 16]],
                    "encoding": "raw",
                }
                for f, offset, size in [
                    (1, [8, 4, 2], [100, 91, 38]),
                    (2, [4, 2, 2], [50, 46, 38]),
                    (4, [2, 1, 2], [25, 23, 38]),
                ]
            ],
        }
        assert vol.available_mips == [0, 1, 2]

    def test_an_isotropic_hierarchy_halves_all_axes(self) -> None:
        vol = volume(method="isotropic", levels=3, stop=(9, 10, 11), voxel_size=(3, 5, 7))
        assert [list(scale["resolution"]) for scale in vol.scales] == [[3, 5, 7], [6, 10, 14], [12, 20, 28]]
        assert [scale["size"] for scale in vol.scales] == [[9, 10, 11], [5, 5, 6], [3, 3, 3]]

    @pytest.mark.parametrize(
        ("unit", "factor"),
        [("nanometers", 1), ("micrometers", 10**3), ("millimeters", 10**6), ("centimeters", 10**7)],
    )
    def test_units_become_nanometres_exactly(self, unit: str, factor: int) -> None:
        found = volume(unit=unit, voxel_size=(0.3, 4, 4.5)).info["scales"][0]["resolution"]
        assert found == [factor * 3 / 10, 4 * factor, factor * 9 / 2]
        assert [type(nm) for nm in found] == ([float, int, float] if factor == 1 else [int, int, int])

    def test_an_annotation_is_a_segmentation(self) -> None:
        assert volume("uint64").layer_type == "segmentation"
        assert volume("uint64", type="image").layer_type == "image"

    def test_the_finest_mip_is_the_base_resolution(self) -> None:
        vol = volume(base_resolution=1, levels=2)
        assert [scale["key"] for scale in vol.scales] == ["8_8_40", "16_16_40"]
        vol[...] = 7
        assert (stored(vol, 1)[:20, :15] == 7).all()
        assert not stored(vol, 0).any()

    def test_dataset_and_layer_are_experiment_and_channel_and_may_be_set(self) -> None:
        vol = volume()
        collection = vol.cloudpath.split("/")[2]
        boss_server().add(f"{collection}/retina/labels", datatype="uint64", stop=SIZE)
        boss_server().add(f"{collection}/cortex/labels", datatype="uint16", stop=SIZE)
        assert (vol.dataset_name, vol.layer) == ("retina", "em")
        vol.layer = "labels"
        assert (vol.cloudpath, vol.data_type) == (f"boss://{collection}/retina/labels", "uint64")
        vol.dataset_name = "cortex"
        assert (vol.cloudpath, vol.data_type) == (f"boss://{collection}/cortex/labels", "uint16")
        with pytest.raises(InfoNotFoundError, match="nothing"):
            vol.layer = "nothing"
        assert vol.layer == "labels"

    def test_it_is_read_again(self) -> None:
        vol = volume()
        boss_server().resources["coord", f"{vol._layer.path.bucket}_frame"]["z_stop"] = 99
        assert vol.refresh_info()["scales"][0]["size"] == [40, 30, 99]

    @pytest.mark.parametrize("gone", ["collection", "experiment", "channel", "coord"])
    def test_what_is_not_there_is_named(self, gone: str) -> None:
        path = boss_server().add(new_name())
        key = next(
            key for key in boss_server().resources if key[0] == gone and key[1].removesuffix("_frame") in path
        )
        del boss_server().resources[key]
        if gone == "collection":
            path = f"boss://nowhere/{path.split('/', 3)[3]}"
        with pytest.raises(
            InfoNotFoundError, match=r"there is no (channel|experiment|coordinate).*create=True"
        ):
            CloudVolume(path, options=options())

    @pytest.mark.parametrize(
        ("kind", "change", "told"),
        [
            ("channel", {"datatype": "float32"}, "channel.datatype"),
            ("experiment", {"num_hierarchy_levels": "two"}, "experiment.num_hierarchy_levels"),
            ("coord", {"voxel_unit": "parsec"}, "frame.voxel_unit"),
            ("coord", {"x_voxel_size": "wide"}, "frame.x_voxel_size"),
            ("coord", {"x_voxel_size": float("inf")}, "something else than JSON"),
            ("coord", {"x_stop": 0}, "info.scales[0].size[0]: must be at least 1, got 0"),
        ],
    )
    def test_an_answer_that_makes_no_sense_is_told(
        self, kind: str, change: dict[str, Any], told: str
    ) -> None:
        vol = volume()
        key = next(
            k for k in boss_server().resources if k[0] == kind and k[1].startswith(vol._layer.path.bucket)
        )
        boss_server().resources[key].update(change)
        with pytest.raises((StoreError, InfoError), match=re.escape(told)):
            vol.refresh_info()

    @pytest.mark.parametrize(
        "path",
        ["boss://a/b", "boss://a/b/c/d", "boss://a", "boss://a/b%/c", "boss://a/b/c?x", "boss://ä/b/c"],
    )
    def test_a_path_has_three_names(self, path: str) -> None:
        with pytest.raises(CloudPathError, match="COLLECTION/EXPERIMENT/CHANNEL"):
            CloudVolume(path, options=options())


class TestVoxels:
    @given(data=st.data())
    @settings(max_examples=12)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_any_box_against_an_array(self, dtype: str, data: st.DataObject) -> None:
        vol = volume(dtype, start=(5, 3, 1), stop=(45, 33, 21), opened={"non_aligned_writes": True})
        model = np.zeros((*SIZE, 1), dtype)
        for number in range(4):
            box = data.draw(parts(SIZE))
            part = model[box]
            # A sum that wraps to 0, and blocks that are all 0, are as good as any.
            wraps = dtype == "uint64" and part.size > 1 and data.draw(st.booleans())
            voxels = np.zeros_like(part) if data.draw(st.booleans()) else sparse(part.shape, dtype, number)
            if wraps:
                voxels[...] = 0
                voxels.flat[0], voxels.flat[-1] = 2**63, 2**63
            model[box] = voxels
            there = tuple(slice(s.start + o, s.stop + o, s.step) for s, o in zip(box, (5, 3, 1), strict=True))
            vol[there] = voxels
            np.testing.assert_array_equal(vol[there], voxels)
            np.testing.assert_array_equal(stored(vol), model[..., 0])
        np.testing.assert_array_equal(vol[...], model)

    def test_what_comes_is_as_from_any_volume(self) -> None:
        vol = volume("uint16", levels=2)
        vol[...] = (voxels := noise((*SIZE, 1), "uint16"))
        cutout = vol[3:9, 5, 7:9]
        assert (cutout.shape, cutout.dtype, cutout.flags.f_contiguous) == ((6, 1, 2, 1), np.uint16, True)
        assert cutout.flags.writeable
        assert cutout.bounds == Bbox((3, 5, 7), (9, 6, 9))
        assert (cutout.dataset_name, cutout.layer) == ("retina", "em")
        assert np.array_equal(vol.download(Bbox((0, 0, 0), (3, 3, 3))), voxels[:3, :3, :3])
        assert vol[0:0, :, :].shape == (0, 30, 20, 1)
        vol.mip = 1
        vol[2:4, 2:4, 2:4] = 9
        assert stored(vol, 1)[2:4, 2:4, 2:4].min() == 9
        assert vol.download(vol.bounds, mip=0).shape == (20, 15, 20, 1)
        with pytest.raises(ScaleNotFoundError):
            vol.mip = 2

    def test_bounds(self) -> None:
        vol = volume(start=(5, 3, 1), stop=(45, 33, 21))
        vol[...] = 7
        with pytest.raises(OutOfBoundsError, match=r"\(5, 3, 1\), \(45, 33, 21\)"):
            vol[4:9, 3:5, 1:3]
        vol.bounded, vol.background_color = False, 200
        around = vol[4:46, 2:34, 0:22]
        assert (around[1:-1, 1:-1, 1:-1] == 7).all()
        assert (np.delete(around, range(1, 41), 0) == 200).all()
        assert (vol[100:103, 5, 5] == 200).all()
        assert np.array_equal(vol[0:46:7, 5, 5].ravel(), [200, 7, 7, 7, 7, 7, 7])
        with pytest.raises(OutOfBoundsError, match="inside"):
            vol[4:9, 3:5, 1:3] = 1
        vol.autocrop = True
        vol[0:6, 0:4, 0:2] = np.full((6, 4, 2), 9, np.uint8)
        assert (stored(vol) == 9).sum() == 1
        assert vol[0:100, 0:4, 0:2].shape == (40, 1, 1, 1)

    def test_writes_that_do_not_fit_are_refused(self) -> None:
        vol = volume("uint16")
        with pytest.raises(ArgumentError, match="uint16"):
            vol[...] = np.zeros(SIZE, np.uint8)
        with pytest.raises(ArgumentError, match="shape"):
            vol[...] = np.zeros((1, 2, 3), np.uint16)
        with pytest.raises(AlignmentError, match="non_aligned_writes=True"):
            vol[0:10:2, :, :] = 5
        assert not stored(vol).any()

    def test_an_info_that_was_edited_is_not_believed(self) -> None:
        vol = volume("uint16")
        vol.info["data_type"] = "uint64"
        with pytest.raises(ArgumentError, match="expected uint16, which the channel has, got uint64"):
            vol[0:2, 0:2, 0:2] = np.ones((2, 2, 2), np.uint64)
        with pytest.raises(PluginError, match=r"uint64 .* gave .* uint16; call refresh_info\(\)"):
            vol[0:2, 0:2, 0:2]
        vol.info["data_type"], vol.info["num_channels"] = "uint16", 2
        with pytest.raises(ArgumentError, match=r"one value a voxel.*, got 2"):
            vol[0:2, 0:2, 0:2] = np.ones((2, 2, 2, 2), np.uint16)
        vol.refresh_info()
        vol.info["scales"][0]["size"] = [100, 100, 100]
        with pytest.raises(StoreError, match="code 1001"):
            vol[39:41, 0:2, 0:2] = 1
        assert not stored(vol).any()

    def test_levels_without_an_address_are_refused_with_the_reason(self) -> None:
        vol = volume(levels=11)
        assert vol.download(np.s_[0:1, 0:1, 0:1], mip=9).shape == (1, 1, 1, 1)
        with pytest.raises(UnsupportedError, match="levels above 9, mip 10 is level 10"):
            vol.download(np.s_[0:1, 0:1, 0:1], mip=10)

    def test_negative_coordinates_are_refused_with_the_reason(self) -> None:
        boss_server().add(path := new_name(), start=(-4, 0, 0), stop=(4, 3, 2))
        vol = CloudVolume(f"boss://{path}", options=options())
        for what in (lambda: vol[...], lambda: vol.__setitem__(np.s_[-4:2], 1)):
            with pytest.raises(UnsupportedError, match=r"no addresses for negative .* at \(-4, 0, 0\)"):
                what()
        assert not [address for _, address in boss_server().cutouts if path in address]
        assert vol[0:4].shape == (4, 3, 2, 1)

    def test_zeros_erase_and_only_where_there_are_some_the_box_is_made_black(self) -> None:
        vol = volume()
        vol[...] = 5
        boss_server().cutouts.clear()
        vol[0:2, 0:2, 0:2] = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
        vol[4:6, 0:2, 0:2] = 0
        vol[6:8, 0:2, 0:2] = 1
        assert [method for method, _ in boss_server().cutouts] == ["PUT", "POST", "PUT", "POST"]
        assert stored(vol)[0, 0, 0] == 0
        assert not stored(vol)[4:6, 0:2, 0:2].any()

    def test_delete_makes_any_box_black(self) -> None:
        vol = volume()
        vol[...] = 5
        vol.delete(Bbox((1, 2, 3), (4, 5, 6)))
        assert (stored(vol) == 0).sum() == 27
        assert not stored(vol)[1:4, 2:5, 3:6].any()
        with pytest.raises(OutOfBoundsError):
            vol.delete(Bbox((0, 0, 0), (41, 1, 1)))

    def test_some_segments(self) -> None:
        vol = volume("uint64")
        voxels = np.random.default_rng(0).choice(np.array([0, 7, 2**64 - 1, 9], np.uint64), SIZE)
        vol[...] = voxels
        boss_server().cutouts.clear()
        found = vol.download(vol.bounds, segids=[7, 2**64 - 1])[..., 0]
        assert np.array_equal(found, np.where((voxels == 7) | (voxels == 2**64 - 1), voxels, 0))
        assert f"filter=7,{2**64 - 1}" in boss_server().cutouts[0][1]
        assert np.array_equal(vol.download(vol.bounds, segids=7)[..., 0], np.where(voxels == 7, voxels, 0))
        assert not vol.download(vol.bounds, segids=[]).any()
        many = vol.download(vol.bounds, segids=range(1000))[..., 0]
        assert np.array_equal(many, np.where(voxels < 1000, voxels, 0))
        small = volume("uint8", type="annotation")
        small[...] = (few := noise(SIZE))
        found = small.download(small.bounds, segids=[*range(7, 1000), 2**64 - 1])[..., 0]
        assert np.array_equal(found, np.where(few >= 7, few, 0))
        with pytest.raises(ArgumentError, match="segids"):
            vol.download(vol.bounds, segids=[-1])
        with pytest.raises(ArgumentError, match="image"):
            volume().download(Bbox((0, 0, 0), (1, 1, 1)), segids=[1])

    def test_a_mask_small_numbers_labels_and_points(self) -> None:
        vol = volume("uint64")
        names = np.array([0, 7, 2**64 - 1, 9], np.uint64)
        voxels = np.random.default_rng(0).choice(names, SIZE)
        vol[...] = voxels
        boss_server().cutouts.clear()
        mask = vol.download(vol.bounds, label=7)
        assert (mask.dtype, mask.bounds) == (np.bool_, vol.bounds)
        assert np.array_equal(mask[..., 0], voxels == 7)
        assert "filter=7" in boss_server().cutouts[-1][1]
        assert np.array_equal(vol.download(vol.bounds, label=0)[..., 0], voxels == 0)
        assert "filter" not in boss_server().cutouts[-1][1]
        small, numbers = vol.download(vol.bounds, renumber=True, segids=[9, 2**64 - 1])
        assert f"filter=9,{2**64 - 1}" in boss_server().cutouts[-1][1]
        assert numbers == {0: 0, 9: 1, 2**64 - 1: 2}
        assert np.array_equal(small[..., 0], 1 * (voxels == 9) + 2 * (voxels == names[2]))
        assert np.array_equal(vol.unique(vol.bounds), np.sort(names))
        boss_server().cutouts.clear()
        points = np.array([[0, 0, 0], [5, 1, 3], [0, 0, 0]])
        assert np.array_equal(vol.scattered_points(points)[:, 0], voxels[tuple(points.T)])
        assert len(boss_server().cutouts) == 1

    def test_time_samples(self) -> None:
        path = boss_server().add(new_name(), stop=SIZE, samples=4, default_time_sample=1)
        vols = [CloudVolume(path, options=options(t=t)) for t in (None, 0, 3)]
        for number, vol in enumerate(vols, 1):
            vol[2:5, 2:5, 2:5] = number
        assert [stored(vols[0], t=t).max() for t in range(4)] == [2, 1, 0, 3]
        assert [vol[2:5, 2:5, 2:5].max() for vol in vols] == [1, 2, 3]
        with pytest.raises(ArgumentError, match="t: expected a time sample from 0 to 3, got 4"):
            CloudVolume(path, options=options(t=4))

    def test_a_coarse_level_before_the_frame_is_refused_with_the_reason(self) -> None:
        vol = volume(start=(20, 0, 0), levels=2)
        vol.mip = 1
        assert (vol[20:20, :, :].size, vol.bounds.minpt.x) == (0, 10)
        with pytest.raises(OSError, match=r"code 1001.*inside the frame of level 0"):
            vol[10:12, 0:2, 0:2]

    def test_to_a_file(self, tmp_path: Path) -> None:
        vol = volume("uint64")
        vol[...] = (voxels := sparse(SIZE, "uint64"))
        vol.download_to_file(tmp_path / "box.npy", Bbox((1, 2, 3), (11, 12, 13)))
        assert np.array_equal(np.load(tmp_path / "box.npy")[..., 0], voxels[1:11, 2:12, 3:13])

    def test_slices_in_and_out(self) -> None:
        vol = volume("uint16", stop=(40, 30, 50))
        voxels = sparse((40, 30, 50), "uint16")
        with vol.slab_writer(bbox=Bbox((0, 0, 5), (40, 30, 45))) as writer:
            for z in range(5, 45):
                writer.write(z, voxels[..., z])
        assert np.array_equal(stored(vol)[..., 5:45], voxels[..., 5:45])
        vol[...] = voxels
        found = dict(vol.slices("z"))
        assert np.array_equal(np.stack([found[z] for z in range(50)], -1), voxels)

    def test_progress(self, capfd: pytest.CaptureFixture[str]) -> None:
        vol = volume(opened={"progress": True})
        vol[...] = 1
        vol[...]
        told = capfd.readouterr().err
        assert "writing em" in told
        assert "reading em" in told

    def test_from_numpy(self) -> None:
        voxels = sparse((40, 30, 20), "uint8")
        path = f"boss://{new_name()}"
        vol = CloudVolume.from_numpy(voxels, path, max_mip=2, options=options())
        again = CloudVolume(path, options=options())
        assert again.available_mips == [0, 1, 2]
        assert np.array_equal(again[...][..., 0], voxels)
        file = CloudVolume.from_numpy(voxels, "mem://x/y/z", max_mip=2)
        for mip in (1, 2):
            assert np.array_equal(
                again.download(again.mip_bounds(mip), mip), file.download(file.mip_bounds(mip), mip)
            )
        assert vol.info == again.info


class TestPacking:
    @given(
        shape=st.tuples(
            st.sampled_from([1, 3, 127, 128, 300]), st.sampled_from([1, 5, 129]), st.integers(1, 4)
        ),
        axes=st.permutations([0, 1, 2]),
        steps=st.tuples(*[st.sampled_from([1, -1, 2])] * 3),
        dtype=st.sampled_from(DTYPES),
    )
    @settings(max_examples=100)
    def test_arrays_of_every_memory_order(
        self, shape: tuple[int, ...], axes: list[int], steps: tuple[int, ...], dtype: str
    ) -> None:
        memory = noise([2 * shape[axis] for axis in axes], dtype)
        voxels = memory.transpose(np.argsort(axes))[tuple(slice(None, None, step) for step in steps)]
        expected = b"".join(plane.tobytes("F") for plane in np.moveaxis(voxels, 2, 0))
        assert blosc.decompress(pack(voxels)) == expected

    def test_a_value_that_is_spread(self) -> None:
        spread = np.broadcast_to(np.uint16(258), (200, 3, 2))
        assert blosc.decompress(pack(spread)) == b"\x02\x01" * 1200


class TestLargeBoxes:
    def test_they_are_split_where_cuboids_end_and_put_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("precomp_plugins._boss.channel._REQUEST_BYTES", 1060 * 660 * 2 * 16)
        vol = volume("uint16", stop=(1100, 700, 40))
        voxels = sparse((1060, 660, 33), "uint16")
        boss_server().cutouts.clear()
        vol[20:1080, 20:680, 5:38] = voxels
        found = vol[20:1080, 20:680, 5:38]
        assert np.array_equal(found[..., 0], voxels)
        assert np.array_equal(stored(vol)[20:1080, 20:680, 5:38], voxels)
        seen = sorted(address.split("?")[0] for method, address in boss_server().cutouts if method == "GET")
        assert [address.split("/")[-2] for address in seen] == ["16:32", "32:38", "5:16"]

    @given(
        start=st.tuples(*[st.integers(0, 2000)] * 3),
        size=st.tuples(st.integers(1, 40_000), st.integers(1, 40_000), st.integers(1, 3000)),
        dtype=st.sampled_from(DTYPES),
    )
    def test_every_part_is_below_the_limit_and_ends_where_cuboids_do(
        self, start: tuple[int, ...], size: tuple[int, ...], dtype: str
    ) -> None:
        service = channel_of(dtype)
        stop = [a + n for a, n in zip(start, size, strict=True)]
        found = list(service.split(0, start, stop))
        total = 0
        for low, high in found:
            shape = [b - a for a, b in zip(low, high, strict=True)]
            total += int(np.prod(shape, dtype=object))
            assert min(shape) > 0
            assert np.prod(shape, dtype=object) * np.dtype(dtype).itemsize <= 64 * 2**20
            for axis, cuboid in enumerate((512, 512, 16)):
                assert low[axis] == start[axis] or low[axis] % cuboid == 0
                assert high[axis] == stop[axis] or high[axis] % cuboid == 0
        assert total == np.prod(size, dtype=object)
        assert len(set(found)) == len(found)
        if total * np.dtype(dtype).itemsize <= 64 * 2**20:
            assert len(found) == 1

    def test_threads(self) -> None:
        vol = volume("uint16", stop=(1100, 700, 10))
        with ThreadPoolExecutor(8) as pool:
            boxes = [Bbox((x, 0, 0), (x + 100, 700, 10)) for x in range(0, 1100, 100)]
            list(pool.map(lambda box: vol.__setitem__(box, int(box.minpt.x) + 1), boxes))
            found = list(pool.map(lambda box: vol.download(box, parallel=4), boxes))
        assert [(one.min(), one.max()) for one in found] == [(x + 1, x + 1) for x in range(0, 1100, 100)]


def channel_of(dtype: str) -> BossChannel:
    """A channel that was asked for its type."""
    if dtype not in _CHANNELS:
        path = parse(boss_server().add(new_name(), datatype=dtype))
        _CHANNELS[dtype] = BossChannel(path, BossOptions(**options()))
    return _CHANNELS[dtype]


_CHANNELS: dict[str, BossChannel] = {}


class TestService(CutoutTests):
    """The contract of a service of boxes."""

    def make_service(self) -> BossChannel:
        path = boss_server().add(new_name(), datatype="uint64", stop=(700, 100, 50), levels=2)
        return BossChannel(parse(path), BossOptions(**options()))

    def absent_service(self) -> tuple[BossChannel, dict[str, Any]]:
        return BossChannel(parse(f"boss://{new_name()}"), BossOptions(**options())), new_info(
            data_type="uint16"
        )

    def other_info(self, info: dict[str, Any]) -> dict[str, Any]:
        return new_info(data_type="uint8")


class TestCreating:
    def test_all_that_is_needed_is_made(self) -> None:
        path = f"boss://{new_name()}"
        info = new_info(data_type="uint16", voxel_offset=(4, 0, 2), max_mip=2)
        vol = CloudVolume(path, info=info, create=True, options=options())
        assert not any(key[1] in path for key in boss_server().resources)
        vol.commit_info()
        assert vol.info == CloudVolume(path, options=options()).info
        assert vol.bounds == Bbox((4, 0, 2), (44, 30, 22))
        assert [list(vol.mip_resolution(mip)) for mip in vol.available_mips] == [
            [4, 4, 40],
            [8, 8, 40],
            [16, 16, 40],
        ]
        vol[...] = 5
        assert (stored(vol) == 5).all()
        with pytest.raises(UnsupportedError, match="comes from the service"):
            vol.commit_info()

    def test_segmentations_isotropic_levels_and_time(self) -> None:
        path = f"boss://{new_name()}"
        info = new_info(
            layer_type="segmentation", data_type="uint64", resolution=(0.5, 8, 8), max_mip=1, factor=(2, 2, 2)
        )
        vol = CloudVolume(
            path, info=info, create=True, options=options(t=2, coord_frame=f"frame{uuid.uuid4().hex}")
        )
        vol.commit_info()
        assert (vol.layer_type, vol.data_type, vol.mip_resolution(1)) == (
            "segmentation",
            "uint64",
            (1, 16, 16),
        )
        vol[...] = 5
        assert [stored(vol, t=t).max() for t in range(3)] == [0, 0, 5]

    @pytest.mark.parametrize("nm", [1000 / 3, 0.1, 4.6, 2**0.5])
    @pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2)])
    def test_resolutions_of_many_digits(self, nm: float, factor: tuple[int, ...]) -> None:
        info = new_info(resolution=(nm, nm, 3 * nm), max_mip=5, factor=factor)
        path = f"boss://{new_name()}"
        CloudVolume(path, info=info, create=True, options=options()).commit_info()
        vol = CloudVolume(path, options=options())
        found = [tuple(vol.mip_resolution(mip)) for mip in vol.available_mips]
        assert found == [tuple(scale["resolution"]) for scale in info["scales"]]

    def test_what_is_there_is_used(self) -> None:
        path = f"boss://{new_name()}"
        for _ in range(2):
            CloudVolume(path, info=new_info(), create=True, options=options()).commit_info()
        other = path[:-2] + "labels"
        info = new_info(layer_type="segmentation", data_type="uint64")
        CloudVolume(other, info=info, create=True, options=options()).commit_info()
        assert CloudVolume(other, options=options()).layer_type == "segmentation"

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"data_type": "uint16"}, "data_type: uint8, not uint16"),
            ({"layer_type": "segmentation"}, "type: image, not segmentation"),
            ({"volume_size": (41, 30, 20)}, r"size: \[40, 30, 20\], not \[41, 30, 20\]"),
            ({"resolution": (4, 4, 50)}, "resolution"),
            ({"max_mip": 1}, "resolutions"),
        ],
    )
    def test_another_layer_of_that_name_is_left_alone(self, change: dict[str, Any], told: str) -> None:
        path = f"boss://{new_name()}"
        CloudVolume(path, info=new_info(), create=True, options=options()).commit_info()
        before = json.dumps(list(boss_server().resources.items()))
        with pytest.raises(InfoError, match=told):
            CloudVolume(path, info=new_info(**change), create=True, options=options()).commit_info()
        assert json.dumps(list(boss_server().resources.items())) == before

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"data_type": "float32"}, "uint8, uint16, uint64, not float32"),
            ({"num_channels": 3}, "one value a voxel, not 3"),
            ({"voxel_offset": (0, -1, 0)}, "no negative coordinates"),
            ({"max_mip": 1, "factor": (1, 2, 2)}, "halve"),
            ({"max_mip": 10}, "10 levels at most"),
        ],
    )
    def test_what_the_boss_cannot_hold_is_refused_before_anything_is_made(
        self, change: dict[str, Any], told: str
    ) -> None:
        path = f"boss://{new_name()}"
        with pytest.raises(InfoError, match=told):
            CloudVolume(path, info=new_info(**change), create=True, options=options()).commit_info()
        assert not any(key[1] in path for key in boss_server().resources)

    def test_without_leave_nothing_is_created(self) -> None:
        path = f"boss://{new_name()}"
        vol = CloudVolume(path, info=new_info(), options=options())
        with pytest.raises(UnsupportedError, match=r"keeps no info file.*create=True"):
            vol.commit_info()
        with pytest.raises(ArgumentError, match="expected an info"):
            CloudVolume(path, create=True, options=options())
        assert not any(key[1] in path for key in boss_server().resources)

    def test_a_table_of_a_config_creates(self) -> None:
        path = f"boss://{new_name()}"
        table = {
            "num_channels": 1,
            "layer_type": "image",
            "data_type": "uint8",
            "encoding": "raw",
            "resolution": [4, 4, 40],
            "voxel_offset": [0, 0, 0],
            "volume_size": list(SIZE),
            "chunk_size": [64, 64, 64],
        }
        config = {
            "protocols": {"boss": options()},
            "volumes": {"em": {"cloudpath": path, "create": table}},
        }
        VolumeFactory.from_dict(config).open("em")[0:2, 0:2, 0:2] = 9
        vol = VolumeFactory.from_dict(config).open("em")
        assert vol[0:3, 0, 0].ravel().tolist() == [9, 9, 0]


class TestWhatDoesNotApply:
    def test_files(self) -> None:
        vol = volume()
        with pytest.raises(UnsupportedError, match="keeps no info file"):
            vol.commit_info()
        with pytest.raises(UnsupportedError, match="keeps no info file"):
            vol.reset_scales()
        assert vol.provenance.description == ""
        with pytest.raises(UnsupportedError, match="keeps no provenance"):
            vol.commit_provenance()
        with pytest.raises(UnsupportedError, match="no meshes"):
            vol.mesh.get(1)
        with pytest.raises(UnsupportedError, match="no chunks to list"):
            vol.exists(vol.bounds)
        assert not vol.cache
        with pytest.raises(UnsupportedError, match="keep copies of"):
            vol.cache.path  # noqa: B018

    @pytest.mark.parametrize(
        "given",
        [
            {"compress": "gzip"},
            {"cache": True},
            {"lru_bytes": 1000},
            {"cdn_cache": True},
            {"delete_black_uploads": True},
        ],
        ids=lambda given: next(iter(given)),
    )
    def test_options_about_chunks(self, given: dict[str, Any]) -> None:
        (name, value), vol = next(iter(given.items())), volume()
        with pytest.raises(UnsupportedError, match=f"{name}=.*boss serves boxes"):
            CloudVolume(vol.cloudpath, options=options(), **given)
        before = getattr(vol, name)
        with pytest.raises(UnsupportedError, match=f"{name}=.*does not apply"):  # noqa: PT012
            setattr(vol, name, value)
            vol[0:1, 0:1, 0:1] = 1
        if name not in ("cdn_cache", "delete_black_uploads"):
            assert type(getattr(vol, name)) is type(before)
            vol[0:1, 0:1, 0:1] = 1

    def test_sharding(self) -> None:
        info = new_info()
        info["scales"][0]["sharding"] = {
            "@type": "neuroglancer_uint64_sharded_v1",
            "preshift_bits": 0,
            "hash": "identity",
            "minishard_bits": 1,
            "shard_bits": 1,
            "minishard_index_encoding": "raw",
            "data_encoding": "raw",
        }
        vol = CloudVolume(f"boss://{new_name()}", info=info, create=True, options=options())
        with pytest.raises(UnsupportedError, match="sharding does not apply"):
            vol.commit_info()


class TestCopying:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_there_and_back_is_the_same(self, dtype: str, tmp_path: Path) -> None:
        kind = "segmentation" if dtype == "uint64" else "image"
        here = make(tmp_path / "a/em", dtype=dtype, voxel_offset=(4, 2, 0), layer_type=kind, max_mip=1)
        for mip in (0, 1):
            here.mip = mip
            here[...] = sparse(here.shape, dtype, mip)
        there, path = f"boss://{new_name()}", tmp_path / "b/em"
        for mip in (0, 1):
            box = None if mip == 0 else Bbox((4, 2, 0), here.mip_bounds(1).maxpt)
            boss = here.transfer_to(there, mip=mip, bbox=box, options=options())
            assert boss.mip == mip
        back = boss.transfer_to(path, mip=0)
        assert back.info["type"] == kind
        assert np.array_equal(back.download(back.mip_bounds(0), 0), here.download(here.mip_bounds(0), 0))
        own = make(tmp_path / "c/em", dtype=dtype, voxel_offset=(4, 2, 0), layer_type=kind, max_mip=1)
        boss.transfer_to(own.cloudpath, mip=0)
        files = [sorted(p.relative_to(tmp_path / x) for p in (tmp_path / x).rglob("*-*")) for x in "ac"]
        names = [name for name in files[0] if "8_8_40" in str(name) and "16" not in str(name.parent)]
        assert names
        assert [(tmp_path / "a" / name).read_bytes() for name in names] == [
            (tmp_path / "c" / name).read_bytes() for name in names
        ]

    def test_to_and_from_memory_and_another_channel(self) -> None:
        first = CloudVolume.from_numpy(sparse(SIZE, "uint8"), f"mem://{uuid.uuid4()}/x/em")
        boss = first.transfer_to(f"boss://{new_name()}", options=options())
        other = boss.transfer_to(f"boss://{new_name()}", options=options())
        last = other.transfer_to(f"mem://{uuid.uuid4()}/y/em")
        assert np.array_equal(last[...], first[...])
        assert other.info == boss.info

    def test_a_part(self) -> None:
        first = CloudVolume.from_numpy(noise(SIZE), f"mem://{uuid.uuid4()}/x/em")
        boss = first.transfer_to(
            f"boss://{new_name()}", bbox=Bbox((1, 2, 3), (11, 12, 13)), options=options()
        )
        assert np.array_equal(boss[1:11, 2:12, 3:13], first[1:11, 2:12, 3:13])
        assert boss[0, :, :].max() == 0

    def test_what_does_not_fit_is_refused(self) -> None:
        first = CloudVolume.from_numpy(noise(SIZE), f"mem://{uuid.uuid4()}/x/em")
        with pytest.raises(ArgumentError, match="both must be equal"):
            first.transfer_to(volume("uint16", stop=SIZE).cloudpath, options=options())
        with pytest.raises(UnsupportedError, match="compress"):
            first.transfer_to(f"boss://{new_name()}", compress="gzip", options=options())
        with pytest.raises(OutOfBoundsError):
            first.transfer_to(volume(stop=(39, 30, 20)).cloudpath, options=options())

    def test_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        vol = volume("uint64", stop=(5000, 5000, 20))
        asked: list[int] = []
        here = CloudVolume(
            "mem://a/b/c",
            info=new_info(data_type="uint64", volume_size=(5000, 5000, 20), chunk_size=(512, 512, 16)),
        )
        here.commit_info()
        here.fill_missing = True
        real = CloudVolume.download

        def counted(vol: CloudVolume, box: Bbox, mip: Any = None) -> Any:
            asked.append(int(box.volume()) * 8)
            return real(vol, Bbox(box.minpt, box.minpt + 1), mip)[:0]

        monkeypatch.setattr(CloudVolume, "download", counted)
        monkeypatch.setattr(CloudVolume, "__setitem__", lambda *_: None)
        here.transfer_to(vol.cloudpath, options=options())
        vol.transfer_to(here.cloudpath)
        assert sum(asked) == 2 * 5000 * 5000 * 20 * 8
        assert max(asked) <= 2**27


class TestProcesses:
    def test_pickle(self) -> None:
        vol = volume("uint16")
        vol[...] = 7
        for one in (vol, CloudVolume(vol.cloudpath)):
            assert b"hunter2" not in pickle.dumps(one)
        assert (pickle.loads(pickle.dumps(one))[0:2, 0:2, 0:2] == 7).all()
        with pytest.raises(CredentialsError, match="does not travel by pickle"):
            pickle.loads(pickle.dumps(vol))[0, 0, 0]

    def test_a_forked_child_has_connections_of_its_own(self) -> None:
        vol = volume("uint16")
        vol[...] = 7
        largest = _Max(vol)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(largest, range(8))
        assert found == [7] * 8
        assert vol[0:2, 0:2, 0:2].max() == 7


class _Max:
    """Reads a voxel of a volume that came by fork, not by pickle."""

    held: CloudVolume

    def __init__(self, vol: CloudVolume) -> None:
        type(self).held = vol

    def __call__(self, x: int) -> int:
        return int(self.held[x, 0, 0].max())


class OnBoss(VolumeStateMachine):
    """A random life of a channel."""

    dtypes = DTYPES
    channels = (1, 1)
    offsets = (0, 0)
    boxes = True

    def cloudpath(self) -> str:
        return f"boss://{new_name()}"


TestOnBoss = OnBoss.TestCase
TestOnBoss.settings = settings(max_examples=12, stateful_step_count=30)


def test_a_reader_may_read() -> None:
    vol = volume()
    vol[...] = 3
    reader = CloudVolume(vol.cloudpath, options=options(token=READER))
    assert reader[0, 0, 0] == 3
