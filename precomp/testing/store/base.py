"""What the author of a store gives to its tests."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from precomp.interfaces import Blob, Store, UsesSuffixes
from precomp.testing.names import SUFFIXES

__all__ = ["StoreKit"]


class StoreKit:
    """The hooks and switches of `StoreTests`.

    `make_store` is all that is needed. The other hooks each switch on tests that need them; those are
    skipped otherwise.

    Attributes:
        writable: False for a store that can only read. Objects are then made by `raw_put`, and every
            write has to raise a ReadOnlyError.
        listable: False where the service cannot list; `list` then has to raise.
        conditional: False where no write can depend on what is stored. Every condition then has to be
            refused, and precomp refuses to write a part of a chunk to such a store.
        picklable: True where a pickled store is to be tested, too.
        keeps_headers: True where content type and Cache-Control are kept.
        encodings: the Content-Encodings that are kept with an object; a store that keeps none has to
            refuse them.
        page_size: how many keys the service lists in one answer; a few more are put.
        max_examples: how many random sequences of operations are tried.
    """

    writable: ClassVar[bool] = True
    listable: ClassVar[bool] = True
    conditional: ClassVar[bool] = True
    picklable: ClassVar[bool] = False
    keeps_headers: ClassVar[bool] = False
    encodings: ClassVar[tuple[str, ...]] = ("gzip", "br", "zstd")
    page_size: ClassVar[int] = 1000
    max_examples: ClassVar[int] = 20

    def make_store(self) -> Store:
        """Return a new, empty store that shares no object with any other. Called several times a test.

        `new_folder()` helps where it needs one.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method make_store() -> Store")

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        """Optional: store a plain object behind the back of `store`."""
        pytest.skip("needs the optional hook raw_put(store, key, data)")

    def raw_get(self, store: Store, key: str) -> bytes | None:
        """Optional: read a plain object behind the back of `store`."""
        pytest.skip("needs the optional hook raw_get(store, key)")

    def make_failing_store(self) -> Store:
        """Optional: return a store whose service does not answer or refuses access."""
        pytest.skip("needs the optional hook make_failing_store()")

    def new_folder(self) -> str:
        """Return a new, empty folder for a store; pytest removes it some time later."""
        return tempfile.mkdtemp(dir=self._scratch)

    @pytest.fixture(autouse=True)
    def _keep_scratch(self, tmp_path: Path) -> None:
        self._scratch = tmp_path

    @pytest.fixture
    def store(self) -> Store:
        """A new store, as precomp opens it."""
        return self.opened()

    def opened(self) -> Store:
        """Return a new store, as precomp opens it."""
        store = self.make_store()
        if isinstance(store, UsesSuffixes):
            store.set_suffixes(SUFFIXES)
        return store

    def fill(self, store: Store, objects: Mapping[str, bytes]) -> None:
        """Put plain objects, through the store where it can write."""
        for key, data in objects.items():
            if self.writable:
                store.put(key, Blob(data))
            else:
                self.raw_put(store, key, data)

    def needs(self, *switches: str) -> None:
        """Skip the test where one of these switches is off."""
        for switch in switches:
            if not getattr(self, switch):
                pytest.skip(f"{switch} is {getattr(self, switch)!r}")
