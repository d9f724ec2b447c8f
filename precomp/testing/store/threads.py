"""Threads, atomicity, failures and random lives of a store."""

import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from precomp.errors import PrecompError
from precomp.interfaces import Blob, ByteRange, GetsRanges, Store
from precomp.testing.checks import content, data_of, expect_error, shown
from precomp.testing.store.base import StoreKit
from precomp.testing.store.machine import StoreStateMachine

__all__ = ["ThreadTests"]

_KEY = "8_8_40/0-64_0-64_0-64"
_ROUNDS = 30
_READERS = 3
_PART = ByteRange(100_000, 130_000)


@contextmanager
def _eager_threads() -> Iterator[None]:
    """Let threads take turns often, so that a gap between two steps is met."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class ThreadTests(StoreKit):
    """What holds for many threads, and for long lives."""

    def test_many_threads(self, store: Store) -> None:
        """Each with objects of its own."""
        self.needs("writable")

        def live(me: int) -> None:
            for number in range(_ROUNDS):
                key, data = f"{me}/{number % 3}", b"%d of %d" % (number, me)
                store.put(key, Blob(data))
                content(store.get(key), data, f"get({key!r}) while other threads use other keys")
            if self.listable:
                found = sorted(store.list(f"{me}/"))
                expected = [f"{me}/{number}" for number in range(3)]
                assert found == expected, f"list('{me}/') while others write: found {found}"
            store.delete([f"{me}/0"])
            assert store.get(f"{me}/0") is None, f"get('{me}/0') after delete: it is still there"

        with _eager_threads(), ThreadPoolExecutor(8) as pool:
            list(pool.map(live, range(8)))

    def test_readers_never_see_a_mix(self, store: Store) -> None:
        """While an object is replaced it is always there: the old one whole, or the new one whole."""
        self.needs("writable")
        encoding = self.encodings[0] if self.encodings else None
        values = [Blob(b"a" * 200_000), Blob(b"b" * 150_000, encoding), Blob(b"c" * 170_000)]
        store.put(_KEY, values[0])
        done = threading.Event()

        def write() -> None:
            try:
                for number in range(_ROUNDS):
                    store.put(_KEY, values[number % len(values)])
            finally:
                done.set()

        def read(look: Callable[[], None]) -> None:
            look()
            while not done.is_set():
                look()

        def whole() -> None:
            self.expect_one_of(store.get(_KEY), values, None)

        def part() -> None:
            self.expect_one_of(store.get(_KEY, _PART), values, _PART)

        def parts() -> None:
            if isinstance(store, GetsRanges):
                blobs = store.get_ranges(_KEY, [_PART, _PART]) or (None, None)
                for blob in blobs:
                    self.expect_one_of(blob, values, _PART)
                assert blobs[0] == blobs[1], "get_ranges while the object was replaced: parts of two versions"

        def known() -> None:
            found = store.stat(_KEY)
            assert found is not None, "stat while the object was replaced: it was not there"
            expected = [(len(blob.data), blob.content_encoding) for blob in values]
            mixed = (found.size, found.content_encoding) not in expected
            assert not mixed, f"stat while the object was replaced: expected one of {expected}, found {found}"

        with _eager_threads(), ThreadPoolExecutor(8) as pool:
            looks = [whole] * _READERS + [part, parts, known]
            for future in [*[pool.submit(read, look) for look in looks], pool.submit(write)]:
                future.result()

    @staticmethod
    def expect_one_of(blob: Blob | None, values: list[Blob], part: ByteRange | None) -> None:
        """Assert that what was read while writers were at work is one of `values`, or that part of it."""
        __tracebackhide__ = True
        what = f"get{'' if part is None else ' of a range'} while the object was replaced"
        assert blob is not None, f"{what}: it was not there for a moment"
        data = data_of(blob, what)
        stop = slice(None) if part is None else slice(*part)
        same = [value for value in values if value.data[stop] == data]
        assert same, f"{what}: found a mix or a part of what was put, {shown(data)}"
        value = same[0]
        assert part is None or blob.size == len(value.data), (
            f"{what}: the bytes are of an object of {len(value.data)} bytes, Blob.size is {blob.size}"
        )
        assert blob.content_encoding == value.content_encoding, (
            f"{what}: found the bytes of one object and the encoding of another, {blob.content_encoding!r}"
        )

    def test_a_failing_service_is_an_error(self) -> None:
        """What cannot be asked is not absent, and not written."""
        store = self.make_failing_store()
        expect_error(PrecompError, "get while the service fails", store.get, _KEY)
        expect_error(PrecompError, "get of a range while the service fails", store.get, _KEY, _PART)
        expect_error(PrecompError, "stat while the service fails", store.stat, _KEY)
        expect_error(PrecompError, "list while the service fails", lambda: list(store.list("8_8_40/")))
        expect_error(PrecompError, "put while the service fails", store.put, _KEY, Blob(b"x"))
        error = expect_error(PrecompError, "delete while the service fails", store.delete, [_KEY])
        assert _KEY in str(error), f"delete while the service fails: the error does not name the key: {error}"

    def test_it_behaves_like_a_dict(self) -> None:
        """In random sequences of operations; the shortest one that shows a difference is reported."""
        self.needs("writable")

        def machine() -> StoreStateMachine:
            return StoreStateMachine(self.opened(), self.encodings, self.listable, self.conditional)

        quiet = settings(
            deadline=None,
            max_examples=self.max_examples,
            stateful_step_count=20,
            suppress_health_check=list(HealthCheck),
        )
        run_state_machine_as_test(machine, settings=quiet)  # type: ignore[arg-type]  # any factory will do

    def test_pickle(self, store: Store) -> None:
        """A copy that went through pickle reads the same objects."""
        self.needs("picklable")
        self.fill(store, {_KEY: b"voxels"})
        content(pickle.loads(pickle.dumps(store)).get(_KEY), b"voxels", "get from a pickled store")
