"""Damaged, absurd and hostile input: one error that names the key, at little cost, and never zeros."""

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import brotli
import numpy as np
import numpy.testing  # now, as nobody may not read where Python is, maybe
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isal import isal_zlib
from privileges import unprivileged
from volume_child import run
from volumes import make, noise

from precomp import CloudVolume, plugins
from precomp.engine.objects import Objects
from precomp.engine.read import ChunkReader
from precomp.errors import (
    ChunkDecodeError,
    EmptyVolumeError,
    InfoError,
    InfoNotFoundError,
    PrecompError,
    StoreError,
    TooLargeError,
    UnknownEncodingError,
)
from precomp.grid import ChunkGrid
from precomp.interfaces import Blob
from precomp.memory import MemoryStore

pytestmark = pytest.mark.filterwarnings("ignore:Neuroglancer cannot show the encoding")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are tested on Linux")

# Of the volumes that `make` makes: the second chunk of twelve, and boxes that touch it.
CHUNK = "11-27_3-19_100-116"
KEY = f"8_8_40/{CHUNK}"
INSIDE = [np.s_[...], np.s_[11:27, 3:19, 100:116], np.s_[10:13, 4:6, 101], np.s_[26, 18, 115]]

# Of volumes with one chunk of a mebibyte, of which a single voxel is read by its bytes.
LARGE = {"size": (128, 128, 64), "chunk_size": (128, 128, 64), "voxel_offset": (0, 0, 0)}
LARGE_KEY = "8_8_40/0-128_0-128_0-64"
LARGE_INSIDE = [np.s_[...], np.s_[:, :, 63], np.s_[:, 5, :], np.s_[0, 0, 0], np.s_[127, 127, 63]]

SUFFIXES = {None: "", "gzip": ".gz", "br": ".br", "zstd": ".zstd"}


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    return tmp_path / "bucket" / "retina" / "image"


def refused(
    vol: CloudVolume, indices: list[Any], error: type[PrecompError] = ChunkDecodeError, name: str = KEY
) -> None:
    """Check that no way of reading gets past the damage; each error names it and what was expected."""
    for vol.fill_missing in (False, True):
        for vol.parallel in (1, 2, 8):
            for index in indices:
                with pytest.raises(error) as caught:
                    vol[index]
                assert re.search(f"{re.escape(name)}.*(expected|check)", str(caught.value), re.DOTALL)


@contextmanager
def little_memory(mebibytes: int = 100) -> Iterator[None]:
    """Let this process have no more than so much beyond what it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# ------------------------------------------------------------------------------ chunks

FORMATS = [
    ("raw", None), ("raw", "gzip"), ("raw", "br"), ("raw", "zstd"), ("npz", None), ("npz", "gzip"),
    ("jpeg", None), ("jpeg", "zstd"),
]  # fmt: skip

GARBAGE = np.random.default_rng(7).bytes(1000)

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "a byte too short": lambda data: data[:-1],
    "half of it": lambda data: data[: len(data) // 2],
    "a byte of it": lambda data: data[:1],
    "a byte too long": lambda data: data + b"\0",
    "ten times": lambda data: 10 * data,
    "garbage": lambda _: GARBAGE,
    "a web page": lambda _: b"<!DOCTYPE html><title>404 Not Found</title>",
    "twice compressed": lambda data: isal_zlib.compress(data, 1, 31),
}


@pytest.mark.parametrize(
    ("encoding", "compress", "damage"),
    [(*kind, damage) for kind in FORMATS for damage in DAMAGES],
)
def test_a_damaged_chunk(layer: Path, encoding: str, compress: str | None, damage: str) -> None:
    vol = make(layer, encoding=encoding, compress=compress, non_aligned_writes=True)
    vol[...] = noise(vol.shape)
    path = layer / f"{KEY}{SUFFIXES[compress]}"
    damaged = DAMAGES[damage](path.read_bytes())
    path.write_bytes(damaged)
    refused(vol, INSIDE)
    with pytest.raises(ChunkDecodeError, match=KEY):
        vol[12, 4, 101] = 1  # what cannot be read cannot be changed in part,
    assert path.read_bytes() == damaged
    vol[11:27, 3:19, 100:116] = 1  # but replaced
    assert vol[12, 4, 101].item() == 1


@pytest.mark.parametrize(
    "damage", ["empty", "a byte too short", "half of it", "a byte too long", "ten times"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_damaged_chunk_of_which_only_some_bytes_are_read(layer: Path, damage: str, channels: int) -> None:
    vol = make(layer, channels=channels, **LARGE)  # type: ignore[arg-type]
    vol[...] = 1
    path = layer / LARGE_KEY
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    refused(vol, LARGE_INSIDE, name=LARGE_KEY)


@pytest.mark.parametrize(
    ("named", "holds"),
    [
        (named, holds)
        for named in ("gzip", "br", "zstd")
        for holds in ("nothing", "raw voxels", "gzip", "br", "zstd")
        if named != holds
    ],
)
def test_a_suffix_that_lies(layer: Path, named: str, holds: str) -> None:
    vol = make(layer, compress=holds if holds in SUFFIXES else None)
    vol[...] = 1
    (stored,) = layer.glob(f"{KEY}*")
    if holds == "nothing":
        stored.write_bytes(b"")
    stored.rename(layer / f"{KEY}{SUFFIXES[named]}")
    refused(vol, INSIDE)


def test_compressed_bytes_under_a_plain_name(layer: Path) -> None:
    vol = make(layer, compress="gzip", **LARGE)  # type: ignore[arg-type]
    vol[...] = 1
    (layer / f"{LARGE_KEY}.gz").rename(layer / LARGE_KEY)
    refused(vol, LARGE_INSIDE, name=LARGE_KEY)


def test_a_compression_that_nobody_knows(layer: Path) -> None:
    vol = make("mem://unknown/compression/image")
    vol[...] = 1
    vol._layer.objects().store.put(KEY, Blob(b"1234", "compress"))
    for vol.fill_missing in (False, True):
        for index in INSIDE:
            with pytest.raises(UnknownEncodingError, match=f"{KEY}.*compress.*known: br, gzip, zstd"):
                vol[index]


@pytest.mark.parametrize(("encoding", "compress"), FORMATS)
def test_a_missing_chunk_is_named_unless_it_is_filled(
    layer: Path, encoding: str, compress: str | None
) -> None:
    vol = make(layer, encoding=encoding, compress=compress)
    vol[...] = 1
    (layer / f"{KEY}{SUFFIXES[compress]}").unlink()
    for vol.parallel in (1, 2, 8):
        vol.fill_missing = False
        for index in INSIDE:
            with pytest.raises(EmptyVolumeError, match=KEY):
                vol[index]
        vol.fill_missing = True
        assert vol[10:12, 4, 101].ravel().tolist() == [1, 0]


@pytest.mark.parametrize("large", [False, True])
def test_a_folder_where_a_chunk_would_be(layer: Path, large: bool) -> None:
    vol = make(layer, **LARGE if large else {})  # type: ignore[arg-type]
    vol[...] = 1
    key = LARGE_KEY if large else KEY
    (layer / key).unlink()
    (layer / key).mkdir()
    refused(vol, LARGE_INSIDE if large else INSIDE, StoreError, key)
    with pytest.raises(StoreError, match=key):
        vol.exists(vol.bounds)
    with pytest.raises(StoreError, match=key):
        vol[...] = 2


class Codec:
    """A codec that does `behave` instead of decoding."""

    def __init__(self, behave: Callable[[], Any]) -> None:
        self.behave = behave

    def encode(self, chunk: Any) -> bytes:
        return b""

    def decode(self, data: Any, spec: Any) -> Any:
        return self.behave()


def fail(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (lambda: None, ChunkDecodeError),
        (lambda: np.zeros((4, 4, 4), np.uint8), ChunkDecodeError),
        (lambda: np.zeros((4, 4, 4, 1), np.int8), ChunkDecodeError),
        (lambda: fail(KeyError("x")), ChunkDecodeError),
        (lambda: fail(StoreError("x")), ChunkDecodeError),
        (lambda: fail(MemoryError()), TooLargeError),
    ],
)
def test_whatever_a_strangers_codec_does_is_an_error_of_the_key(
    behave: Callable[[], Any], error: type[PrecompError]
) -> None:
    store = MemoryStore()
    store.put("s/0-4_0-4_0-4", Blob(b"x"))
    objects = Objects(store, plugins.load().compressor)
    reader = ChunkReader(objects, Codec(behave), "strange", np.dtype("uint8"), 1)
    grid = ChunkGrid("s", (0, 0, 0), (4, 4, 4), (4, 4, 4))
    (ref,) = grid.plan((0, 0, 0), (4, 4, 4)).refs()
    with pytest.raises(error, match=r"^s/0-4_0-4_0-4: .*strange chunk of uint8, shape \(4, 4, 4, 1\)"):
        reader.paster(np.zeros((4, 4, 4, 1), np.uint8), slice(0, 1, 1), 0)(ref)


# ----------------------------------------------------------------- more than there is

BOMB = 2048  # MiB; of the volumes below none has more than one


def gzip_bomb(wrapper: int = 31) -> bytes:
    stream = isal_zlib.compressobj(1, zlib.DEFLATED, wrapper)
    return b"".join([stream.compress(bytes(2**20)) for _ in range(BOMB)]) + stream.flush()


def br_bomb() -> bytes:
    stream = brotli.Compressor(quality=1)
    parts: list[bytes] = [stream.process(bytes(2**20)) for _ in range(BOMB)]
    return b"".join(parts) + bytes(stream.finish())


def zstd_bomb() -> bytes:
    stream = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join([stream.compress(bytes(2**20)) for _ in range(BOMB)]) + stream.flush()


BOMBS = {"gzip": gzip_bomb, "br": br_bomb, "zstd": zstd_bomb}


@linux_only
@pytest.mark.parametrize("compress", BOMBS)
def test_bombs(layer: Path, compress: str) -> None:
    bomb = BOMBS[compress]()
    assert len(bomb) < 10 * 2**20
    for encoding in ("raw", "npz", "jpeg"):
        vol = make(layer / encoding, encoding=encoding, compress=compress, parallel=1)
        vol[...] = 1
        (layer / encoding / f"{KEY}{SUFFIXES[compress]}").write_bytes(bomb)
        with little_memory():
            for vol.fill_missing in (False, True):
                with pytest.raises(ChunkDecodeError, match=f"{KEY}: expected .*(at most|more than any)"):
                    vol[12, 4, 101]
    path = layer / "raw" / "info"
    path.with_name(f"info{SUFFIXES[compress]}").write_bytes(bomb)
    path.unlink()
    with little_memory(), pytest.raises(InfoError, match=f"{path}: expected .* at most"):
        CloudVolume(str(path.parent))


@linux_only
def test_a_bomb_inside_npz(layer: Path) -> None:
    vol = make(layer, encoding="npz", parallel=1)
    vol[...] = 1
    bomb = gzip_bomb(15)
    npy = zlib.decompress((layer / KEY).read_bytes())
    stream = isal_zlib.compressobj(1)
    zeros = (
        stream.compress(npy) + b"".join(stream.compress(bytes(2**20)) for _ in range(BOMB)) + stream.flush()
    )
    for damaged in (bomb, zeros):
        (layer / KEY).write_bytes(damaged)
        with little_memory():
            refused(vol, [np.s_[12, 4, 101]])


@linux_only
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_place_of_a_chunk(layer: Path) -> None:
    vol = make(layer)
    vol[...] = 1
    (layer / KEY).unlink()
    os.mkfifo(layer / KEY)
    refused(vol, INSIDE, StoreError)


def test_a_jpeg_that_claims_four_gigapixels(layer: Path) -> None:
    vol = make(layer, encoding="jpeg", parallel=1)
    vol[...] = 1
    jpeg = bytearray((layer / KEY).read_bytes())
    start = jpeg.index(b"\xff\xc0")  # SOF0: length, precision, height, width
    jpeg[start + 5 : start + 9] = b"\xff\xdc\xff\xdc"
    (layer / KEY).write_bytes(jpeg)
    with little_memory():
        refused(vol, [np.s_[12, 4, 101]])


@linux_only
@pytest.mark.parametrize("compress", [None, "gzip", "br", "zstd"])
@pytest.mark.parametrize("encoding", ["raw", "npz", "jpeg"])
@pytest.mark.parametrize("side", [10**5, 10**6, 10**9])
def test_a_huge_chunk_size_and_a_tiny_chunk(
    layer: Path, encoding: str, compress: str | None, side: int
) -> None:
    vol = make(
        layer,
        [side] * 3,
        chunk_size=[side] * 3,
        voxel_offset=(0, 0, 0),
        encoding=encoding,
        compress=compress,
        parallel=1,
    )
    key = "8_8_40/" + "_".join([f"0-{side}"] * 3)
    last = (side - 1,) * 3
    with pytest.raises(EmptyVolumeError, match=key):
        vol[last]
    tiny = b"tiny" if compress is None else plugins.load().compressor(compress).compress(b"tiny")
    (layer / key).parent.mkdir()
    (layer / f"{key}{SUFFIXES[compress]}").write_bytes(tiny)
    vol.non_aligned_writes = True
    with little_memory():
        for vol.fill_missing in (False, True):
            for index in ((0, 0, 0), last):
                with pytest.raises(ChunkDecodeError, match=key):
                    vol[index]
        with pytest.raises(ChunkDecodeError, match=key):
            vol[last] = 1
        with pytest.raises(TooLargeError):
            vol[...]
        vol.delete(vol.bounds)
        assert vol[last].item() == 0
        with pytest.raises(TooLargeError, match=key):
            vol[last] = 1  # the rest of the chunk would have to be made
        with pytest.raises(TooLargeError):
            vol[...] = 1
    assert not any(vol.exists(vol.bounds).values())


@linux_only
@pytest.mark.parametrize("size", [(10**6, 10**6, 10**6), (10**18, 1, 1), (1, 2**62, 1), (2**62,) * 3])
def test_as_many_voxels_as_nobody_has(layer: Path, size: tuple[int, int, int]) -> None:
    made = make(layer, size, voxel_offset=(0, 0, 0))
    with little_memory():
        vol = CloudVolume(made.cloudpath, fill_missing=True, parallel=1)
        assert vol.shape == (*size, 1)
        last = tuple(length - 1 for length in size)
        vol.non_aligned_writes = True
        vol[last] = 7
        assert vol[last].item() == 7
        steps = tuple(slice(length % 10 and length % 10 - 1, None, max(1, length // 10)) for length in size)
        assert vol[steps].size <= 11**3  # however many chunks lie between two of these voxels
        with pytest.raises(TooLargeError):
            vol[...]
        with pytest.raises(PrecompError):
            vol.exists(vol.bounds)
        with pytest.raises(PrecompError):
            vol.delete(vol.bounds)
        with pytest.raises(StoreError):
            vol.download_to_file(layer / "all.npy", vol.bounds)
    assert sorted(os.listdir(layer)) == ["8_8_40", "info"]


@linux_only
@pytest.mark.parametrize("channels", [10**6, 10**9])
def test_as_many_channels_as_nobody_has(layer: Path, channels: int) -> None:
    key = "8_8_40/0-64_0-64_0-64"
    vol = make(layer, (64,) * 3, channels=channels, chunk_size=(64,) * 3, voxel_offset=(0, 0, 0))
    too_few = ChunkDecodeError if channels == 10**6 else TooLargeError  # a voxel of a gigabyte
    with little_memory():
        with pytest.raises(EmptyVolumeError, match=key):
            vol[1, 2, 3, 5]
        (layer / key).parent.mkdir()
        (layer / key).write_bytes(b"tiny")
        with pytest.raises(ChunkDecodeError, match=key):
            vol[1, 2, 3, 5]
        with pytest.raises(too_few):
            vol[1, 2, 3]
        with pytest.raises(TooLargeError):
            vol[...]
        if channels == 10**6:  # no file system has a file for the other
            with (layer / key).open("wb") as sparse:
                sparse.truncate(64**3 * channels)
            assert vol[1, 2, 3, channels - 1].item() == 0


def test_more_chunks_along_an_axis_than_can_be_listed(layer: Path) -> None:
    vol = make(layer, (10**18, 1, 1), voxel_offset=(0, 0, 0), chunk_size=(1, 1, 1))
    with pytest.raises(TooLargeError, match=r"8_8_40: .*1,000,000,000,000,000,000 chunks"):
        vol[...] = 1
    assert sorted(os.listdir(layer)) == ["info"]


# ----------------------------------------------------------------- info and provenance

DOCUMENTS = {
    "empty": b"",
    "blanks": b" " * 10**8,
    "half of it": b'{"type": "image", "scales": [',
    "a web page": b"<!DOCTYPE html><title>404 Not Found</title>",
    "not UTF-8": b'{"type": "im\xe4ge"}',
    "UTF-16": '{"type": "image"}'.encode("utf-16"),
    "zeros": bytes(1000),
    "garbage": GARBAGE,
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "deep": b'{"scales": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b'{"a": ' * 200_000 + b"1" + b"}" * 200_000,
    "deep and without end": b"[" * 200_000,
    "not a number": b'{"a": NaN}',
    "more than a float": b'{"a": 1e999}',
    "more than Python reads": b'{"a": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_info_that_is_none(layer: Path, name: str) -> None:
    layer.mkdir(parents=True)
    (layer / "info").write_bytes(DOCUMENTS[name])
    with pytest.raises(InfoError, match=rf"^file://{layer}/info: .*(expected|not JSON|breaks the format)"):
        CloudVolume(str(layer))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_provenance_that_is_none(layer: Path, name: str) -> None:
    made = make(layer)
    made[...] = 1
    (layer / "provenance").write_bytes(DOCUMENTS[name])
    vol = CloudVolume(str(layer))
    assert vol[0, 4, 101].item() == 1  # the voxels do not need it
    if name == "null":
        return
    with pytest.raises(InfoError, match=rf"^file://{layer}/provenance: .*(expected|not JSON|breaks)"):
        vol.provenance  # noqa: B018


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("gzip", lambda compress: compress(b"{}")[:-1]),
        ("gzip", lambda compress: compress(b"{}") + b"x"),
        ("br", lambda _: b"{}"),
        ("zstd", lambda _: b"{}"),
    ],
)
def test_a_compressed_info_that_is_damaged(layer: Path, name: str, damaged: Callable[[Any], bytes]) -> None:
    layer.mkdir(parents=True)
    (layer / f"info{SUFFIXES[name]}").write_bytes(damaged(plugins.load().compressor(name).compress))
    with pytest.raises(InfoError, match=f"^file://{layer}/info: expected one {name} stream"):
        CloudVolume(str(layer))


def test_folders_in_place_of_files(layer: Path) -> None:
    (layer / "info").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"info.*expected a file, found a folder"):
        CloudVolume(str(layer))
    (layer / "info").rmdir()
    with pytest.raises(InfoNotFoundError, match=f"{layer}/info"):
        CloudVolume(str(layer))
    vol = make(layer)
    (layer / "provenance").mkdir()
    with pytest.raises(StoreError, match=r"provenance.*expected a file, found a folder"):
        vol.provenance  # noqa: B018


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("size", [-40, 30, 20], "size[0]"),
        ("size", [0, 30, 20], "size[0]"),
        ("size", [40, 30], "size"),
        ("size", ["40", "30", "20"], "size[2]"),
        ("size", [40, 30, 20.5], "size[2]"),
        ("size", [40, 30, 2**63], "size[2]"),
        ("voxel_offset", [0.5, 0, 0], "voxel_offset[0]"),
        ("voxel_offset", "0,0,0", "voxel_offset"),
        ("chunk_sizes", [], "chunk_sizes"),
        ("chunk_sizes", [[16, 16, -16]], "chunk_sizes[0][2]"),
        ("chunk_sizes", [16, 16, 16], "chunk_sizes[0]"),
        ("resolution", [0, 8, 40], "resolution[0]"),
        ("resolution", [8, -8, 40], "resolution[1]"),
        ("resolution", [8, 8, "40"], "resolution[2]"),
        ("resolution", [float("nan"), 8, 40], "NaN"),
        ("resolution", [float("inf"), 8, 40], "Infinity"),
        ("encoding", 5, "encoding"),
        ("encoding", None, "encoding"),
        ("key", 8, "key"),
        ("key", "", "key"),
        ("key", "/etc", "key"),
        ("key", "a\0b", "key"),
        ("key", "../../../../etc", "key"),
        ("key", "../../../x", "key"),
        ("key", "8_8_40/../../../../x", "key"),
        ("key", "a//b", "key"),
        ("key", "..\\..\\..\\..\\x", "key"),
    ],
)
def test_a_scale_that_breaks_the_format(layer: Path, field: str, value: Any, named: str) -> None:
    info = make(layer).info
    info["scales"][0][field] = value
    (layer / "info").write_text(json.dumps(info))
    before = sorted(layer.parents[1].rglob("*"))
    with pytest.raises(InfoError) as caught:
        CloudVolume(str(layer), fill_missing=True)[0, 4, 101]
    assert str(layer) in str(caught.value)
    assert named in str(caught.value)
    with pytest.raises(PrecompError):
        CloudVolume(str(layer), fill_missing=True)[...] = 1
    assert sorted(layer.parents[1].rglob("*")) == before


@pytest.mark.parametrize(
    "target",
    [5, True, ["x"], {"path": "x"}, "nope://bucket/ds/image", "gs://", "://x/y", "gs:/x", "file://x/y",
     "a\0b", "mem://bucket//x"],
)  # fmt: skip
def test_a_redirect_that_is_no_path(layer: Path, target: Any) -> None:
    layer.mkdir(parents=True)
    (layer / "info").write_text(json.dumps({"redirect": target}))
    with pytest.raises(InfoError, match=rf"^file://{layer}/info: redirect: "):
        CloudVolume(str(layer))


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


def cyclic() -> dict[str, Any]:
    cycle: dict[str, Any] = {}
    cycle["again"] = cycle["and again"] = cycle
    return cycle


@pytest.mark.parametrize("value", [nested(500), cyclic(), {1: 2}, {"x": object()}, float("nan")])
def test_an_edit_that_is_no_json(layer: Path, value: Any) -> None:
    vol = make(layer)
    vol[...] = 1
    saved = (layer / "info").read_bytes()
    vol.info["note"] = value
    for use in (lambda: vol.shape, lambda: vol[0, 4, 101], vol.commit_info):
        with pytest.raises(InfoError, match=f"^file://{layer}/info: "):
            use()
    assert (layer / "info").read_bytes() == saved
    del vol.info["note"]
    assert vol[0, 4, 101].item() == 1
    with pytest.raises(InfoError, match=f"^file://{layer}/info: "):
        vol.info = {**vol.info, "note": value}
    assert vol[0, 4, 101].item() == 1


def test_an_array_in_the_info_is_a_list(layer: Path) -> None:
    vol = make(layer)
    for size in (np.array([10, 20, 30]), (11, 20, 30), [np.int64(12), 20, 30]):
        vol.scale["size"] = size
        assert vol.volume_size == tuple(size)
        vol.commit_info()
        assert json.loads((layer / "info").read_text())["scales"][0]["size"] == list(size)


def test_a_refresh_that_fails_leaves_the_volume_as_it_was(layer: Path, tmp_path: Path) -> None:
    vol = make(layer)
    vol[...] = 1
    elsewhere = tmp_path / "bucket" / "retina" / "broken"
    elsewhere.mkdir()
    (elsewhere / "info").write_text('{"type": "image"}')
    (layer / "info").write_text(json.dumps({"redirect": f"file://{elsewhere}"}))
    with pytest.raises(InfoError, match=f"^file://{elsewhere}/info: "):
        vol.refresh_info()
    assert vol.cloudpath == f"file://{layer}"
    assert vol[0, 4, 101].item() == 1


# --------------------------------------------------------- permissions and full disks


@pytest.fixture
def shared_layer() -> Iterator[Path]:
    """A layer in a folder that everybody may enter, unlike those of `tmp_path`."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    yield root / "retina" / "image"
    for path in root.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(root)


@pytest.mark.parametrize("large", [False, True])
def test_a_chunk_that_may_not_be_read(shared_layer: Path, large: bool) -> None:
    vol = make(shared_layer, **LARGE if large else {})  # type: ignore[arg-type]
    vol[...] = 1
    key = LARGE_KEY if large else KEY
    (shared_layer / key).chmod(0)
    with unprivileged():
        refused(vol, LARGE_INSIDE if large else INSIDE, StoreError, key)
    (shared_layer / key).parent.chmod(0)
    with unprivileged():
        refused(vol, LARGE_INSIDE if large else INSIDE, StoreError, "8_8_40/")
        with pytest.raises(StoreError, match="8_8_40/"):
            vol.exists(vol.bounds)


def test_a_read_only_folder_keeps_its_chunks(shared_layer: Path) -> None:
    vol = make(shared_layer, non_aligned_writes=True)
    voxels = noise(vol.shape)
    vol[...] = voxels
    (shared_layer / "8_8_40").chmod(0o555)
    shared_layer.chmod(0o555)
    with unprivileged():
        for vol.parallel in (1, 8):
            for box in (np.s_[11:27, 3:19, 100:116], np.s_[12, 4, 101]):
                with pytest.raises(StoreError, match=f"{KEY}.*check the permissions"):
                    vol[box] = 1
            with pytest.raises(StoreError, match="8_8_40/"):
                vol[...] = 1
            with pytest.raises(StoreError, match="8_8_40/"):
                vol.delete(vol.bounds)
        for name, commit in (("info", vol.commit_info), ("provenance", vol.commit_provenance)):
            with pytest.raises(StoreError, match=f"'{name}'.*check the permissions"):
                commit()
        np.testing.assert_array_equal(vol[...], voxels)


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_a_disk_without_room_keeps_its_chunks(layer: Path, parallel: int) -> None:
    vol = make(layer, parallel=parallel, non_aligned_writes=True)
    voxels = noise(vol.shape)
    vol[...] = voxels
    before = {path.name: path.read_bytes() for path in (layer / "8_8_40").iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # Python ignores the signal
    try:
        for box in (np.s_[11:27, 3:19, 100:116], np.s_[12, 4, 101]):
            with pytest.raises(StoreError, match=f"{KEY}.*raise the limit"):
                vol[box] = 1
        with pytest.raises(StoreError, match="8_8_40/"):
            vol[...] = 1
        with pytest.raises(StoreError, match=r"cut\.raw"):
            vol.download_to_file(layer / "cut.raw", vol.bounds)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in (layer / "8_8_40").iterdir()} == before
    assert sorted(os.listdir(layer)) == ["8_8_40", "info"]


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount a small file system"
)
def test_a_full_disk(layer: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    try:
        vol = make(full / "image", (64, 64, 64), chunk_size=(64, 64, 64), voxel_offset=(0, 0, 0))
        voxels = noise(vol.shape)
        vol[...] = voxels
        (full / "others").write_bytes(bytes(600_000))
        with pytest.raises(StoreError, match=r"0-64_0-64_0-64.*make room on the disk"):
            vol[...] = 0
        vol.info["note"] = "x" * 500_000
        with pytest.raises(StoreError, match=r"info.*make room on the disk"):
            vol.commit_info()
        np.testing.assert_array_equal(CloudVolume(vol.cloudpath)[...], voxels)
        # In a process of its own: a memory map without room for a page is its death.
        large = make(layer, (128, 128, 128), fill_missing=True)
        for name in ("cut.npy", "cut.raw"):
            assert os.strerror(errno.ENOSPC) in run("download", large.cloudpath, full / name)
        assert sorted(os.listdir(full)) == ["image", "others"]
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_writers_killed_at_any_moment_leave_whole_chunks(tmp_path: Path) -> None:
    assert run("killed", tmp_path / "image", 12).split() == ["whole"] * 12


# --------------------------------------------------------------- errors from threads


@pytest.fixture
def many(request: pytest.FixtureRequest) -> Iterator[CloudVolume]:
    """A volume of very many chunks in memory, and no thread but those of before at the end."""
    before = set(threading.enumerate())
    vol = make(
        f"mem://bad/threads/{request.node.name}", (16, 16, 16), chunk_size=(1, 1, 1), voxel_offset=(0, 0, 0)
    )
    vol[...] = 1
    yield vol
    assert set(threading.enumerate()) <= before


class Trouble:
    """Puts trouble into a store's method: `strike` is called instead of call number `number`."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, method: str, number: int, strike: Callable[[str], object]
    ) -> None:
        self.calls = self.after = 0
        self.struck = False
        real: Any = getattr(MemoryStore, method)
        counting = threading.Lock()

        def troubled(store: Any, key: str, *arguments: Any, **options: Any) -> Any:
            with counting:
                self.calls += 1
                self.after += self.struck
                mine = self.calls == number
                self.struck = self.struck or mine
            if mine:
                strike(key)
            if self.struck:
                time.sleep(0.001)  # let the others hear of it
            return real(store, key, *arguments, **options)

        monkeypatch.setattr(MemoryStore, method, troubled)


@pytest.mark.parametrize("parallel", [1, 2, 8])
@pytest.mark.parametrize("method", ["get", "put", "delete"])
@pytest.mark.parametrize("error", [StoreError("the line is dead"), RuntimeError("a defect"), SystemExit(3)])
def test_the_first_error_of_a_worker_stops_all(
    many: CloudVolume, monkeypatch: pytest.MonkeyPatch, method: str, parallel: int, error: BaseException
) -> None:
    many = CloudVolume(many.cloudpath, parallel=parallel, fill_missing=True)
    before = set(threading.enumerate())
    trouble = Trouble(monkeypatch, method, 500, lambda key: fail(error))
    work: dict[str, Callable[[], object]] = {
        "get": lambda: many[...],
        "put": lambda: many.__setitem__(..., 2),
        "delete": lambda: many.delete(many.bounds),
    }
    with pytest.raises(type(error)) as caught:
        work[method]()
    assert caught.value is error
    assert set(threading.enumerate()) == before
    assert trouble.after <= 4 * parallel
    monkeypatch.undo()
    assert CloudVolume(many.cloudpath, fill_missing=True)[...].max() >= 1  # all locks are free


@pytest.mark.parametrize("parallel", [1, 2, 8])
@pytest.mark.parametrize("method", ["get", "put"])
def test_an_interrupt_stops_all(
    many: CloudVolume, monkeypatch: pytest.MonkeyPatch, method: str, parallel: int
) -> None:
    many = CloudVolume(many.cloudpath, parallel=parallel)
    before = set(threading.enumerate())
    # As Ctrl-C does it: the signal becomes an exception in the main thread, wherever that is.
    trouble = Trouble(monkeypatch, method, 500, lambda key: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        many[...] if method == "get" else many.__setitem__(..., 2)
    assert set(threading.enumerate()) == before
    assert trouble.after <= 8 * parallel


def test_an_interrupt_while_others_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    vol = make("mem://bad/threads/waiting", (64, 1, 1), chunk_size=(1, 1, 1), voxel_offset=(0, 0, 0))
    vol[...] = 1
    vol = CloudVolume(vol.cloudpath, parallel=2)
    main, done = threading.main_thread(), threading.Event()
    assert threading.current_thread() is main
    seen: list[str] = []
    real = MemoryStore.get

    def get(store: MemoryStore, key: str, byte_range: Any = None) -> Any:
        if threading.current_thread() is not main and not seen:
            seen.append("asked")
            done.wait(0.2)  # the main thread does all the rest meanwhile and waits
            signal.pthread_kill(main.ident or 0, signal.SIGINT)
            done.wait(0.2)
            seen.append("answered")
        return real(store, key, byte_range)

    monkeypatch.setattr(MemoryStore, "get", get)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        vol[...]
    assert seen == ["asked", "answered"]
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("progress", [None, True])
def test_no_thread_survives_a_call(
    many: CloudVolume, capfd: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    before = set(threading.enumerate())
    many.parallel, many.progress = 8, progress
    many[...] = 2
    assert many[...].min() == 2
    assert set(threading.enumerate()) == before


# ---------------------------------------------------------------- damage of any kind

OFFSET = (0, 0, 0)
SMALL = {"size": (9, 8, 7), "chunk_size": (9, 8, 7), "voxel_offset": OFFSET, "dtype": "uint16"}
SMALL_KEY = "8_8_40/0-9_0-8_0-7"


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Bit flips, cuts and extensions, and mixtures of them."""
    steps = draw(
        st.lists(st.tuples(st.sampled_from("fce"), st.floats(0, 1), st.binary(min_size=1)), min_size=1)
    )

    def damage(data: bytes) -> bytes:
        for kind, where, extra in steps:
            place = int(where * len(data))
            if kind == "f" and data:
                place = min(place, len(data) - 1)
                data = data[:place] + bytes([data[place] ^ (extra[0] or 1)]) + data[place + 1 :]
            elif kind == "c":
                data = data[:place]
            elif kind == "e":
                data += extra
        return data

    return damage


@pytest.fixture(scope="module")
def stored() -> dict[tuple[str, str | None], tuple[CloudVolume, Blob, Any]]:
    """One small volume of each format with its one chunk, as stored and as voxels."""
    made = {}
    for encoding, compress in FORMATS:
        options = SMALL | ({"dtype": "uint8"} if encoding == "jpeg" else {})
        vol = make(f"mem://damage/{encoding}/{compress}", encoding=encoding, compress=compress, **options)  # type: ignore[arg-type]
        vol[...] = noise(vol.shape, vol.dtype) // 16  # something to compress
        blob = vol._layer.objects().store.get(SMALL_KEY)
        assert blob is not None
        made[encoding, compress] = vol, blob, np.asarray(vol[...])
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(damage=damages(), where=st.tuples(st.integers(0, 8), st.integers(0, 7), st.integers(0, 6)))
@pytest.mark.parametrize(("encoding", "compress"), FORMATS)
def test_random_damage_is_an_error_or_harmless(
    stored: Any,
    encoding: str,
    compress: str | None,
    damage: Callable[[bytes], bytes],
    where: tuple[int, int, int],
) -> None:
    vol, blob, voxels = stored[encoding, compress]
    vol._layer.objects().store.put(SMALL_KEY, blob._replace(data=damage(bytes(blob.data))))
    for index in (np.s_[...], where):
        try:
            found = vol[index]
        except ChunkDecodeError as error:
            assert SMALL_KEY in str(error)  # noqa: PT017  an error need not be
            continue
        expected = voxels[tuple(slice(i, i + 1) for i in where)] if index is where else voxels
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        if encoding == "npz" or compress in ("gzip", "zstd"):  # the others have no checksum
            np.testing.assert_array_equal(found, expected)
