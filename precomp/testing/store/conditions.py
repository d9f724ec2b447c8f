"""Conditions and updates: what several writers rely on."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from precomp.engine.update import update
from precomp.errors import ConditionFailedError, PrecompError
from precomp.interfaces import Blob, ByteRange, Condition, Store, SupportsUpdate
from precomp.testing.checks import content, expect_error
from precomp.testing.store.base import StoreKit

__all__ = ["ConditionTests"]

_KEY = "8_8_40/0-64_0-64_0-64"
_THREADS = 4
_ROUNDS = 10


class ConditionTests(StoreKit):
    """`put` on a condition, versions and `update`."""

    def version(self, store: Store) -> str:
        """Put an object and return its version; skips where the store has none."""
        self.needs("writable", "conditional")
        version = store.put(_KEY, Blob(b"old"))
        if version is None:
            pytest.skip("put returns None: the store has no versions")
        return version

    def test_versions_agree(self, store: Store) -> None:
        """Those of `put`, `get`, ranges and `stat`."""
        self.needs("writable")
        version = store.put(_KEY, Blob(b"old"))
        blobs = {"get": store.get(_KEY), "get of a range": store.get(_KEY, ByteRange(0, 2))}
        for method, found in {**blobs, "stat": store.stat(_KEY)}.items():
            assert found is not None, f"{method} after put: expected the object, found None"
            assert found.version == version, (
                f"{method}: expected the version that put returned, {version!r}, found {found.version!r}"
            )

    def test_other_content_has_another_version(self, store: Store) -> None:
        """Also where the size is the same."""
        seen = {self.version(store): "the first"}
        for number in range(5):
            version = store.put(_KEY, Blob(b"%03d" % number))
            assert version not in seen, f"put of other content: found version {version!r} again"
            assert version is not None, "put: found no version, after a put that returned one"
            seen[version] = str(number)

    def test_create_only(self, store: Store) -> None:
        """`Condition(None)`: only where there is no object."""
        self.needs("writable", "conditional")
        store.put(_KEY, Blob(b"first"), condition=Condition(None))
        content(store.get(_KEY), b"first", "get after put of a new key on Condition(None)")
        what = "put over an object on Condition(None)"
        second = Blob(b"second")
        expect_error(ConditionFailedError, what, store.put, _KEY, second, condition=Condition(None))
        content(store.get(_KEY), b"first", f"get after {what}")
        store.delete([_KEY])
        store.put(_KEY, Blob(b"third"), condition=Condition(None))
        content(store.get(_KEY), b"third", "get after put of a deleted key on Condition(None)")

    def test_replace_only(self, store: Store) -> None:
        """`Condition(version)`: only while the object still has that version."""
        old, lost = self.version(store), Blob(b"lost")
        new = store.put(_KEY, Blob(b"new"), condition=Condition(old))
        content(store.get(_KEY), b"new", "get after put on the condition of the current version")
        assert new != old, f"put on a condition: expected a new version, found {new!r} again"
        for version in (old, "no-such-version"):
            what = f"put on Condition({version!r}) while the version is {new!r}"
            expect_error(ConditionFailedError, what, store.put, _KEY, lost, condition=Condition(version))
            content(store.get(_KEY), b"new", f"get after {what}")
        store.delete([_KEY])
        what = "put on the condition of a version that was deleted"
        expect_error(ConditionFailedError, what, store.put, _KEY, lost, condition=Condition(new))
        assert store.get(_KEY) is None, f"{what}: expected no object, found one"

    def test_a_condition_is_never_ignored(self, store: Store) -> None:
        """One that the store cannot check is refused, and nothing is written."""
        self.needs("writable")
        versioned = store.put(_KEY, Blob(b"old")) is not None
        conditions = [] if versioned and self.conditional else [Condition("1")]
        conditions += [] if self.conditional else [Condition(None)]
        if not conditions:
            pytest.skip("the store checks every condition")
        for condition in conditions:
            what = f"put on {condition}, which the store cannot check"
            expect_error(PrecompError, what, store.put, _KEY, Blob(b"new"), condition=condition)
            content(store.get(_KEY), b"old", f"get after {what}")

    def test_one_of_many_creators_wins(self, store: Store) -> None:
        """All others get a ConditionFailedError."""
        self.needs("writable", "conditional")
        for number in range(_ROUNDS):
            key, barrier = f"8_8_40/{number}", threading.Barrier(_THREADS)

            def create(me: int, key: str = key, barrier: threading.Barrier = barrier) -> int | None:
                barrier.wait(60)
                try:
                    store.put(key, Blob(b"%d" % me), condition=Condition(None))
                except ConditionFailedError:
                    return None
                return me

            with ThreadPoolExecutor(_THREADS) as pool:
                winners = [who for who in pool.map(create, range(_THREADS)) if who is not None]
            assert len(winners) == 1, (
                f"{_THREADS} threads put a new key on Condition(None): expected one to win, "
                f"{len(winners)} did"
            )
            content(store.get(key), b"%d" % winners[0], "get after several threads put on Condition(None)")

    def test_no_update_is_lost(self, store: Store) -> None:
        """Threads that each rewrite a part of one object; needs versions or a method `update`."""
        self.needs("writable", "conditional")
        update(store, _KEY, lambda blob: Blob(b"0"))

        def count(_: int) -> None:
            for _ in range(_ROUNDS):
                update(store, _KEY, lambda blob: Blob(b"%d" % (int(bytes(blob.data)) + 1 if blob else 1)))

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(count, range(_THREADS)))
        what = f"{_THREADS} threads adding 1 for {_ROUNDS} times by get, put on the version's condition"
        content(store.get(_KEY), b"%d" % (_THREADS * _ROUNDS), what)

    def test_update(self, store: Store) -> None:
        """A store's own: sees the object, stores or deletes, and lets the caller's errors pass."""
        self.needs("writable")
        if not isinstance(store, SupportsUpdate):
            pytest.skip("the store has no update of its own")
        seen: list[bytes | None] = []

        def replace(by: bytes | None) -> None:
            def modify(blob: Blob | None) -> Blob | None:
                seen[:] = [None if blob is None else bytes(blob.data)]
                return None if by is None else Blob(by)

            store.update(_KEY, modify)

        before: bytes | None = None
        for after in (None, b"first", b"second", b"", None, b"again"):
            replace(after)
            assert seen == [before], f"update: expected modify to get {before!r}, it got {seen[0]!r}"
            blob = store.get(_KEY)
            found = None if blob is None else bytes(blob.data)
            assert found == after, f"get after update to {after!r}: found {found!r}"
            before = after

        def fail(blob: Blob | None) -> Blob:
            raise LookupError("of the caller")

        what = "update with a modify that raises"
        error = expect_error(LookupError, what, store.update, _KEY, fail)
        assert str(error) == "of the caller", f"{what}: expected the caller's own error, found {error!r}"
        content(store.get(_KEY), b"again", f"get after {what}")
        replace(b"free")
        content(store.get(_KEY), b"free", f"get after another update, after {what}; is its lock still held?")
