"""Objects: what was put comes back, whole, in parts and with what is known of it."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from precomp.errors import PrecompError, ReadOnlyError
from precomp.interfaces import Blob, ByteRange, Condition, GetsRanges, ReadsInto, Stat, Store, SupportsUpdate
from precomp.testing.checks import content, expect_error, shown
from precomp.testing.store.base import StoreKit

__all__ = ["ObjectTests"]

_KEY = "8_8_40/0-64_0-64_0-64"
_DIGITS = b"0123456789"
_RANGES = ((3, 7), (0, 3), (0, 10), (9, 10), (7, 99), (10, 12), (99, 2**40), (5, 5), (0, 0))


class ObjectTests(StoreKit):
    """`get`, `put` and `stat` of single objects."""

    def test_a_new_store_is_empty(self, store: Store) -> None:
        """And it shares no object with another one."""
        self.fill(self.opened(), {_KEY: b"of another store"})
        blob = store.get(_KEY)
        assert blob is None, f"get({_KEY!r}) in an empty store: expected None, found {blob!r}"
        found = store.stat(_KEY)
        assert found is None, f"stat({_KEY!r}) in an empty store: expected None, found {found!r}"
        blob = store.get(_KEY, ByteRange(0, 1))
        assert blob is None, f"get({_KEY!r}) of a range in an empty store: expected None, found {blob!r}"
        if isinstance(store, GetsRanges):
            parts = store.get_ranges(_KEY, [ByteRange(0, 1)])
            assert parts is None, f"get_ranges({_KEY!r}) in an empty store: expected None, found {parts!r}"
        if self.listable:
            keys = list(store.list(""))
            assert keys == [], f"list('') of a new store: expected nothing, found {keys}"

    @pytest.mark.parametrize("size", [0, 1, 1000, 5 * 2**20 + 1])
    def test_what_was_put_comes_back(self, store: Store, size: int) -> None:
        """Every byte of it; an empty object is not an absent one."""
        data = random.Random(0).randbytes(size)
        self.fill(store, {_KEY: data})
        content(store.get(_KEY), data, f"get after put of {size} bytes")
        found = store.stat(_KEY)
        assert found is not None, f"stat after put of {size} bytes: expected a Stat, found None"
        assert found.size == size, f"stat after put of {size} bytes: found size {found.size}"
        if self.listable:
            keys = list(store.list(""))
            assert keys == [_KEY], f"list('') after put of {size} bytes: expected [{_KEY!r}], found {keys}"

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_every_kind_of_buffer_is_taken(self, store: Store, kind: type[Any]) -> None:
        """Codecs return bytes, bytearrays and read-only memoryviews."""
        self.needs("writable")
        for data in (_DIGITS, b""):
            store.put(_KEY, Blob(kind(data)))
            content(store.get(_KEY), data, f"get after put of a {kind.__name__}")
        store.put(_KEY, Blob(memoryview(_DIGITS)[2:8]))
        content(store.get(_KEY), _DIGITS[2:8], "get after put of a part of a memoryview")

    def test_a_put_replaces_all_of_the_object(self, store: Store) -> None:
        """A shorter value leaves nothing of the longer one before."""
        self.needs("writable")
        for data in (b"long" * 1000, b"short", b"", b"longer"):
            store.put(_KEY, Blob(data))
            content(store.get(_KEY), data, "get after the object was replaced")
            found = store.stat(_KEY)
            assert found is not None, "stat after the object was replaced: expected a Stat, found None"
            assert found.size == len(data), f"stat after it was replaced: {found} for {len(data)} bytes"

    @pytest.mark.parametrize("kind", [bytearray, memoryview])
    def test_the_callers_buffer_is_not_kept(self, store: Store, kind: type[Any]) -> None:
        """Precomp may change the array whose memory it gave to `put`, on a condition too, or `update`."""
        self.needs("writable")

        def check(how: str, put: Callable[[Blob], object]) -> None:
            buffer = bytearray(_DIGITS)
            put(Blob(buffer if kind is bytearray else memoryview(buffer)))
            buffer[:] = b"x" * len(buffer)
            what = f"get after the caller changed the {kind.__name__} that it had given to {how}"
            content(store.get(_KEY), _DIGITS, what)

        check("put", lambda blob: store.put(_KEY, blob))
        stat = store.stat(_KEY)
        version = stat.version if stat else None
        if self.conditional and version is not None:
            check("put on a version", lambda blob: store.put(_KEY, blob, condition=Condition(version)))
        if self.conditional:
            store.delete([_KEY])
            check("put of a new key", lambda blob: store.put(_KEY, blob, condition=Condition(None)))
        if isinstance(store, SupportsUpdate):
            updating = store
            check("update", lambda blob: updating.update(_KEY, lambda _: blob))

    def test_what_get_returned_is_the_callers(self, store: Store) -> None:
        """Changing it does not change what is stored."""
        self.fill(store, {_KEY: _DIGITS})
        for data, byte_range in ((_DIGITS, None), (_DIGITS[2:8], ByteRange(2, 8))):
            view = memoryview(content(store.get(_KEY, byte_range), data, "get").data)
            if not view.readonly:
                view[:] = b"x" * len(view)
            content(store.get(_KEY), _DIGITS, "get after the caller changed what get had returned")

    @pytest.mark.parametrize("data", [_DIGITS, b""])
    def test_ranges(self, store: Store, data: bytes) -> None:
        """A range is cut at the object's end, and `size` is always that of the whole object."""
        self.fill(store, {_KEY: data})
        for start, stop in _RANGES:
            what = f"get(key, ByteRange({start}, {stop})) of {shown(data)}"
            found = content(store.get(_KEY, ByteRange(start, stop)), data[start:stop], what).size
            assert found == len(data), (
                f"{what}: expected Blob.size {len(data)}, the whole object's, found {found}"
            )

    def test_several_ranges(self, store: Store) -> None:
        """`get_ranges` returns the parts in the order asked for."""
        if not isinstance(store, GetsRanges):
            pytest.skip("the store has no get_ranges")
        self.fill(store, {_KEY: _DIGITS})
        ranges = [ByteRange(start, stop) for start, stop in reversed(_RANGES)]
        for wanted in (ranges, ranges[:1], []):
            parts = store.get_ranges(_KEY, wanted)
            assert parts is not None, f"get_ranges of a stored object: expected {len(wanted)} parts"
            assert len(parts) == len(wanted), f"get_ranges: expected {len(wanted)} parts, found {len(parts)}"
            for (start, stop), blob in zip(wanted, parts, strict=True):
                what = f"the part ByteRange({start}, {stop}) of get_ranges"
                content(blob, _DIGITS[start:stop], what)
                assert blob.size == 10, f"{what}: expected Blob.size 10, found {blob.size}"

    def test_reads_into_memory(self, store: Store) -> None:
        """`read_into` fills it where object and size agree, and says so where they do not."""
        if not isinstance(store, ReadsInto):
            pytest.skip("the store has no read_into")
        self.fill(store, {_KEY: _DIGITS})
        for ranges in ([(0, 10)], [(3, 7)], [(8, 10), (0, 1)], []):
            parts = [(start, memoryview(bytearray(stop - start))) for start, stop in ranges]
            assert store.read_into(_KEY, 10, parts), f"read_into {ranges} of 10 bytes: expected True"
            found, expected = [bytes(memory) for _, memory in parts], [_DIGITS[a:b] for a, b in ranges]
            assert found == expected, f"read_into {ranges}: expected {expected}, found {found}"
        for key, size in ((_KEY, 9), (_KEY, 11), (_KEY, 5), ("absent", 10)):
            for start, stop in ((0, size), (2, 4)):
                what = f"read_into {key!r} as {size} bytes, {start} to {stop}"
                there = store.read_into(key, size, [(start, memoryview(bytearray(stop - start)))])
                assert not there, f"{what}: expected False, found True"
        for encoding in self.encodings if self.writable else ():
            store.put(_KEY, Blob(_DIGITS, encoding))
            there = store.read_into(_KEY, 10, [(0, memoryview(bytearray(10)))])
            assert not there, f"read_into of what is compressed with {encoding!r}: expected False, found True"

    def test_the_content_encoding_is_kept(self, store: Store) -> None:
        """By `get`, ranges and `stat`; each put sets it anew, and the bytes stay as they were given."""
        self.needs("writable", "encodings")
        for encoding in (*self.encodings, None, *reversed(self.encodings)):
            store.put(_KEY, Blob(_DIGITS, encoding))
            what = f"after put with content_encoding {encoding!r}"
            for blob in (store.get(_KEY), store.get(_KEY, ByteRange(2, 8))):
                data = _DIGITS if blob is None or blob.size is None else _DIGITS[2:8]
                found = content(blob, data, f"get {what}").content_encoding
                assert found == encoding, f"get {what}: found content_encoding {found!r}"
            stat = store.stat(_KEY)
            expected = Stat(10, stat.version if stat else None, encoding)
            assert stat == expected, f"stat {what}: expected {expected}, found {stat}"
            keys = list(store.list("")) if self.listable else [_KEY]
            assert keys == [_KEY], f"list {what}: expected the object once, as {_KEY!r}, found {keys}"

    def test_a_content_encoding_that_is_not_kept_is_refused(self, store: Store) -> None:
        """Else a reader would take compressed bytes for voxels."""
        self.needs("writable")
        unknown = [name for name in ("gzip", "br", "zstd") if name not in self.encodings]
        for encoding in unknown:
            what = f"put with content_encoding {encoding!r}, which `encodings` does not list"
            expect_error(PrecompError, what, store.put, _KEY, Blob(_DIGITS, encoding))
            assert store.get(_KEY) is None, f"{what}: it was refused, and stored nevertheless"

    def test_type_and_cache_control_are_kept(self, store: Store) -> None:
        """Where `keeps_headers` says so."""
        self.needs("writable", "keeps_headers")
        given = Blob(b"{}", content_type="application/json", cache_control="max-age=60")
        store.put(_KEY, given)
        blob = content(store.get(_KEY), b"{}", "get")
        found = blob.content_type, blob.cache_control
        assert found == ("application/json", "max-age=60"), f"expected those of {given}, found {found}"

    def test_put_really_stores(self, store: Store) -> None:
        """Others find what `put` stored."""
        self.needs("writable")
        for data in (_DIGITS, b""):
            store.put(_KEY, Blob(data))
            raw = self.raw_get(store, _KEY)
            assert raw == data, f"raw_get after put: expected {shown(data)}, found {shown(raw)}"

    def test_what_others_stored_is_found(self, store: Store) -> None:
        """By `get`, `stat` and `list`."""
        self.raw_put(store, _KEY, _DIGITS)
        blob = content(store.get(_KEY), _DIGITS, "get after raw_put")
        found = store.stat(_KEY)
        expected = Stat(10, blob.version, blob.content_encoding)
        assert found == expected, f"stat after raw_put: expected {expected}, found {found}"
        keys = list(store.list("")) if self.listable else [_KEY]
        assert keys == [_KEY], f"list('') after raw_put: expected [{_KEY!r}], found {keys}"

    def test_a_read_only_store_says_so(self, store: Store) -> None:
        """By a ReadOnlyError for each way to write."""
        if self.writable:
            pytest.skip("the store is writable")
        expect_error(ReadOnlyError, "put to a read-only store", store.put, _KEY, Blob(b"x"))
        expect_error(ReadOnlyError, "delete in a read-only store", store.delete, [_KEY])
        assert store.get(_KEY) is None, "put to a read-only store: it was refused, and stored nevertheless"
