"""Where other programs silently read or write wrong data: each of their failures, shown absent here.

Every test is named after the failure, and would fail in a program that has it.
"""

import json
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from numpy.typing import NDArray
from PIL import Image
from volume_child import run
from volumes import make, noise

from precomp import CloudVolume
from precomp.errors import (
    AlignmentError,
    ChunkDecodeError,
    EmptyVolumeError,
    InfoError,
    StoreError,
    UnknownEncodingError,
)
from precomp.memory import MemoryStore

ZERO = (0, 0, 0)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return tmp_path / "bucket" / "retina" / "image"


def chunks(layer: Path) -> list[str]:
    """The names of all files of the first scale."""
    return sorted(os.listdir(layer / "8_8_40"))


def by_tensorstore(layer: Path) -> NDArray[Any]:
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{layer}/"}}
    voxels: NDArray[Any] = tensorstore.open(spec).result().read().result()
    return voxels


# ------------------------------------------------- channels of an image are not mixed up


def coloured(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A red ramp along x, a green one along y and a blue one along z, none of them like another."""
    x, y, z = np.indices(shape)
    return np.stack([40 + 5 * x, 230 - 6 * y, 20 + 3 * z], axis=-1).astype(np.uint8)


def test_rgb_jpeg_read_as_planes(layer: Path) -> None:
    vol = make(layer, (30, 20, 40), encoding="jpeg", channels=3, voxel_offset=ZERO)
    voxels = coloured((30, 20, 40))
    vol[...] = voxels
    for channel in range(3):
        found, expected = vol[..., channel].astype(int), voxels[..., channel : channel + 1].astype(int)
        assert np.abs(found - expected).max() <= 16
        assert np.abs(found - expected).mean() <= 2
    assert np.abs(by_tensorstore(layer).astype(int) - voxels).max() <= 16


def test_rgb_jpeg_of_another_program_read_as_planes(layer: Path) -> None:
    vol = make(layer, (16, 16, 8), encoding="jpeg", channels=3, voxel_offset=ZERO, chunk_size=(16, 16, 8))
    voxels = coloured((16, 16, 8))
    picture = BytesIO()  # x columns and y * z rows, the channels interleaved
    rows = voxels.transpose(2, 1, 0, 3).reshape(8 * 16, 16, 3)
    Image.fromarray(rows).save(picture, "JPEG", quality=95, subsampling=0)
    (layer / "8_8_40").mkdir()
    (layer / "8_8_40" / "0-16_0-16_0-8").write_bytes(picture.getvalue())
    assert np.abs(vol[...].astype(int) - voxels).max() <= 6


@pytest.mark.parametrize("encoding", ["raw", "npz", "jpeg"])
@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show the encoding")
def test_one_channel_written_as_a_chunk_of_one_channel(layer: Path, encoding: str) -> None:
    vol = make(layer, encoding=encoding, channels=3)
    voxels = noise(vol.shape) // 16 + np.array([0, 100, 200], np.uint8)
    for part in (np.s_[..., 0:1], np.s_[..., 1], np.s_[..., 1:3]):
        with pytest.raises(AlignmentError):
            vol[part] = voxels[..., :2] if part[1] == slice(1, 3) else voxels[..., :1]
    assert not any(vol.exists(vol.bounds).values())
    vol[...] = 0
    vol.non_aligned_writes = True
    for channel in (2, 0, 1):
        vol[..., channel] = voxels[..., channel : channel + 1]
    found = CloudVolume(vol.cloudpath)[...].astype(int)
    assert np.abs(found - voxels).max() <= (60 if encoding == "jpeg" else 0)
    assert np.abs(found.mean(axis=(0, 1, 2)) - voxels.mean(axis=(0, 1, 2))).max() < 2


# ----------------------------------------------------- errors of workers are not dropped


@pytest.mark.parametrize("parallel", [2, 8, True])
def test_a_missing_chunk_read_as_zeros_in_parallel(layer: Path, parallel: int) -> None:
    vol = make(layer, parallel=parallel)
    vol[...] = 9
    (layer / "8_8_40" / "11-27_3-19_100-116").unlink()
    with pytest.raises(EmptyVolumeError, match="8_8_40/11-27_3-19_100-116"):
        vol[...]


@pytest.mark.parametrize("fill_missing", [False, True])
@pytest.mark.parametrize("parallel", [1, 2, 8, True])
def test_a_failed_request_read_as_zeros(
    monkeypatch: pytest.MonkeyPatch, parallel: int, fill_missing: bool
) -> None:
    path = f"mem://peers/{parallel}/{fill_missing}"
    make(path)[...] = 9
    real = MemoryStore.get

    def get(store: MemoryStore, key: str, byte_range: Any = None) -> Any:
        if key.endswith("11-27_3-19_100-116"):
            raise StoreError(f"{key}: 503")
        return real(store, key, byte_range)

    monkeypatch.setattr(MemoryStore, "get", get)
    vol = CloudVolume(path, parallel=parallel, fill_missing=fill_missing)
    with pytest.raises(StoreError, match="11-27_3-19_100-116: 503"):
        vol[...]
    assert vol[-5:11, 3:19, 100:116].min() == 9


@pytest.mark.parametrize("parallel", [1, 2, 8, True])
def test_a_failed_upload_without_a_word(monkeypatch: pytest.MonkeyPatch, parallel: int) -> None:
    vol = make(f"mem://peers/upload/{parallel}", parallel=parallel)
    real = MemoryStore.put

    def put(store: MemoryStore, key: str, blob: Any, **options: Any) -> str:
        if key.endswith("11-27_3-19_100-116"):
            raise StoreError(f"{key}: 503")
        return real(store, key, blob, **options)

    monkeypatch.setattr(MemoryStore, "put", put)
    vol = CloudVolume(vol.cloudpath, parallel=parallel)
    with pytest.raises(StoreError, match="11-27_3-19_100-116: 503"):
        vol[...] = 9


def by_slices(vol: CloudVolume, *_: object) -> None:
    with vol.slab_writer() as writer:
        for z in range(100, 120):
            writer.write(z, 8)


@pytest.mark.parametrize("parallel", [2, 8, True])
@pytest.mark.parametrize(
    ("method", "work"),
    [
        ("get", lambda vol, _: vol.download(vol.bounds)),
        ("get", lambda vol, folder: vol.download_to_file(folder / "cut.raw", vol.bounds)),
        ("get", lambda vol, _: list(vol.slices())),
        ("get", lambda vol, folder: vol.transfer_to(folder / "copy")),
        ("put", by_slices),
        ("put", lambda vol, _: vol.__setitem__(np.s_[-4:34], 8)),
        ("put", lambda vol, _: vol.transfer_to("mem://peers/copy/of/it", compress="gzip")),
        ("stat", lambda vol, _: vol.exists(vol.bounds)),
        ("delete", lambda vol, _: vol.delete(vol.bounds)),
    ],
)
def test_an_error_of_a_worker_without_a_word(
    layer: Path, monkeypatch: pytest.MonkeyPatch, parallel: int, method: str, work: Any
) -> None:
    path = f"mem://peers/{uuid.uuid4()}/image"
    make(path)[...] = 9
    vol = CloudVolume(path, parallel=parallel, fill_missing=True, non_aligned_writes=True)
    real, calls, counting = getattr(MemoryStore, method), list[str](), threading.Lock()

    def troubled(store: MemoryStore, key: Any, *arguments: Any, **options: Any) -> Any:
        with counting:
            calls.extend([str(key)] if "8_8_40" in str(key) else [])
            seventh = len(calls) == 7
        if seventh:
            raise StoreError(f"{key}: 503")
        return real(store, key, *arguments, **options)

    monkeypatch.setattr(MemoryStore, method, troubled)
    layer.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"8_8_40/.*: 503"):
        work(vol, layer)
    assert not (layer / "cut.raw").exists()


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_a_corrupt_chunk_without_its_name(layer: Path, parallel: int) -> None:
    vol = make(layer, encoding="jpeg", parallel=parallel)
    vol[...] = 9
    (layer / "8_8_40" / "11-27_3-19_100-116").write_bytes(b"\xff\xd8\xff\xe0 no more")
    with pytest.raises(
        ChunkDecodeError, match=r"^file://.*image/8_8_40/11-27_3-19_100-116: expected a jpeg chunk of uint8"
    ):
        vol[...]


# ------------------------------------------------------------- one chunk, one file, one name


@pytest.mark.parametrize("first", [None, "gzip", "br", "zstd"])
@pytest.mark.parametrize("second", [None, "gzip", "br", "zstd"])
def test_old_data_read_from_a_twin_after_rewriting_with_another_compression(
    layer: Path, first: str | None, second: str | None
) -> None:
    vol = make(layer, compress=first, non_aligned_writes=True)
    early = CloudVolume(vol.cloudpath, compress=first)
    old, new = noise(vol.shape), noise(vol.shape, seed=1)
    vol[...] = old
    np.testing.assert_array_equal(early[...], old)  # has seen which names the chunks have
    names = chunks(layer)
    vol.compress = second
    vol[...] = new
    suffix = {None: "", "gzip": ".gz", "br": ".br", "zstd": ".zstd"}
    plain = [name.removesuffix(suffix[first]) for name in names]
    assert chunks(layer) == sorted(name + suffix[second] for name in plain)
    for reader in (early, vol, CloudVolume(vol.cloudpath), CloudVolume(vol.cloudpath, compress=first)):
        np.testing.assert_array_equal(reader[...], new)
    vol.compress = first
    vol[0, 4, 101] = old[5:6, 1:2, 1:2]  # one chunk goes back, the others stay
    new[5, 1, 1] = old[5, 1, 1]
    assert len(chunks(layer)) == len(plain)
    for reader in (early, vol, CloudVolume(vol.cloudpath)):
        np.testing.assert_array_equal(reader[...], new)
    vol.delete(vol.bounds)
    assert chunks(layer) == []


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64", "float32"])
def test_compressed_names_by_default_which_others_read_as_zeros(layer: Path, dtype: str) -> None:
    vol = make(layer, dtype=dtype)
    voxels = noise(vol.shape, dtype)
    vol[...] = voxels
    assert set(chunks(layer)) == {key.partition("/")[2] for key in vol.exists(vol.bounds)}
    np.testing.assert_array_equal(by_tensorstore(layer), voxels)
    for copy in (vol.transfer_to(layer / "copy"), CloudVolume.from_numpy(voxels, str(layer / "made"))):
        place = Path(copy.cloudpath.removeprefix("file://"))
        assert not [path.name for path in place.rglob("*") if path.suffix]
        assert (by_tensorstore(place) == voxels).all()


def test_compressed_jpegs_by_default_which_others_read_as_zeros(layer: Path) -> None:
    vol = make(layer, encoding="jpeg")
    by_slices(vol)
    assert set(chunks(layer)) == {key.partition("/")[2] for key in vol.exists(vol.bounds)}
    assert np.abs(by_tensorstore(layer).astype(int) - 8).max() <= 1


def test_a_file_written_in_place_met_half_empty(layer: Path) -> None:
    vol = make(layer, (128, 64, 64), dtype="uint16", voxel_offset=ZERO, chunk_size=(64, 64, 64))
    vol[...] = 0
    run("rewrite", vol.cloudpath, 25)
    assert len(chunks(layer)) == 2


# -------------------------------------------------------------------- writes are not lost


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_unaligned_writes_lost_among_threads(layer: Path, compress: str | None) -> None:
    for place in (layer, f"mem://peers/unaligned/{compress}"):
        vol = make(
            place,
            (80, 2, 2),
            voxel_offset=ZERO,
            chunk_size=(80, 2, 2),
            compress=compress,
            non_aligned_writes=True,
            fill_missing=True,
        )
        together = threading.Barrier(8)

        def work(number: int, vol: CloudVolume = vol, together: threading.Barrier = together) -> None:
            together.wait()
            for x in range(number, 80, 8):
                vol[x, 0, 0] = x + 1

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert vol[:, 0, 0].ravel().tolist() == list(range(1, 81))
        assert vol[...].sum(dtype=int) == 80 * 81 // 2
    assert len(chunks(layer)) == 1  # no lock and nothing unfinished


def test_unaligned_writes_lost_among_processes(layer: Path) -> None:
    vol = make(layer, (80, 2, 2), voxel_offset=ZERO, chunk_size=(80, 2, 2))
    run("unaligned", vol.cloudpath, 4, 80)
    assert vol[:, 0, 0].ravel().tolist() == list(range(1, 81))
    assert chunks(layer) == ["0-80_0-2_0-2"]


# ------------------------------------------------------------------------- voxels as given


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "uint64", "float32"])
@pytest.mark.parametrize("encoding", ["raw", "npz"])
@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show the encoding")
def test_big_endian_voxels_stored_swapped(layer: Path, dtype: str, encoding: str) -> None:
    vol = make(layer, dtype=dtype, encoding=encoding, non_aligned_writes=True)
    voxels = noise(vol.shape, dtype)
    foreign = voxels.astype(np.dtype(dtype).newbyteorder(">"))
    vol[...] = foreign
    np.testing.assert_array_equal(CloudVolume(vol.cloudpath)[...], voxels)
    vol[...] = 0
    vol[-4:, 4:, 101:] = foreign[1:, 1:, 1:]
    np.testing.assert_array_equal(vol[-4:, 4:, 101:], voxels[1:, 1:, 1:])
    with vol.slab_writer() as writer:
        for z in range(20):
            writer.write(100 + z, foreign[:, :, z])
    np.testing.assert_array_equal(CloudVolume(vol.cloudpath)[...], voxels)
    made = CloudVolume.from_numpy(foreign, str(layer.with_name("made")), encoding=encoding)
    np.testing.assert_array_equal(made[...], voxels)
    assert vol[...].dtype == np.dtype(dtype)
    if encoding == "raw":
        vol[...] = foreign
        stored = (layer / "8_8_40" / "-5-11_3-19_100-116").read_bytes()
        little = voxels[:16, :16, :16].astype(np.dtype(dtype).newbyteorder("<"))
        assert stored == little.tobytes("F")
        np.testing.assert_array_equal(by_tensorstore(layer), voxels)


# ------------------------------------------------------ what cannot work is refused in time


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"encoding": "rwa"}, UnknownEncodingError, "rwa.*known: .*raw"),
        ({"encoding": "from-the-future"}, UnknownEncodingError, "from-the-future"),
        ({"encoding": "jpeg"}, InfoError, r"scales\[0\].encoding: jpeg holds uint8, not uint64"),
    ],
)
def test_an_info_that_nobody_can_use_is_committed(
    layer: Path, change: dict[str, Any], error: type[Exception], named: str
) -> None:
    vol = make(layer, dtype="uint64", layer_type="segmentation")
    saved = (layer / "info").read_bytes()
    vol.scale.update(change)
    with pytest.raises(error, match=named):
        vol.commit_info()
    assert (layer / "info").read_bytes() == saved
    info = json.loads(saved)
    info["scales"][0].update(change)
    with pytest.raises(error, match=named):
        CloudVolume(str(layer.with_name("other")), info=info).commit_info()
    assert not layer.with_name("other").exists()
