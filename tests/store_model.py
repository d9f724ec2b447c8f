"""What every store is tested against: a dict under random operations, and keys good and bad."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, Buffer, ByteRange, Condition, Stat, Store, SupportsUpdate, UsesSuffixes

__all__ = ["BAD_KEYS", "GOOD_KEYS", "SUFFIXES", "StoreModel", "refuses"]

SUFFIXES = {"gzip": (".gz",), "br": (".br",), "zstd": (".zstd", ".zst")}

# No key is a folder of another one, which only some stores can hold.
GOOD_KEYS = (
    "info",
    "8_8_40/0-64_0-64_0-64",
    "8_8_40/64-128_0-64_0-64",
    "8_8_40/-5-11_3-19_0-16",
    "4.5_4_40/0-1_0-1_0-1",
    "mesh/12345:0",
    "mesh/12345:0:0-64_0-64_0-64",
    "mesh.d/info",
    "a b/c#1/what?x=1&y=[2]",
    "pct%41x/100%/~/$HOME/*",
    "ünïcödé/神経/\N{SNOWMAN}",
    "tail./gz",
    "trailing ",
    " leading/-",
    "quote'\"/back\\slash",
    "line\nbreak",
)
BAD_KEYS = ("", "/", ".", "..", "/a", "a/", "a//b", "./a", "a/.", "a/./b", "../a", "a/..", "a/../b", "a\0b")

keys = st.sampled_from(GOOD_KEYS)
encodings = st.sampled_from([None, *SUFFIXES])
data = st.binary(max_size=40)
buffers: st.SearchStrategy[Buffer] = st.one_of(data, data.map(bytearray), data.map(lambda d: memoryview(d)))


class StoreModel(RuleBasedStateMachine):
    """Drives `self.store` and a dict of key to (data, encoding); subclasses make the store."""

    versions: Bundle[tuple[str, str | None]] = Bundle("versions")

    def __init__(self) -> None:
        super().__init__()
        self.store: Store = self.make_store()
        if isinstance(self.store, UsesSuffixes):
            self.store.set_suffixes(SUFFIXES)
        self.model: dict[str, tuple[bytes, str | None]] = {}

    def make_store(self) -> Store:
        """Return an empty store."""
        raise NotImplementedError

    @rule(target=versions, key=keys, buffer=buffers, encoding=encodings)
    def put(self, key: str, buffer: Buffer, encoding: str | None) -> tuple[str, str | None]:
        version = self.store.put(key, Blob(buffer, encoding))
        self.model[key] = bytes(buffer), encoding
        return key, version

    @rule(key=keys, buffer=buffers, encoding=encodings)
    def put_new(self, key: str, buffer: Buffer, encoding: str | None) -> None:
        if key in self.model:
            with pytest.raises(ConditionFailedError, match=r"expected no object"):
                self.store.put(key, Blob(buffer, encoding), condition=Condition(None))
        else:
            self.store.put(key, Blob(buffer, encoding), condition=Condition(None))
            self.model[key] = bytes(buffer), encoding

    @rule(target=versions, written=consumes(versions), buffer=buffers, encoding=encodings)
    def put_if_unchanged(
        self, written: tuple[str, str | None], buffer: Buffer, encoding: str | None
    ) -> tuple[str, str | None]:
        key, version = written
        found = self.store.stat(key)
        if version is None:  # the store has no versions
            with pytest.raises(StoreError, match="no versions"):
                self.store.put(key, Blob(buffer, encoding), condition=Condition("1"))
            return written
        if found is None or found.version != version:
            with pytest.raises(ConditionFailedError, match=f"expected version {version}"):
                self.store.put(key, Blob(buffer, encoding), condition=Condition(version))
            return written
        fresh = self.store.put(key, Blob(buffer, encoding), condition=Condition(version))
        assert fresh != version
        self.model[key] = bytes(buffer), encoding
        return key, fresh

    @rule(key=keys, buffer=st.none() | buffers, encoding=encodings)
    def update(self, key: str, buffer: Buffer | None, encoding: str | None) -> None:
        if not isinstance(self.store, SupportsUpdate):
            return

        def modify(blob: Blob | None) -> Blob | None:
            assert self.seen(blob) == self.model.get(key)
            return None if buffer is None else Blob(buffer, encoding)

        self.store.update(key, modify)
        if buffer is None:
            self.model.pop(key, None)
        else:
            self.model[key] = bytes(buffer), encoding

    @rule(gone=st.lists(keys, max_size=3))
    def delete(self, gone: list[str]) -> None:
        self.store.delete(iter(gone))
        for key in gone:
            self.model.pop(key, None)

    @rule(key=keys)
    def get(self, key: str) -> None:
        assert self.seen(self.store.get(key)) == self.model.get(key)

    @rule(key=keys, start=st.integers(0, 50), length=st.integers(0, 2**40))
    def get_range(self, key: str, start: int, length: int) -> None:
        blob = self.store.get(key, ByteRange(start, start + length))
        if key not in self.model:
            assert blob is None
            return
        whole, encoding = self.model[key]
        assert blob is not None
        assert self.seen(blob) == (whole[start : start + length], encoding)
        assert blob.size == len(whole)

    @rule(key=keys)
    def stat(self, key: str) -> None:
        found = self.store.stat(key)
        if key in self.model:
            whole, encoding = self.model[key]
            blob = self.store.get(key)
            assert blob is not None
            assert found == Stat(len(whole), blob.version, encoding)
        else:
            assert found is None

    @rule(key=keys, cut=st.integers(0, 30))
    def list_prefix(self, key: str, cut: int) -> None:
        prefix = key[:cut]
        assert sorted(self.store.list(prefix)) == sorted(k for k in self.model if k.startswith(prefix))

    @invariant()
    def holds_the_same_keys(self) -> None:
        assert sorted(self.store.list("")) == sorted(self.model)

    @staticmethod
    def seen(blob: Blob | None) -> tuple[bytes, str | None] | None:
        return None if blob is None else (bytes(blob.data), blob.content_encoding)


def refuses(store: Any, key: str, match: str) -> None:
    """Assert that no method of `store` takes `key`, each with a StoreError that names it."""
    calls: list[Callable[[], object]] = [
        lambda: store.get(key),
        lambda: store.get(key, ByteRange(0, 1)),
        lambda: store.put(key, Blob(b"x")),
        lambda: store.put(key, Blob(b"x"), condition=Condition(None)),
        lambda: store.stat(key),
        lambda: store.delete([key]),
    ]
    if isinstance(store, SupportsUpdate):
        calls.append(lambda: store.update(key, lambda blob: Blob(b"x")))
    for call in calls:
        with pytest.raises(StoreError, match=match) as caught:
            call()
        assert repr(key) in str(caught.value)
    assert list(store.list("")) == []
