"""Sharded volumes for the tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorstore
from hypothesis import strategies as st

from precomp import CloudVolume

__all__ = ["make_sharded", "opened", "shard_files", "sharding", "shardings"]


def sharding(
    preshift: int = 0,
    minishard: int = 0,
    shard: int = 0,
    hash: str = "identity",
    index: str = "raw",
    data: str = "raw",
) -> dict[str, Any]:
    return {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": preshift,
        "hash": hash,
        "minishard_bits": minishard,
        "shard_bits": shard,
        "minishard_index_encoding": index,
        "data_encoding": data,
    }


@st.composite
def shardings(draw: st.DrawFn) -> dict[str, Any]:
    """Few bits, so that shards and minishards hold several chunks or one or none."""
    bits = st.integers(0, 4)
    compressions = st.sampled_from(["raw", "gzip"])
    hash = draw(st.sampled_from(["identity", "murmurhash3_x86_128"]))
    return sharding(draw(bits), draw(bits), draw(bits), hash, draw(compressions), draw(compressions))


def make_sharded(
    path: object,
    spec: Mapping[str, Any],
    size: Sequence[int] = (40, 30, 20),
    *,
    dtype: str = "uint8",
    channels: int = 1,
    encoding: str = "raw",
    chunk_size: Sequence[int] = (16, 16, 16),
    voxel_offset: Sequence[int] = (-5, 3, 100),
    max_mip: int = 0,
    **options: Any,
) -> CloudVolume:
    """A committed, empty sharded volume."""
    info = CloudVolume.create_new_info(
        channels,
        "segmentation" if encoding == "compressed_segmentation" else "image",
        dtype,
        encoding,
        (8, 8, 40),
        voxel_offset,
        size,
        chunk_size=chunk_size,
        max_mip=max_mip,
    )
    for scale in info["scales"]:
        scale["sharding"] = dict(spec)
    vol = CloudVolume(str(path), info=info, **options)
    vol.commit_info()
    return vol


def opened(folder: Path, **spec: Any) -> Any:
    """Open the layer in `folder` with tensorstore."""
    kvstore = {"driver": "file", "path": f"{folder}/"}
    return tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": kvstore, **spec}).result()


def shard_files(folder: Path) -> list[str]:
    """The names of all files of a scale, hidden ones too."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
