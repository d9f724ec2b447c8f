"""The same voxels in precomp, tensorstore, Pillow and numpy: each reads what another has written."""

import io
import json
import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin
from volumes import make, noise

from precomp import CloudVolume, VolumeCutout
from precomp.errors import EmptyVolumeError

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"]

# No axis is a multiple of the chunk, and the halves of size and offset of the coarser mips round.
SIZE = (37, 29, 11)
CHUNK = (16, 10, 7)
OFFSET = (-21, 5, -3)

few = settings(max_examples=25)


def opened(folder: Path, mip: int | None = None, **spec: Any) -> Any:
    """Open the layer in `folder` with tensorstore."""
    if mip is not None:
        spec["scale_index"] = mip
    kvstore = {"driver": "file", "path": f"{folder}/"}
    return tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": kvstore, **spec}).result()


def created(
    folder: Path, dtype: str, channels: int, encoding: str, layer_type: str = "image", **scale: Any
) -> list[Any]:
    """Let tensorstore make a layer of three mips and return one handle for each."""
    stores = []
    for mip in range(3):
        ratio = (2**mip, 2**mip, 1)
        stores.append(
            opened(
                folder,
                create=True,
                multiscale_metadata={"type": layer_type, "data_type": dtype, "num_channels": channels},
                scale_metadata={
                    "size": [-(-n // f) for n, f in zip(SIZE, ratio, strict=True)],
                    "voxel_offset": [o // f for o, f in zip(OFFSET, ratio, strict=True)],
                    "chunk_size": CHUNK,
                    "resolution": [8 * ratio[0], 8 * ratio[1], 40],
                    "encoding": encoding,
                    **scale,
                },
            )
        )
    return stores


def contents(folder: Path) -> dict[str, bytes]:
    """Every chunk below `folder` with its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "info")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def ramps(shape: Sequence[int]) -> NDArray[np.uint8]:
    """Smooth uint8 voxels, such as jpeg keeps well, unlike along each axis and in each channel."""
    x, y, z, channels = np.ogrid[tuple(slice(0, n) for n in shape)]
    slopes = np.array([[4, 1, 1], [-1, 2, 3], [1, -3, 2]])[:, channels[0, 0, 0]]
    start = np.array([40, 120, 190])[channels[0, 0, 0]]
    return np.asarray(start + slopes[0] * x + slopes[1] * y + slopes[2] * z).clip(0, 255).astype(np.uint8)


def assert_close(found: Any, expected: NDArray[np.uint8]) -> None:
    """What jpeg may change of `ramps`. Swapped channels or axes are tens of grey values off."""
    error = np.abs(np.asarray(found).astype(int) - expected)
    assert error.mean() < 2
    assert error.max() < 16


def nonzero(shape: Sequence[int], dtype: str, seed: int = 0) -> NDArray[Any]:
    """Random voxels without zeros, as tensorstore does not store chunks of zeros."""
    voxels = noise(shape, dtype, seed)
    voxels[voxels == 0] = 1
    return voxels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensorstore_reads_what_precomp_writes(tmp_path: Path, dtype: str, channels: int) -> None:
    vol = make(
        tmp_path, SIZE, dtype=dtype, channels=channels, chunk_size=CHUNK, voxel_offset=OFFSET, max_mip=2
    )
    for mip in vol.available_mips:
        vol.mip = mip
        voxels = noise(vol.shape, dtype, seed=mip)
        vol[...] = voxels
        store = opened(tmp_path, mip)
        assert store.dtype.numpy_dtype == np.dtype(dtype)
        assert store.domain.origin == (*vol.voxel_offset, 0)
        assert store.domain.shape == tuple(vol.shape)
        np.testing.assert_array_equal(store.read().result(), voxels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_precomp_reads_what_tensorstore_writes(tmp_path: Path, dtype: str, channels: int) -> None:
    layer_type = "segmentation" if dtype == "uint64" else "image"
    stores = created(tmp_path, dtype, channels, "raw", layer_type)
    vol = CloudVolume(tmp_path)
    assert (vol.layer_type, vol.dtype, vol.encoding) == (layer_type, dtype, "raw")
    assert vol.available_mips == [0, 1, 2]
    for mip, store in enumerate(stores):
        vol.mip = mip
        assert store.domain.origin == (*vol.voxel_offset, 0)
        assert store.domain.shape == tuple(vol.shape)
        voxels = nonzero(vol.shape, dtype, seed=mip)
        store.write(voxels).result()
        np.testing.assert_array_equal(vol[...], voxels)


@pytest.mark.parametrize("channels", [1, 3])
def test_tensorstore_reads_the_jpeg_that_precomp_writes(tmp_path: Path, channels: int) -> None:
    vol = make(
        tmp_path, SIZE, channels=channels, encoding="jpeg", chunk_size=CHUNK, voxel_offset=OFFSET, max_mip=2
    )
    for mip in vol.available_mips:
        vol.mip = mip
        voxels = ramps(vol.shape)
        vol[...] = voxels
        found = opened(tmp_path, mip).read().result()
        assert_close(found, voxels)
        np.testing.assert_allclose(vol[...].astype(int), found, atol=1)  # decoders may round apart


@pytest.mark.parametrize("channels", [1, 3])
def test_precomp_reads_the_jpeg_that_tensorstore_writes(tmp_path: Path, channels: int) -> None:
    # tensorstore halves the resolution of the colours, so that more is lost.
    stores = created(tmp_path, "uint8", channels, "jpeg", jpeg_quality=95)
    vol = CloudVolume(tmp_path)
    assert (vol.encoding, vol.scale["jpeg_quality"]) == ("jpeg", 95)
    for mip, store in enumerate(stores):
        vol.mip = mip
        voxels = ramps(vol.shape)
        store.write(voxels).result()
        assert_close(vol[...], voxels)
        np.testing.assert_allclose(vol[...].astype(int), store.read().result(), atol=1)


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `make` for a raw volume."""
    triples = [st.tuples(*[st.integers(*ends)] * 3) for ends in ((1, 9), (1, 6), (-20, 20))]
    size, chunk_size, voxel_offset = map(draw, triples)
    return {
        "size": size,
        "chunk_size": chunk_size,
        "voxel_offset": voxel_offset,
        "dtype": draw(st.sampled_from(DTYPES)),
        "channels": draw(st.integers(1, 3)),
    }


@few
@given(layers())
def test_both_write_the_same_files(arguments: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours"), Path(folder, "theirs")
        vol, other = make(ours, **arguments), make(theirs, **arguments)
        voxels = nonzero(vol.shape, vol.dtype)
        vol[...] = voxels
        opened(theirs).write(voxels).result()
        assert contents(ours) == contents(theirs)
        np.testing.assert_array_equal(other[...], voxels)


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, tuple[slice, ...]]:
    """A program and a box of voxels (x, y, z), counted from the volume's first voxel."""
    ends = [draw(st.tuples(st.integers(0, n - 1), st.integers(1, n))) for n in SIZE]
    return draw(st.sampled_from(["precomp", "tensorstore"])), tuple(
        slice(start, max(stop, start + 1)) for start, stop in ends
    )


@few
@given(st.lists(writes(), min_size=1, max_size=6))
def test_both_may_change_one_volume_in_turns(changes: list[tuple[str, tuple[slice, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vol = make(
            folder,
            SIZE,
            dtype="uint16",
            channels=2,
            chunk_size=CHUNK,
            voxel_offset=OFFSET,
            non_aligned_writes=True,
            fill_missing=True,
        )
        store, model = opened(Path(folder)), np.zeros(vol.shape, "uint16")
        for seed, (program, box) in enumerate(changes):
            part = nonzero(model[box].shape, "uint16", seed)
            model[box] = part
            place = tuple(slice(s.start + o, s.stop + o) for s, o in zip(box, OFFSET, strict=True))
            if program == "precomp":
                vol[place] = part
            else:
                store[place].write(part).result()
        np.testing.assert_array_equal(vol[...], model)
        np.testing.assert_array_equal(store.read().result(), model)


# Voxel (x, y, z, c) of this volume is 0x1000 * (c + 1) + 0x100 * z + 0x10 * y + x, counted from its corner.
HANDMADE_INFO = """
{"type": "image", "data_type": "uint16", "num_channels": 2, "scales": [
  {"key": "4_4_40", "resolution": [4, 4, 40], "size": [3, 3, 2], "voxel_offset": [-1, 10, 5],
   "chunk_sizes": [[2, 3, 2]], "encoding": "raw"}]}
"""
HANDMADE_CHUNKS = {
    "4_4_40/-1-1_10-13_5-7": "0010 0110  1010 1110  2010 2110   0011 0111  1011 1111  2011 2111 "
    "                         0020 0120  1020 1120  2020 2120   0021 0121  1021 1121  2021 2121",
    "4_4_40/1-2_10-13_5-7": "0210 1210 2210   0211 1211 2211     0220 1220 2220   0221 1221 2221",
}


def handmade() -> tuple[NDArray[np.uint16], dict[str, bytes]]:
    x, y, z, c = np.ogrid[0:3, 0:3, 0:2, 0:2]
    voxels = (0x1000 * (c + 1) + 0x100 * z + 0x10 * y + x).astype(np.uint16)
    return voxels, {key: bytes.fromhex(text) for key, text in HANDMADE_CHUNKS.items()}


def test_a_volume_made_by_hand_is_read_by_both(tmp_path: Path) -> None:
    voxels, chunks = handmade()
    (tmp_path / "info").write_text(HANDMADE_INFO)
    (tmp_path / "4_4_40").mkdir()
    for key, data in chunks.items():
        (tmp_path / key).write_bytes(data)
    np.testing.assert_array_equal(CloudVolume(tmp_path)[...], voxels)
    np.testing.assert_array_equal(CloudVolume(tmp_path)[1, 11:13, 6, 1], voxels[2:3, 1:3, 1:2, 1:2])
    np.testing.assert_array_equal(opened(tmp_path).read().result(), voxels)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_a_chunk_is_stored_byte_for_byte_as_the_format_says(tmp_path: Path, dtype: str, order: Any) -> None:
    voxels, chunks = handmade()
    vol = CloudVolume(tmp_path, info=json.loads(HANDMADE_INFO))
    vol.commit_info()
    vol[...] = np.asarray(voxels, dtype, order)
    assert contents(tmp_path) == chunks


@pytest.mark.parametrize(
    ("dtype", "value", "stored"),
    [
        ("uint8", 200, "c8"),
        ("int8", -2, "fe"),
        ("uint16", 0x0102, "0201"),
        ("int16", -2, "feff"),
        ("uint32", 0x01020304, "04030201"),
        ("int32", -2, "feffffff"),
        ("uint64", 0x8102030405060708, "0807060504030281"),
        ("float32", -1.5, "0000c0bf"),
    ],
)
def test_a_voxel_of_every_type_is_stored_little_endian(
    tmp_path: Path, dtype: str, value: float, stored: str
) -> None:
    vol = make(tmp_path, (1, 1, 1), dtype=dtype, voxel_offset=(0, 0, 0))
    vol[...] = np.full((1, 1, 1), value, np.dtype(dtype).newbyteorder(">"))
    assert contents(tmp_path) == {"8_8_40/0-1_0-1_0-1": bytes.fromhex(stored)}


def test_tensorstore_opens_an_info_with_everything_in_it(tmp_path: Path) -> None:
    info = CloudVolume.create_new_info(
        1, "segmentation", "uint64", "raw", (4.5, 4, 40), (-7, 0, 3), (50, 40, 30), mesh=True, skeletons=True,
        max_mip=3,
    )  # fmt: skip
    vol = CloudVolume(tmp_path, info={**info, "segment_properties": "properties"})
    vol.commit_info()
    vol.commit_provenance()
    committed = (tmp_path / "info").read_bytes()
    for mip in vol.available_mips:
        store = opened(tmp_path, mip, open=True)
        vol.mip = mip
        store.write(nonzero(vol.shape, "uint64", mip)).result()
        np.testing.assert_array_equal(vol[...], nonzero(vol.shape, "uint64", mip))
        nanometres = [unit.multiplier for unit in store.dimension_units[:3]]
        assert nanometres == list(vol.resolution)
    assert (tmp_path / "info").read_bytes() == committed


def test_a_scale_that_tensorstore_adds_is_seen(tmp_path: Path) -> None:
    vol = make(tmp_path, SIZE, voxel_offset=OFFSET)
    scale = {
        "resolution": [16, 16, 40],
        "size": [19, 15, 11],
        "voxel_offset": [-11, 2, -3],
        "chunk_size": [8, 8, 8],
        "encoding": "raw",
    }
    opened(tmp_path, create=True, scale_metadata=scale).write(7).result()
    vol.refresh_info()
    vol.mip = [16, 16, 40]
    assert tuple(vol.chunk_size) == (8, 8, 8)
    assert (vol[...] == 7).all()


def test_a_chunk_of_zeros_that_tensorstore_left_out_is_a_missing_one(tmp_path: Path) -> None:
    vol = make(tmp_path, (8, 4, 4), chunk_size=(4, 4, 4), voxel_offset=(0, 0, 0))
    voxels = noise(vol.shape)
    voxels[4:] = 0
    opened(tmp_path).write(voxels).result()
    with pytest.raises(EmptyVolumeError, match="8_8_40/4-8_0-4_0-4"):
        vol[...]
    vol.fill_missing = True
    np.testing.assert_array_equal(vol[...], voxels)
    vol[...] = voxels  # precomp does store zeros
    vol.fill_missing = False
    np.testing.assert_array_equal(vol[...], voxels)


@pytest.mark.parametrize("compress", ["gzip", "br", "zstd"])
def test_tensorstore_sees_a_compressed_volume_once_it_is_written_plainly(
    tmp_path: Path, compress: str
) -> None:
    vol = make(tmp_path, SIZE, chunk_size=CHUNK, voxel_offset=OFFSET, compress=compress)
    old, new = noise(vol.shape, seed=1), noise(vol.shape, seed=2)
    vol[...] = old
    assert {Path(name).suffix for name in contents(tmp_path)} == {f".{compress}".replace("gzip", "gz")}
    plain = CloudVolume(tmp_path)
    plain[...] = new
    np.testing.assert_array_equal(opened(tmp_path).read().result(), new)
    np.testing.assert_array_equal(vol[...], new)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_pillow_opens_a_jpeg_chunk(tmp_path: Path, channels: int, mode: str) -> None:
    vol = make(tmp_path, (16, 10, 7), channels=channels, encoding="jpeg", voxel_offset=(0, 0, 0))
    voxels = ramps(vol.shape)
    vol[...] = voxels
    with Image.open(tmp_path / "8_8_40" / "0-16_0-10_0-7") as image:
        assert (image.format, image.mode, image.size) == ("JPEG", mode, (16, 10 * 7))
        assert channels == 1 or JpegImagePlugin.get_sampling(image) == 0  # 4:4:4, no blurred colours
        pixels = np.asarray(image).reshape(7, 10, 16, channels)
    assert_close(pixels.transpose(2, 1, 0, 3), voxels)
    np.testing.assert_allclose(pixels.transpose(2, 1, 0, 3), vol[...].astype(int), atol=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("width", [16, 16 * 10, 7 * 4])
def test_a_jpeg_that_pillow_wrote_is_a_chunk(tmp_path: Path, channels: int, width: int) -> None:
    """The image may have any width: its rows, joined, are the voxels."""
    vol = make(tmp_path, (16, 10, 7), channels=channels, encoding="jpeg", voxel_offset=(0, 0, 0))
    voxels = ramps(vol.shape)
    pixels = voxels.transpose(2, 1, 0, 3).reshape(-1, width, channels)
    chunk = tmp_path / "8_8_40" / "0-16_0-10_0-7"
    chunk.parent.mkdir()
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    image.save(chunk, "JPEG", quality=100, subsampling=0)
    assert_close(vol[...], voxels)


@pytest.fixture
def filled(tmp_path: Path) -> tuple[CloudVolume, NDArray[Any]]:
    vol = make(tmp_path / "filled", (12, 10, 8), dtype="int16", chunk_size=(5, 4, 3))
    voxels = noise(vol.shape, "int16")
    vol[...] = voxels
    return vol, voxels


def test_a_cutout_is_an_array_to_numpy(filled: Any) -> None:
    vol, voxels = filled
    cut = vol[...]
    plain = np.asarray(cut)
    assert type(plain) is np.ndarray
    assert np.shares_memory(plain, cut)
    assert type(np.asanyarray(cut)) is VolumeCutout
    assert type(np.array(cut)) is np.ndarray
    assert not np.shares_memory(np.array(cut), cut)
    for found in (
        plain,
        np.asarray(vol[vol.bounds]),
        np.concatenate([vol[:1], vol[1:]]),
        tensorstore.array(cut),
    ):
        np.testing.assert_array_equal(found, voxels)
    assert np.asarray(cut, ">f8").dtype == ">f8"
    assert memoryview(cut).shape == voxels.shape
    assert cut.tobytes("F") == voxels.tobytes("F")
    assert np.sum(cut) == cut.sum() == voxels.sum()
    assert isinstance(cut.max(), np.int16)
    cut[0] = 1  # an array of one's own: the volume does not change
    np.testing.assert_array_equal(vol[...], voxels)


def test_a_cutout_survives_numpys_files_and_pickle(filled: Any) -> None:
    vol, voxels = filled
    file = io.BytesIO()
    np.save(file, vol[...])
    file.seek(0)
    np.testing.assert_array_equal(np.load(file), voxels)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vol[...])), voxels)


def test_a_volumes_properties_go_where_numpy_takes_them(filled: Any) -> None:
    vol, voxels = filled
    assert np.zeros(vol.shape, vol.dtype).shape == voxels.shape
    assert np.dtype(vol.dtype) == np.iinfo(vol.dtype).dtype == voxels.dtype
    assert voxels.astype(vol.dtype).reshape(vol.shape).shape == voxels.shape
    assert np.prod(vol.shape) == voxels.size
    np.testing.assert_array_equal(np.asarray(vol.resolution) * vol.volume_size, [96, 80, 320])
    assert vol.shape == voxels.shape


class HasArray:
    """What only offers numpy's protocol, as tensors of other libraries do."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.array, dtype)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    copy = array.copy()
    copy.setflags(write=False)
    return copy


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param(_read_only, id="read-only"),
        pytest.param(np.asfortranarray, id="fortran"),
        pytest.param(lambda array: np.repeat(array, 2, axis=0)[::2], id="strided"),
        pytest.param(lambda array: array[::-1, :, ::-1].copy()[::-1, :, ::-1], id="reversed"),
        pytest.param(lambda array: array[..., 0], id="3D"),
        pytest.param(lambda array: array.view(VolumeCutout), id="subclass"),
        pytest.param(HasArray, id="__array__"),
        pytest.param(tensorstore.array, id="tensorstore"),
    ],
)
def test_whatever_numpy_takes_for_an_array_is_written(tmp_path: Path, offer: Any) -> None:
    vol = make(tmp_path, (12, 10, 8), dtype="int16", chunk_size=(5, 4, 3))
    voxels = noise(vol.shape, "int16")
    vol[...] = offer(voxels)
    np.testing.assert_array_equal(vol[...], voxels)
    np.testing.assert_array_equal(CloudVolume.from_numpy(offer(voxels), tmp_path / "new")[...], voxels)


def test_a_cutout_goes_from_volume_to_volume(filled: Any, tmp_path: Path) -> None:
    vol, voxels = filled
    other = make(tmp_path / "other", (12, 10, 8), dtype="int16", voxel_offset=(0, 0, 0))
    other[...] = vol[...]
    np.testing.assert_array_equal(other[...], voxels)
    memory = np.memmap(tmp_path / "memory", "int16", "w+", shape=voxels.shape, order="F")
    memory[...] = vol[...]
    other[...] = 0
    other[...] = memory
    np.testing.assert_array_equal(other[...], voxels)
