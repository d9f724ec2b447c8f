"""Requests ahead: what was asked for is what `get` returns, and whatever is not used does no harm."""

from contextlib import nullcontext

import pytest

from precomp.interfaces import AsksAhead, Blob, ByteRange, Store
from precomp.testing.checks import content, shown
from precomp.testing.store.base import StoreKit

__all__ = ["AheadTests"]

_OBJECTS = {f"8_8_40/{n}-{n + 1}_0-64_0-64": b"object number %03d" % n for n in range(12)}
_KEYS = list(_OBJECTS)
_PARTS = (None, ByteRange(0, 17), ByteRange(7, 13), ByteRange(14, 99), ByteRange(0, 2**20))


class AheadTests(StoreKit):
    """`ask`, of stores that have it."""

    def test_what_was_asked_for_is_there(self, store: Store) -> None:
        """In whatever order it was asked for, in parts too, and only for the same request."""
        asking = self._asking(store)
        for part in _PARTS:
            cut = slice(None) if part is None else slice(*part)
            asked = [(key, asking.ask(key, part)) for key in _KEYS]
            for key, context in reversed(asked):
                with context or nullcontext():
                    what = f"get of what was asked for, {key!r}, {part}"
                    content(store.get(key, part), _OBJECTS[key][cut], what)
                    content(store.get(key, part), _OBJECTS[key][cut], f"a second {what}")
            with asking.ask(_KEYS[0], part) or nullcontext():
                what = f"get of {_KEYS[1]!r}, {part}, where {_KEYS[0]!r} was asked for"
                content(store.get(_KEYS[1], part), _OBJECTS[_KEYS[1]][cut], what)
                content(store.get(_KEYS[0], ByteRange(1, 3)), b"bj", "get of another part than was asked for")
        with asking.ask("absent") or nullcontext():
            blob = store.get("absent")
            assert blob is None, f"get of what is absent, and was asked for: expected None, found {blob!r}"

    def test_what_is_not_used_does_no_harm(self, store: Store) -> None:
        """Nothing of it is left for those who come later."""
        self.needs("writable")
        asking = self._asking(store)
        key, before = _KEYS[0], _OBJECTS[_KEYS[0]]
        for number in range(6):
            after = b"written behind it, %d" % number
            unused = [asking.ask(key), asking.ask(key)]
            store.put(key, Blob(after))
            with unused[0] or nullcontext():
                pass
            what = "get of what was written after it had been asked for"
            content(store.get(key), after, what)
            del unused
            content(store.get(key), after, what)
            with asking.ask(key) or nullcontext():
                store.put(key, Blob(before))
                found = store.get(key)
            assert found is not None, f"get of {key!r}, asked for before it was replaced: found None"
            either = bytes(found.data) in (before, after)
            assert either, f"get of {key!r}, replaced after it had been asked for: {shown(bytes(found.data))}"
            content(store.get(key), before, what)

    def _asking(self, store: Store) -> AsksAhead:
        if not isinstance(store, AsksAhead):
            pytest.skip("the store has no ask")
        self.fill(store, _OBJECTS)
        store.get(_KEYS[0])  # which some need to know how near their service is
        assert store.is_near in (True, False), f"is_near: expected a bool, found {store.is_near!r}"
        return store
