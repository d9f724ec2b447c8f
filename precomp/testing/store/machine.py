"""A state machine that drives a store and a dict side by side."""

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from precomp.interfaces import Blob, ByteRange, Stat, Store
from precomp.testing.checks import data_of

__all__ = ["StoreStateMachine"]

_KEYS = ("info", "8_8_40/0-64_0-64_0-64", "8_8_40/64-128_0-64_0-64", "mesh/1:0", "a b/c#1/what?x=%41")
_keys = st.sampled_from(_KEYS)


class StoreStateMachine(RuleBasedStateMachine):
    """Random puts, gets, ranges, deletions and lists.

    Args:
        store: a new one.
        encodings: the Content-Encodings that it keeps.
        listable: whether it lists.
    """

    def __init__(self, store: Store, encodings: Sequence[str], listable: bool) -> None:
        super().__init__()
        self.store = store
        self.encodings = (None, *encodings)
        self.listable = listable
        self.model: dict[str, tuple[bytes, str | None]] = {}

    @rule(key=_keys, data=st.binary(max_size=40), number=st.integers(0, 9))
    def put(self, key: str, data: bytes, number: int) -> None:
        """Store an object."""
        encoding = self.encodings[number % len(self.encodings)]
        self.store.put(key, Blob(data, encoding))
        self.model[key] = data, encoding

    @rule(gone=st.lists(_keys, max_size=3))
    def delete(self, gone: list[str]) -> None:
        """Delete some, absent ones too."""
        self.store.delete(iter(gone))
        for key in gone:
            self.model.pop(key, None)

    @rule(key=_keys)
    def get(self, key: str) -> None:
        """Read an object."""
        blob, what = self.store.get(key), f"get({key!r})"
        found = None if blob is None else (data_of(blob, what), blob.content_encoding)
        self.expect(what, found, self.model.get(key))

    @rule(key=_keys, start=st.integers(0, 50), length=st.integers(0, 2**40))
    def get_range(self, key: str, start: int, length: int) -> None:
        """Read a part of an object."""
        what = f"get({key!r}, ByteRange({start}, {start + length}))"
        blob = self.store.get(key, ByteRange(start, start + length))
        found = None if blob is None else (data_of(blob, what), blob.content_encoding, blob.size)
        whole, encoding = self.model.get(key, (None, None))
        expected = None if whole is None else (whole[start : start + length], encoding, len(whole))
        self.expect(what, found, expected)

    @rule(key=_keys)
    def stat(self, key: str) -> None:
        """Ask for an object."""
        found = self.store.stat(key)
        whole, encoding = self.model.get(key, (None, None))
        expected = None if whole is None else Stat(len(whole), found and found.version, encoding)
        self.expect(f"stat({key!r})", found, expected)

    @rule(key=_keys, cut=st.integers(0, 30))
    def list_prefix(self, key: str, cut: int) -> None:
        """List a part of the keys."""
        self.expect_keys(key[:cut])

    @invariant()
    def holds_the_same_keys(self) -> None:
        """Nothing is lost or added."""
        self.expect_keys("")

    def expect_keys(self, prefix: str) -> None:
        """Assert that `list` gives the keys of the model."""
        if self.listable:
            found = sorted(self.store.list(prefix))
            self.expect(
                f"list({prefix!r})", found, sorted(key for key in self.model if key.startswith(prefix))
            )

    @staticmethod
    def expect(what: str, found: object, expected: object) -> None:
        """Assert that both are equal."""
        assert found == expected, f"{what}: expected {expected!r}, found {found!r}"
