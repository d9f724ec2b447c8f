"""Real data go in and come back: EM tiles, a dense segmentation, a layer that other programs wrote.

The data are no part of this repository: the environment variable PRECOMP_TEST_DATA names their folder;
where it is not set they are looked for beside the checkout.
"""

import gzip
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import compresso
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from precomp import Bbox, CloudVolume
from precomp.errors import ChunkDecodeError, EmptyVolumeError

DATA = Path(os.environ.get("PRECOMP_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(),
    reason=f"the real data are not in {DATA}; the environment variable PRECOMP_TEST_DATA names their folder",
)

# The whole fly brain that the tiles are from, in voxels of 4 x 4 x 40 nm.
BRAIN = (248156, 133718, 7063)


class Tile(NamedTuple):
    """A micrograph of 1024 x 1024 voxels, counted in tiles along x and y."""

    z: int
    y: int
    x: int

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """The voxels it covers."""
        x, y = 1024 * self.x, 1024 * self.y
        return np.s_[x : x + 1024, y : y + 1024, self.z : self.z + 1]

    def voxels(self) -> NDArray[np.uint8]:
        """What Pillow reads, shape (x, y, z, channel)."""
        with Image.open(DATA / "em_tiles" / str(self.z) / str(self.y) / f"{self.x}.jpg") as image:
            return np.asarray(image).T[..., np.newaxis, np.newaxis]


TILES = [Tile(z, y, x) for z, x0 in ((1, 140), (2, 140), (40, 144)) for y in (60, 61) for x in (x0, x0 + 1)]


def joined(z: int, x: int) -> NDArray[np.uint8]:
    """The four tiles of a section, of which the first is number `x` along x."""
    columns = [[Tile(z, y, x + i).voxels() for y in (60, 61)] for i in (0, 1)]
    return np.concatenate([np.concatenate(column, axis=1) for column in columns], axis=0)


@pytest.mark.parametrize(
    ("chunk_size", "voxel_offset", "tiles"),
    [
        pytest.param((1024, 1024, 1), (0, 0, 0), TILES, id="aligned"),
        pytest.param((256, 256, 1), (-11, 7, -3), TILES, id="planes"),
        pytest.param((64, 64, 64), (-11, 7, -3), [TILES[0], TILES[4]], id="cubes"),
    ],
)
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_em_tiles_come_back_from_their_true_coordinates(
    tmp_path: Path, encoding: str, chunk_size: Any, voxel_offset: Any, tiles: list[Tile]
) -> None:
    info = CloudVolume.create_new_info(
        1, "image", "uint8", encoding, (4, 4, 40), voxel_offset, BRAIN, chunk_size=chunk_size
    )
    writer = CloudVolume(tmp_path, info=info)
    writer.commit_info()
    writer.non_aligned_writes = writer.fill_missing = voxel_offset != (0, 0, 0)
    for tile in tiles:
        writer[tile.place] = tile.voxels()
    vol = CloudVolume(tmp_path)
    for tile in tiles:
        cutout, expected = vol[tile.place], tile.voxels()
        assert cutout.bounds == Bbox.from_slices(tile.place)
        if encoding == "raw":
            np.testing.assert_array_equal(cutout, expected)
        else:
            error = np.abs(cutout.astype(int) - expected)
            assert error.mean() < 2
            assert error.max() < 32
    with pytest.raises(EmptyVolumeError, match="4_4_40/"):
        vol[100_000, 100_000, 1000]
    vol.fill_missing = True
    assert not vol[99_900:100_100, 100_000, 1000].any()


def test_a_cutout_spans_tiles_and_sections_of_a_sparse_volume(tmp_path: Path) -> None:
    info = CloudVolume.create_new_info(
        1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), BRAIN, chunk_size=(256, 256, 1)
    )
    vol = CloudVolume(tmp_path, info=info, fill_missing=True)
    vol.commit_info()
    for tile in TILES:
        vol[tile.place] = tile.voxels()
    assert len(list((tmp_path / "4_4_40").iterdir())) == len(TILES) * 16
    assert (tmp_path / "4_4_40" / "143360-143616_61440-61696_1-2").stat().st_size == 256 * 256
    sections = np.concatenate([joined(1, 140), joined(2, 140)], axis=2)
    np.testing.assert_array_equal(
        vol[144_284:144_484, 62_400:62_500, 1:3], sections[924:1124, 960:1060]  # around the middle
    )  # fmt: skip
    # From nothing into the first tile, and from section 39, of which there is none, into 40.
    corner = vol[147_446:147_476, 61_430:61_450, 39:41]
    expected = np.zeros((30, 20, 2, 1), np.uint8)
    expected[10:, 10:, 1:] = joined(40, 144)[:20, :10]
    np.testing.assert_array_equal(corner, expected)


CHILD = """
import hashlib, json, sys
from precomp import CloudVolume
vol = CloudVolume(sys.argv[1])
digest = hashlib.sha256(vol[...].tobytes("F")).hexdigest()
print(json.dumps([str(vol.bounds), vol.dtype, vol.layer_type, digest]))
"""


@pytest.mark.slow
def test_a_dense_segmentation_comes_back_with_its_mips(tmp_path: Path) -> None:
    with lzma.open(DATA / "connectomics_512x512x256_uint32.npy.xz") as file:
        labels = np.load(file)
    assert labels.flags.f_contiguous
    vol = CloudVolume.from_numpy(
        labels, tmp_path, resolution=(6, 6, 30), voxel_offset=(1024, -512, 7), max_mip=2, compress="gzip"
    )
    files = [path for path in tmp_path.rglob("*-*") if path.is_file()]
    assert len(files) == 4 * 4 * 4 + 2 * 2 * 4 + 4
    assert all(path.suffix == ".gz" for path in files)
    assert sum(path.stat().st_size for path in files) < labels.nbytes / 10
    np.testing.assert_array_equal(vol[...][..., 0], labels)

    fresh = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True, check=True
    )
    assert json.loads(fresh.stdout) == [
        "Bbox((1024, -512, 7), (1536, 0, 263))",
        "uint32",
        "segmentation",
        hashlib.sha256(labels.tobytes("F")).hexdigest(),
    ]

    for mip in (1, 2):
        finer = np.asarray(vol.download(vol.mip_bounds(mip - 1), mip=mip - 1))[..., 0]
        coarse = np.asarray(vol.download(vol.mip_bounds(mip), mip=mip))[..., 0]
        assert coarse.shape == (512 >> mip, 512 >> mip, 256)
        for x, y, z in np.random.default_rng(mip).integers(0, coarse.shape, (2000, 3)):
            votes = Counter(finer[2 * x : 2 * x + 2, 2 * y : 2 * y + 2, z].ravel().tolist())
            assert votes[int(coarse[x, y, z])] == max(votes.values())


SEGMENTATION = DATA / "seg_precomputed"
MESHES = SEGMENTATION / "mesh_mip_2_err_40"


@pytest.fixture
def layer() -> Iterator[CloudVolume]:
    """The layer of other programs, which stays as it is."""
    before = sorted(SEGMENTATION.rglob("*"))
    yield CloudVolume(f"file://{SEGMENTATION}")
    assert sorted(SEGMENTATION.rglob("*")) == before


def segments() -> list[int]:
    """Every segment that has a manifest."""
    return sorted(int(path.name[:-2]) for path in MESHES.glob("*:0"))


def fragment(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Vertices and faces of a compressed mesh fragment, by the letter of the format."""
    data = gzip.decompress(path.read_bytes())
    count = int.from_bytes(data[:4], "little")
    vertices = np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3)
    return vertices, np.frombuffer(data, "<u4", offset=4 + 12 * count).reshape(-1, 3)


def test_a_foreign_layer_tells_of_itself(layer: CloudVolume) -> None:
    assert layer.info == json.loads((SEGMENTATION / "info").read_text())
    assert (layer.layer_type, layer.dtype, layer.num_channels) == ("segmentation", "uint32", 1)
    assert layer.available_mips == [0, 1]
    assert layer.bounds == Bbox((0, 0, 0), (512, 512, 512))
    assert (layer.key, layer.encoding, tuple(layer.chunk_size)) == ("16_16_40", "compresso", (256, 256, 64))
    assert (layer.mip_key(1), tuple(layer.mip_resolution(1))) == ("32_32_40", (32, 32, 40))
    assert tuple(layer.mip_downsample_ratio(1)) == (2, 2, 1)
    assert layer.metadata.mesh == MESHES.name


def test_a_foreign_provenance_is_kept_whole(layer: CloudVolume) -> None:
    stored = json.loads((SEGMENTATION / "provenance").read_text())
    assert json.loads(layer.provenance.serialize()) == stored
    assert [step["method"]["task"] for step in layer.provenance.processing] == ["TransferTask"] + 4 * [
        "MeshTask"
    ]


@pytest.mark.parametrize("mip", [0, 1])
def test_the_voxels_of_a_foreign_layer_are_read(layer: CloudVolume, mip: int) -> None:
    layer.mip = mip
    voxels = np.asarray(layer[...])
    chunks = sorted((SEGMENTATION / layer.key).iterdir())
    assert len(chunks) == (32, 8)[mip]
    for path in chunks:
        x, y, z = (slice(*map(int, part.split("-"))) for part in path.name.removesuffix(".gz").split("_"))
        expected = compresso.decompress(gzip.decompress(path.read_bytes()))
        np.testing.assert_array_equal(voxels[x, y, z, 0], expected)
    # Segments lie across chunks: hardly a label ends where a chunk does.
    assert (voxels[:, :, 63] == voxels[:, :, 64]).mean() > 0.8
    if mip:
        assert set(segments()) <= set(np.unique(voxels).tolist())
    np.testing.assert_array_equal(layer[200:256, 7:99, 63:66], voxels[200:256, 7:99, 63:66])


def test_a_damaged_foreign_chunk_is_named(tmp_path: Path) -> None:
    shutil.copytree(SEGMENTATION, tmp_path / "layer", copy_function=shutil.copyfile)
    chunk = tmp_path / "layer" / "16_16_40" / "0-256_0-256_64-128.gz"
    stream = gzip.decompress(chunk.read_bytes())
    chunk.write_bytes(gzip.compress(stream[:-100]))
    vol = CloudVolume(tmp_path / "layer")
    with pytest.raises(ChunkDecodeError, match=r"16_16_40/0-256_0-256_64-128.*compresso"):
        vol[0:10, 0:10, 100]
    assert vol[0:10, 0:10, 128].shape == (10, 10, 1, 1)


def test_every_foreign_mesh_is_read(layer: CloudVolume) -> None:
    ids = segments()
    assert len(ids) == 35
    meshes = layer.mesh.get(ids, fuse=False)
    assert list(meshes) == ids
    low, high = (np.asarray(corner) * layer.resolution for corner in (layer.bounds.minpt, layer.bounds.maxpt))
    voxel = np.asarray(layer.mip_resolution(1))  # the meshes were made at mip 1, and simplified
    several = 0
    for segid, mesh in meshes.items():
        names = json.loads((MESHES / f"{segid}:0").read_text())["fragments"]
        parts = [fragment(MESHES / f"{name}.gz") for name in names]
        several += len(parts) > 1
        assert mesh.segid == segid
        assert mesh.vertices.dtype == np.float32
        assert mesh.faces.dtype == np.uint32
        np.testing.assert_array_equal(mesh.vertices, np.concatenate([vertices for vertices, _ in parts]))
        # Each face has the corners that it has in its fragment.
        corners = np.concatenate([vertices[faces] for vertices, faces in parts])
        np.testing.assert_array_equal(mesh.vertices[mesh.faces], corners)
        assert np.isfinite(mesh.vertices).all()
        assert (mesh.vertices >= low - voxel).all()
        assert (mesh.vertices <= high + voxel).all()
    assert several == 15


def test_three_foreign_meshes_make_one_obj(
    layer: CloudVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = [79221857, 27668619, 22270104]  # of two, one and two fragments
    assert layer.save_mesh(ids) == "./79221857_22270104.obj"
    lines = [line.split() for line in Path("79221857_22270104.obj").read_text().splitlines()]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], np.float32)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], np.int64) - 1  # OBJ counts from 1
    assert {line[0] for line in lines} == {"#", "v", "f"}
    meshes = [layer.mesh.get(segid) for segid in ids]
    np.testing.assert_array_equal(vertices, np.concatenate([mesh.vertices for mesh in meshes]))
    corners = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes])
    assert faces.min() == 0
    np.testing.assert_array_equal(vertices[faces], corners)
