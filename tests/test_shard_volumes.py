"""Sharded volumes: read and written, by tensorstore too; exists, delete, copies, caches, damage."""

import struct
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shards import make_sharded, opened, shard_files, sharding, shardings
from volumes import make, noise, parts

from precomp import Bbox, CloudVolume
from precomp.engine.paste import Paste
from precomp.engine.shards.build import build
from precomp.engine.shards.ids import Locator
from precomp.engine.shards.index import Format
from precomp.engine.write import ChunkWriter
from precomp.errors import ChunkDecodeError, EmptyVolumeError, StoreError, TooLargeError, UnsupportedError
from precomp.grid import ChunkRef
from precomp.info import ShardingSpec
from precomp.interfaces import Blob, ByteRange, Condition
from precomp.memory import open_shared
from precomp.plugins import load
from precomp.testing import VolumeStateMachine

MURMUR = "murmurhash3_x86_128"
few = settings(max_examples=25)

dtypes = st.sampled_from(["uint8", "int16", "uint32", "uint64", "float32"])
sizes = st.tuples(*[st.integers(1, 33)] * 3)
chunk_sizes = st.tuples(*[st.integers(3, 16)] * 3)
offsets = st.tuples(*[st.integers(-20, 20)] * 3)


def ramps(shape: Any) -> Any:
    x, y, z, channels = np.ogrid[tuple(slice(0, n) for n in shape)]
    return (40 + 40 * channels + 3 * x + 2 * y + z).clip(0, 255).astype(np.uint8)


# Both ways against tensorstore


@few
@given(shardings(), sizes, chunk_sizes, offsets, dtypes, st.integers(1, 3), st.data())
def test_tensorstore_reads_what_precomp_writes(
    spec: Any, size: Any, chunk: Any, offset: Any, dtype: str, channels: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ds" / "layer"
        vol = make_sharded(
            place,
            spec,
            size,
            dtype=dtype,
            channels=channels,
            chunk_size=chunk,
            voxel_offset=offset,
            non_aligned_writes=True,
            fill_missing=True,
        )
        voxels = noise((*size, channels), dtype)
        vol[...] = voxels
        np.testing.assert_array_equal(opened(place).read().result(), voxels)
        part = data.draw(parts(size))
        voxels[part] = 3
        vol[tuple(slice(p.start + o, p.stop + o, p.step) for p, o in zip(part, offset, strict=True))] = 3
        np.testing.assert_array_equal(opened(place).read().result(), voxels)
        assert all(name.endswith(".shard") for name in shard_files(place / "8_8_40"))


@few
@given(shardings(), sizes, chunk_sizes, offsets, dtypes, st.integers(1, 3), st.data())
def test_precomp_reads_what_tensorstore_writes(
    spec: Any, size: Any, chunk: Any, offset: Any, dtype: str, channels: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ds" / "layer"
        vol = make_sharded(
            place, spec, size, dtype=dtype, channels=channels, chunk_size=chunk, voxel_offset=offset
        )
        vol.fill_missing = True
        voxels = noise((*size, channels), dtype)
        opened(place).write(voxels).result()
        for parallel in (1, 3):
            np.testing.assert_array_equal(vol.download(vol.bounds, parallel=parallel), voxels)
        part = data.draw(parts(size))
        place_of = tuple(slice(p.start + o, p.stop + o, p.step) for p, o in zip(part, offset, strict=True))
        np.testing.assert_array_equal(vol[place_of], voxels[part])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("index", ["raw", "gzip"])
def test_jpeg_both_ways(tmp_path: Path, channels: int, index: str) -> None:
    spec = sharding(1, 2, 1, index=index)
    vol = make_sharded(tmp_path / "ds" / "a", spec, channels=channels, encoding="jpeg")
    voxels = ramps(vol.shape)
    vol[...] = voxels
    found = np.asarray(opened(tmp_path / "ds" / "a").read().result())
    np.testing.assert_allclose(np.asarray(vol[...], int), found, atol=1)  # decoders may round apart
    assert np.abs(found.astype(int) - voxels).mean() < 2
    opened(tmp_path / "ds" / "a").write(255 - voxels).result()
    found = np.asarray(opened(tmp_path / "ds" / "a").read().result())
    np.testing.assert_allclose(np.asarray(vol[...], int), found, atol=1)
    assert np.abs(np.asarray(vol[...], int) - (255 - voxels.astype(int))).mean() < 3


@pytest.mark.parametrize(
    ("encoding", "dtype"), [("compressed_segmentation", "uint64"), ("compressed_segmentation", "uint32")]
)
@pytest.mark.parametrize("data", ["raw", "gzip"])
def test_labels_both_ways(tmp_path: Path, encoding: str, dtype: str, data: str) -> None:
    spec = sharding(1, 2, 1, MURMUR, "gzip", data)
    vol = make_sharded(tmp_path / "ds" / "a", spec, dtype=dtype, encoding=encoding)
    labels = noise(vol.shape, dtype) % 50
    vol[...] = labels
    np.testing.assert_array_equal(opened(tmp_path / "ds" / "a").read().result(), labels)
    opened(tmp_path / "ds" / "a").write(labels + 1).result()
    np.testing.assert_array_equal(vol[...], labels + 1)
    np.testing.assert_array_equal(vol[0:9, 5:25, 104:119], labels[5:14, 2:22, 4:19] + 1)


# Random lives


class Sharded(VolumeStateMachine):
    """In memory, some scales in shards and some not."""

    shardings = shardings() | st.none()

    def cloudpath(self) -> str:
        return f"mem://{uuid.uuid4()}/ds/layer"


class ShardedOnFile(Sharded):
    """On the local disk."""

    def cloudpath(self) -> str:
        self.folder = tempfile.TemporaryDirectory()
        return f"file://{self.folder.name}/ds/layer"

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestSharded = Sharded.TestCase
TestShardedOnFile = ShardedOnFile.TestCase
TestSharded.settings = TestShardedOnFile.settings = settings(max_examples=15)


# cloud-volume's errors


@pytest.mark.parametrize("place", ["file", "mem"])
def test_writing_one_chunk_leaves_the_others_of_its_shard(tmp_path: Path, place: str) -> None:
    """peers.md 3: one chunk written makes zeros of the shard's others; several shards are refused."""
    path = tmp_path / "ds" / "a" if place == "file" else f"mem://{tmp_path}/ds/a".replace("///", "//")
    vol = make_sharded(path, sharding(1, 1, 2), (64, 64, 64))
    voxels = noise(vol.shape)
    vol[...] = voxels  # several shards
    x, y, z = vol.voxel_offset
    for corner in ((0, 0, 0), (16, 32, 48), (48, 48, 48)):
        box = tuple(slice(low, low + 16) for low in corner)
        voxels[box] = 9
        vol[tuple(slice(p.start + o, p.stop + o) for p, o in zip(box, (x, y, z), strict=True))] = 9
        np.testing.assert_array_equal(vol[...], voxels)


def test_untouched_chunks_survive_byte_for_byte(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(data="gzip"), (48, 16, 16), encoding="jpeg")
    vol[...] = ramps(vol.shape)
    shards = vol._layer.scale(0).shards
    assert shards is not None
    keys = list(vol.exists(vol.bounds))
    before = [bytes(shards.get(key).data) for key in keys]  # type: ignore[union-attr]
    vol[11:27, :, :] = 255
    after = [bytes(shards.get(key).data) for key in keys]  # type: ignore[union-attr]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("lru_bytes", [0, 10**6])
@pytest.mark.parametrize("cache", [False, True])
def test_mips_are_not_confused(tmp_path: Path, lru_bytes: int, cache: bool) -> None:
    """peers.md 4: its memory cache takes mip 0's chunk for mip 1's of the same place."""
    vol = make_sharded(tmp_path / "ds" / "a", sharding(1, 1), (64, 64, 16), max_mip=1, lru_bytes=lru_bytes)
    if cache:
        vol.cache = str(tmp_path / "cache")  # type: ignore[assignment]
    vol[...] = 1
    vol.mip = 1
    vol[...] = 2
    for _ in range(2):
        for mip in (0, 1):
            vol.mip = mip
            assert (vol[...] == mip + 1).all()


def test_exists_and_delete_look_into_shards(tmp_path: Path) -> None:
    """peers.md 9: they look for unsharded names there; and gzip makes an unreadable `0.shard.gz`."""
    vol = make_sharded(tmp_path / "ds" / "a", sharding(0, 1, 1), (32, 32, 16), compress="gzip")
    assert set(vol.exists(vol.bounds).values()) == {False}
    voxels = noise(vol.shape)
    vol[...] = voxels
    assert shard_files(tmp_path / "ds" / "a" / "8_8_40") == ["0.shard", "1.shard"]
    assert set(vol.exists(vol.bounds)) == {
        f"8_8_40/{x}_{y}_100-116" for x in ("-5-11", "11-27") for y in ("3-19", "19-35")
    }
    assert set(vol.exists(vol.bounds).values()) == {True}
    vol.delete(Bbox((-5, 3, 100), (11, 35, 116)))
    assert [key for key, there in vol.exists(vol.bounds).items() if not there] == [
        "8_8_40/-5-11_3-19_100-116",
        "8_8_40/-5-11_19-35_100-116",
    ]
    vol.delete(Bbox((-5, 3, 100), (11, 35, 116)))  # absent ones are fine
    with pytest.raises(EmptyVolumeError, match=r"8_8_40/-5-11_3-19_100-116 \(chunk id 0, minishard 0 of 8_8"):
        vol[...]
    np.testing.assert_array_equal(vol[11:], voxels[16:])
    vol.fill_missing = True
    voxels[:16] = 0
    np.testing.assert_array_equal(vol[...], voxels)
    vol.delete(vol.bounds)
    assert shard_files(tmp_path / "ds" / "a" / "8_8_40") == []
    assert not vol[...].any()


def test_a_shard_left_empty_stays_where_no_lock_guards_its_end() -> None:
    vol = make_sharded(f"mem://{uuid.uuid4()}/ds/a", sharding(), (16, 16, 16))
    vol[...] = 1
    vol.delete(vol.bounds)
    assert set(vol.exists(vol.bounds).values()) == {False}
    with pytest.raises(EmptyVolumeError):
        vol[...]


def test_black_chunks_are_deleted(tmp_path: Path) -> None:
    vol = make_sharded(
        tmp_path / "ds" / "a",
        sharding(),
        (32, 16, 16),
        delete_black_uploads=True,
        non_aligned_writes=True,
        fill_missing=True,
    )
    vol[...] = 1
    vol[-5:11] = 0
    assert list(vol.exists(vol.bounds).values()) == [False, True]
    vol[12:27] = 0
    assert list(vol.exists(vol.bounds).values()) == [False, True]
    vol[11:12] = 0
    assert shard_files(tmp_path / "ds" / "a" / "8_8_40") == []
    vol[...] = 0  # the whole volume
    assert shard_files(tmp_path / "ds" / "a" / "8_8_40") == []


@pytest.mark.parametrize("place", ["file", "mem"])
def test_a_whole_volume_is_deleted_by_writing_it_black(tmp_path: Path, place: str) -> None:
    """Then nothing is read before; shards that are to be empty must not stay as they were."""
    path = tmp_path / "ds" / "a" if place == "file" else f"mem://{uuid.uuid4()}/ds/a"
    vol = make_sharded(path, sharding(0, 1, 1), (64, 16, 16), delete_black_uploads=True, fill_missing=True)
    vol[...] = 1
    voxels = noise(vol.shape)
    voxels[:16] = voxels[32:48] = 0  # the chunks of one shard
    voxels[16:32] = 0
    vol[...] = voxels
    np.testing.assert_array_equal(vol[...], voxels)
    assert list(vol.exists(vol.bounds).values()) == [False, False, False, True]
    vol[...] = 0
    assert not vol[...].any()
    assert not any(vol.exists(vol.bounds).values())


def test_threads_share_the_parts_of_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While its lock is held, others wait."""
    vol = make_sharded(
        tmp_path / "ds" / "a", sharding(2, 2), (64, 64, 16), parallel=4, non_aligned_writes=True, max_mip=0
    )
    voxels = noise(vol.shape)
    vol[...] = voxels
    meeting, merged = threading.Barrier(4), ChunkWriter.merged

    def together(*arguments: Any) -> Any:
        meeting.wait(30)
        return merged(*arguments)

    monkeypatch.setattr(ChunkWriter, "merged", together)
    vol[:, :, 101:115] = 7
    voxels[:, :, 1:15] = 7
    np.testing.assert_array_equal(vol[...], voxels)


def test_threads_that_read_a_shard_are_far_from_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where chunks have files of their own, though in a shard those of both lie in turns."""
    form, size = sharding(5, data="gzip"), (64, 64, 32)  # the highest bit of a chunk's number is of its y
    vol = make_sharded(tmp_path / "ds" / "a", form, size, parallel=2)
    vol[...] = noise(vol.shape)
    places: dict[int, set[int]] = {}
    meeting, blob = threading.Barrier(2), Paste.blob

    def together(paste: Paste, ref: ChunkRef, data: Blob) -> None:
        meeting.wait(30)
        places.setdefault(threading.get_ident(), set()).add(ref.target[2].start)
        blob(paste, ref, data)

    monkeypatch.setattr(Paste, "blob", together)
    vol[...]
    assert sorted(map(sorted, places.values())) == [[0], [16]]


def test_a_chunk_that_is_missing_is_not_written_in_part(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(0, 1, 1), (64, 16, 16), non_aligned_writes=True)
    vol[-5:27] = 1
    with pytest.raises(EmptyVolumeError, match=r"27-43_3-19_100-116 \(chunk id 2"):
        vol[0:40] = 2
    assert (vol[-5:27] == 1).all()  # before anything is written
    vol[0:27] = 2
    assert (vol[0:27] == 2).all()
    assert (vol[-5:0] == 1).all()


# The store of chunks


def test_a_sharded_scale_is_a_store_of_chunks(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(data="gzip"), (32, 16, 16))
    shards = vol._layer.scale(0).shards
    assert shards is not None
    one, two = vol.exists(vol.bounds)
    assert list(shards.list("")) == []
    shards.put(one, Blob(b"one"), condition=Condition(None))
    assert list(shards.list("")) == [one]
    assert list(shards.list("8_8_40/1")) == []
    with pytest.raises(StoreError, match="expected no chunk"):
        shards.put(one, Blob(b"other"), condition=Condition(None))
    with pytest.raises(StoreError, match="version 7"):
        shards.put(one, Blob(b"other"), condition=Condition("7"))
    shards.update(two, lambda blob: Blob(b"two") if blob is None else blob)
    assert shards.stat(two) is not None
    blob = shards.get(two)
    assert blob is not None
    assert load().compressor("gzip").decompress(blob.data, 9) == b"two"
    shards.update(two, lambda blob: None)
    assert shards.stat(two) is None
    with pytest.raises(StoreError, match="expected the key of a chunk of 8_8_40"):
        shards.get("8_8_40/0-16_0-16_0-16")


def test_parts_of_a_chunk_are_of_one_version() -> None:
    path = f"{uuid.uuid4()}/ds/a"
    vol = make_sharded(f"mem://{path}", sharding(), (16, 16, 16), channels=3)
    voxels = noise(vol.shape)
    vol[...] = voxels
    shards = vol._layer.scale(0).shards
    assert shards is not None
    (key,) = vol.exists(vol.bounds)
    ranges = [ByteRange(0, 4), ByteRange(8192, 8200), ByteRange(10, 20)]
    blobs = shards.get_ranges(key, ranges)
    flat = voxels.tobytes(order="F")
    assert blobs is not None
    assert [bytes(blob.data) for blob in blobs] == [flat[a:b] for a, b in ranges]


# Damage


def layout(vol: CloudVolume) -> Format:
    spec = vol.metadata.scales[0].sharding
    assert isinstance(spec, ShardingSpec)
    return Format(Locator(spec), load().compressor)


def test_a_damaged_chunk_is_named_with_its_shard_and_minishard(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(0, 1), (64, 16, 16), encoding="jpeg")
    vol[...] = 7
    kind = layout(vol)
    Path(tmp_path, "ds", "a", "8_8_40", "0.shard").write_bytes(build(kind, {1: b"no jpeg"}))
    name = r"8_8_40/11-27_3-19_100-116 \(chunk id 1, minishard 1 of 8_8_40/0\.shard\).*jpeg"
    with pytest.raises(ChunkDecodeError, match=name):
        vol[11:27]  # alone
    vol.fill_missing = True
    with pytest.raises(ChunkDecodeError, match=name):
        vol[11:59]  # with others


def test_a_chunk_larger_than_any_is_not_fetched(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(), (32, 16, 16), encoding="jpeg")
    huge = build(layout(vol), {0: bytes(2**24), 1: b"x"})
    Path(tmp_path, "ds", "a", "8_8_40").mkdir()
    Path(tmp_path, "ds", "a", "8_8_40", "0.shard").write_bytes(huge)
    for box in (Bbox((-5, 3, 100), (11, 19, 116)), vol.bounds):
        with pytest.raises(ChunkDecodeError, match=r"chunk id 0.*more than any such chunk"):
            vol[box]


def test_a_file_of_a_terabyte_is_an_error_and_takes_no_memory(tmp_path: Path) -> None:
    vol = make_sharded(
        tmp_path / "ds" / "a", sharding(0, 1), (32, 16, 16), non_aligned_writes=True, fill_missing=True
    )
    path, size = Path(tmp_path, "ds", "a", "8_8_40", "0.shard"), 2**40
    path.parent.mkdir()
    with path.open("wb") as file:  # sparse; one chunk is nearly all of it
        file.write(struct.pack("<4Q", 0, 24, 0, 0) + struct.pack("<3Q", 0, 24, size - 56))
        file.truncate(size)
    first = Bbox((-5, 3, 100), (11, 19, 116))
    for read in (lambda: vol[first], lambda: vol[0, 5, 105], lambda: vol.transfer_to(tmp_path / "ds" / "b")):
        with pytest.raises(
            ChunkDecodeError, match=r"chunk id 0, minishard 0 of .*8_8_40/0\.shard.*1099511627720"
        ):
            read()

    def write() -> None:
        vol[first] = 1

    def write_a_part() -> None:
        vol[0] = 1

    for change in (write, write_a_part, lambda: vol.delete(first)):
        with pytest.raises(TooLargeError, match=r"8_8_40/0\.shard: not enough memory to write this shard"):
            change()


def test_an_edited_sharding_is_not_read_with_indices_of_the_old_one(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(1, 1), (64, 64, 16), fill_missing=True)
    vol[...] = 1
    assert (vol[...] == 1).all()
    vol.info["scales"][0]["sharding"]["hash"] = MURMUR
    with pytest.raises(ChunkDecodeError, match=r"belongs in minishard \d of shard 0: hash or bits"):
        vol[...]
    vol.info["scales"][0]["sharding"]["hash"] = "identity"
    assert (vol[...] == 1).all()


def test_a_damaged_shard_is_left_as_it_is(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(), (32, 16, 16))
    path = Path(tmp_path, "ds", "a", "8_8_40", "0.shard")
    path.parent.mkdir()
    path.write_bytes(b"no shard")
    with pytest.raises(ChunkDecodeError, match=r"0\.shard: expected an index of 16 bytes"):
        vol[-5:11] = 1
    assert path.read_bytes() == b"no shard"
    vol[...] = 1  # all of it: what was there does not matter
    assert (vol[...] == 1).all()


def test_shards_with_huge_indices_are_read_and_not_written(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(0, 30), (32, 16, 16), fill_missing=True)
    path = Path(tmp_path, "ds", "a", "8_8_40", "0.shard")
    path.parent.mkdir()
    with path.open("wb") as file:  # sparse
        file.truncate(16 << 30)
    assert not vol[...].any()
    with pytest.raises(UnsupportedError, match=r"2\*\*30 minishards"):
        vol[...] = 1


# The old form of two files


def test_a_volume_in_the_old_form_is_read_and_copied(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(0, 1, 1), (32, 32, 16))
    voxels = noise(vol.shape)
    vol[...] = voxels
    folder = tmp_path / "ds" / "a" / "8_8_40"
    for path in list(folder.iterdir()):
        data = path.read_bytes()
        path.with_suffix(".index").write_bytes(data[:32])
        path.with_suffix(".data").write_bytes(data[32:])
        path.unlink()
    vol = CloudVolume(vol.cloudpath)
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], voxels)
        np.testing.assert_array_equal(vol[0:3, 9:20], voxels[5:8, 6:17])
    assert set(vol.exists(vol.bounds).values()) == {True}
    before = shard_files(folder)
    with pytest.raises(UnsupportedError, match=r"0\.index.*old form.*transfer_to"):
        CloudVolume(vol.cloudpath)[-5:11, 3:19] = 1
    with pytest.raises(UnsupportedError, match="old form"):
        CloudVolume(vol.cloudpath)[...] = 1
    assert shard_files(folder) == before
    copy = vol.transfer_to(tmp_path / "ds" / "b")
    np.testing.assert_array_equal(copy[...], voxels)
    assert shard_files(tmp_path / "ds" / "b" / "8_8_40") == ["0.shard", "1.shard"]


@pytest.mark.parametrize("place", ["file", "mem"])
def test_shards_in_either_form_lie_in_one_folder(tmp_path: Path, place: str) -> None:
    """As where others, or precomp, wrote into a volume of old ones: those are not missing."""
    path = f"{tmp_path}/ds/a" if place == "file" else f"mem://{uuid.uuid4()}/ds/a"
    vol = make_sharded(path, sharding(0, 1, 1), (64, 16, 16), fill_missing=True)
    voxels = noise(vol.shape)
    vol[...] = voxels
    store = vol._layer.objects().store
    whole = store.get("8_8_40/0.shard")
    assert whole is not None
    store.put("8_8_40/0.index", Blob(whole.data[:32]))
    store.put("8_8_40/0.data", Blob(whole.data[32:]))
    store.delete(["8_8_40/0.shard"])
    again = CloudVolume(path, fill_missing=True)
    assert again[40, 5, 105] == voxels[45, 2, 5]  # of a new one
    np.testing.assert_array_equal(again[...], voxels)
    assert set(again.exists(again.bounds).values()) == {True}
    again[27:43] = 7  # into the new one
    with pytest.raises(UnsupportedError, match="old form"):
        again[-5:11] = 7


# Copies


@pytest.mark.parametrize("encoding", ["raw", "npz"])
@pytest.mark.parametrize(
    ("source", "target", "compress"),
    [
        ("plain", "packed", None),
        ("packed", "plain", None),
        ("packed", "unsharded", None),
        ("packed", "unsharded", "zstd"),
        ("unsharded", "packed", "gzip"),
        ("compressed", "plain", None),
        ("compressed", "packed", "gzip"),
        ("plain", "unsharded", "gzip"),
    ],
)
@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
def test_chunks_are_copied_into_and_out_of_shards(
    tmp_path: Path, source: str, target: str, encoding: str, compress: Any
) -> None:
    specs = {"plain": sharding(1, 1, 1), "packed": sharding(1, 1, 2, MURMUR, "gzip", "gzip")}

    def made(name: str, kind: str, encoding: str) -> CloudVolume:
        path, compressed = tmp_path / "ds" / name, "br" if kind == "compressed" else None
        if kind in specs:
            return make_sharded(path, specs[kind], encoding=encoding, fill_missing=True)
        return make(path, encoding=encoding, compress=compressed, fill_missing=True)

    vol, copy = made("a", source, encoding), made("b", target, "raw")
    voxels = noise(vol.shape)
    vol[...] = voxels
    vol.delete(Bbox((-5, 3, 100), (11, 19, 116)))
    copy[-5:11, 3:19, 100:116] = 5
    vol.transfer_to(copy.cloudpath, compress=compress)
    np.testing.assert_array_equal(copy[...], vol[...])
    assert next(iter(copy.exists(copy.bounds).values())) is (
        encoding == "npz"
    )  # voxels are copied, or objects


def test_a_copy_of_a_sharded_volume_is_sharded(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(1, 1, 1), max_mip=1)
    voxels = noise(vol.shape)
    vol[...] = voxels
    copy = vol.transfer_to(tmp_path / "ds" / "b")
    np.testing.assert_array_equal(copy[...], voxels)
    for name in shard_files(tmp_path / "ds" / "a" / "8_8_40"):
        assert (tmp_path / "ds" / "a" / "8_8_40" / name).read_bytes() == (
            tmp_path / "ds" / "b" / "8_8_40" / name
        ).read_bytes()


# Caches


def test_the_disk_cache_keeps_chunks_and_no_shards(tmp_path: Path) -> None:
    path = f"mem://{uuid.uuid4()}/ds/a"
    vol = make_sharded(path, sharding(0, 1, 0, data="gzip"), (64, 16, 16), cache=str(tmp_path / "cache"))
    voxels = noise(vol.shape)
    vol[...] = voxels
    assert vol.cache.list() == []
    assert vol[0, 5, 105] == voxels[5, 2, 5]
    assert vol.cache.list() == ["8_8_40/-5-11_3-19_100-116"]
    np.testing.assert_array_equal(vol[...], voxels)
    assert vol.cache.num_files() == 4
    open_shared(path[6:]).delete(["8_8_40/0.shard"])
    np.testing.assert_array_equal(vol[...], voxels)  # kept
    alone = CloudVolume(f"file://{vol.cache.path}")
    np.testing.assert_array_equal(alone[...], voxels)
    assert alone.metadata.scales[0].sharding is None
    vol.cache.flush_region(Bbox((-5, 3, 100), (11, 19, 116)))
    with pytest.raises(EmptyVolumeError):
        vol[...]


@pytest.mark.parametrize("validate", [False, True])
def test_the_disk_cache_of_a_sharded_volume_forgets_what_is_written(tmp_path: Path, validate: bool) -> None:
    path = f"mem://{uuid.uuid4()}/ds/a"
    vol = make_sharded(
        path,
        sharding(0, 1),
        (64, 16, 16),
        cache=str(tmp_path / "cache"),
        cache_validate=validate,
        non_aligned_writes=True,
    )
    vol[...] = 1
    assert (vol[...] == 1).all()
    vol[-5:11] = 2
    assert (vol[...][:16] == 2).all()
    vol[20:30] = 3
    assert (vol[20:30] == 3).all()
    vol.delete(Bbox((-5, 3, 100), (11, 19, 116)))
    with pytest.raises(EmptyVolumeError):
        vol[-5:11]
    assert (vol[11:20] == 1).all()
    if validate:
        CloudVolume(path)[11:27] = 9
        assert (vol[11:27] == 9).all()


def test_a_volume_that_becomes_sharded_drops_its_copies(tmp_path: Path) -> None:
    name = f"mem://{uuid.uuid4()}/ds/a"
    vol = make(name, cache=str(tmp_path / "cache"), fill_missing=True)
    vol[...] = 1
    assert (vol[...] == 1).all()
    make_sharded(name, sharding())[...] = 2
    vol = CloudVolume(name, cache=str(tmp_path / "cache"))
    assert (vol[...] == 2).all()
    assert (CloudVolume(name, cache=str(tmp_path / "cache"))[...] == 2).all()
    assert CloudVolume(name, cache=str(tmp_path / "cache")).cache.num_files() == 12
    make(name)[...] = 3
    assert (CloudVolume(name, cache=str(tmp_path / "cache"))[...] == 3).all()


def test_chunks_in_memory(tmp_path: Path) -> None:
    vol = make_sharded(tmp_path / "ds" / "a", sharding(1, 1, 1), lru_bytes=10**6, non_aligned_writes=True)
    voxels = noise(vol.shape)
    vol[...] = voxels
    for _ in range(2):
        np.testing.assert_array_equal(vol[...], voxels)
    vol[3:20] = 4
    voxels[8:25] = 4
    np.testing.assert_array_equal(vol[...], voxels)
