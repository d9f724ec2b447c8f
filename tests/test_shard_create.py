"""New sharded layers: which bits are chosen, and why."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shards import sharding
from volumes import noise

from precomp import CloudVolume, open_volume
from precomp.engine.shards.cells import Morton
from precomp.errors import ArgumentError, ConfigError, InfoError
from precomp.info import ShardingSpec
from precomp.shard_layout import ShardLayout, choose_bits, morton_bits


def info(size: Any = (1000, 900, 300), **arguments: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"layer_type": "image", "data_type": "uint8", "encoding": "raw", **arguments}
    return CloudVolume.create_new_info(
        1, resolution=(4, 4, 40), voxel_offset=(0, 0, 0), volume_size=size, **given
    )


@given(
    st.tuples(*[st.integers(1, 10**6)] * 3),
    st.integers(1, 2**32),
    st.integers(1, 2**36),
    st.integers(1, 2**36),
)
def test_bits_that_are_chosen(grid: Any, chunk_bytes: int, shard_bytes: int, memory: int) -> None:
    preshift, minishard, shard = choose_bits(grid, chunk_bytes, shard_bytes, memory)
    assert preshift + minishard + shard == morton_bits(grid)
    assert preshift <= 9
    in_shard = 2 ** (preshift + minishard)
    layout = ShardLayout(grid, chunk_bytes, preshift, minishard, shard, False)
    assert in_shard == 1 or (in_shard * chunk_bytes <= shard_bytes and layout.memory <= memory)
    # Twice as many would be too much, or are more than there are.
    twice = 2 * in_shard
    assert shard == 0 or twice * chunk_bytes > shard_bytes or twice * (3 * chunk_bytes + 1024) > memory
    assert layout.shards * layout.chunks_per_shard >= layout.chunks
    assert layout.chunks_per_shard <= in_shard
    assert layout.chunks_per_minishard <= 2**preshift


def test_a_sharding_is_chosen_for_each_scale_and_says_why(tmp_path: Path) -> None:
    made = info((100_000, 80_000, 5_000), max_mip=1, sharding=True)
    bits = [
        tuple(scale["sharding"][f"{name}_bits"] for name in ("preshift", "minishard", "shard"))
        for scale in made["scales"]
    ]
    assert bits == [(9, 2, 18), (9, 2, 16)]
    vol = CloudVolume(tmp_path / "ds" / "a", info=made)
    layout = vol.metadata.shard_layout(0)
    assert layout is not None
    assert (layout.shard_bytes, layout.memory) == (2**29, 3 * 2**29 + 2**21)
    assert str(layout) == (
        "1563 x 1250 x 79 chunks of 256 KiB, 29 bits to number them. 9 preshift_bits and 2 minishard_bits "
        "make minishards of up to 512 chunks, with an index of 12 KiB; with 18 shard_bits there are up to "
        "262144 shards of up to 2048 chunks, 512 MiB decoded. To write into one takes up to 3 times that "
        "in memory, 1.5 GiB; less where chunks shrink. sharding=True chooses these bits: as many chunks to a "
        "shard as have at most 512 MiB decoded and take at most 2 GiB when it is written, one at the least; "
        "and at most 512 of them to a minishard, so that its index is quickly read."
    )
    made["scales"][0]["sharding"]["shard_bits"] = 17
    other = CloudVolume(tmp_path / "ds" / "c", info=made).metadata.shard_layout(0)
    assert "sharding=True" not in str(other)
    assert CloudVolume(tmp_path / "ds" / "b", info=info()).metadata.shard_layout(0) is None


@given(st.tuples(*[st.integers(1, 6)] * 3), *[st.integers(0, 6)] * 3)
def test_a_layout_tells_no_less_than_there_is(grid: Any, preshift: int, minishard: int, shard: int) -> None:
    """Whatever bits are given: more than number the chunks, too."""
    layout, code = ShardLayout(grid, 1000, preshift, minishard, shard, False), Morton(grid)
    shards, minishards = Counter[int](), Counter[tuple[int, int]]()
    for cell in itertools.product(*map(range, grid)):
        place = code.of(*cell) >> preshift
        number = (place >> minishard) % 2**shard
        shards[number] += 1
        minishards[number, place % 2**minishard] += 1
    assert len(shards) <= layout.shards
    assert max(shards.values()) <= layout.chunks_per_shard
    assert max(minishards.values()) <= layout.chunks_per_minishard
    if grid == tuple(1 << (n - 1).bit_length() for n in grid):
        found = len(shards), max(shards.values()), max(minishards.values())
        assert found == (layout.shards, layout.chunks_per_shard, layout.chunks_per_minishard)


@pytest.mark.parametrize("given", [True, sharding(1, 2, 3)])
def test_more_chunks_than_64_bits_number_are_refused_at_once(given: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"scale 4_4_40 take 66 bits .* larger chunk_size"):
        info((2**22,) * 3, chunk_size=(1, 1, 1), sharding=given)
    made = info((2**22,) * 3, chunk_size=(1, 1, 1))
    made["scales"][0]["sharding"] = sharding(1, 2, 3)
    with pytest.raises(InfoError, match="64 bits"):
        CloudVolume(tmp_path / "ds" / "a", info=made).commit_info()


def test_a_layout_of_a_hash_tells_means() -> None:
    layout = ShardLayout((10, 10, 10), 1000, 0, 2, 3, True)
    assert (layout.shards, layout.chunks_per_shard, layout.chunks_per_minishard) == (8, 125, 32)
    assert "about 125 chunks, 122 KiB decoded" in str(layout)


@pytest.mark.parametrize(
    ("layer_type", "data_type", "encoding", "packed"),
    [
        ("image", "uint8", "raw", "raw"),
        ("image", "uint8", "jpeg", "raw"),
        ("segmentation", "uint64", "raw", "gzip"),
    ],
)
def test_what_shrinks_is_compressed(layer_type: str, data_type: str, encoding: str, packed: str) -> None:
    made = info(layer_type=layer_type, data_type=data_type, encoding=encoding, sharding=True)
    assert made["scales"][0]["sharding"]["data_encoding"] == packed


@pytest.mark.parametrize("sharding", [{"shard_bytes": 2**20}, {"memory": 2**22}])
def test_other_aims(sharding: Any) -> None:
    spec = info(sharding=sharding)["scales"][0]["sharding"]
    assert spec["preshift_bits"] + spec["minishard_bits"] == 2


GIVEN = sharding(3, 2, 4, "murmurhash3_x86_128", "gzip", "gzip")


@pytest.mark.parametrize(
    "spec",
    [GIVEN, ShardingSpec("neuroglancer_uint64_sharded_v1", 3, "murmurhash3_x86_128", 2, 4, "gzip", "gzip")],
    ids=["json", "record"],
)
def test_a_given_sharding_holds_for_every_scale(spec: Any) -> None:
    made = info(max_mip=2, sharding=spec)
    assert [scale["sharding"] for scale in made["scales"]] == [GIVEN] * 3


@pytest.mark.parametrize("off", [None, False])
def test_no_sharding(off: Any) -> None:
    assert "sharding" not in info(sharding=off)["scales"][0]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ("yes", "expected True"),
        (7, "expected True"),
        ({"shard_bytes": 0}, r"sharding\.shard_bytes: must be at least 1"),
        ({"shard_bites": 5}, "sharding"),
        ({**GIVEN, "hash": "md5"}, r"sharding\.hash"),
        ({**GIVEN, "minishard_bits": 63}, r"sharding\.shard_bits"),
    ],
)
def test_a_wrong_sharding_is_refused(wrong: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        info(sharding=wrong)


def test_an_added_scale_is_sharded_alike(tmp_path: Path) -> None:
    vol = CloudVolume(tmp_path / "ds" / "a", info=info((4096, 4096, 64), sharding={"shard_bytes": 2**22}))
    assert {**vol.add_scale((4, 4, 1))["sharding"], "shard_bits": 0} == {
        **vol.scale["sharding"],
        "shard_bits": 0,
    }
    assert vol.scale["sharding"]["shard_bits"] == vol.scales[1]["sharding"]["shard_bits"] + 4
    small = vol.add_scale((64, 64, 64))["sharding"]
    assert [small[f"{name}_bits"] for name in ("preshift", "minishard", "shard")] == [0, 0, 0]
    vol.mip = 2
    vol[...] = 7
    assert (vol[...] == 7).all()
    vol.info["scales"][0]["sharding"] = GIVEN
    assert vol.add_scale((8, 8, 1))["sharding"] == GIVEN
    vol.info["scales"][0]["sharding"] = wrapped = sharding(1, 1, 1)  # many runs of numbers to a shard
    assert vol.add_scale((16, 16, 1))["sharding"] == wrapped


def test_a_sharded_layer_from_a_config(tmp_path: Path) -> None:
    create = {
        "num_channels": 1,
        "layer_type": "image",
        "data_type": "uint8",
        "encoding": "raw",
        "resolution": [4, 4, 40],
        "voxel_offset": [0, 0, 0],
        "volume_size": [100, 100, 50],
        "sharding": True,
    }
    config = tmp_path / "precomp.json"
    path = str(tmp_path / "ds" / "a")
    config.write_text(json.dumps({"volumes": {"a": {"cloudpath": path, "create": create}}}))
    vol = open_volume("a", config=config)
    voxels = noise(vol.shape)
    vol[...] = voxels
    np.testing.assert_array_equal(open_volume("a", config=config)[...], voxels)
    assert [file.name for file in Path(path, "4_4_40").iterdir()] == ["0.shard"]
    create["sharding"] = {"shard_bytes": -1}
    config.write_text(json.dumps({"volumes": {"a": {"cloudpath": path, "create": create}}}))
    with pytest.raises((ConfigError, InfoError), match="shard_bytes"):
        open_volume("a", config=config)
