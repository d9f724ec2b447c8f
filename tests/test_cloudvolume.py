"""The same voxels in precomp and cloud-volume: each reads what the other wrote, where that one is right.

It is not in png of 16 bits, nor in channels of jpeg, png and jxl (see test_peers.py).
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from shards import sharding

from precomp import CloudVolume

SIZE = (37, 29, 11)  # no axis is a multiple of the chunk
CHUNK = (16, 10, 7)
Array = NDArray[Any]


class Case(NamedTuple):
    """A layer.

    Attributes:
        encoding: of its chunks.
        dtype: of its voxels.
        channels: of them.
        offset: of the volume.
        fields: more arguments of `create_new_info`.
        error: the largest of a voxel.
    """

    encoding: str
    dtype: str
    channels: int = 1
    offset: tuple[int, int, int] = (-21, 5, -3)
    fields: dict[str, Any] = {}  # noqa: RUF012
    error: float = 0


LABELS = ("uint8", "uint16", "uint32", "uint64")
ONE = sharding(
    1, 2, 0, "murmurhash3_x86_128", "gzip", "gzip"
)  # one shard: it writes no more than that at once
CASES = [
    Case("raw", "uint8"),
    Case("raw", "uint16", 3, (7, 100, 3)),
    Case("raw", "float32", 2, (0, 0, 0)),
    Case("raw", "uint64", fields={"sharding": ONE}),
    *(Case("compresso", dtype) for dtype in LABELS),
    *(Case("crackle", dtype) for dtype in LABELS),
    Case("crackle", "uint32", offset=(7, 0, 3), fields={"sharding": sharding(0, 1, 0)}),
    Case("fpzip", "float32"),
    Case("fpzip", "float32", 3, (7, 100, 3)),
    Case("zfpc", "float32", fields={"zfpc_tolerance": 0.01}, error=0.01),
    Case("zfpc", "float32", 3, (0, 0, 0), {"zfpc_correlated_dims": [True, True, True, False]}),
    Case("jxl", "uint8", fields={"jxl_quality": 100}),
    Case("png", "uint8"),
    Case("jpeg", "uint8", fields={"jpeg_quality": 100}, error=4),
    Case("compressed_segmentation", "uint32"),
    Case("compressed_segmentation", "uint64", fields={"compressed_segmentation_block_size": [4, 4, 4]}),
    Case("compressed_segmentation", "uint64", fields={"sharding": ONE}),
    Case("npz", "uint16", 2),
]


def voxels_of(case: Case) -> Array:
    """Unlike along each axis and in each channel; smooth, or with plain and busy regions."""
    x, y, z, c = np.ogrid[: SIZE[0], : SIZE[1], : SIZE[2], : case.channels]
    if np.dtype(case.dtype).kind == "f" or case.encoding in ("jpeg", "jxl", "png"):
        return np.asarray(
            (40 + 60 * c + 3 * x + 2 * y + 4 * z) / (7 if case.dtype == "float32" else 1.5)
        ).astype(case.dtype)
    plain = (x // 5 + 3 * (y // 4) + 7 * (z // 3) + 31 * c) % 97 + 1
    busy = np.random.default_rng(0).integers(1, np.iinfo(case.dtype).max, plain.shape, case.dtype)
    return np.where(x < 20, plain.astype(case.dtype), busy)


def made(case: Case, path: Path) -> CloudVolume:
    layer_type = (
        "segmentation" if case.encoding in ("compresso", "crackle", "compressed_segmentation") else "image"
    )
    info = CloudVolume.create_new_info(
        case.channels,
        layer_type,
        case.dtype,
        case.encoding,
        (8, 8, 40),
        case.offset,
        SIZE,
        chunk_size=CHUNK,
        **case.fields,
    )
    vol = CloudVolume(path, info=info)
    vol.commit_info()
    return vol


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], tuple[Array, CloudVolume]]:
    """Give what cloud-volume reads of a layer that precomp wrote, and a layer that cloud-volume wrote."""
    folder, jobs = tmp_path_factory.mktemp("layers"), []
    for number, case in enumerate(CASES):
        ours, theirs = folder / f"ours{number}" / "a", folder / f"theirs{number}" / "a"
        made(case, ours)[...] = voxels_of(case)
        made(case, theirs)
        np.save(folder / f"{number}.npy", voxels_of(case))
        jobs.append(("write", str(theirs), str(folder / f"{number}.npy")))
        jobs.append(("read", str(ours), str(folder / f"read{number}.npy")))
    (folder / "jobs").write_text(json.dumps(jobs))
    child = Path(__file__).with_name("cloudvolume_child.py")
    done = subprocess.run(
        [sys.executable, child, folder / "jobs"], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]

    def give(case: Case) -> tuple[Array, CloudVolume]:
        number = CASES.index(case)
        return np.load(folder / f"read{number}.npy"), CloudVolume(folder / f"theirs{number}" / "a")

    return give


@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_each_reads_what_the_other_wrote(
    case: Case, read: Callable[[Case], tuple[Array, CloudVolume]]
) -> None:
    voxels, (found, theirs) = voxels_of(case), read(case)
    assert (found.shape, found.dtype) == (voxels.shape, voxels.dtype)
    np.testing.assert_allclose(found, voxels, rtol=0, atol=case.error)
    np.testing.assert_allclose(theirs[...], voxels, rtol=0, atol=case.error)
    assert (theirs.encoding, tuple(theirs.voxel_offset)) == (case.encoding, case.offset)
    box = tuple(
        slice(o + low, o + high) for o, low, high in zip(case.offset, (3, 5, 2), (20, 14, 9), strict=True)
    )
    np.testing.assert_allclose(theirs[box], voxels[3:20, 5:14, 2:9], rtol=0, atol=case.error)
