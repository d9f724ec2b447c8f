"""The info records: what the wild writes is read and comes back equal; what breaks the format is named."""

import copy
import pickle
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp.errors import InfoError
from precomp.info import CREATABLE_DATA_TYPES, READABLE_DATA_TYPES, Scale, ShardingSpec, VolumeInfo
from precomp.jsonio import structure, unstructure
from precomp.testing.strategies import infos, volume_infos

SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 9,
    "hash": "identity",
    "minishard_bits": 6,
    "shard_bits": 15,
}
SCALE = {
    "key": "8_8_40",
    "size": [64, 64, 32],
    "resolution": [8, 8, 40],
    "chunk_sizes": [[64, 64, 32]],
    "encoding": "raw",
}
INFO = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [SCALE]}

WILD: dict[str, dict[str, Any]] = {
    "an old image: no offset, upper case, several chunk sizes": {
        "type": "image",
        "data_type": "UINT8",
        "num_channels": 1,
        "scales": [
            {
                "key": "6_6_30",
                "size": [6446, 6643, 8090],
                "resolution": [6, 6, 30],
                "chunk_sizes": [[64, 64, 64], [512, 512, 1], [1, 512, 512]],
                "encoding": "JPEG",
            }
        ],
    },
    "cloud-volume: nulls and a jpeg quality": {
        "data_type": "uint8",
        "mesh": None,
        "num_channels": 3,
        "scales": [
            {
                "chunk_sizes": [[128, 128, 64]],
                "encoding": "jpeg",
                "jpeg_quality": 90,
                "key": "4.5_4.5_40",
                "resolution": [4.5, 4.5, 40.0],
                "sharding": None,
                "size": [1000, 2000, 30],
                "voxel_offset": [-120, 0, 7],
            }
        ],
        "type": "image",
    },
    "a sharded segmentation with everything beside it": {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation",
        "data_type": "uint64",
        "num_channels": 1,
        "mesh": "mesh",
        "skeletons": "skeletons_mip_2",
        "segment_properties": "segment_properties",
        "redirect": None,
        "hidden": True,
        "locked": False,
        "scales": [
            {
                "key": "8.0x8.0x8.0",
                "size": [34432, 39552, 41408],
                "resolution": [8.0, 8.0, 8.0],
                "voxel_offset": [0, 0, 0],
                "chunk_sizes": [[64, 64, 64]],
                "encoding": "compressed_segmentation",
                "compressed_segmentation_block_size": [8, 8, 8],
                "sharding": {**SHARDING, "minishard_index_encoding": "gzip", "data_encoding": "gzip"},
            },
            {
                "key": "../other/16_16_16",
                "size": [17216, 19776, 20704],
                "resolution": [16, 16, 16],
                "chunk_sizes": [[64, 64, 64]],
                "encoding": "compresso",
                "sharding": {**SHARDING, "data_encoding": "raw", "note": "ours"},
                "graph": {"chunk_size": [256, 256, 512]},
            },
        ],
    },
}


def read(info: Any) -> VolumeInfo:
    return structure(info, VolumeInfo, "info")


def scale_of(**changes: Any) -> Scale:
    return read({**INFO, "scales": [{**SCALE, **changes}]}).scales[0]


@pytest.mark.parametrize("info", WILD.values(), ids=WILD.keys())
def test_wild_infos_come_back_as_they_were(info: dict[str, Any]) -> None:
    before = copy.deepcopy(info)
    assert unstructure(read(info)) == before == info


@given(infos())
def test_json_out_is_json_in(info: dict[str, Any]) -> None:
    before = copy.deepcopy(info)
    back = unstructure(read(info))
    assert back == before
    assert read(back) == read(info)
    for one, other in zip(info["scales"], back["scales"], strict=True):
        assert [type(nm) for nm in one["resolution"]] == [type(nm) for nm in other["resolution"]]


def test_typed_values() -> None:
    old, cloudvolume, sharded = (read(info) for info in WILD.values())
    assert old.dtype == np.dtype("uint8")
    assert old.scales[0].encoding_name == "jpeg"
    assert old.scales[0].chunk_size == (64, 64, 64)
    assert old.scales[0].offset == (0, 0, 0)
    assert cloudvolume.scales[0].offset == (-120, 0, 7)
    assert cloudvolume.scales[0].jpeg_quality == 90
    assert cloudvolume.mesh is None
    assert cloudvolume.extra == {"mesh": None}
    assert sharded.extra["@type"] == "neuroglancer_multiscale_volume"
    assert sharded.scales[0].sharding == ShardingSpec(
        "neuroglancer_uint64_sharded_v1", 9, "identity", 6, 15, "gzip", "gzip"
    )
    second = sharded.scales[1].sharding
    assert second is not None
    assert (second.minishard_index_encoding, second.data_encoding) == ("raw", "raw")
    assert sharded.scales[1].extra == {"graph": {"chunk_size": [256, 256, 512]}}


def test_numbers_are_kept_as_written() -> None:
    scale = scale_of(resolution=[4, 4.5, 40.0], size=[64.0, 64, 32])
    assert [repr(nm) for nm in scale.resolution] == ["4", "4.5", "40.0"]
    assert [repr(voxels) for voxels in scale.size] == ["64", "64", "32"]


@pytest.mark.parametrize("name", READABLE_DATA_TYPES)
@pytest.mark.parametrize("cased", [str.lower, str.upper, str.title])
def test_data_types_in_any_case(name: str, cased: Any) -> None:
    info = read({**INFO, "data_type": cased(name)})
    assert info.data_type == cased(name)
    assert info.dtype.name == name
    assert info.dtype.isnative


def test_unknown_data_type_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(InfoError) as caught:
        read({**INFO, "data_type": "unit8"})
    text = str(caught.value)
    assert text.startswith("info.data_type: ")
    assert all(name in text for name in CREATABLE_DATA_TYPES)
    assert "did you mean 'uint8'" in text


def test_unknown_encodings_are_kept_for_others_to_judge() -> None:
    assert scale_of(encoding="Somebody's").encoding_name == "somebody's"


def test_a_superfluous_block_size_is_fine_and_a_missing_one_is_not() -> None:
    assert scale_of(compressed_segmentation_block_size=[8, 8, 8]).compressed_segmentation_block_size == (
        8,
        8,
        8,
    )
    for changes in ({}, {"compressed_segmentation_block_size": None}):
        with pytest.raises(
            InfoError, match=r"^info\.scales\[0\]\.compressed_segmentation_block_size: required"
        ):
            scale_of(encoding="Compressed_Segmentation", **changes)


def test_two_scales_cannot_share_a_folder() -> None:
    other = {**SCALE, "key": "16_16_40"}
    with pytest.raises(InfoError, match=r"^info\.scales: scale 2 has the key of scale 0"):
        read({**INFO, "scales": [SCALE, other, SCALE]})
    assert len(read({**INFO, "scales": [SCALE, other]}).scales) == 2  # equal resolutions are allowed


def test_hash_bits_are_64() -> None:
    with pytest.raises(InfoError, match=r"^info\.scales\[0\]\.sharding\.shard_bits: must be at most 24"):
        scale_of(sharding={**SHARDING, "minishard_bits": 40, "shard_bits": 25})
    assert scale_of(sharding={**SHARDING, "minishard_bits": 40, "shard_bits": 24}).sharding is not None


# (field, value, path below the scale or the info); DELETED takes the field away.
DELETED = object()
FAR = 2**62 + 1
OF_INFO: list[tuple[str, Any, str]] = [
    ("type", DELETED, ".type"),
    ("type", "annotation", ".type"),
    ("type", 1, ".type"),
    ("data_type", DELETED, ".data_type"),
    ("data_type", "float16", ".data_type"),
    ("data_type", None, ".data_type"),
    ("num_channels", DELETED, ".num_channels"),
    ("num_channels", "10", ".num_channels"),
    ("num_channels", 10.7, ".num_channels"),
    ("num_channels", True, ".num_channels"),
    ("num_channels", 0, ".num_channels"),
    ("mesh", 1, ".mesh"),
    ("skeletons", ["a"], ".skeletons"),
    ("segment_properties", {}, ".segment_properties"),
]
OF_SCALE: list[tuple[str, Any, str]] = [
    ("key", DELETED, ".key"),
    ("key", "", ".key"),
    ("key", "/etc", ".key"),
    ("key", "a\0b", ".key"),
    ("key", "..\\x", ".key"),
    ("key", 8, ".key"),
    ("size", DELETED, ".size"),
    ("size", [1, 1, 0], ".size[2]"),
    ("size", [1, "1", 1], ".size[1]"),
    ("size", [FAR, 1, 1], ".size[0]"),
    ("size", [1, 1], ".size"),
    ("size", [1, 1, 1, 1], ".size"),
    ("size", "111", ".size"),
    ("size", {"0": 1, "1": 1, "2": 1}, ".size"),
    ("resolution", [4, 0, 40], ".resolution[1]"),
    ("resolution", [-4.5, 4, 40], ".resolution[0]"),
    ("resolution", [4, 4, float("inf")], ".resolution[2]"),
    ("resolution", [4, float("nan"), 40], ".resolution[1]"),
    ("resolution", [4, 4, False], ".resolution[2]"),
    ("resolution", [None, 4, 4], ".resolution[0]"),
    ("voxel_offset", [0.5, 0, 0], ".voxel_offset[0]"),
    ("voxel_offset", [0, -FAR, 0], ".voxel_offset[1]"),
    ("voxel_offset", 0, ".voxel_offset"),
    ("chunk_sizes", [], ".chunk_sizes"),
    ("chunk_sizes", [64], ".chunk_sizes[0]"),
    ("chunk_sizes", [[64, 64, 64], [64, 0, 64]], ".chunk_sizes[1][1]"),
    ("encoding", "", ".encoding"),
    ("encoding", None, ".encoding"),
    ("compressed_segmentation_block_size", [8, 8, -8], ".compressed_segmentation_block_size[2]"),
    ("jpeg_quality", 101, ".jpeg_quality"),
    ("png_level", -1, ".png_level"),
    ("sharding", "yes", ".sharding"),
    ("sharding", {**SHARDING, "hash": "md5"}, ".sharding.hash"),
    ("sharding", {**SHARDING, "@type": "other"}, ".sharding.@type"),
    ("sharding", {**SHARDING, "preshift_bits": 65}, ".sharding.preshift_bits"),
    ("sharding", {**SHARDING, "data_encoding": "zstd"}, ".sharding.data_encoding"),
    ("sharding", {k: v for k, v in SHARDING.items() if k != "shard_bits"}, ".sharding.shard_bits"),
]


def damage(target: dict[str, Any], field: str, value: Any) -> None:
    if value is DELETED:
        del target[field]
    else:
        target[field] = value


def problems_of(info: Any) -> list[str]:
    with pytest.raises(InfoError) as caught:
        read(info)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("field", "value", "path"), OF_INFO)
def test_one_damage_of_the_info(field: str, value: Any, path: str) -> None:
    info = copy.deepcopy(WILD["cloud-volume: nulls and a jpeg quality"])
    damage(info, field, value)
    (line,) = problems_of(info)
    assert line.startswith(f"info{path}: ")


@pytest.mark.parametrize(("field", "value", "path"), OF_SCALE)
def test_one_damage_of_a_scale(field: str, value: Any, path: str) -> None:
    info = copy.deepcopy(WILD["a sharded segmentation with everything beside it"])
    damage(info["scales"][1], field, value)
    (line,) = problems_of(info)
    assert line.startswith(f"info.scales[1]{path}: ")


@given(data=st.data())
def test_several_damages_are_all_listed(data: st.DataObject) -> None:
    info = data.draw(infos())
    chosen = st.lists(st.sampled_from(OF_INFO), max_size=4, unique_by=lambda case: case[0])
    expected = []
    for field, value, path in data.draw(chosen):
        damage(info, field, value)
        expected.append(f"info{path}")
    for mip, scale in enumerate(info["scales"]):
        chosen = st.lists(st.sampled_from(OF_SCALE), max_size=4, unique_by=lambda case: case[0])
        for field, value, path in data.draw(chosen):
            damage(scale, field, value)
            expected.append(f"info.scales[{mip}]{path}")
    if expected:
        assert sorted(line.split(": ")[0] for line in problems_of(info)) == sorted(expected)
    else:
        assert unstructure(read(info)) == info


def test_a_rule_between_fields_is_listed_with_the_other_problems() -> None:
    scale = {**SCALE, "encoding": "compressed_segmentation", "size": [0, 1, 1]}
    lines = problems_of({**INFO, "num_channels": "1", "scales": [scale]})
    assert [line.split(": ")[0] for line in lines] == [
        "info.num_channels",
        "info.scales[0].size[0]",
        "info.scales[0].compressed_segmentation_block_size",
    ]


@pytest.mark.parametrize("value", [None, [], "info", 3])
def test_an_info_is_an_object(value: Any) -> None:
    (line,) = problems_of(value)
    assert line.startswith("info: expected an object, got ")


def test_messages_say_what_was_found() -> None:
    assert problems_of({**INFO, "num_channels": "10"}) == ["info.num_channels: expected an integer, got '10'"]
    assert problems_of({**INFO, "scales": [{**SCALE, "size": [1, 1, 0]}]}) == [
        "info.scales[0].size[2]: must be at least 1, got 0"
    ]
    assert problems_of({**INFO, "scales": [SCALE, {}]})[0] == "info.scales[1].key: required field missing"
    assert problems_of({**INFO, "scales": []}) == ["info.scales: must not be empty, got []"]
    assert problems_of({**INFO, "scales": [{**SCALE, "resolution": [4, 4, "40"]}]}) == [
        "info.scales[0].resolution[2]: expected a number, got '40'"
    ]


def test_a_changed_record_writes_the_change() -> None:
    info = read({**INFO, "mesh": None, "skeletons": "skel", "mine": 1})
    changed = attrs.evolve(info, mesh="mesh", skeletons=None)
    assert unstructure(changed) == {**INFO, "mesh": "mesh", "mine": 1}


@given(volume_infos())
def test_records_are_values(info: VolumeInfo) -> None:
    twin = pickle.loads(pickle.dumps(info))
    assert twin == info
    assert hash(twin) == hash(info)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        info.num_channels = 2  # type: ignore[misc]


@given(infos())
def test_the_record_of_plain_values_shares_no_list_with_them(info: dict[str, Any]) -> None:
    record, before = read(info), copy.deepcopy(info)
    for scale in info["scales"]:
        scale["size"][0] = 0
        scale["chunk_sizes"].append("damaged")
    assert unstructure(record) == before
