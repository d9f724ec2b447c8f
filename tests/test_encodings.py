"""Every encoding in whole volumes: other programs, what it can hold, what Neuroglancer cannot show."""

import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import crackle
import imagecodecs
import numpy as np
import pytest
import tensorstore
from numpy.typing import NDArray
from volumes import noise

from precomp import CloudVolume
from precomp.errors import ArgumentError, ChunkDecodeError, InfoError, PrecompWarning
from precomp.interfaces import ChunkSpec
from precomp_plugins.codecs._crackle.codec import Crackle
from precomp_plugins.codecs._jxl import Jxl
from precomp_plugins.codecs._zfpc import Zfpc

# No axis is a multiple of the chunk.
SIZE = (37, 29, 11)
CHUNK = (16, 10, 7)
OFFSET = (-21, 5, -3)

INTEROP = [
    *(("compressed_segmentation", dtype, channels) for dtype in ("uint32", "uint64") for channels in (1, 3)),
    *(("png", dtype, channels) for dtype in ("uint8", "uint16") for channels in (1, 2, 3, 4)),
]


def info_of(encoding: str, dtype: str, channels: int, **fields: Any) -> dict[str, Any]:
    layer_type = "segmentation" if dtype in ("uint32", "uint64") else "image"
    return CloudVolume.create_new_info(
        channels, layer_type, dtype, encoding, (8, 8, 40), OFFSET, SIZE, chunk_size=CHUNK, **fields
    )


def tensorstore_of(folder: Path, create: dict[str, Any] | None = None) -> Any:
    """Open the layer with tensorstore, or let it make the layer of an info."""
    spec: dict[str, Any] = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
    }
    if create is None:
        return tensorstore.open(spec).result()
    metadata = dict(create)
    (scale,) = metadata.pop("scales")
    scale = {**scale, "chunk_size": scale["chunk_sizes"][0]}
    del scale["chunk_sizes"]
    spec |= {"multiscale_metadata": metadata, "scale_metadata": scale}
    return tensorstore.open(spec, create=True).result()


def voxels_of(dtype: str, channels: int) -> NDArray[Any]:
    """Without a chunk of zeros, which tensorstore does not store."""
    voxels = noise((*SIZE, channels), dtype, seed=channels)
    if dtype in ("uint32", "uint64"):  # some blocks of one label, some of many
        voxels[: SIZE[0] // 2] = voxels[::10, ::9, ::5][0, 0, 0]
    return voxels


@pytest.mark.parametrize(("encoding", "dtype", "channels"), INTEROP)
def test_tensorstore_and_precomp_read_each_other(
    tmp_path: Path, encoding: str, dtype: str, channels: int
) -> None:
    voxels = voxels_of(dtype, channels)
    info = info_of(encoding, dtype, channels)
    ours = CloudVolume(tmp_path / "ours", info=info)
    ours.commit_info()
    ours[...] = voxels
    store = tensorstore_of(tmp_path / "ours")
    assert store.domain.origin == (*OFFSET, 0)
    np.testing.assert_array_equal(store.read().result(), voxels)

    tensorstore_of(tmp_path / "theirs", create=info).write(voxels).result()
    theirs = CloudVolume(tmp_path / "theirs")
    assert theirs.encoding == encoding
    np.testing.assert_array_equal(theirs[...], voxels)
    np.testing.assert_array_equal(theirs[-9:3, 8:20, 1:6], voxels[12:24, 3:15, 4:9])


@pytest.mark.parametrize(
    ("encoding", "dtype", "channels", "message"),
    [
        ("compressed_segmentation", "uint8", 1, "compressed_segmentation holds uint32 or uint64, not uint8"),
        ("crackle", "float32", 1, "crackle holds uint8, uint16, uint32 or uint64, not float32"),
        ("fpzip", "uint8", 1, "fpzip holds float32, not uint8"),
        ("zfpc", "uint16", 1, "zfpc holds float32, not uint16"),
        ("jxl", "uint8", 2, "jxl holds 1, 3 or 4 channels, not 2"),
        ("compresso", "uint32", 2, "compresso holds 1 channels, not 2"),
        ("compresso", "float32", 1, "compresso holds uint8, uint16, uint32 or uint64, not float32"),
        ("png", "uint32", 1, "png holds uint8 or uint16, not uint32"),
        ("png", "uint8", 5, "png holds 1, 2, 3 or 4 channels, not 5"),
    ],
)
def test_what_an_encoding_cannot_hold_is_refused_when_the_info_is_saved(
    tmp_path: Path, encoding: str, dtype: str, channels: int, message: str
) -> None:
    info = info_of("raw", dtype, channels)
    info["scales"][0] |= {"encoding": encoding, "compressed_segmentation_block_size": [8, 8, 8]}
    with pytest.raises(InfoError, match=message):
        CloudVolume(tmp_path / "layer", info=info).commit_info()
    with pytest.raises(InfoError, match=message):
        info_of(encoding, dtype, channels)
    assert not (tmp_path / "layer" / "info").exists()


@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
@pytest.mark.parametrize(
    ("encoding", "dtype", "fields"),
    [
        ("png", "uint8", {"png_level": 0}),
        ("compressed_segmentation", "uint64", {"compressed_segmentation_block_size": [5, 4, 2]}),
        ("jxl", "uint8", {"jxl_quality": 40}),
        ("jxl", "uint8", {"jxl_effort": 1}),
        ("jxl", "uint8", {"jxl_decodingspeed": 4}),
        ("fpzip", "float32", {"fpzip_precision": 12}),
        ("zfpc", "float32", {"zfpc_rate": 6}),
        ("zfpc", "float32", {"zfpc_precision": 9}),
        ("zfpc", "float32", {"zfpc_tolerance": 0.5}),
        ("zfpc", "float32", {"zfpc_correlated_dims": [True, True, False, False]}),
    ],
)
def test_the_fields_of_a_scale_are_used(tmp_path: Path, encoding: str, dtype: str, fields: Any) -> None:
    """What is asked for at creation stands in the info and changes what is written."""
    x, y, z = np.ogrid[: SIZE[0], : SIZE[1], : SIZE[2]]
    voxels = (x // 9 + 7 * (y // 8) + 5 * (z // 2) + x * y / 50).astype(dtype)
    written = []
    for folder, given in (("plain", {}), ("given", fields)):
        vol = CloudVolume(tmp_path / folder, info=info_of(encoding, dtype, 1, **given))
        vol.commit_info()
        vol[...] = voxels
        for name, value in given.items():
            assert CloudVolume(tmp_path / folder).scale[name] == value
        chunks = sorted((tmp_path / folder / "8_8_40").iterdir())
        written.append([path.read_bytes() for path in chunks])
    assert written[0] != written[1]


ALL = {
    "raw": "uint16",
    "jpeg": "uint8",
    "png": "uint16",
    "jxl": "uint8",
    "compressed_segmentation": "uint64",
    "compresso": "uint32",
    "crackle": "uint32",
    "fpzip": "float32",
    "zfpc": "float32",
    "npz": "float32",
    "npz_uint8": "float32",
}


@pytest.mark.parametrize("encoding", ALL)
def test_creation_warns_of_what_neuroglancer_cannot_show(encoding: str) -> None:
    shown = {"raw", "jpeg", "png", "jxl", "compressed_segmentation", "compresso"}
    with warnings.catch_warnings(record=True, action="always") as caught:
        info_of(encoding, ALL[encoding], 1)
    texts = [str(warning.message) for warning in caught if warning.category is PrecompWarning]
    assert len(texts) == (encoding not in shown)
    assert all(encoding in text for text in texts)


@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
@pytest.mark.parametrize("encoding", [name for name in ALL if name != "raw"])
def test_a_damaged_chunk_is_named_and_the_others_are_read(tmp_path: Path, encoding: str) -> None:
    dtype = ALL[encoding]
    vol = CloudVolume(tmp_path, info=info_of(encoding, dtype, 1))
    vol.commit_info()
    vol[...] = np.full(SIZE, 1, dtype)
    name = "-21--5_5-15_-3-4"
    path = tmp_path / "8_8_40" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ChunkDecodeError, match=f"8_8_40/{name}.*{encoding}"):
        vol[-21:-5, 5:15, -3:4]
    assert np.asarray(vol[-5:16, 5:34, -3:8]).mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("order", ["C", "F"])
def test_crackle_reads_streams_of_arrays_in_every_order(order: Any) -> None:
    """cloud-volume's are in C order."""
    labels = np.array(noise((9, 8, 7), "uint32") % 5, order=order)
    data, spec = crackle.compress(labels), ChunkSpec((9, 8, 7, 1), labels.dtype)
    assert np.array_equal(Crackle().decode(data, spec)[..., 0], labels)
    box = np.s_[1:5, 2:8:2, 3:6, 0:1]
    part = np.zeros((4, 3, 3, 1), labels.dtype)
    Crackle().decode_into(data, spec, box, part)
    assert np.array_equal(part[..., 0], labels[box[:3]])


@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
@pytest.mark.parametrize(
    ("encoding", "fields", "message"),
    [
        ("jxl", {"jxl_quality": 101}, "jxl_quality: must be at most 100"),
        ("jxl", {"jxl_effort": 0}, "jxl_effort: must be at least 1"),
        ("jxl", {"jxl_decodingspeed": 5}, "jxl_decodingspeed: must be at most 4"),
        ("fpzip", {"fpzip_precision": 1}, "fpzip_precision: must be 0, for no loss, or 2 to 32"),
        ("zfpc", {"zfpc_rate": 8, "zfpc_tolerance": 0.1}, "only one"),
        ("zfpc", {"zfpc_rate": float("nan")}, "zfpc_rate"),
        ("zfpc", {"zfpc_correlated_dims": [True, True]}, "zfpc_correlated_dims: expected 4 values"),
        ("zfpc", {"zfpc_correlated_dims": [False] * 4}, "zfpc_correlated_dims: at least one"),
    ],
)
def test_settings_are_checked_as_arguments_and_in_the_info(
    encoding: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        info_of(encoding, ALL[encoding], 1, **fields)
    info = info_of(encoding, ALL[encoding], 1)
    info["scales"][0] |= fields
    with pytest.raises(InfoError, match=next(iter(fields)).split("_")[0]):
        CloudVolume("mem://bucket/dataset/settings", info=info)


def test_zfpc_says_when_a_chunk_is_too_long() -> None:
    with pytest.raises(ArgumentError, match=r"zfpc: a chunk of shape \(4097, 1, 1, 1\) is too long"):
        Zfpc().encode(np.zeros((4097, 1, 1, 1), np.float32))


@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
def test_settings_of_another_encoding_are_left_out() -> None:
    info = info_of("raw", "uint8", 1, jxl_quality=3, fpzip_precision=4, zfpc_rate=5)
    assert not {"jxl_quality", "fpzip_precision", "zfpc_rate"} & set(info["scales"][0])
    assert info_of("zfpc", "float32", 1, zfpc_rate=-1)["scales"][0]["zfpc_rate"] == -1


@pytest.mark.parametrize("shape", [(300, 64, 64), (64, 64, 4), (64, 64, 3)])
def test_a_jxl_of_more_frames_or_channels_is_refused_before_there_is_room_for_them(shape: Any) -> None:
    """The header tells the size of one frame, and a frame of one colour takes 12 bytes."""
    photometric = "GRAY" if len(shape) == 3 and shape[0] == 300 else "RGB"
    data = imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8), photometric=photometric, usecontainer=False)
    tracemalloc.start()
    with pytest.raises(ValueError, match="shape"):
        Jxl().decode(data, ChunkSpec((64, 8, 8, 1), np.dtype("uint8")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**17
