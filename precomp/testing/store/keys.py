"""Keys: legal ones are kept as they are, illegal ones refused, listing and deleting take exactly theirs."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings

from precomp.errors import PrecompError, StoreError
from precomp.interfaces import Blob, ByteRange, Condition, GetsRanges, Store, SupportsUpdate
from precomp.testing import strategies
from precomp.testing.checks import content, expect_error
from precomp.testing.names import ILLEGAL_KEYS, LEGAL_KEYS
from precomp.testing.store.base import StoreKit

__all__ = ["KeyTests", "expect_refusals"]

_LAYOUT = (
    "info",
    "8_8_4/0-1_0-1_0-1",
    "8_8_40/0-64_0-64_0-64",
    "8_8_40/64-128_0-64_0-64",
    "8_8_400/0-1_0-1_0-1",
    "mesh/1:0",
    "mesh/1:0:0-64_0-64_0-64",
    "mesh/deep/er/x",
)
_PREFIXES = (
    *("", "8", "8_8_4", "8_8_4/", "8_8_40", "8_8_40/", "8_8_40/0-", "8_8_40/0-64_0-64_0-64", "info", "infos"),
    *("mesh/", "mesh/deep/", "mesh/deep/er/x", "mesh/deep/er/x/", "nothing", "nothing/at/all", "_8_4"),
)
# Each key would be found by the pattern that another one is.
_LITERAL = (
    "[ab]/x",
    "a/x",
    "b/x",
    "*/x",
    "?/x",
    "%/x",
    "_/x",
    "a[1]/x",
    "a1/x",
    "what?/x",
    "whats/x",
    "x.y",
    "x-y",
)
_LITERAL_PREFIXES = ("[", "[ab]/", "*", "*/", "?", "?/x", "%", "_/", "a[1]", "what?", "x.", "a")


def expect_refusals(
    store: Store, key: str, *, writable: bool = True, conditional: bool = True
) -> Mapping[str, str]:
    """Assert that no method takes `key`, each with a StoreError that names it; return what they say."""
    __tracebackhide__ = True
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(key),
        "get of a range": lambda: store.get(key, ByteRange(0, 1)),
        "stat": lambda: store.stat(key),
    }
    if isinstance(store, GetsRanges):
        ranged = store
        calls["get_ranges"] = lambda: ranged.get_ranges(key, [ByteRange(0, 1)])
    if writable:
        calls["put"] = lambda: store.put(key, Blob(b"x"))
        calls["delete"] = lambda: store.delete([key])
        if conditional:
            calls["put on a condition"] = lambda: store.put(key, Blob(b"x"), condition=Condition(None))
        if isinstance(store, SupportsUpdate):
            updating = store
            calls["update"] = lambda: updating.update(key, lambda blob: Blob(b"x"))
    said = {}
    for method, call in calls.items():
        what = f"{method} with the illegal key {key!r}"
        said[method] = str(expect_error(StoreError, what, call))
        named = key in said[method] or repr(key) in said[method]
        assert named, f"{what}: expected the key in the error's text, found {said[method]!r}"
    return said


class KeyTests(StoreKit):
    """Names of objects, `list` and `delete`."""

    def test_every_legal_key_is_kept(self, store: Store) -> None:
        """Spaces, unicode, `#`, `?`, `%` and `:` too; no two keys become one."""
        objects = {key: b"object %d" % number for number, key in enumerate(LEGAL_KEYS)}
        self.fill(store, objects)
        for key, data in objects.items():
            content(store.get(key), data, f"get({key!r}), one of many keys")
            found = store.stat(key)
            assert found is not None, f"stat({key!r}): expected a Stat, found None"
        if self.listable:
            self.expect_keys(store, "", set(LEGAL_KEYS), LEGAL_KEYS)

    def test_any_key_is_kept_or_refused(self) -> None:
        """With a StoreError; none is changed."""
        self.needs("writable")

        @settings(deadline=None, max_examples=2 * self.max_examples, suppress_health_check=list(HealthCheck))
        @given(strategies.keys())
        def check(key: str) -> None:
            store = self.opened()
            try:
                store.put(key, Blob(b"x"))
            except StoreError:
                expected: set[str] = set()
            else:
                expected = {key}
                content(store.get(key), b"x", f"get({key!r})")
                store.delete([key])
                assert store.get(key) is None, f"get({key!r}) after delete: it is still there"
                store.put(key, Blob(b"y"))
            if self.listable:
                self.expect_keys(store, "", expected, {key})

        check()

    @pytest.mark.parametrize("key", ILLEGAL_KEYS)
    def test_illegal_keys_are_refused(self, store: Store, key: str) -> None:
        """By every method, with a StoreError that names the key; absent would be a lie."""
        expect_refusals(store, key, writable=self.writable, conditional=self.conditional)
        if self.listable:
            self.expect_keys(store, "", set(), ())

    @pytest.mark.parametrize("prefix", _PREFIXES)
    def test_list(self, store: Store, prefix: str) -> None:
        """Each key that starts with the text `prefix`, once, relative to the layer."""
        self.needs("listable")
        self.fill(store, {key: key.encode() for key in _LAYOUT})
        self.expect_keys(store, prefix, {key for key in _LAYOUT if key.startswith(prefix)}, _LAYOUT)

    @pytest.mark.parametrize("prefix", _LITERAL_PREFIXES)
    def test_a_prefix_is_no_pattern(self, store: Store, prefix: str) -> None:
        """What means something to a shell, a glob or SQL stands for itself."""
        self.needs("listable")
        self.fill(store, {key: key.encode() for key in _LITERAL})
        self.expect_keys(store, prefix, {key for key in _LITERAL if key.startswith(prefix)}, _LITERAL)

    def test_list_does_not_leave_the_layer(self, store: Store) -> None:
        """An illegal folder in the prefix is refused or holds nothing."""
        self.needs("listable")
        self.fill(store, {"a/b": b"x"})
        for prefix in ("../", "a/../", "./", "/", "a//"):
            try:
                found = list(store.list(prefix))
            except StoreError:
                continue
            assert found == [], f"list({prefix!r}): expected a StoreError or nothing, found {found}"

    def test_list_gives_all_pages(self, store: Store) -> None:
        """More keys than the service lists in one answer, and a few of another folder."""
        self.needs("listable")
        keys = {f"8_8_40/{number}" for number in range(self.page_size + 5)}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: self.fill(store, {key: b""}), sorted(keys)))
        self.fill(store, {"8_8_4/0": b"", "9_9_40/0": b""})
        found = sorted(store.list("8_8_40/"))
        assert len(found) == len(keys), f"list of {len(keys)} keys: found {len(found)}; are all pages read?"
        assert set(found) == keys, f"list of {len(keys)} keys: found others, such as {set(found) - keys}"

    def test_a_store_that_cannot_list_says_so(self, store: Store) -> None:
        """An empty list would be a lie."""
        if self.listable:
            pytest.skip("the store lists")
        expect_error(PrecompError, "list in a store with listable = False", lambda: list(store.list("")))

    def test_delete(self, store: Store) -> None:
        """Takes any iterable; removes these objects in every respect, and no other."""
        self.needs("writable")
        self.fill(store, {key: key.encode() for key in _LAYOUT})
        gone = {"8_8_40/0-64_0-64_0-64", "mesh/1:0"}
        store.delete(iter(sorted(gone)))
        for key in _LAYOUT:
            if key in gone:
                for found in (store.get(key), store.get(key, ByteRange(0, 1)), store.stat(key)):
                    assert found is None, f"after delete([{key!r}]): expected None, found {found!r}"
            else:
                content(store.get(key), key.encode(), f"get({key!r}) after other keys were deleted")
        if self.listable:
            self.expect_keys(store, "", set(_LAYOUT) - gone, _LAYOUT)
        store.put("mesh/1:0", Blob(b"new"))
        content(store.get("mesh/1:0"), b"new", "get of an object that was deleted and put again")

    def test_deleting_what_is_absent_is_fine(self, store: Store) -> None:
        """Before, after and between objects that are there; and nothing at all."""
        self.needs("writable")
        store.delete(["nothing", "8_8_40/nothing"])
        store.delete([])
        self.fill(store, {"a": b"a", "b": b"b"})
        store.delete(["nothing", "a", "nothing/here", "a", "b"])
        for key in ("a", "b"):
            assert store.get(key) is None, f"delete of {key!r} between absent keys: it is still there"

    def test_delete_takes_what_list_gives(self, store: Store) -> None:
        """Keys may be deleted while they are listed."""
        self.needs("writable", "listable")
        keys = {f"8_8_40/{number}" for number in range(50)}
        self.fill(store, dict.fromkeys((*keys, "info"), b"x"))
        store.delete(store.list("8_8_40/"))
        self.expect_keys(store, "", {"info"}, (*keys, "info"))

    @staticmethod
    def expect_keys(store: Store, prefix: str, expected: set[str], stored: object) -> None:
        """Assert that `list` gives exactly these keys, each once."""
        __tracebackhide__ = True
        found, what = list(store.list(prefix)), f"list({prefix!r})"
        too_much, missed = sorted(set(found) - expected), sorted(expected - set(found))
        assert not too_much, f"{what}: found too much: {too_much}; stored are {stored}"
        assert not missed, f"{what}: did not find {missed}; stored are {stored}"
        assert len(found) == len(expected), f"{what}: found keys more than once: {sorted(found)}"
