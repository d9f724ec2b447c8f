"""Infos of new layers: golden ones, lower scales against exact fractions, arguments of every kind."""

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp import Vec
from precomp.create import add_scale, create_new_info, reset_scales, scale_key
from precomp.errors import ArgumentError, InfoError
from precomp.info import CREATABLE_DATA_TYPES, VolumeInfo
from precomp.jsonio import structure

ARGUMENTS: dict[str, Any] = {
    "num_channels": 1,
    "layer_type": "segmentation",
    "data_type": "uint64",
    "encoding": "raw",
    "resolution": (4, 4, 40),
    "voxel_offset": (-5, 3, 0),
    "volume_size": (100, 65, 7),
}


def create(**changes: Any) -> dict[str, Any]:
    return create_new_info(**{**ARGUMENTS, **changes})


def test_golden_info() -> None:
    info = create(
        mesh=True,
        skeletons=True,
        chunk_size=(32, 32, 16),
        max_mip=2,
        encoding="compressed_segmentation",
    )
    common = {
        "chunk_sizes": [[32, 32, 16]],
        "encoding": "compressed_segmentation",
        "compressed_segmentation_block_size": [8, 8, 8],
    }
    assert info == {
        "type": "segmentation",
        "data_type": "uint64",
        "num_channels": 1,
        "mesh": "mesh",
        "skeletons": "skeletons",
        "scales": [
            {
                "key": "4_4_40",
                "size": [100, 65, 7],
                "resolution": [4, 4, 40],
                "voxel_offset": [-5, 3, 0],
                **common,
            },
            {
                "key": "8_8_40",
                "size": [50, 33, 7],
                "resolution": [8, 8, 40],
                "voxel_offset": [-3, 1, 0],
                **common,
            },
            {
                "key": "16_16_40",
                "size": [25, 17, 7],
                "resolution": [16, 16, 40],
                "voxel_offset": [-2, 0, 0],
                **common,
            },
        ],
    }


def test_optional_fields_stay_absent() -> None:
    info = create(mesh=None, skeletons=False)
    assert set(info) == {"type", "data_type", "num_channels", "scales"}
    assert set(info["scales"][0]) == {"key", "size", "resolution", "voxel_offset", "chunk_sizes", "encoding"}
    assert info["scales"][0]["chunk_sizes"] == [[64, 64, 64]]


def test_parameters_of_one_encoding_are_written_for_it_only() -> None:
    parameters = {
        "jpeg_quality": 80,
        "png_level": 3,
        "compressed_segmentation_block_size": (4, 8, 16),
        "max_mip": 1,
    }
    usual = set(create()["scales"][0])
    for encoding, name, value in [
        ("jpeg", "jpeg_quality", 80),
        ("png", "png_level", 3),
        ("compressed_segmentation", "compressed_segmentation_block_size", [4, 8, 16]),
    ]:
        for scale in create(encoding=encoding, **parameters)["scales"]:
            assert set(scale) == {*usual, name}
            assert scale[name] == value
    assert set(create(encoding="raw", **parameters)["scales"][1]) == usual
    assert set(create(encoding="jpeg")["scales"][0]) == usual


def test_names_are_written_in_lower_case() -> None:
    info = create(layer_type="Image", data_type="UInt8", encoding="JPEG")
    assert (info["type"], info["data_type"], info["scales"][0]["encoding"]) == ("image", "uint8", "jpeg")


@pytest.mark.parametrize("name", CREATABLE_DATA_TYPES)
def test_data_types_are_names_or_dtypes(name: str) -> None:
    for value in (name, np.dtype(name), getattr(np, name), np.dtype(name).newbyteorder(">")):
        assert create(data_type=value)["data_type"] == name


@pytest.mark.parametrize("kind", [tuple, list, np.array, lambda values: Vec(*values)])
def test_any_sequence_and_any_number_becomes_plain_json(kind: Any) -> None:
    info = create(
        num_channels=np.int16(2),
        resolution=kind([4.0, 4.5, 40.0]),
        voxel_offset=kind([np.int64(-5), 3, 0]),
        volume_size=kind([100.0, 65, 7]),
        chunk_size=kind([16, 16, 16]),
        factor=kind([2, 2, 1]),
        max_mip=np.uint8(1),
    )
    expected = create(num_channels=2, resolution=[4, 4.5, 40], chunk_size=[16, 16, 16], max_mip=1)
    assert info == expected
    assert json.dumps(info) == json.dumps(expected)  # 100 and not 100.0
    assert info["scales"][1]["resolution"] == [8, 9, 40]


triples = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**6))
offsets = st.tuples(*[st.integers(-(10**9), 10**9)] * 3)
lengths = st.integers(1, 10**5) | st.decimals(
    "0.001", "10000", places=3, allow_nan=False, allow_infinity=False
).map(float)


@given(
    st.tuples(lengths, lengths, lengths),
    offsets,
    triples,
    st.tuples(*[st.integers(1, 4)] * 3).filter(lambda factor: max(factor) > 1),
    st.integers(0, 6),
)
def test_lower_scales_are_exact(
    resolution: tuple[float, ...],
    offset: tuple[int, ...],
    size: tuple[int, ...],
    factor: tuple[int, ...],
    max_mip: int,
) -> None:
    info = create(
        resolution=resolution, voxel_offset=offset, volume_size=size, factor=factor, max_mip=max_mip
    )
    assert len(info["scales"]) == max_mip + 1
    for mip, scale in enumerate(info["scales"]):
        for axis in range(3):
            step = factor[axis] ** mip
            nm = Fraction(str(resolution[axis])) * step
            assert Fraction(str(scale["resolution"][axis])) == nm
            assert isinstance(scale["resolution"][axis], int) == (nm.denominator == 1)
            assert scale["size"][axis] == math.ceil(Fraction(size[axis], step)) >= 1
            assert scale["voxel_offset"][axis] == math.floor(Fraction(offset[axis], step))
        assert [Fraction(text) for text in scale["key"].split("_")] == [
            Fraction(str(nm)) for nm in scale["resolution"]
        ]
        assert scale["chunk_sizes"] == [[64, 64, 64]]
    structure(info, VolumeInfo, "info")  # and all of it is valid


@pytest.mark.parametrize(
    ("resolution", "key"),
    [
        ((4, 4, 40), "4_4_40"),
        ((4.5, 4.0, 40), "4.5_4_40"),
        ((0.1, 0.25, 1e3), "0.1_0.25_1000"),
        ((np.float64(0.3), np.int64(2), 1), "0.3_2_1"),
    ],
)
def test_scale_keys(resolution: tuple[float, ...], key: str) -> None:
    assert scale_key(resolution) == key


def test_tenths_stay_tenths() -> None:
    scales = create(resolution=(0.1, 1.1, 4.35), factor=(3, 3, 100), max_mip=1)["scales"]
    assert scales[1]["resolution"] == [0.3, 3.3, 435]
    assert scales[1]["key"] == "0.3_3.3_435"


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"num_channels": 0}, "num_channels: must be at least 1, got 0"),
        ({"num_channels": True}, "num_channels: expected an integer, got True"),
        ({"num_channels": np.bool_(True)}, "num_channels: expected an integer, got True"),
        ({"num_channels": "1"}, "num_channels: expected an integer, got '1'"),
        ({"layer_type": "imag"}, "layer_type: expected 'image' or 'segmentation'"),
        ({"layer_type": None}, "layer_type: expected a text"),
        ({"data_type": "unit8"}, "data_type: expected one that viewers show, uint8, int8, uint16"),
        ({"data_type": [1]}, "data_type: expected a name or a numpy dtype, got [1]"),
        ({"encoding": ""}, "encoding: must not be empty"),
        ({"encoding": 3}, "encoding: expected a text"),
        ({"resolution": 4}, "resolution: expected a list, got 4"),
        ({"resolution": (4, 4)}, "resolution: expected 3 values, got [4, 4]"),
        ({"resolution": (4, 4, 0)}, "resolution[2]: must be greater than 0, got 0"),
        ({"resolution": (4, -4.5, 1)}, "resolution[1]: must be greater than 0, got -4.5"),
        ({"resolution": (math.nan, 4, 1)}, "resolution[0]: "),
        ({"resolution": (4, "4", 1)}, "resolution[1]: expected a number, got '4'"),
        ({"voxel_offset": (10.7, 0, 0)}, "voxel_offset[0]: expected an integer, got 10.7"),
        ({"voxel_offset": None}, "voxel_offset: expected a list, got None"),
        ({"volume_size": (1, 1, 0)}, "volume_size[2]: must be at least 1, got 0"),
        ({"volume_size": {1, 2, 3}}, "volume_size: "),
        ({"volume_size": (1, 1, True)}, "volume_size[2]: expected an integer, got True"),
        ({"volume_size": (2**62 + 1, 1, 1)}, "volume_size[0]: must be at most"),
        ({"chunk_size": (64, 64, -64)}, "chunk_size[2]: must be at least 1, got -64"),
        ({"max_mip": -1}, "max_mip: must be at least 0, got -1"),
        ({"max_mip": 1.5}, "max_mip: expected an integer, got 1.5"),
        ({"max_mip": 10**9}, "max_mip: at most "),
        (
            {"max_mip": 50, "factor": (1, 1, 1000)},
            "max_mip: at most 5 will do with a factor of (1, 1, 1000): ",
        ),
        ({"max_mip": 2, "factor": (1, 1, 2**40)}, "max_mip: at most 1 will do with a factor of (1, 1, "),
        (
            {"max_mip": 1, "factor": (1, 1, 2**61)},
            "factor: (1, 1, 2305843009213693952) is too much for one step",
        ),
        ({"factor": (0, 1, 1)}, "factor[0]: must be at least 1, got 0"),
        ({"factor": (1.5, 1, 1)}, "factor[0]: expected an integer, got 1.5"),
        ({"max_mip": 1, "factor": (1, 1, 1)}, "factor: one axis must be above 1"),
        ({"mesh": 5}, "mesh: expected a text, got 5"),
        ({"skeletons": ["a"]}, "skeletons: expected a text"),
        ({"encoding": "jpeg", "jpeg_quality": 101}, "jpeg_quality: must be at most 100, got 101"),
        ({"encoding": "png", "png_level": 9.5}, "png_level: expected an integer, got 9.5"),
        (
            {"compressed_segmentation_block_size": (8, 8)},
            "compressed_segmentation_block_size: expected 3 values",
        ),
    ],
)
def test_wrong_arguments_are_named(changes: dict[str, Any], start: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        create(**changes)
    assert str(caught.value).startswith(start)


@pytest.mark.parametrize("name", ["int64", "float64", "bool", np.int64, float, bool, "float16", "complex64"])
def test_data_types_that_no_viewer_shows_are_refused_with_a_list(name: Any) -> None:
    with pytest.raises(ArgumentError, match=", ".join(CREATABLE_DATA_TYPES)):
        create(data_type=name)


# --- add_scale, reset_scales ---


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 3))
def test_add_scale_counts_from_mip_0(factor: tuple[int, int, int], max_mip: int) -> None:
    info = create(max_mip=max_mip)
    scales, before = info["scales"], [dict(scale) for scale in info["scales"]]
    added = add_scale(info, factor)
    assert added == create(factor=factor, max_mip=int(max(factor) > 1))["scales"][-1]
    assert info["scales"] is scales
    same = [mip for mip, scale in enumerate(before) if scale["resolution"] == added["resolution"]]
    if same:
        assert scales == before  # it replaced its equal
        assert scales[same[0]] is added
    else:
        assert scales[:-1] == before
        assert scales[-1] is added
    structure(info, VolumeInfo, "info")


def test_add_scale_replaces_the_scale_of_that_resolution() -> None:
    info = create(max_mip=2, encoding="jpeg", jpeg_quality=70)
    info["scales"][1].update(key="mine", resolution=[8 * (1 + 1e-12), 8, 40.0])
    added = add_scale(info, Vec(2, 2, 1), encoding="Compressed_Segmentation", chunk_size=np.array([8, 8, 8]))
    assert [scale["key"] for scale in info["scales"]] == ["4_4_40", "8_8_40", "16_16_40"]
    assert added == {
        "key": "8_8_40",
        "size": [50, 33, 7],
        "resolution": [8, 8, 40],
        "voxel_offset": [-3, 1, 0],
        "chunk_sizes": [[8, 8, 8]],
        "encoding": "compressed_segmentation",
        "compressed_segmentation_block_size": [8, 8, 8],
    }
    assert add_scale(info, (3, 3, 3))["jpeg_quality"] == 70


def test_add_scale_takes_what_the_info_leaves_out() -> None:
    info = create()
    del info["scales"][0]["voxel_offset"]
    info["scales"][0]["encoding"] = "RAW"
    added = add_scale(info, (2, 2, 2))
    assert (added["voxel_offset"], added["encoding"]) == ([0, 0, 0], "raw")


def test_add_scale_says_what_is_wrong_and_changes_nothing() -> None:
    info = create()
    before = json.dumps(info)
    with pytest.raises(ArgumentError, match=r"^factor\[1\]: must be at least 1"):
        add_scale(info, (2, 0, 1))
    with pytest.raises(ArgumentError, match=r"^chunk_size: expected 3 values"):
        add_scale(info, (2, 2, 1), chunk_size=(1, 2))
    with pytest.raises(ArgumentError, match=r"^encoding: must not be empty"):
        add_scale(info, (2, 2, 1), encoding="")
    assert json.dumps(info) == before
    info["scales"][0]["size"][0] = 0
    with pytest.raises(InfoError, match=r"^info\.scales\[0\]\.size\[0\]: "):
        add_scale(info, (2, 2, 1))


def test_reset_scales_keeps_mip_0() -> None:
    info = create(max_mip=3)
    scales = info["scales"]
    reset_scales(info)
    assert info == create()
    assert info["scales"] is scales
