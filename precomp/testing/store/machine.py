"""A state machine that drives a store and a dict side by side."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from precomp.errors import ConditionFailedError, PrecompError
from precomp.interfaces import Blob, Buffer, ByteRange, Condition, Stat, Store, SupportsUpdate
from precomp.testing.checks import data_of, expect_error
from precomp.testing.names import LEGAL_KEYS

__all__ = ["StoreStateMachine"]

# Few, so that operations meet; and all that a store may mangle.
_OFTEN = ("info", "8_8_40/0-64_0-64_0-64", "8_8_40/64-128_0-64_0-64", "mesh/1:0", "a b/c#1/what?x=%41")
_keys = st.sampled_from(_OFTEN) | st.sampled_from(LEGAL_KEYS)
_data = st.binary(max_size=40)
_buffers: st.SearchStrategy[Buffer] = st.one_of(
    _data, _data.map(bytearray), _data.map(lambda d: memoryview(d))
)
_numbers = st.integers(0, 9)


class StoreStateMachine(RuleBasedStateMachine):
    """Random puts on conditions and without, updates, gets, ranges, deletions and lists.

    Args:
        store: a new one.
        encodings: the Content-Encodings that it keeps.
        listable: whether it lists.
        conditional: whether its writes may depend on what is stored.
    """

    written: Bundle[tuple[str, str | None]] = Bundle("written")

    def __init__(
        self, store: Store, encodings: Sequence[str], listable: bool = True, conditional: bool = True
    ) -> None:
        super().__init__()
        self.store = store
        self.encodings = (None, *encodings)
        self.listable, self.conditional = listable, conditional
        self.model: dict[str, tuple[bytes, str | None]] = {}

    def blob(self, buffer: Buffer, number: int) -> Blob:
        """Return an object with one of the encodings."""
        return Blob(buffer, self.encodings[number % len(self.encodings)])

    @rule(target=written, key=_keys, buffer=_buffers, number=_numbers)
    def put(self, key: str, buffer: Buffer, number: int) -> tuple[str, str | None]:
        """Store an object."""
        return key, self.store_it(key, self.blob(buffer, number), None)

    @rule(target=written, key=_keys, buffer=_buffers, number=_numbers)
    def put_new(self, key: str, buffer: Buffer, number: int) -> Any:
        """Store an object where there is none; where there is one, it stays."""
        blob, condition = self.blob(buffer, number), Condition(None)
        if self.conditional and key not in self.model:
            return key, self.store_it(key, blob, condition)
        self.refuses(ConditionFailedError if self.conditional else PrecompError, key, blob, condition)
        return multiple()

    @rule(target=written, known=consumes(written), buffer=_buffers, number=_numbers)
    def put_if_unchanged(
        self, known: tuple[str, str | None], buffer: Buffer, number: int
    ) -> tuple[str, str | None]:
        """Store an object where the version is one that was seen; where it is another, that one stays."""
        (key, version), blob = known, self.blob(buffer, number)
        found = self.store.stat(key)
        if version is None or not self.conditional:  # it has no versions, or cannot compare them
            self.refuses(PrecompError, key, blob, Condition(version or "1"))
            return known
        if found is None or found.version != version:
            self.refuses(ConditionFailedError, key, blob, Condition(version))
            return known
        before, _ = self.model[key]
        fresh = self.store_it(key, blob, Condition(version))
        assert fresh != version or bytes(buffer) == before, (  # a version may be a hash of the content
            f"put on {version!r} of {key!r}: expected a new version, found it again"
        )
        return key, fresh

    @rule(key=_keys, buffer=st.none() | _buffers, number=_numbers)
    def update(self, key: str, buffer: Buffer | None, number: int) -> None:
        """Replace or delete an object, knowing what it was; for stores with an `update` of their own."""
        if not isinstance(self.store, SupportsUpdate):
            return

        def modify(blob: Blob | None) -> Blob | None:
            self.expect(f"what modify gets in update({key!r})", _seen(blob, "update"), self.model.get(key))
            return None if buffer is None else self.blob(buffer, number)

        self.store.update(key, modify)
        self.model.pop(key, None)
        if buffer is not None:
            self.model[key] = bytes(buffer), self.blob(buffer, number).content_encoding

    @rule(gone=st.lists(_keys, max_size=3))
    def delete(self, gone: list[str]) -> None:
        """Delete some, absent ones too."""
        self.store.delete(iter(gone))
        for key in gone:
            self.model.pop(key, None)

    @rule(key=_keys)
    def get(self, key: str) -> None:
        """Read an object."""
        what = f"get({key!r})"
        self.expect(what, _seen(self.store.get(key), what), self.model.get(key))

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
        found, blob = self.store.stat(key), self.store.get(key)
        whole, encoding = self.model.get(key, (None, None))
        expected = None if whole is None else Stat(len(whole), blob and blob.version, encoding)
        self.expect(f"stat({key!r})", found, expected)

    @rule(key=_keys, cut=st.integers(0, 30))
    def list_prefix(self, key: str, cut: int) -> None:
        """List a part of the keys."""
        self.expect_keys(key[:cut])

    @invariant()
    def holds_the_same_keys(self) -> None:
        """Nothing is lost or added."""
        self.expect_keys("")

    def store_it(self, key: str, blob: Blob, condition: Condition | None) -> str | None:
        """Put an object into the store and the model, and return its version."""
        version = self.store.put(key, blob, condition=condition)
        self.model[key] = bytes(blob.data), blob.content_encoding
        return version

    def refuses(self, kind: type[PrecompError], key: str, blob: Blob, condition: Condition) -> None:
        """Assert that the store refuses a put, and that the object stays what it was."""
        expect_error(kind, f"put({key!r}) on {condition}", self.store.put, key, blob, condition=condition)
        self.get(key)

    def expect_keys(self, prefix: str) -> None:
        """Assert that `list` gives the keys of the model."""
        if self.listable:
            found = sorted(self.store.list(prefix))
            wanted = sorted(key for key in self.model if key.startswith(prefix))
            self.expect(f"list({prefix!r})", found, wanted)

    @staticmethod
    def expect(what: str, found: object, expected: object) -> None:
        """Assert that both are equal."""
        assert found == expected, f"{what}: expected {expected!r}, found {found!r}"


def _seen(blob: Blob | None, what: str) -> tuple[bytes, str | None] | None:
    return None if blob is None else (data_of(blob, what), blob.content_encoding)
