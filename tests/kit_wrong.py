"""Stores, codecs and compressors with one mistake each, and right ones, for `test_kit_finds`.

pytest collects this file only when it is named on the command line.
"""

import copy
import fnmatch
import struct
import threading
import time
import urllib.parse
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from precomp import CloudVolume
from precomp.errors import (
    ConditionFailedError,
    InfoError,
    InfoNotFoundError,
    ReadOnlyError,
    StoreError,
    UnsupportedError,
)
from precomp.hookspecs import CodecPlugin, CompressorPlugin
from precomp.interfaces import (
    Blob,
    Buffer,
    ByteRange,
    ChunkSpec,
    Condition,
    Layout,
    Modify,
    Slices4,
    Stat,
    Store,
)
from precomp.memory import check_key
from precomp.testing import (
    CodecTests,
    CompressorTests,
    CutoutTests,
    Fault,
    FaultyStore,
    Golden,
    PluginTests,
    StoreTests,
)

Array = NDArray[Any]


# --- stores -----------------------------------------------------------------------------------------


class RightStore:
    """A store as short as it can be, for the wrong ones to be changed in one place."""

    def __init__(self) -> None:
        self.objects: dict[str, Blob] = {}
        self.lock = threading.Lock()
        self.writes = 0

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        check_key(key)
        blob = self.objects.get(key)
        if blob is None or byte_range is None:
            return blob
        return blob._replace(data=blob.data[slice(*byte_range)], size=len(blob.data))

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        check_key(key)
        with self.lock:
            found = self.objects.get(key)
            if condition is not None and condition.version != (found and found.version):
                raise ConditionFailedError(f"{key}: expected {condition}, found {found and found.version}")
            self.writes += 1
            self.objects[key] = blob._replace(data=bytes(blob.data), version=str(self.writes))
            return str(self.writes)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            check_key(key)
            with self.lock:
                self.objects.pop(key, None)

    def list(self, prefix: str) -> Iterator[str]:
        with self.lock:
            keys = list(self.objects)
        return (key for key in keys if key.startswith(prefix))

    def stat(self, key: str) -> Stat | None:
        blob = self.get(key)
        return None if blob is None else Stat(len(blob.data), blob.version, blob.content_encoding)


class TestRightStore(StoreTests):
    store_class: ClassVar[Callable[[], Store]] = RightStore
    max_examples = 10

    def make_store(self) -> Store:
        return type(self).store_class()

    def make_failing_store(self) -> Store:
        return FaultyStore(
            RightStore(), [Fault("before", times=100, error=StoreError("8_8_40/0-64_0-64_0-64"))]
        )


class DropsEmptyObjects(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        if not blob.data:
            self.delete([key])
            return None
        return super().put(key, blob, condition=condition)


class TakesEmptyForAbsent(RightStore):
    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        blob = super().get(key, byte_range)
        return blob if blob and blob.data else None


class Renaming(RightStore):
    """Stores under another name; what it lists is what it stored."""

    def rename(self, key: str) -> str:
        raise NotImplementedError

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        return super().get(self.rename(key), byte_range)

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        return super().put(self.rename(key), blob, condition=condition)

    def delete(self, keys: Iterable[str]) -> None:
        super().delete(map(self.rename, keys))


class DecodesPercent(Renaming):
    def rename(self, key: str) -> str:
        return urllib.parse.unquote(key)


class CutsAtHash(Renaming):
    def rename(self, key: str) -> str:
        return key.partition("#")[0] or key


class FoldsCase(Renaming):
    def rename(self, key: str) -> str:
        return key.lower()


class TrimsKeys(Renaming):
    def rename(self, key: str) -> str:
        return key.strip("/ ") or key


class ListsTooMuch(RightStore):
    def list(self, prefix: str) -> Iterator[str]:
        return super().list(prefix.rstrip("/"))


class ListsFolders(RightStore):
    def list(self, prefix: str) -> Iterator[str]:
        folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
        return super().list(folder)


class ListsOnePage(RightStore):
    def list(self, prefix: str) -> Iterator[str]:
        return iter(list(super().list(prefix))[:1000])


class ListsAbsolute(RightStore):
    def list(self, prefix: str) -> Iterator[str]:
        return (f"bucket/layer/{key}" for key in super().list(prefix))


class ListsTwice(RightStore):
    def list(self, prefix: str) -> Iterator[str]:
        for key in super().list(prefix):
            yield key
            blob = self.objects.get(key)
            if blob and blob.content_encoding:
                yield key


class KeepsTheBuffer(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        version = super().put(key, blob, condition=condition)
        self.objects[key] = blob._replace(version=version)
        return version


class KeepsByteArrays(RightStore):
    """And copies all others: `bytes` of a view was thought of, and not what needs no view."""

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        version = super().put(key, blob, condition=condition)
        if isinstance(blob.data, bytearray):
            self.objects[key] = blob._replace(version=version)
        return version


class KeepsTheBufferOnACondition(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        version = super().put(key, blob, condition=condition)
        if condition is not None:
            self.objects[key] = blob._replace(version=version)
        return version


class KeepsTheBufferOfAnUpdate(RightStore):
    def update(self, key: str, modify: Modify) -> None:
        with self.lock:
            blob = modify(self.objects.get(key))
            if blob is None:
                self.objects.pop(key, None)
                return
            self.writes += 1
            self.objects[key] = blob._replace(version=str(self.writes))


class ListsByPattern(RightStore):
    def list(self, prefix: str) -> Iterator[str]:
        return (key for key in super().list("") if fnmatch.fnmatchcase(key, f"{prefix}*"))


class LendsItsBuffer(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        version = super().put(key, blob, condition=condition)
        self.objects[key] = blob._replace(data=bytearray(blob.data), version=version)
        return version


class WritesInTwoSteps(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        super().put(key, blob._replace(data=bytes(blob.data)[: len(blob.data) // 2]), condition=condition)
        time.sleep(0.001)
        return super().put(key, blob)


class DeletesFirst(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        if condition is None:
            self.delete([key])
            time.sleep(0.001)
        return super().put(key, blob, condition=condition)


class IgnoresRanges(RightStore):
    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        return super().get(key)


class TellsNoSize(RightStore):
    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        blob = super().get(key, byte_range)
        return blob and blob._replace(size=None)


class TellsThePartsSize(RightStore):
    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        blob = super().get(key, byte_range)
        return blob and blob._replace(size=len(blob.data))


class RangesIncludeTheirEnd(RightStore):
    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        return super().get(key, byte_range and ByteRange(byte_range.start, byte_range.stop + 1))


class TakesErrorsForAbsence(RightStore):
    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        try:
            return super().get(key, byte_range)
        except Exception:  # noqa: BLE001  the mistake
            return None


class IgnoresConditions(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        return super().put(key, blob)


class ChecksConditionsTooEarly(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        found = self.objects.get(key)
        if condition is not None and condition.version != (found and found.version):
            raise ConditionFailedError(f"{key}: expected {condition}")
        time.sleep(0.001)
        return super().put(key, blob)


class GivesNoVersions(RightStore):
    """Which is fine, but then it needs an `update` of its own."""

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        blob = super().get(key, byte_range)
        return blob and blob._replace(version=None)

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        if condition and condition.version:
            raise StoreError(f"{key}: there are no versions")
        super().put(key, blob, condition=condition and Condition(None))
        return None


class UpdatesWithoutALock(GivesNoVersions):
    def update(self, key: str, modify: Modify) -> None:
        blob = modify(self.get(key))
        time.sleep(0.001)
        if blob is None:
            self.delete([key])
        else:
            self.put(key, blob)


class ForgetsTheEncoding(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        return super().put(key, Blob(blob.data), condition=condition)


class ForgetsTheEncodingOnACondition(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        kept = blob if condition is None else Blob(blob.data)
        return super().put(key, kept, condition=condition)


class ReplacesBeforeItRefuses(RightStore):
    """What is there is lost with the first condition that does not hold, and only then."""

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        try:
            return super().put(key, blob, condition=condition)
        except ConditionFailedError:
            self.objects[key] = self.objects.get(key, blob)._replace(content_encoding=None)
            raise


class TakesAnyKey(RightStore):
    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        return self.objects.get(key)


class MissesWhatIsAbsent(RightStore):
    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            check_key(key)
            del self.objects[key]


class DeletesTooMuch(RightStore):
    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            super().delete([found for found in self.objects if found.startswith(key)] or [key])


class DeletesTheFirst(RightStore):
    def delete(self, keys: Iterable[str]) -> None:
        for key in list(keys)[:1]:
            super().delete([key])


class SharesItsObjects(RightStore):
    everything: ClassVar[dict[str, Blob]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.objects = self.everything


class NeverChangesItsVersion(RightStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        super().put(key, blob)
        self.objects[key] = self.objects[key]._replace(version="1")
        return "1"


class ReadsIntoMemory(RightStore):
    """Right, but for what those below change."""

    def fits(self, blob: Blob, size: int) -> bool:
        return blob.content_encoding is None and len(blob.data) == size

    def read_into(self, key: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        blob = self.get(key)
        if blob is None or not self.fits(blob, size):
            return False
        for start, memory in parts:
            data = blob.data[start : start + len(memory)]
            memory[: len(data)] = data
        return True


class TestReadsIntoMemory(TestRightStore):
    store_class = ReadsIntoMemory


class ReadsIntoMemoryWhateverTheSize(ReadsIntoMemory):
    def fits(self, blob: Blob, size: int) -> bool:
        return blob.content_encoding is None


class ReadsCompressedIntoMemory(ReadsIntoMemory):
    def fits(self, blob: Blob, size: int) -> bool:
        return len(blob.data) == size


class ForgetsThePlaceInMemory(ReadsIntoMemory):
    def read_into(self, key: str, size: int, parts: Sequence[tuple[int, memoryview]]) -> bool:
        return super().read_into(key, size, [(0, memory) for _, memory in parts])


class AsksAheadOfGet(RightStore):
    """Right, but for what those below change: what is asked for is looked up then."""

    is_near = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[tuple[str, ByteRange | None], Blob | None] = {}

    def name(self, key: str, byte_range: ByteRange | None) -> tuple[str, ByteRange | None]:
        return key, byte_range

    def forget(self, name: tuple[str, ByteRange | None]) -> None:
        self.asked.pop(name, None)

    @contextmanager
    def ask(self, key: str, byte_range: ByteRange | None = None) -> Iterator[None]:
        name = self.name(key, byte_range)
        self.asked[name] = super().get(key, byte_range)
        try:
            yield
        finally:
            self.forget(name)

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        name = self.name(key, byte_range)
        return self.asked[name] if name in self.asked else super().get(key, byte_range)


class TestAsksAheadOfGet(TestRightStore):
    store_class = AsksAheadOfGet


class RemembersWhatWasAskedFor(AsksAheadOfGet):
    def forget(self, name: tuple[str, ByteRange | None]) -> None:
        """Which it should."""


class GivesWhateverWasAskedFor(AsksAheadOfGet):
    def name(self, key: str, byte_range: ByteRange | None) -> tuple[str, ByteRange | None]:
        return "", byte_range


class ForgetsThePartAskedFor(AsksAheadOfGet):
    def name(self, key: str, byte_range: ByteRange | None) -> tuple[str, ByteRange | None]:
        return key, None


WRONG_STORES: tuple[type[RightStore], ...] = (
    *(DropsEmptyObjects, TakesEmptyForAbsent, DecodesPercent, CutsAtHash, FoldsCase, TrimsKeys),
    *(ListsTooMuch, ListsFolders, ListsOnePage, ListsAbsolute, ListsTwice, KeepsTheBuffer, LendsItsBuffer),
    *(WritesInTwoSteps, DeletesFirst, IgnoresRanges, TellsNoSize, TellsThePartsSize, RangesIncludeTheirEnd),
    *(TakesErrorsForAbsence, IgnoresConditions, ChecksConditionsTooEarly, GivesNoVersions),
    *(UpdatesWithoutALock, ForgetsTheEncoding, TakesAnyKey, MissesWhatIsAbsent, DeletesTooMuch),
    *(DeletesTheFirst, SharesItsObjects, NeverChangesItsVersion, KeepsByteArrays, ListsByPattern),
    *(KeepsTheBufferOnACondition, KeepsTheBufferOfAnUpdate, ForgetsTheEncodingOnACondition),
    *(ReplacesBeforeItRefuses, ReadsIntoMemoryWhateverTheSize, ReadsCompressedIntoMemory),
    *(ForgetsThePlaceInMemory, RemembersWhatWasAskedFor, GivesWhateverWasAskedFor, ForgetsThePartAskedFor),
)
# Which few examples come first depends on every constant of these files, and these need a rare one.
RARE = (ForgetsTheEncodingOnACondition, ReplacesBeforeItRefuses)
for _store in WRONG_STORES:
    _members: dict[str, Any] = {"store_class": _store, "__module__": __name__}
    if _store in RARE:
        _members["max_examples"] = 100
    globals()[f"Test{_store.__name__}"] = type(f"Test{_store.__name__}", (TestRightStore,), _members)


class TestTakesFailuresForAbsence(TestRightStore):
    """What only the hook for a failing service shows."""

    def make_failing_store(self) -> Store:
        return FaultyStore(RightStore(), [Fault("absent", times=100)])


class PlainStore(RightStore):
    """One that keeps neither encodings nor versions, and says so."""

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        if condition is not None or blob.content_encoding is not None:
            raise StoreError(f"{key}: neither conditions nor encodings are possible here")
        super().put(key, Blob(blob.data))
        self.objects[key] = self.objects[key]._replace(version=None)
        return None


class TestRightPlainStore(TestRightStore):
    store_class = PlainStore
    conditional = False
    encodings = ()


class ForgetsWithoutAWord(PlainStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        return super().put(key, Blob(blob.data))


class TestPlainAndSilentAboutConditions(TestRightPlainStore):
    store_class = ForgetsWithoutAWord


class TestPlainAndSilentAboutEncodings(TestRightPlainStore):
    store_class = ForgetsWithoutAWord


class ReadOnlyStore(RightStore):
    """One that can only get and stat, as plain HTTP can."""

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        raise ReadOnlyError(f"{key}: this is read-only")

    def delete(self, keys: Iterable[str]) -> None:
        raise ReadOnlyError(f"{list(keys)}: this is read-only")

    def list(self, prefix: str) -> Iterator[str]:
        raise UnsupportedError("plain HTTP cannot list")


class TestRightReadOnlyStore(TestRightStore):
    store_class = ReadOnlyStore
    writable = False
    listable = False

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        assert isinstance(store, RightStore)
        RightStore.put(store, key, Blob(data))


class IgnoresWrites(ReadOnlyStore):
    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        return None


class TestReadOnlyAndSilentAboutWrites(TestRightReadOnlyStore):
    store_class = IgnoresWrites


class ListsNothing(ReadOnlyStore):
    def list(self, prefix: str) -> Iterator[str]:
        return iter(())


class TestReadOnlyAndSilentAboutLists(TestRightReadOnlyStore):
    store_class = ListsNothing


# --- codecs -----------------------------------------------------------------------------------------


class RightCodec:
    """raw with a header of the size, which partial reads skip."""

    def encode(self, chunk: Array) -> Buffer:
        return len(chunk.tobytes()).to_bytes(4, "little") + chunk.tobytes("F")

    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        size = int.from_bytes(data[:4], "little")
        if size != spec.nbytes or len(data) != size + 4:
            raise ValueError(f"expected {spec.nbytes} bytes, found {size} in {len(data)}")
        return np.ndarray(spec.shape, spec.dtype, data, 4, order="F")

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: Array) -> None:
        out[...] = self.decode(data, spec)[box]

    def layout(self, spec: ChunkSpec) -> Layout | None:
        """Of chunks with one channel only."""
        x, y, _, channels = spec.shape
        voxel = spec.dtype.itemsize
        strides = (voxel, x * voxel, x * y * voxel, 0)
        return None if channels > 1 else Layout(spec.dtype, strides, 4, spec.nbytes + 4)


RAMP = np.arange(48, dtype=np.uint16).reshape((2, 3, 4, 2), order="F")
FLAT = np.arange(8, dtype=np.uint16).reshape((2, 2, 1, 2), order="F")


def declared(codec: type[Any], **options: Any) -> CodecPlugin:
    return CodecPlugin("kit", lambda info, scale: codec(), dtypes=("uint16",), **options)


class TestRightCodec(CodecTests):
    plugin = declared(RightCodec)
    golden: ClassVar[Sequence[Golden]] = (Golden(struct.pack("<I48H", 96, *range(48)), RAMP),)


class TestGoldenIsFlat(TestRightCodec):
    golden = (Golden(struct.pack("<I8H", 16, *range(8)), FLAT),)


class SwapsAxes(RightCodec):
    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        x, y, z, channels = spec.shape
        return super().decode(data, spec._replace(shape=(y, x, z, channels))).swapaxes(0, 1)


class SwapsAxesBothWays(SwapsAxes):
    """Right to itself, wrong to all others."""

    def encode(self, chunk: Array) -> Buffer:
        return super().encode(chunk.swapaxes(0, 1))


class SwapsYAndZBothWays(RightCodec):
    def encode(self, chunk: Array) -> Buffer:
        return super().encode(chunk.swapaxes(1, 2))

    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        x, y, z, channels = spec.shape
        return super().decode(data, spec._replace(shape=(x, z, y, channels))).swapaxes(1, 2)


class WritesInCOrder(RightCodec):
    def encode(self, chunk: Array) -> Buffer:
        return chunk.nbytes.to_bytes(4, "little") + chunk.tobytes("C")


class WritesInMemoryOrder(RightCodec):
    def encode(self, chunk: Array) -> Buffer:
        return chunk.nbytes.to_bytes(4, "little") + chunk.tobytes("A")


class ReversesChannels(RightCodec):
    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        return super().decode(data, spec)[..., ::-1]


class PadsTheEdge(RightCodec):
    """Reads every chunk as one of 16 x 16 x 16, as if none were cut off at the volume's edge."""

    def encode(self, chunk: Array) -> Buffer:
        whole = np.zeros((64, 64, 64, chunk.shape[3]), chunk.dtype)
        whole[tuple(map(slice, chunk.shape))] = chunk
        return super().encode(whole)

    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        return super().decode(data, spec._replace(shape=(64, 64, 64, spec.shape[3])))


class FillsUpWithZeros(RightCodec):
    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        voxels = bytes(data[4 : 4 + spec.nbytes]).ljust(spec.nbytes, b"\0")
        return np.frombuffer(voxels, spec.dtype).reshape(spec.shape, order="F")


class TrustsTheHeader(RightCodec):
    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        room = bytearray(int.from_bytes(data[:4], "little") % 2**28)
        room[: len(data) - 4] = data[4:]
        return super().decode(data, spec)


class ReturnsBigEndian(RightCodec):
    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        return super().decode(data, spec).astype(">u2")


class DropsTheChannelAxis(RightCodec):
    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        voxels = super().decode(data, spec)
        return voxels[..., 0] if spec.shape[3] == 1 else voxels


class ReusesItsArray(RightCodec):
    scratch = np.zeros(2**20, np.uint16)

    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        voxels = self.scratch[: spec.nbytes // 2].reshape(spec.shape, order="F")
        voxels[...] = super().decode(data, spec)
        return voxels


class LendsTheChunk(RightCodec):
    def encode(self, chunk: Array) -> Buffer:
        return chunk.reshape(-1, order="F").view(np.uint8).data

    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        return np.ndarray(spec.shape, spec.dtype, data, order="F")


class ChangesTheChunk(RightCodec):
    def encode(self, chunk: Array) -> Buffer:
        data = super().encode(chunk)
        if chunk.flags.writeable:
            chunk[...] = 0
        return data


class RoundsInSecret(RightCodec):
    def encode(self, chunk: Array) -> Buffer:
        return super().encode(chunk & 0xFFFE)


class IgnoresTheBox(RightCodec):
    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: Array) -> None:
        out[...] = self.decode(data, spec)[tuple(map(slice, out.shape))]


class WritesBesideTheBox(RightCodec):
    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: Array) -> None:
        super().decode_into(data, spec, box, out)
        base = out.base
        if base is not None and base.shape != out.shape:
            base[...] = 0
            super().decode_into(data, spec, box, out)


class IgnoresThePoints(RightCodec):
    def decode_points(self, data: Buffer, spec: ChunkSpec, points: Array) -> Array:
        voxels: Array = self.decode(data, spec).reshape(-1, spec.shape[3])[: len(points)]
        return voxels


class SortsThePoints(RightCodec):
    def decode_points(self, data: Buffer, spec: ChunkSpec, points: Array) -> Array:
        voxels: Array = self.decode(data, spec)[tuple(np.unique(points, axis=0).T)]
        return voxels


class FindsPointsInDamage(RightCodec):
    def decode_points(self, data: Buffer, spec: ChunkSpec, points: Array) -> Array:
        voxels = np.frombuffer(bytes(data[4:]).ljust(spec.nbytes, b"\0"), spec.dtype)
        found: Array = voxels.reshape(spec.shape, order="F")[tuple(points.T)]
        return found


class ForgetsTheHeader(RightCodec):
    def layout(self, spec: ChunkSpec) -> Layout | None:
        found = super().layout(spec)
        return found and found._replace(start=0)


class TellsAnotherSize(RightCodec):
    def layout(self, spec: ChunkSpec) -> Layout | None:
        found = super().layout(spec)
        return found and found._replace(size=spec.nbytes)


class ReachesBeyondTheEnd(RightCodec):
    def layout(self, spec: ChunkSpec) -> Layout | None:
        found = super().layout(spec)
        return found and found._replace(strides=tuple(2 * step for step in found.strides))


class Listing(RightCodec):
    """Lists its labels at the end, with how many there are."""

    def encode(self, chunk: Array) -> Buffer:
        labels = self.listed(chunk)
        voxels = bytes(super().encode(chunk))
        return voxels + labels.tobytes() + len(labels).to_bytes(4, "little")

    def listed(self, chunk: Array) -> Array:
        return np.unique(chunk)

    def decode(self, data: Buffer, spec: ChunkSpec) -> Array:
        return super().decode(bytes(data)[: -4 - self.labels_of(data, spec).nbytes], spec)

    layout = None  # type: ignore[assignment]  # no HasLayout

    def labels_of(self, data: Buffer, spec: ChunkSpec) -> Array:
        count = int.from_bytes(data[-4:], "little")
        if len(data) != 8 + spec.nbytes + 2 * count:
            raise ValueError(f"expected {count} labels behind the voxels")
        return np.frombuffer(data, spec.dtype, count, len(data) - 4 - 2 * count)

    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> Array | None:
        whole = all(len(range(n)[part]) == n for n, part in zip(spec.shape, box, strict=True))
        return self.labels_of(data, spec) if whole else None


class TestListing(TestRightCodec):
    plugin = declared(Listing)
    golden = ()


class ListsLabelsOfOthers(Listing):
    """For each box what the whole chunk has."""

    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> Array | None:
        return self.labels_of(data, spec)


class ListsStaleLabels(Listing):
    def listed(self, chunk: Array) -> Array:
        return np.append(np.unique(chunk), np.uint16(4711))


class ForgetsALabel(Listing):
    def listed(self, chunk: Array) -> Array:
        return np.unique(chunk)[1:]


class ListsWideLabels(Listing):
    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> Array | None:
        labels = super().labels_in(data, spec, box)
        return labels if labels is None else labels.astype(np.uint64)


class ListsZeroForDamage(Listing):
    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> Array | None:
        try:
            return super().labels_in(data, spec, box)
        except ValueError:
            return np.zeros(1, spec.dtype)


class NeverLists(Listing):
    def labels_in(self, data: Buffer, spec: ChunkSpec, box: Slices4) -> Array | None:
        return None


WRONG_LISTS: tuple[type[Listing], ...] = (
    *(ListsLabelsOfOthers, ListsStaleLabels, ForgetsALabel, ListsWideLabels, ListsZeroForDamage, NeverLists),
)
for _codec in WRONG_LISTS:
    globals()[f"Test{_codec.__name__}"] = type(
        f"Test{_codec.__name__}", (TestListing,), {"plugin": declared(_codec), "__module__": __name__}
    )


WRONG_CODECS: tuple[type[RightCodec], ...] = (
    *(SwapsAxes, SwapsAxesBothWays, SwapsYAndZBothWays, WritesInCOrder, WritesInMemoryOrder),
    *(ReversesChannels, PadsTheEdge),
    *(FillsUpWithZeros, TrustsTheHeader, ReturnsBigEndian, DropsTheChannelAxis, ReusesItsArray),
    *(LendsTheChunk, ChangesTheChunk, RoundsInSecret, IgnoresTheBox, WritesBesideTheBox, ForgetsTheHeader),
    *(IgnoresThePoints, SortsThePoints, FindsPointsInDamage),
    *(TellsAnotherSize, ReachesBeyondTheEnd),
)
for _codec in WRONG_CODECS:
    globals()[f"Test{_codec.__name__}"] = type(
        f"Test{_codec.__name__}", (TestRightCodec,), {"plugin": declared(_codec), "__module__": __name__}
    )


class Coarse(RightCodec):
    """Loses the low bits, which a lossy codec may."""

    def encode(self, chunk: Array) -> Buffer:
        return super().encode(chunk & 0xFFF0)


class CoarseAndSwapped(Coarse, SwapsAxes):
    pass


class TestRightLossyCodec(CodecTests):
    plugin = declared(Coarse, lossy=True)
    tolerance = 16 / 255


class TestLossyAndSwapped(TestRightLossyCodec):
    plugin = declared(CoarseAndSwapped, lossy=True)


class TestLosesTooMuch(TestRightLossyCodec):
    tolerance = 8 / 255


# --- compressors ------------------------------------------------------------------------------------


class RightCompressor:
    def compress(self, data: Buffer) -> Buffer:
        return zlib.compress(data)

    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        stream = zlib.decompressobj()
        try:
            plain = stream.decompress(data, max_size + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(plain) > max_size or not stream.eof or stream.unused_data:
            raise ValueError(f"expected one stream of at most {max_size} bytes")
        return plain


def compressor(kind: type[Any]) -> CompressorPlugin:
    return CompressorPlugin("kit", (".kit",), lambda level=None: kind())


class TestRightCompressor(CompressorTests):
    plugin = compressor(RightCompressor)


class HasNoBound(RightCompressor):
    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        return super().decompress(data, 2**40)


class CutsAtTheBound(RightCompressor):
    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        return zlib.decompressobj().decompress(data, max_size)


class ChecksTheBoundTooLate(RightCompressor):
    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        plain = super().decompress(data, 2**40)
        if len(plain) > max_size:
            raise ValueError(f"expected at most {max_size} bytes")
        return plain


class TakesOneTooFew(RightCompressor):
    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        return super().decompress(data, max_size - 1 if max_size > 1 else max_size)


class IgnoresWhatFollows(RightCompressor):
    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        stream = zlib.decompressobj()
        try:
            stream.decompress(data)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        return super().decompress(bytes(data)[: len(data) - len(stream.unused_data)], max_size)


class RaisesItsOwnError(RightCompressor):
    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        plain = zlib.decompressobj().decompress(data, max_size + 1)
        return super().decompress(data, max_size) if plain else b""


class ReusesItsBuffer(RightCompressor):
    buffer = bytearray(2**20)

    def compress(self, data: Buffer) -> Buffer:
        stream = zlib.compress(data)
        self.buffer[: len(stream)] = stream
        return memoryview(self.buffer)[: len(stream)]


WRONG_COMPRESSORS: tuple[type[RightCompressor], ...] = (
    *(HasNoBound, CutsAtTheBound, ChecksTheBoundTooLate, TakesOneTooFew, IgnoresWhatFollows),
    *(RaisesItsOwnError, ReusesItsBuffer),
)
for _compressor in WRONG_COMPRESSORS:
    globals()[f"Test{_compressor.__name__}"] = type(
        f"Test{_compressor.__name__}",
        (TestRightCompressor,),
        {"plugin": compressor(_compressor), "__module__": __name__},
    )


# --- services of boxes -------------------------------------------------------------------------------


class RightService:
    """A service of boxes as short as it can be: two mips of 40 x 30 x 20 and half of x and y."""

    def __init__(self, info: dict[str, Any] | None = None) -> None:
        self.info = info
        self.mips: dict[int, Array] = {}

    def read_info(self) -> dict[str, Any]:
        if self.info is None:
            raise InfoNotFoundError("there is no layer")
        return copy.deepcopy(self.info)

    def create(self, info: Mapping[str, Any]) -> None:
        if self.info is not None and self.info["data_type"] != info["data_type"]:
            raise InfoError("there is another layer")
        if self.info is None:
            self.info = copy.deepcopy(dict(info))

    def split(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Iterator[tuple[Any, Any]]:
        (x0, y0, z0), (x1, y1, z1) = minpt, maxpt
        for z in range(z0, z1, 7):
            yield (x0, y0, z), (x1, y1, min(z + 7, z1))

    def read_box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Array:
        return self.place(mip, minpt, maxpt).copy()

    def read_segments(
        self, mip: int, minpt: Sequence[int], maxpt: Sequence[int], segids: Sequence[int]
    ) -> Array:
        voxels = self.read_box(mip, minpt, maxpt)
        return np.where(np.isin(voxels, np.array(segids, voxels.dtype)), voxels, 0).astype(voxels.dtype)

    def write_box(self, mip: int, minpt: Sequence[int], voxels: Array) -> None:
        maxpt = [a + n for a, n in zip(minpt, voxels.shape, strict=False)]
        self.place(mip, minpt, maxpt)[...] = voxels

    def place(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Array:
        info = self.read_info()
        scale = info["scales"][mip]
        empty = np.zeros((*scale["size"], info["num_channels"]), info["data_type"])
        parts = zip(minpt, maxpt, scale["voxel_offset"], strict=True)
        return self.mips.setdefault(mip, empty)[tuple(slice(a - o, b - o) for a, b, o in parts)]


def service_info(data_type: str = "uint64", channels: int = 1) -> dict[str, Any]:
    kind = "segmentation" if data_type == "uint64" else "image"
    return CloudVolume.create_new_info(
        channels,
        kind,
        data_type,
        "raw",
        (4, 4, 40),
        (5, 0, 3),
        (40, 30, 20),
        max_mip=1,
        chunk_size=(16, 16, 8),
    )


class TestRightService(CutoutTests):
    kind: ClassVar[type[RightService]] = RightService

    def make_service(self) -> RightService:
        return self.kind(service_info())

    def absent_service(self) -> tuple[RightService, dict[str, Any]]:
        return self.kind(), service_info()

    def other_info(self, info: dict[str, Any]) -> dict[str, Any]:
        return service_info("uint8")


class LendsItsInfo(RightService):
    def read_info(self) -> dict[str, Any]:
        if self.info is None:
            raise InfoNotFoundError("there is no layer")
        return self.info


class KeepsWhereZero(RightService):
    def write_box(self, mip: int, minpt: Sequence[int], voxels: Array) -> None:
        maxpt = [a + n for a, n in zip(minpt, voxels.shape, strict=False)]
        np.copyto(self.place(mip, minpt, maxpt), voxels, where=voxels != 0)


class DropsZeroSums(RightService):
    def write_box(self, mip: int, minpt: Sequence[int], voxels: Array) -> None:
        if voxels.sum():
            super().write_box(mip, minpt, voxels)


class ReadsZYX(RightService):
    def read_box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Array:
        return super().read_box(mip, minpt, maxpt).T.reshape(-1)[::1].reshape(self.shape(minpt, maxpt))

    def shape(self, minpt: Sequence[int], maxpt: Sequence[int]) -> tuple[int, ...]:
        return (*(b - a for a, b in zip(minpt, maxpt, strict=True)), 1)


class WritesMemoryOrder(RightService):
    def write_box(self, mip: int, minpt: Sequence[int], voxels: Array) -> None:
        super().write_box(mip, minpt, voxels.ravel("K").reshape(voxels.shape, order="F"))


class LendsItsVoxels(RightService):
    def read_box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Array:
        return self.place(mip, minpt, maxpt)


class ForgetsTheMip(RightService):
    def read_box(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Array:
        # The offset of mip 1 is half of that of mip 0.
        wide = np.zeros((60, 60, 60, 1), self.place(0, (5, 0, 3), (6, 1, 4)).dtype)
        wide[5:45, 0:30, 3:23] = self.place(0, (5, 0, 3), (45, 30, 23))
        return wide[tuple(slice(a, b) for a, b in zip(minpt, maxpt, strict=True))].copy()


class SplitsWithAGap(RightService):
    def split(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Iterator[tuple[Any, Any]]:
        return iter(list(super().split(mip, minpt, maxpt))[1:])


class SplitsTwice(RightService):
    def split(self, mip: int, minpt: Sequence[int], maxpt: Sequence[int]) -> Iterator[tuple[Any, Any]]:
        first, _, *rest = super().split(mip, minpt, maxpt)
        return iter([first, first, *rest])


class IgnoresSegids(RightService):
    def read_segments(
        self, mip: int, minpt: Sequence[int], maxpt: Sequence[int], segids: Sequence[int]
    ) -> Array:
        return self.read_box(mip, minpt, maxpt)


class CreatesOverAnother(RightService):
    def create(self, info: Mapping[str, Any]) -> None:
        self.info = copy.deepcopy(dict(info))


class CreatesAnew(RightService):
    def create(self, info: Mapping[str, Any]) -> None:
        super().create(info)
        self.mips.clear()


class WritesLate(RightService):
    """Reads and writes all voxels for each box, without a lock."""

    def write_box(self, mip: int, minpt: Sequence[int], voxels: Array) -> None:
        self.place(mip, minpt, minpt)
        before = self.mips[mip].copy()
        super().write_box(mip, minpt, voxels)
        after, self.mips[mip] = self.mips[mip], before
        time.sleep(0.005)
        self.mips[mip] = after


WRONG_SERVICES: tuple[type[RightService], ...] = (
    *(LendsItsInfo, KeepsWhereZero, DropsZeroSums, ReadsZYX, WritesMemoryOrder, LendsItsVoxels),
    *(ForgetsTheMip, SplitsWithAGap, SplitsTwice, IgnoresSegids, CreatesOverAnother, CreatesAnew, WritesLate),
)
for _service in WRONG_SERVICES:
    globals()[f"Test{_service.__name__}"] = type(
        f"Test{_service.__name__}", (TestRightService,), {"kind": _service, "__module__": __name__}
    )


# --- plugins, each a module in a folder that the test puts on the path -------------------------------


class TestRightPlugin(PluginTests):
    entry = "right_plugin"


class TestHeavyPlugin(PluginTests):
    entry = "heavy_plugin"


class TestChattyPlugin(PluginTests):
    entry = "chatty_plugin"


class TestLatePlugin(PluginTests):
    entry = "late_plugin"


class TestSilentPlugin(PluginTests):
    entry = "silent_plugin"


class TestEmptyPlugin(PluginTests):
    entry = "empty_plugin"


class TestMisspeltPlugin(PluginTests):
    entry = "misspelt_plugin"


class TestNotInstalledPlugin(PluginTests):
    entry = "right_plugin"
    distribution = "precomp"
