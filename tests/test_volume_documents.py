"""Info and provenance of a volume: properties, edits, saving, redirects, paths."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from volumes import make, noise

from precomp import Bbox, CloudVolume, Vec, open_volume
from precomp.errors import (
    AlignmentError,
    ArgumentError,
    CloudPathError,
    InfoError,
    InfoNotFoundError,
    MeshError,
    OutOfBoundsError,
    PrecompWarning,
    ScaleNotFoundError,
    StoreError,
    UnknownEncodingError,
    UnknownProtocolError,
)


@pytest.fixture
def layer(tmp_path: Path) -> str:
    return f"file://{tmp_path}/bucket/retina/image"


@pytest.fixture
def vol(layer: str) -> CloudVolume:
    return make(layer, max_mip=2)


def on_disk(vol: CloudVolume, name: str = "info") -> Any:
    return json.loads(Path(vol.cloudpath.removeprefix("file://"), name).read_text())


def test_properties(vol: CloudVolume, layer: str, tmp_path: Path) -> None:
    assert vol.available_mips == [0, 1, 2]
    assert (vol.dataset_name, vol.layer) == ("retina", "image")
    assert vol.base_cloudpath == f"file://{tmp_path}/bucket/retina/"
    assert vol.layer_cloudpath == vol.cloudpath == layer
    assert vol.info_cloudpath == f"{layer}/info"
    assert vol.shape == (40, 30, 20, 1)
    assert np.zeros(vol.shape).shape == (40, 30, 20, 1)
    assert vol.volume_size == Vec(40, 30, 20)
    assert (vol.num_channels, vol.layer_type, vol.encoding) == (1, "image", "raw")
    assert vol.dtype == vol.data_type == "uint8"
    assert vol.resolution == (8, 8, 40)
    assert vol.chunk_size == vol.underlying == (16, 16, 16)
    assert vol.key == "8_8_40"
    assert vol.voxel_offset == (-5, 3, 100)
    assert vol.bounds == Bbox((-5, 3, 100), (35, 33, 120))
    assert vol.metadata.scales[0].size == (40, 30, 20)
    assert vol.scale is vol.info["scales"][0]
    assert vol.scales is vol.info["scales"]
    vol.mip = 1
    assert vol.shape == vol.mip_shape(1) == (20, 15, 20, 1)
    assert vol.downsample_ratio == (2, 2, 1)
    assert vol.mip_bounds(2) == Bbox((-2, 0, 100), (8, 8, 120))
    assert vol.mip_key([32, 32, 40]) == "32_32_40"
    assert repr(vol).startswith("CloudVolume(")


READ_ONLY = (
    "available_mips base_cloudpath layer_cloudpath info_cloudpath scales scale shape volume_size"
    " num_channels"
    " layer_type dtype data_type encoding resolution voxel_offset downsample_ratio underlying chunk_size key "
    "bounds metadata cloudpath mesh"
)


@pytest.mark.parametrize("name", READ_ONLY.split())
def test_what_cannot_be_set(vol: CloudVolume, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(vol, name, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bounded", False),
        ("fill_missing", True),
        ("autocrop", True),
        ("background_color", 3),
        ("non_aligned_writes", True),
        ("delete_black_uploads", True),
        ("progress", False),
        ("compress", "gzip"),
        ("compress", ""),
        ("cdn_cache", 60),
        ("parallel", 2),
        ("parallel", True),
        ("mip", 2),
    ],
)
def test_what_can_be_set(vol: CloudVolume, name: str, value: Any) -> None:
    setattr(vol, name, value)
    assert getattr(vol, name) == value


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("bounded", np.False_, False),
        ("fill_missing", np.True_, True),
        ("autocrop", np.bool_(1), True),
        ("progress", np.False_, False),
        ("compress", np.False_, False),
        ("compress", np.str_("gzip"), "gzip"),
        ("cdn_cache", np.True_, True),
        ("cdn_cache", np.int64(60), 60),
        ("parallel", np.True_, True),
        ("parallel", np.uint8(3), 3),
        ("lru_bytes", np.int64(1000), 1000),
        ("background_color", np.uint8(3), 3),
        ("background_color", np.float32(0.5), 0.5),
    ],
)
def test_options_of_numpy_are_kept_as_pythons(
    vol: CloudVolume, layer: str, name: str, value: Any, kept: Any
) -> None:
    setattr(vol, name, value)
    opened = CloudVolume(layer, **{name: value})
    for each in (vol, opened):
        found = getattr(each, name)
        assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bounded", 1),
        ("bounded", np.int64(1)),
        ("cdn_cache", -1),
        ("cdn_cache", 1.5),
        ("cdn_cache", np.timedelta64(3)),
        ("parallel", np.float64(2)),
        ("parallel", np.timedelta64(3)),
        ("lru_bytes", np.timedelta64(3)),
        ("lru_bytes", np.True_),
        ("background_color", "0"),
        ("background_color", np.timedelta64(3)),
        ("compress", np.int64(1)),
    ],
)
def test_other_values_of_options_are_refused(vol: CloudVolume, name: str, value: Any) -> None:
    before = getattr(vol, name)
    with pytest.raises(ArgumentError, match=f"^{name}: expected"):
        setattr(vol, name, value)
    assert getattr(vol, name) is before


@pytest.mark.parametrize(
    ("cdn_cache", "stored"),
    [
        (False, "no-cache"),
        (np.False_, "no-cache"),
        (True, "max-age=3600"),
        (np.True_, "max-age=3600"),
        (0, "max-age=0"),
        (1, "max-age=1"),
        (np.int64(60), "max-age=60"),
        ("private, immutable", "private, immutable"),
    ],
)
def test_cdn_cache_is_the_cache_control_of_the_chunks(cdn_cache: Any, stored: str) -> None:
    vol = make(f"mem://{uuid.uuid4()}/ds/image", cdn_cache=cdn_cache)
    vol[...] = 1
    store = vol._layer.scale(0).objects.store
    (chunk, *_) = vol.exists(vol.bounds)
    for key, expected in ((chunk, stored), ("info", "no-cache")):
        blob = store.get(key)
        assert blob is not None
        assert blob.cache_control == expected


@pytest.mark.parametrize("every_core", [True, np.True_])
def test_parallel_true_is_a_thread_per_core(monkeypatch: pytest.MonkeyPatch, every_core: Any) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(7)), raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    vol = make(f"mem://{uuid.uuid4()}/ds/image", parallel=1)
    assert vol._workers() == 1
    assert vol._workers(parallel=every_core) == 7
    vol.parallel = every_core
    assert vol._workers() == 7
    vol.parallel = np.int64(3)  # type: ignore[assignment]
    assert vol._workers() == 3


def test_a_misspelt_option_is_no_new_attribute(vol: CloudVolume) -> None:
    for name, nearest in (("filll_missing", "fill_missing"), ("Parallel", "parallel"), ("mipp", "mip")):
        with pytest.raises(AttributeError, match=f"no attribute '{name}' .did you mean '{nearest}'"):
            setattr(vol, name, 1)
    with pytest.raises(AttributeError, match=r"^CloudVolume has no attribute 'xyz'$"):
        vol.xyz = 1  # type: ignore[attr-defined]
    assert vars(vol).keys() == vars(CloudVolume(vol.cloudpath)).keys()
    vol._mine = 1  # type: ignore[attr-defined]


def test_a_derived_class_has_attributes_of_its_own(vol: CloudVolume) -> None:
    class Mine(CloudVolume):
        parallels: int
        layers = ()

        def __init__(self, *args: Any, **options: Any) -> None:
            self.before = 1
            super().__init__(*args, **options)
            self.label, self.parallels, self.layers = "mine", 2, (3,)  # type: ignore[assignment]

    mine = Mine(vol.cloudpath)
    assert (mine.before, mine.label, mine.parallels, mine.layers) == (1, "mine", 2, (3,))
    with pytest.raises(AttributeError, match=r"did you mean 'fill_missing'.*body of the class"):
        mine.filll_missing = True


@pytest.mark.parametrize(
    "wrong",
    [
        *[("compress", 3), ("parallel", 0), ("parallel", "many"), ("mip", "a")],
        *[("cdn_cache", "no-store\r\nx: y"), ("cdn_cache", "für immer"), ("cdn_cache", -1)],
    ],
)
def test_wrong_options_are_refused(vol: CloudVolume, wrong: tuple[str, Any]) -> None:
    with pytest.raises((ArgumentError, ScaleNotFoundError)):
        setattr(vol, *wrong)
    with pytest.raises(UnknownEncodingError, match="gzip"):
        vol.compress = "gzap"


@pytest.mark.parametrize("mip", [3, -1, [1, 1, 1]])
def test_an_undefined_mip_lists_those_there_are(vol: CloudVolume, layer: str, mip: Any) -> None:
    with pytest.raises(ScaleNotFoundError, match=r"0 \(8 x 8 x 40 nm\), 1 \(16 x 16 x 40 nm\)"):
        vol.mip = mip
    assert vol.mip == 0
    with pytest.raises(ScaleNotFoundError):
        CloudVolume(layer, mip=mip)


def test_nothing_is_written_before_commit_info(layer: str, tmp_path: Path) -> None:
    info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    vol = CloudVolume(layer, info=info, provenance={"owners": ["me"]})
    info["scales"][0]["size"] = [1, 1, 1]
    assert vol.volume_size == (64, 64, 64)  # the caller's dict was copied
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InfoNotFoundError, match="retina/image/info"):
        CloudVolume(layer)
    vol.commit_info()
    vol.commit_provenance()
    assert on_disk(vol) == vol.info
    assert CloudVolume(layer).provenance.owners == ["me"]


def test_the_info_may_be_edited_in_place(vol: CloudVolume) -> None:
    vol.info["scales"][0]["voxel_offset"] = Vec(1, 2, 3)
    vol.info["unknown"] = np.arange(2)
    assert vol.voxel_offset == (1, 2, 3)
    assert vol.info["scales"][0]["voxel_offset"] == [1, 2, 3]
    vol.commit_info()
    assert on_disk(vol)["unknown"] == [0, 1]
    vol.scale["size"][2] = 0
    with pytest.raises(InfoError, match=r"info\.scales\[0\]\.size\[2\]: must be at least 1, got 0"):
        vol.shape  # noqa: B018
    with pytest.raises(InfoError):
        vol.commit_info()
    assert on_disk(vol)["scales"][0]["size"] == [40, 30, 20]
    assert vol.refresh_info()["scales"][0]["size"] == [40, 30, 20]
    assert vol.shape == (40, 30, 20, 1)


def test_the_info_may_be_replaced(vol: CloudVolume) -> None:
    info = CloudVolume.create_new_info(3, "image", "uint8", "raw", (1, 1, 1), (0, 0, 0), (8, 8, 8))
    vol.mip = 2
    vol.info = info
    with pytest.raises(ScaleNotFoundError, match="there is no mip 2; there are 0"):
        vol.shape  # noqa: B018
    assert repr(vol).endswith("mip=2)")
    vol.mip = 0
    assert vol.shape == (8, 8, 8, 3)
    assert CloudVolume("mem://typed/info/x", info=vol.metadata).info == vol.info
    with pytest.raises(InfoError):
        vol.info = {"type": "image"}
    assert vol.shape == (8, 8, 8, 3)


def test_an_edit_in_another_scale_locks_nothing(vol: CloudVolume) -> None:
    vol.info["scales"][2]["encoding"] = "from-the-future"
    vol.commit_info  # noqa: B018
    vol[...] = 1
    assert vol[0, 4, 101].sum() == 1
    with pytest.raises(UnknownEncodingError, match="from-the-future"):
        vol.commit_info()
    vol.mip = 2
    with pytest.raises(UnknownEncodingError):
        vol[...]


def test_chunks_of_an_unknown_encoding_are_listed_copied_and_deleted(
    vol: CloudVolume, tmp_path: Path
) -> None:
    vol[...] = 3
    vol.info["scales"][0]["encoding"] = "from-the-future"
    Path(vol.cloudpath.removeprefix("file://"), "info").write_text(json.dumps(vol.info))
    strange = CloudVolume(vol.cloudpath)
    assert all(strange.exists(strange.bounds).values())
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "info").write_text(json.dumps(vol.info))
    copy = strange.transfer_to(tmp_path / "copy")
    assert all(copy.exists(copy.bounds).values())
    strange.delete(strange.bounds)
    with pytest.raises(UnknownEncodingError, match=r"info: info\.scales\[0\]\.encoding: .*from-the-future"):
        copy[...]


def test_add_scale_and_reset_scales(vol: CloudVolume) -> None:
    scale = vol.add_scale((4, 4, 2))
    assert (scale["key"], scale["size"], scale["voxel_offset"]) == ("32_32_80", [10, 8, 10], [-2, 0, 50])
    assert vol.available_mips == [0, 1, 2, 3]
    assert len(on_disk(vol)["scales"]) == 3
    vol.add_scale((4, 4, 2), chunk_size=(8, 8, 8))
    assert vol.available_mips == [0, 1, 2, 3]
    assert vol.mip_chunk_size(3) == (8, 8, 8)
    vol.mip = 3
    vol.reset_scales()
    assert vol.mip == 0
    assert len(on_disk(vol)["scales"]) == 1


def test_a_reset_that_cannot_be_saved_forgets_nothing(
    vol: CloudVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    vol.mip, info = 2, vol.info
    before = json.dumps(info)

    def full(*_: Any, **__: Any) -> None:
        raise StoreError("info: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(vol._layer.objects().store, "put", full)
        with pytest.raises(StoreError, match="full"):
            vol.reset_scales()
    assert (vol.mip, json.dumps(vol.info)) == (2, before)
    info["scales"][0]["encoding"] = "bogus"
    with pytest.raises(UnknownEncodingError):
        vol.reset_scales()
    assert vol.available_mips == [0, 1, 2]
    info["scales"][0]["encoding"], info["scales"][2]["encoding"] = "raw", "bogus"
    vol.reset_scales()  # what is wrong goes away
    assert vol.info is info
    assert (vol.mip, len(info["scales"]), len(on_disk(vol)["scales"])) == (0, 1, 1)


@pytest.mark.parametrize("name", ["layer", "dataset_name", "provenance"])
@pytest.mark.parametrize("value", [None, 5])
def test_what_is_no_name_and_no_provenance(vol: CloudVolume, name: str, value: Any) -> None:
    vol.provenance.description = "mouse"
    with pytest.raises((ArgumentError, InfoError), match=f"{name}: expected"):
        setattr(vol, name, value)
    assert (vol.dataset_name, vol.layer, vol.provenance.description) == ("retina", "image", "mouse")


@pytest.mark.parametrize("wrong", [{"encoding": "jpeg", "chunk_size": (1, 1)}, {"encoding": "bogus"}])
def test_a_refused_scale_leaves_no_trace(vol: CloudVolume, wrong: dict[str, Any]) -> None:
    before = json.dumps(vol.info)
    with pytest.raises((ArgumentError, UnknownEncodingError)):
        vol.add_scale((4, 4, 2), **wrong)
    assert json.dumps(vol.info) == before


@pytest.mark.parametrize("field", ["key", "mesh"])
def test_an_info_that_climbs_out_of_the_bucket_is_not_saved(vol: CloudVolume, field: str) -> None:
    before = on_disk(vol)
    place = vol.info["scales"][1] if field == "key" else vol.info
    place[field] = "../../../x"
    with pytest.raises(InfoError, match=field):
        vol.commit_info()
    assert on_disk(vol) == before


def test_numbers_of_numpy_in_the_info_become_plain(vol: CloudVolume) -> None:
    vol.info["num_channels"] = np.int64(1)
    assert type(vol.info["num_channels"]) is int
    vol.info.pop("scales")
    for use in ("scales", "scale", "shape"):
        with pytest.raises(InfoError, match="scales: required field missing"):
            getattr(vol, use)
    with pytest.raises(InfoError):
        vol.reset_scales()


@pytest.mark.parametrize(
    "mip", [1, np.int64(1), 1.0, [16, 16, 40], (16, 16, 40), np.array([16, 16, 40]), Vec(16, 16, 40)]
)
def test_ways_to_say_a_mip(vol: CloudVolume, mip: Any) -> None:
    vol.mip = mip
    assert vol.mip == 1
    assert vol.mip_shape(mip) == vol.shape


def test_a_volume_without_meshes_can_be_inspected(vol: CloudVolume) -> None:
    assert hasattr(vol, "mesh")
    with pytest.raises(MeshError, match="mesh"):
        vol.save_mesh(1)
    vol.info["mesh"] = 5
    with pytest.raises(InfoError, match=r"info\.mesh"):
        vol.mesh  # noqa: B018


def test_provenance(vol: CloudVolume, layer: str) -> None:
    assert vol.provenance == {"sources": [], "owners": [], "processing": [], "description": ""}
    vol.provenance.owners.append("a@b.org")
    vol.provenance.processing.append({"method": {"task": "x"}, "by": "me"})
    vol.provenance["description"] = "mouse"
    vol.commit_provenance()
    assert on_disk(vol, "provenance")["description"] == "mouse"
    assert json.loads(vol.provenance.serialize()) == on_disk(vol, "provenance")
    again = CloudVolume(layer)
    assert again.provenance.processing[0]["by"] == "me"
    again.provenance = {"description": "rat"}
    assert again.provenance.owners == []
    assert again.refresh_provenance().description == "mouse"
    again.provenance.owners = "me"  # type: ignore[assignment]
    with pytest.raises(InfoError, match=r"provenance\.owners"):
        again.commit_provenance()


def test_moving_to_another_layer(vol: CloudVolume, tmp_path: Path) -> None:
    make(f"file://{tmp_path}/bucket/retina/labels", dtype="uint32", layer_type="segmentation")
    make(f"file://{tmp_path}/bucket/cortex/labels", dtype="uint64", layer_type="segmentation")
    vol.layer = "labels"
    assert (vol.layer, vol.dtype) == ("labels", "uint32")
    vol.dataset_name = "cortex"
    assert (vol.dataset_name, vol.dtype) == ("cortex", "uint64")
    with pytest.raises(InfoNotFoundError):
        vol.layer = "nothing"
    assert vol.dtype == "uint64"


def test_the_mip_stays_when_the_layer_changes(vol: CloudVolume, tmp_path: Path) -> None:
    make(f"file://{tmp_path}/bucket/retina/deep", max_mip=2)
    make(f"file://{tmp_path}/bucket/retina/flat")
    vol.mip = 2
    vol.layer = "deep"
    assert vol.mip == 2
    with pytest.raises(ScaleNotFoundError):
        vol.layer = "flat"
    assert (vol.layer, vol.mip) == ("deep", 2)


@pytest.mark.parametrize("target", ["./ds/image", "../image", 5, "nope://a/b/c"])
def test_a_redirect_is_a_whole_cloudpath(tmp_path: Path, target: Any) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "info").write_text(json.dumps({"redirect": target}))
    with pytest.raises(InfoError, match="redirect"):
        CloudVolume(f"file://{tmp_path}/one")


def redirecting(path: Path, target: str) -> str:
    path.mkdir(parents=True)
    (path / "info").write_text(json.dumps({"redirect": target}))
    return f"file://{path}"


def test_redirects_are_followed(vol: CloudVolume, layer: str, tmp_path: Path) -> None:
    second = redirecting(tmp_path / "two", layer)
    first = redirecting(tmp_path / "one", second)
    vol[...] = 5
    assert CloudVolume(first)[0, 4, 101].sum() == 5
    assert CloudVolume(first).cloudpath == layer


def test_redirects_that_lead_nowhere(tmp_path: Path) -> None:
    one, two = f"file://{tmp_path}/one", f"file://{tmp_path}/two"
    redirecting(tmp_path / "one", two)
    redirecting(tmp_path / "two", one)
    with pytest.raises(InfoError, match="cycle") as caught:
        CloudVolume(one)
    assert two in str(caught.value)
    for number in range(12):
        redirecting(tmp_path / str(number), f"file://{tmp_path}/{number + 1}")
    with pytest.raises(InfoError, match="10"):
        CloudVolume(f"file://{tmp_path}/0")


def test_a_redirect_to_nothing_names_the_path_that_was_opened(tmp_path: Path) -> None:
    second = redirecting(tmp_path / "two", f"file://{tmp_path}/gone")
    first = redirecting(tmp_path / "one", second)
    with pytest.raises(InfoNotFoundError, match=f"^file://{tmp_path}/gone/info: .*") as caught:
        CloudVolume(first)
    assert f"{first}/info redirects there" in str(caught.value)
    assert isinstance(caught.value.__cause__, InfoNotFoundError)
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "info").write_text("no JSON")
    with pytest.raises(InfoError, match=f"{first}/info redirects there"):
        CloudVolume(first)
    with pytest.raises(InfoError) as plain:
        CloudVolume(f"file://{tmp_path}/gone")
    assert "redirects" not in str(plain.value)


def test_the_end_of_ten_redirects_is_reached(vol: CloudVolume, layer: str, tmp_path: Path) -> None:
    for number in range(9):
        redirecting(tmp_path / str(number), f"file://{tmp_path}/{number + 1}")
    redirecting(tmp_path / "9", layer)
    assert CloudVolume(f"file://{tmp_path}/0").cloudpath == layer


@pytest.mark.parametrize(
    "text",
    ["{}", "{}/", "{}/info", "file://{}", "file://{}/", "file://{}/info", "precomputed://file://{}"],
)
def test_paths_to_one_layer(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "a b" / "Größe 100%" / "what?x=1#y"
    make(folder)
    assert CloudVolume(text.format(folder)).layer == "what?x=1#y"


def test_relative_paths_are_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "ds" / "image")
    monkeypatch.chdir(tmp_path)
    assert CloudVolume("ds/image").cloudpath == f"file://{tmp_path}/ds/image"
    assert CloudVolume("./ds/image").dataset_name == "ds"


@pytest.mark.parametrize(
    "text", ["gs://neuroglancer//segmentation", "gs://///", "://a/b", "file://relative/x", ""]
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(CloudPathError, match="PROTOCOL"):
        CloudVolume.extract_path(text)


def test_extract_path() -> None:
    assert tuple(CloudVolume.extract_path("file:///data/ds/layer/")) == ("file", "/data", "ds", "layer")
    path = CloudVolume.extract_path("gs://bucket/deep/down/ds/layer/info")
    assert (path.protocol, path.bucket_name, path.dataset_name, path.layer_name) == (
        "gs",
        "bucket",
        "ds",
        "layer",
    )
    with pytest.raises(UnknownProtocolError, match="file"):
        CloudVolume.extract_path("ftp://bucket/ds/layer")
    with pytest.raises(UnknownProtocolError):
        CloudVolume("nope://bucket/ds/layer")


def test_keys_may_climb_as_far_as_the_bucket(vol: CloudVolume, tmp_path: Path) -> None:
    voxels = noise(vol.shape)
    vol.info["scales"][0]["key"] = "../other/s0"
    vol[...] = voxels
    assert len(list((tmp_path / "bucket/retina/other/s0").iterdir())) == 12
    assert all(key.startswith("../other/s0/") for key in vol.exists(vol.bounds))
    np.testing.assert_array_equal(vol[...], voxels)
    vol.info["scales"][0]["key"] = "../../x"
    vol[...] = voxels
    for key in ("../../../x", "a/../../../../x", "/etc"):
        vol.info["scales"][0]["key"] = key
        with pytest.raises(InfoError, match="key"):
            vol[...]


def test_what_neuroglancer_cannot_show_is_warned_of(layer: str) -> None:
    arguments: Any = (1, "image", "float32", "npz", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    with pytest.warns(PrecompWarning, match="npz"):
        CloudVolume.create_new_info(*arguments)


def test_old_data_types_are_read_but_not_created(layer: str, vol: CloudVolume) -> None:
    old = json.loads(json.dumps(vol.info)) | {"data_type": "INT64"}
    with pytest.raises(InfoError, match="int64"):
        CloudVolume(layer, info=old).commit_info()
    Path(layer.removeprefix("file://"), "info").write_text(json.dumps(old))
    with pytest.warns(PrecompWarning, match="INT64"):
        again = CloudVolume(layer)
    again[...] = -(2**60)
    assert again[0, 4, 101].item() == -(2**60)
    again.commit_info()


def test_a_warning_points_at_the_users_line(vol: CloudVolume, layer: str, tmp_path: Path) -> None:
    config = tmp_path / "precomp.toml"
    config.write_text(f'[volumes.old]\ncloudpath = "{layer}"\n')
    arguments: Any = (1, "image", "float32", "npz", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    voxels = np.zeros((8, 8, 8), np.float32)
    old = json.loads(json.dumps(vol.info)) | {"data_type": "INT64"}
    Path(layer.removeprefix("file://"), "info").write_text(json.dumps(old))
    uses: list[Callable[[], Any]] = [
        lambda: CloudVolume.create_new_info(*arguments),
        lambda: CloudVolume.from_numpy(voxels, f"mem://{uuid.uuid4()}/a", encoding="npz"),
        lambda: vol.add_scale((8, 8, 1), encoding="npz"),
        lambda: CloudVolume(layer),
        lambda: vol.refresh_info(),
        lambda: setattr(vol, "layer", "image"),
        lambda: open_volume("old", config),
    ]
    for use in uses:
        with pytest.warns(PrecompWarning) as caught:
            use()
        (warning,) = caught
        assert (warning.filename, warning.lineno) == (__file__, use.__code__.co_firstlineno)


def test_an_encoding_that_cannot_hold_the_dtype_is_refused_early(layer: str) -> None:
    with pytest.raises(InfoError, match="jpeg"):
        CloudVolume.create_new_info(1, "image", "uint64", "jpeg", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    with pytest.raises(UnknownEncodingError, match=r"rwa[^$]*raw"):
        CloudVolume.create_new_info(1, "image", "uint8", "rwa", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    with pytest.raises(ArgumentError):
        CloudVolume.create_new_info(1, "image", "int64", "raw", (8, 8, 40), (0, 0, 0), (64, 64, 64))


def test_from_numpy_fills_the_mips(layer: str) -> None:
    voxels = noise((33, 20, 10), "uint8")
    vol = CloudVolume.from_numpy(voxels, layer, max_mip=2)
    np.testing.assert_array_equal(vol[...][..., 0], voxels)
    assert vol.layer_type == "image"
    vol.mip = 1
    wide = np.pad(voxels.astype(float), ((0, 1), (0, 0), (0, 0)), mode="edge")
    mean = (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]) / 4
    np.testing.assert_array_equal(vol[...][..., 0], np.floor(mean + 0.5).astype(np.uint8))
    assert vol.mip_shape(2) == (9, 5, 10, 1)
    vol.mip = 2
    assert vol[...].shape == (9, 5, 10, 1)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint32", "int32", "uint64"])
def test_means_are_exact_and_round_half_up(dtype: str) -> None:
    info = np.iinfo(dtype)
    for block in ([info.max] * 4, [info.min] * 4, [info.max, info.max, info.max, info.max - 2], [2, 0, 0, 0]):
        array = np.array(block, dtype).reshape(2, 2, 1)
        vol = CloudVolume.from_numpy(array, f"mem://{uuid.uuid4()}/m", layer_type="image", max_mip=1)
        assert vol.download(vol.mip_bounds(1), mip=1).item() == (2 * sum(block) + 4) // 8


def test_from_numpy_leaves_no_half_made_layer() -> None:
    path = f"mem://{uuid.uuid4()}/a/b"
    with pytest.raises(ArgumentError, match=r"^arr: .*int64"):
        CloudVolume.from_numpy(np.zeros((3, 3, 3), np.int64), path)
    with pytest.raises(ArgumentError), pytest.warns(PrecompWarning):
        CloudVolume.from_numpy(np.full((3, 3, 3), 7, np.float32), path, encoding="npz_uint8")
    with pytest.raises(InfoNotFoundError):
        CloudVolume(path)


def test_from_numpy_keeps_labels_and_odd_offsets(layer: str) -> None:
    labels = np.zeros((5, 4, 1), np.uint64)
    labels[1:3, :2], labels[3:5, :2] = 2**60, 7
    labels[3, 0] = 9
    vol = CloudVolume.from_numpy(labels, layer, voxel_offset=(-1, 0, 0), max_mip=1)
    assert vol.layer_type == "segmentation"
    vol.mip = 1
    assert vol.voxel_offset == (-1, 0, 0)
    assert vol[...][..., 0, 0].tolist() == [[0, 0], [2**60, 0], [7, 0]]


def test_transfer_to(vol: CloudVolume, tmp_path: Path) -> None:
    voxels = noise(vol.shape)
    vol[...] = voxels
    vol.provenance.description = "mouse"
    for target in (f"file://{tmp_path}/elsewhere/ds/image", "mem://transfer/ds/image"):
        there = vol.transfer_to(target)
        assert there.provenance.description == "mouse"
        assert there.info == vol.info
        np.testing.assert_array_equal(there[...], voxels)
        np.testing.assert_array_equal(vol.transfer_to(target, compress="gzip")[...], voxels)
    packed = tmp_path / "elsewhere/ds/image/8_8_40"
    assert {path.suffix for path in packed.iterdir()} == {".gz"}


def test_a_refused_transfer_makes_nothing(vol: CloudVolume, tmp_path: Path) -> None:
    vol[...] = 1
    for box in (Bbox((0, 3, 100), (5, 19, 116)), Bbox((0, 0, 0), (1000, 1000, 1000))):
        with pytest.raises((AlignmentError, OutOfBoundsError)):
            vol.transfer_to(tmp_path / "nothing" / "there", box)
    assert not (tmp_path / "nothing").exists()


def test_transfer_to_another_chunking(vol: CloudVolume, tmp_path: Path) -> None:
    voxels = noise(vol.shape)
    vol[...] = voxels
    other = make(tmp_path / "ds" / "other", chunk_size=(10, 7, 3), encoding="raw", compress="gzip")
    there = vol.transfer_to(other.cloudpath, Bbox((5, 3, 100), (25, 17, 103)))
    np.testing.assert_array_equal(there[5:25, 3:17, 100:103], voxels[10:30, :14, :3])
    assert sum(there.exists(there.bounds).values()) == 4
    wrong = make(tmp_path / "ds" / "wrong", dtype="uint16")
    with pytest.raises(ArgumentError, match="uint16"):
        vol.transfer_to(wrong.cloudpath)
