"""Shard files as bytes: hashes, numbers of chunks, indices with every fault, files taken apart and made."""

import gzip
import itertools
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp.engine.objects import Objects
from precomp.engine.scratch import Scratch
from precomp.engine.shards.build import Gathered, Parts, build, finish, join, take_apart
from precomp.engine.shards.cells import Cells, Morton
from precomp.engine.shards.ids import Locator, by_value, murmurhash3, murmurhash3_all
from precomp.engine.shards.index import Contents, Format, index_bytes
from precomp.engine.shards.reader import INDEX_BYTES, IndexCache, ShardReader
from precomp.errors import ChunkDecodeError, InfoError, StoreError
from precomp.grid import ChunkGrid
from precomp.info import ShardingSpec
from precomp.interfaces import Blob, ByteRange, Store
from precomp.memory import MemoryStore
from precomp.plugins import load

MURMUR = "murmurhash3_x86_128"
u64 = st.integers(0, 2**64 - 1)


def spec(
    preshift: int = 0,
    minishard: int = 0,
    shard: int = 0,
    hash: Any = "identity",
    index: Any = "raw",
    data: Any = "raw",
) -> ShardingSpec:
    return ShardingSpec("neuroglancer_uint64_sharded_v1", preshift, hash, minishard, shard, index, data)


def form(sharding: ShardingSpec, most: int = 2**20) -> Format:
    return Format(Locator(sharding), load().compressor, most)


def reader(sharding: ShardingSpec, store: Store | None = None, most: int = 2**20) -> ShardReader:
    objects = Objects(MemoryStore() if store is None else store, load().compressor, "mem://b/ds/layer")
    return ShardReader(objects, "8_8_40", form(sharding, most), IndexCache(INDEX_BYTES))


@st.composite
def specs(draw: st.DrawFn, bits: int = 5) -> ShardingSpec:
    return spec(
        draw(st.integers(0, bits)),
        draw(st.integers(0, bits)),
        draw(st.integers(0, bits)),
        draw(st.sampled_from(["identity", MURMUR])),
        draw(st.sampled_from(["raw", "gzip"])),
    )


# Numbers


@pytest.mark.parametrize(
    ("number", "known"), [(0, 0x4772B084E028AE41), (1, 0xE8BD67D616D4CE9A), (12345, 0x1D31307E3A65E510)]
)
def test_murmur_known_answers(number: int, known: int) -> None:
    assert murmurhash3(number) == known
    assert murmurhash3_all(np.array([number], np.uint64)).tolist() == [known]


def plain_murmur(data: bytes) -> int:
    """MurmurHash3_x86_128 of up to 15 bytes, as its author wrote it down, the low 64 bits."""

    def rotated(value: int, bits: int) -> int:
        return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF

    c = [0x239B961B, 0xAB0E9789, 0x38B34AE5, 0xA1E38B93]
    turns = [15, 16, 17, 18]
    h = [0, 0, 0, 0]
    tail = struct.unpack("<4I", data.ljust(16, b"\0"))
    for word in (3, 2, 1, 0):
        k = tail[word] * c[word] % 2**32
        h[word] ^= rotated(k, turns[word]) * c[(word + 1) % 4] % 2**32
    h = [word ^ len(data) for word in h]
    for turn in range(2):
        h[0] = sum(h) % 2**32
        h[1:] = [(word + h[0]) % 2**32 for word in h[1:]]
        if turn == 0:
            for at, word in enumerate(h):
                word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
                word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
                h[at] = word ^ word >> 16
    return h[0] | h[1] << 32


@given(st.lists(u64, min_size=1, max_size=20))
def test_murmur_is_what_it_says(numbers: list[int]) -> None:
    expected = [plain_murmur(number.to_bytes(8, "little")) for number in numbers]
    assert [murmurhash3(number) for number in numbers] == expected
    assert murmurhash3_all(np.array(numbers, np.uint64)).tolist() == expected


def plain_morton(cell: tuple[int, ...], grid: tuple[int, ...]) -> int:
    j = code = 0
    for i in range(64):
        for position, length in zip(cell, grid, strict=True):
            if 2**i < length:
                code |= (position >> i & 1) << j
                j += 1
    return code


@pytest.mark.parametrize(
    ("cell", "grid", "known"),
    [((5, 2, 1), (6, 3, 2), 53), ((3, 3, 3), (4, 4, 4), 63), ((0, 0, 0), (1, 1, 1), 0)],
)
def test_morton_known_answers(cell: tuple[int, int, int], grid: tuple[int, int, int], known: int) -> None:
    assert Morton(grid).of(*cell) == known
    assert Morton(grid).cell(known) == cell


@given(st.tuples(*[st.integers(1, 2**21)] * 3), st.data())
def test_morton_is_what_it_says(grid: tuple[int, int, int], data: st.DataObject) -> None:
    cell = data.draw(st.tuples(*[st.integers(0, length - 1) for length in grid]))
    code = Morton(grid).of(*cell)
    assert code == plain_morton(cell, grid)
    assert Morton(grid).cell(code) == cell


@given(st.tuples(*[st.integers(1, 9)] * 3))
def test_the_codes_of_a_grid_are_all_different_and_others_are_no_cells(grid: tuple[int, int, int]) -> None:
    code = Morton(grid)
    codes = {code.of(*cell) for cell in itertools.product(*map(range, grid))}
    assert len(codes) == np.prod(grid)
    others = set(range(2**code.bits + 5)) - codes
    assert all(code.cell(number) is None for number in others)


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 12))
def test_a_block_holds_the_cells_that_differ_in_low_bits_only(grid: tuple[int, int, int], bits: int) -> None:
    code = Morton(grid)
    x, y, z = code.block(bits)
    inside = [
        code.of(*cell)
        for cell in itertools.product(*(range(min(a, b)) for a, b in zip(grid, (x, y, z), strict=True)))
    ]
    assert all(number < 2**bits for number in inside)
    assert x * y * z == 2 ** min(bits, code.bits)


def grid(size: tuple[int, int, int], chunk: tuple[int, int, int] = (4, 5, 6)) -> ChunkGrid:
    return ChunkGrid("a_b/8_8_40", (-7, 3, -60), size, chunk)


@given(st.tuples(*[st.integers(1, 40)] * 3))
def test_keys_and_numbers_of_chunks_belong_together(size: tuple[int, int, int]) -> None:
    cells = Cells(grid(size))
    refs = list(grid(size).plan(grid(size).offset, grid(size).stop).refs())
    assert len(refs) == cells.count
    ids = cells.ids_of(ref.key for ref in refs)
    shape = tuple(-(-n // c) for n, c in zip(size, (4, 5, 6), strict=True))
    walk = [(x, y, z) for z, y, x in itertools.product(*map(range, shape[::-1]))]
    assert ids.tolist() == [plain_morton(cell, shape) for cell in walk]
    assert cells.keys_of(ids) == [ref.key for ref in refs]


@pytest.mark.parametrize(
    "key",
    [
        "a_b/8_8_40/-7--3_3-8_-60--54",
        "a_b/8_8_40/-7--3_3-8",
        "a_b/8_8_40/-7--3_3-8_-60--54_0-1",
        "a_b/8_8_40/-6--2_3-8_-60--54",
        "a_b/8_8_40/-7--3_3-9_-60--54",
        "a_b/8_8_40/-11--7_3-8_-60--54",
        "a_b/8_8_40/x-y_3-8_-60--54",
        "a_b/8_8_40/-7--3_3-8_ -60--54",
        "a_b/8_8_41/-7--3_3-8_-60--54",
        "a_b/8_8_40",
        "",
    ],
)
def test_other_keys_name_no_chunk(key: str) -> None:
    cells = Cells(grid((40, 40, 40)))
    if key == "a_b/8_8_40/-7--3_3-8_-60--54":
        assert cells.id_of(key) == 0
        return
    with pytest.raises(StoreError, match="key of a chunk"):
        cells.id_of(key)


def test_a_grid_of_more_chunks_than_there_are_numbers_is_refused() -> None:
    with pytest.raises(InfoError, match="64 bits"):
        Cells(ChunkGrid("k", (0, 0, 0), (2**22,) * 3, (1, 1, 1)), "info")
    assert Cells(ChunkGrid("k", (0, 0, 0), (2**22, 2**21, 2**21), (1, 1, 1))).code.bits == 64


@given(specs(30), st.lists(u64, min_size=1))
def test_where_ids_lie(sharding: ShardingSpec, numbers: list[int]) -> None:
    locator = Locator(sharding)
    shards, minishards = locator.locate_all(np.array(numbers, np.uint64))
    for number, shard, minishard in zip(numbers, shards.tolist(), minishards.tolist(), strict=True):
        h = number >> sharding.preshift_bits
        h = h if sharding.hash == "identity" else plain_murmur(h.to_bytes(8, "little"))
        assert minishard == h % 2**sharding.minishard_bits
        assert shard == (h >> sharding.minishard_bits) % 2**sharding.shard_bits
        assert locator.locate(number) == (shard, minishard)


@pytest.mark.parametrize(("preshift", "minishard", "shard"), [(64, 0, 0), (64, 3, 3), (0, 64, 0), (0, 0, 64)])
def test_all_64_bits_may_be_used(preshift: int, minishard: int, shard: int) -> None:
    locator = Locator(spec(preshift, minishard, shard))
    number = 2**64 - 2
    found = locator.locate(number)
    assert found == (number if shard == 64 else 0, number if minishard == 64 else 0)
    assert [column.tolist() for column in locator.locate_all(np.array([number], np.uint64))] == [
        [found[0]],
        [found[1]],
    ]


@pytest.mark.parametrize(
    ("bits", "number", "name"), [(0, 0, "0"), (1, 1, "1"), (4, 15, "f"), (5, 1, "01"), (15, 0x1AB, "01ab")]
)
def test_names_of_shards(bits: int, number: int, name: str) -> None:
    assert Locator(spec(shard=bits)).name(number) == name


@given(st.lists(st.integers(0, 9)))
def test_places_by_value(numbers: list[int]) -> None:
    expected: dict[int, list[int]] = {}
    for at, number in enumerate(numbers):
        expected.setdefault(number, []).append(at)
    found = by_value(np.array(numbers, np.uint64))
    assert [(value, places.tolist()) for value, places in found] == sorted(expected.items())


# Whole shards


def test_golden_bytes() -> None:
    made = build(form(spec(minishard=1)), {0: b"zero", 3: b"three", 4: b"", 6: b"six"})
    words = struct.pack(
        "<4Q",
        *(12, 12 + 72),  # minishard 0: ids 0, 4, 6
        *(12 + 72, 12 + 72 + 24),  # minishard 1: id 3
    )
    even = struct.pack("<9Q", *(0, 4, 2), *(0, 5, 0), *(4, 0, 3))
    odd = struct.pack("<3Q", 3, 4, 5)
    assert made == words + b"zero" + b"three" + b"" + b"six" + even + odd


def plain_contents(sharding: ShardingSpec, data: bytes, number: int) -> dict[int, bytes]:
    """Read a shard, as the specification says, a number at a time."""
    found, base = {}, 16 << sharding.minishard_bits
    for minishard in range(2**sharding.minishard_bits):
        start, stop = struct.unpack_from("<2Q", data, 16 * minishard)
        index = data[base + start : base + stop]
        if index and sharding.minishard_index_encoding == "gzip":
            index = gzip.decompress(index)
        n = len(index) // 24
        table = struct.unpack(f"<{3 * n}Q", index)
        chunk, place = 0, base
        for i in range(n):
            chunk += table[i]
            place += table[n + i]
            found[chunk] = data[place : place + table[2 * n + i]]
            place += table[2 * n + i]
    return found


chunks_by_id = st.dictionaries(u64, st.binary(max_size=20), max_size=30)


@given(specs(), chunks_by_id)
def test_shards_are_made_and_taken_apart(sharding: ShardingSpec, chunks: dict[int, bytes]) -> None:
    locator, kind = Locator(sharding), form(sharding)
    shards: dict[int, dict[int, bytes]] = {}
    for number, data in chunks.items():
        shards.setdefault(locator.locate(number)[0], {})[number] = data
    for shard, some in shards.items():
        made = build(kind, some)
        assert plain_contents(sharding, made, shard) == some
        parts = take_apart(kind, "s", shard, made)
        assert parts.contents.ids.tolist() == sorted(some)
        assert {number: bytes(parts.get(number) or b"") for number in some} == some
        absent = next(number for number in range(2**64) if number not in some)
        assert parts.get(absent) is None
    assert take_apart(kind, "s", 0, build(kind, {})).contents.ids.tolist() == []


@given(specs(2), st.lists(chunks_by_id, min_size=1, max_size=3), st.sets(u64, max_size=3))
def test_layers_of_chunks_are_joined(
    sharding: ShardingSpec, layers: list[dict[int, bytes]], removed: set[int]
) -> None:
    sharding = spec(sharding.preshift_bits, sharding.minishard_bits, 0, sharding.hash)
    kind, expected = form(sharding), dict[int, bytes]()
    for layer in layers:
        expected |= layer
    removed |= set(list(expected)[::3])
    expected = {number: data for number, data in expected.items() if number not in removed}
    nothing = take_apart(kind, "s", 0, build(kind, {}))
    parts = [nothing, *(one for layer in layers for one in Parts.each(layer))]
    made = finish(kind, join(kind, parts, removed, Scratch()))
    assert bytes(made) == build(kind, expected)


@given(st.dictionaries(u64, st.binary(max_size=3000), max_size=30), st.integers(0, 5000))
def test_chunks_gathered_in_place_make_the_same_shard(chunks: dict[int, bytes], expected: int) -> None:
    kind = form(spec(1, 3, hash=MURMUR))
    gathered = Gathered(kind, Scratch(), expected)
    for number in sorted(chunks):
        gathered.put(number, chunks[number])
    assert bytes(finish(kind, gathered.parts)) == build(kind, chunks)


@given(specs(2), chunks_by_id)
def test_chunks_are_read_by_id(sharding: ShardingSpec, chunks: dict[int, bytes]) -> None:
    shards = reader(sharding)
    by_shard: dict[int, dict[int, bytes]] = {}
    for number, data in chunks.items():
        by_shard.setdefault(shards.form.locator.locate(number)[0], {})[number] = data
    for shard, some in by_shard.items():
        shards.objects.store.put(shards.key(shard), Blob(build(shards.form, some)))
    for _ in range(2):  # from the store, then with the index in memory
        for number, data in chunks.items():
            blob = shards.get(number)
            assert blob is not None
            assert (bytes(blob.data), blob.size) == (data, len(data))
            part = shards.get(number, ByteRange(2, 5))
            assert part is not None
            assert (bytes(part.data), part.size) == (data[2:5], len(data))
    absent = next(number for number in range(2**64) if number not in chunks)
    assert shards.get(absent) is None
    for shard, some in by_shard.items():
        assert sorted(shards.ids_in(shard).tolist()) == sorted(some)
    for number in chunks:
        with pytest.raises(StoreError, match="starts at 0"):
            shards.get(number, ByteRange(-1, 2))


# Damage

ONE = spec(minishard=1)
GOOD = {2: b"two", 4: b"four", 5: b"five"}


def index_of(*columns: tuple[int, ...]) -> bytes:
    return b"".join(struct.pack(f"<{len(column)}Q", *column) for column in columns)


def shard_with(index: bytes, start: int = 0, stop: int | None = None, data: bytes = b"d" * 100) -> bytes:
    """A shard of two minishards, the first of which has this index, behind it the data."""
    stop = len(index) if stop is None else stop
    return struct.pack("<4Q", start, stop, 0, 0) + index + data


TERABYTE = 2**40
DAMAGED: Mapping[str, tuple[bytes, str]] = {
    "empty": (b"", "index of 32 bytes"),
    "shorter than its index": (b"\0" * 31, "index of 32 bytes"),
    "an index that ends before it begins": (
        shard_with(index_of((2,), (0,), (1,)), 24, 0),
        "minishard 0.*inside",
    ),
    "an index behind the end": (shard_with(b"", 200, 224), "minishard 0.*inside"),
    "an index of a terabyte": (shard_with(b"", 0, TERABYTE), "minishard 0.*inside"),
    "an index at the end of all numbers": (shard_with(b"", 2**64 - 24, 2**64 - 1), "minishard 0.*inside"),
    "an index of no whole number of chunks": (shard_with(b"x" * 23), "minishard 0.*24 bytes"),
    "ids that do not ascend": (shard_with(index_of((2, 0), (48, 0), (1, 1))), "minishard 0.*ascending"),
    "ids that pass 64 bits": (
        shard_with(index_of((4, 2**64 - 2), (48, 0), (1, 1))),
        "minishard 0.*ascending",
    ),
    "a chunk behind the end": (shard_with(index_of((2,), (200,), (1,))), "minishard 0.*inside the file"),
    "a chunk of a terabyte": (shard_with(index_of((2,), (24,), (TERABYTE,))), "minishard 0.*inside the file"),
    "a start that passes 64 bits": (
        shard_with(index_of((2, 2), (60, 2**64 - 8), (1, 1))),
        "minishard 0.*inside the file",
    ),
    "a size that passes 64 bits": (
        shard_with(index_of((2, 2), (60, 0), (2**64 - 8, 1))),
        "minishard 0.*inside the file",
    ),
    "a chunk of another minishard": (shard_with(index_of((3,), (24,), (1,))), "id 3.*minishard 1 of shard 0"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_shard_is_named(name: str) -> None:
    data, text = DAMAGED[name]
    shards = reader(ONE)
    shards.objects.store.put("8_8_40/0.shard", Blob(data))
    for _ in range(2):
        with pytest.raises(ChunkDecodeError, match=rf"mem://b/ds/layer/8_8_40/0\.shard.*{text}"):
            shards.get(2)
    with pytest.raises(ChunkDecodeError, match=rf"0\.shard.*{text}"):
        take_apart(shards.form, "0.shard", 0, data)


def test_a_chunk_of_another_shard_is_named() -> None:
    kind = form(spec(minishard=1, shard=1))
    with pytest.raises(ChunkDecodeError, match="id 2, which belongs in minishard 0 of shard 1"):
        take_apart(kind, "0.shard", 0, shard_with(index_of((2,), (24,), (1,))))


def test_more_chunks_than_there_can_be_are_no_index() -> None:
    data = shard_with(index_of((2, 2, 2), (72, 0, 0), (1, 1, 1)))
    assert len(take_apart(form(ONE, 3), "s", 0, data).contents.ids) == 3
    with pytest.raises(ChunkDecodeError, match="at most 2 chunks, found 3"):
        take_apart(form(ONE, 2), "s", 0, data)


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(b"\0" * 24 * 10**6),
        gzip.compress(index_of((2,), (0,), (1,)))[:-3],
        gzip.compress(index_of((2,), (0,), (1,))) + b"more",
        index_of((2,), (0,), (1,)),
    ],
    ids=["bomb", "cut", "more", "plain"],
)
def test_a_damaged_gzip_index_is_named(packed: bytes) -> None:
    with pytest.raises(ChunkDecodeError, match=r"minishard 0.*gzip"):
        take_apart(form(spec(minishard=1, index="gzip"), 1000), "s", 0, shard_with(packed))


def test_a_compressed_shard_is_refused() -> None:
    """peers.md 9: a sharded write with gzip makes an unreadable `0.shard.gz` there."""
    shards = reader(ONE)
    packed = gzip.compress(build(shards.form, GOOD))
    shards.objects.store.put("8_8_40/0.shard", Blob(packed, "gzip"))
    with pytest.raises(ChunkDecodeError, match=r"0\.shard.*found gzip: shards are not compressed"):
        shards.get(2)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_any_damage_is_an_error_or_other_bytes_and_never_more(place: int, junk: bytes) -> None:
    good = bytearray(build(form(ONE), GOOD))
    place %= len(good)
    good[place : place + len(junk)] = junk
    try:
        parts = take_apart(form(ONE), "s", 0, bytes(good))
    except ChunkDecodeError:
        return
    assert all(len(parts.get(number) or b"") <= len(good) for number in parts.contents.ids.tolist())


# Files that others replace


class Plain:
    """A store with the five methods of the contract alone, and without versions."""

    def __init__(self, store: Store) -> None:
        self.put, self.delete, self.list, self.stat = store.put, store.delete, store.list, store.stat
        self._get = store.get

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        blob = self._get(key, byte_range)
        return None if blob is None else blob._replace(version=None)


class Ranges(Plain):
    """One on a local disk, on a system that cannot read into memory."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._ranges = store.get_ranges

    def read_into(self, key: str, size: int, parts: Any) -> bool:
        return False

    def get_ranges(self, key: str, ranges: Any) -> Any:
        blobs = self._ranges(key, ranges)
        return None if blobs is None else [blob._replace(version=None) for blob in blobs]


KINDS: Mapping[str, Callable[[MemoryStore], Store]] = {
    "versions": lambda store: store,
    "no versions": Plain,
    "a disk without read_into": Ranges,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", ["raw", "gzip"])
def test_an_index_in_memory_is_never_trusted(kind: str, index: str) -> None:
    memory = MemoryStore()
    shards = reader(spec(minishard=1, index=index), KINDS[kind](memory))
    states: list[dict[int, bytes]] = [
        {2: b"two", 4: b"four"},
        {2: b"2", 4: b"four", 6: b"six"},  # elsewhere
        {2: b"2", 4: b"FOUR", 6: b"six"},  # the same index, other bytes
        {2: b"2"},
        {3: b"three"},  # no index for the minishard
        {},
        {4: b"4444444444"},
    ]
    for state in states:
        memory.put("8_8_40/0.shard", Blob(build(shards.form, state)))
        for number in (2, 4, 6, 3, 2):
            blob = shards.get(number)
            assert (None if blob is None else bytes(blob.data)) == state.get(number)
    memory.delete(["8_8_40/0.shard"])
    assert shards.get(4) is None
    memory.put("8_8_40/0.shard", Blob(build(shards.form, states[0])))
    found = shards.get(4)
    assert found is not None
    assert bytes(found.data) == b"four"


def test_a_shard_that_never_keeps_still_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryStore()
    shards = reader(ONE, memory)
    monkeypatch.setattr("precomp.engine.shards.looks.time.sleep", lambda seconds: None)
    data = build(shards.form, GOOD)

    class Restless(Plain):
        def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
            memory.put(key, Blob(data))
            return self._get(key, byte_range)

    memory.put("8_8_40/0.shard", Blob(data))
    with pytest.raises(StoreError, match="again and again"):
        reader(ONE, Restless(memory)).get(2)


def test_the_index_is_read_once() -> None:
    memory = MemoryStore()
    memory.put("8_8_40/0.shard", Blob(build(form(ONE), GOOD)))
    gets: list[ByteRange | None] = []

    class Counted(Plain):
        def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
            gets.append(byte_range)
            return self._get(key, byte_range)  # with the version

    shards = reader(ONE, Counted(memory))
    assert shards.get(2) is not None
    assert gets == [(0, 32), (43, 91), (32, 35)]  # the shard's index, the minishard's, the chunk
    assert shards.get(4) is not None
    assert gets[3:] == [(35, 39)]
    assert shards.get(5) is not None
    assert gets[4:] == [(91, 115), (39, 43)]


def test_indices_in_memory_are_bounded() -> None:
    memory, cache = MemoryStore(), IndexCache(4000)
    shards = ShardReader(Objects(memory, load().compressor), "", form(spec(shard=5)), cache)
    for number in range(32):
        memory.put(shards.key(number), Blob(build(shards.form, {number: b"x"})))
    for number in [*range(32), *range(32)]:
        blob = shards.get(number)
        assert blob is not None
        assert cache.nbytes <= 4000
    assert cache.nbytes > 0


# The old form of two files


@given(specs(3), chunks_by_id)
def test_the_old_form_of_two_files_is_read(sharding: ShardingSpec, chunks: dict[int, bytes]) -> None:
    shards = reader(sharding)
    cut = 16 << sharding.minishard_bits
    by_shard: dict[int, dict[int, bytes]] = {}
    for number, data in chunks.items():
        by_shard.setdefault(shards.form.locator.locate(number)[0], {})[number] = data
    for shard, some in by_shard.items():
        whole = build(shards.form, some)
        shards.objects.store.put(shards.key(shard, ".index"), Blob(whole[:cut]))
        shards.objects.store.put(shards.key(shard, ".data"), Blob(whole[cut:]))
    for _ in range(2):
        for number, data in chunks.items():
            blob = shards.get(number)
            assert blob is not None
            assert bytes(blob.data) == data


def test_the_index_of_the_old_form_without_its_data_is_an_error() -> None:
    shards = reader(ONE)
    shards.objects.store.put("8_8_40/0.index", Blob(build(shards.form, GOOD)[:32]))
    with pytest.raises(ChunkDecodeError, match=r"0\.index.*expected its chunks in 8_8_40/0\.data"):
        shards.get(2)


def test_index_bytes_of_nothing() -> None:
    assert index_bytes(Contents.none(), 16) == b""
