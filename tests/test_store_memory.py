"""MemoryStore and `mem://`: a dict that behaves as the clouds do."""

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings

from precomp import memory
from precomp.engine.update import update
from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Stat, SupportsUpdate, UsesSuffixes
from precomp.memory import MemoryStore, clear_shared, open_shared
from precomp.testing.names import ILLEGAL_KEYS, LEGAL_KEYS, SUFFIXES
from precomp.testing.store.keys import expect_refusals
from precomp.testing.store.machine import StoreStateMachine
from precomp_plugins import memory as plugin


class SharedModel(StoreStateMachine):
    """The kit's, in one folder of the shared namespace, with a neighbour that must not be seen."""

    def __init__(self) -> None:
        clear_shared()
        open_shared("bucket").put("ds/layer2/info", Blob(b"of another layer"))
        super().__init__(open_shared("bucket/ds/layer"), tuple(SUFFIXES))


TestSharedModel = SharedModel.TestCase
TestSharedModel.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


@pytest.fixture
def _empty_namespace() -> Iterator[None]:
    clear_shared()
    yield
    clear_shared()


@pytest.mark.parametrize("key", ILLEGAL_KEYS)
def test_bad_keys_are_refused(key: str) -> None:
    said = expect_refusals(MemoryStore(), key).values()
    assert [
        text for text in said if not text.startswith(f"{key!r} is no key: expected a relative path ")
    ] == []


@pytest.mark.parametrize("prefix", ["../", "a/../", "/", "a//b"])
def test_bad_folders_of_a_prefix_are_refused_at_the_call(prefix: str) -> None:
    with pytest.raises(StoreError, match="is no key"):
        MemoryStore().list(prefix)


def test_a_key_may_be_a_folder_of_another() -> None:
    store = MemoryStore()
    store.put("a", Blob(b"1"))
    store.put("a/b", Blob(b"2"))
    store.put("a.gz", Blob(b"3"))
    store.put(".hidden/.x", Blob(b"4"))
    assert sorted(store.list("a")) == ["a", "a.gz", "a/b"]
    assert list(store.list("a/")) == ["a/b"]
    assert list(store.list(".h")) == [".hidden/.x"]


def test_metadata_is_kept() -> None:
    store = MemoryStore()
    version = store.put("k", Blob(b"abc", "br", "image/jpeg", "no-cache", "ignored", 99))
    assert store.get("k") == Blob(b"abc", "br", "image/jpeg", "no-cache", version)
    assert store.get("k", ByteRange(1, 9)) == Blob(b"bc", "br", "image/jpeg", "no-cache", version, 3)
    assert store.stat("k") == Stat(3, version, "br")


def test_what_was_put_is_a_copy() -> None:
    store, mutable = MemoryStore(), bytearray(b"old")
    store.put("array", Blob(mutable))
    store.put("view", Blob(memoryview(mutable)[::2]))
    mutable[:] = b"new"
    assert store.get("array") == Blob(b"old", version="1")
    assert store.get("view") == Blob(b"od", version="2")


def test_a_range_starts_at_zero_or_later() -> None:
    store = MemoryStore()
    store.put("k", Blob(b"abc"))
    with pytest.raises(StoreError, match=r"k: .*found -2"):
        store.get("k", ByteRange(-2, 3))
    assert store.get("k", ByteRange(2, 1)) == Blob(b"", version="1", size=3)


def test_versions_never_come_again() -> None:
    store = MemoryStore()
    seen = []
    for _ in range(5):
        seen.append(int(store.put("k", Blob(b"same"))))
        seen.append(int(store.put("other", Blob(b"same"))))
        store.delete(["k"])
    assert seen == sorted(set(seen))


def test_a_version_of_the_deleted_object_is_not_that_of_a_new_one() -> None:
    store = MemoryStore()
    version = store.put("k", Blob(b"old"))
    store.delete(["k"])
    with pytest.raises(ConditionFailedError, match=f"k: expected version {version}, found no object"):
        store.put("k", Blob(b"new"), condition=Condition(version))
    store.put("k", Blob(b"other"))
    with pytest.raises(ConditionFailedError, match="nothing was written"):
        store.put("k", Blob(b"new"), condition=Condition(version))
    found = store.get("k")
    assert found is not None
    assert found.data == b"other"


def test_it_leaves_updates_to_the_engine_and_has_no_suffixes() -> None:
    assert not isinstance(MemoryStore(), SupportsUpdate)
    assert not isinstance(MemoryStore(), UsesSuffixes)


@pytest.fixture
def _restless() -> Iterator[None]:
    """Threads take turns after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_restless")
def test_no_update_of_many_threads_is_lost() -> None:
    store = MemoryStore()
    start = threading.Barrier(4)

    def increment() -> None:
        start.wait()
        for _ in range(100):
            update(store, "n", lambda blob: Blob(b"%d" % (1 + int(bytes(blob.data) if blob else b"0"))))

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(increment) for _ in range(4)]:
            done.result()
    found = store.get("n")
    assert found is not None
    assert found.data == b"400"


def test_one_of_many_creators_wins() -> None:
    store = MemoryStore()
    start = threading.Barrier(8)

    def create(number: int) -> bool:
        start.wait()
        try:
            store.put("k", Blob(b"%d" % number), condition=Condition(None))
        except ConditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(create, range(8)))
    found = store.get("k")
    assert found is not None
    assert won == [number == int(bytes(found.data)) for number in range(8)]


def test_a_listing_may_be_deleted_while_it_is_read() -> None:
    store = MemoryStore()
    for key in LEGAL_KEYS:
        store.put(key, Blob(b""))
    store.delete(store.list(""))
    assert list(store.list("")) == []


def test_pickling_copies() -> None:
    store = MemoryStore()
    store.put("k", Blob(b"1"))
    copy: MemoryStore = pickle.loads(pickle.dumps(store))
    assert copy.put("k", Blob(b"2")) == "2"
    assert store.get("k") == Blob(b"1", version="1")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # said where the test runner has threads
class TestFork:
    def test_a_child_goes_its_own_way(self) -> None:
        store = MemoryStore()
        store.put("k", Blob(b"parent"))
        in_child = in_forked_child(lambda: (store.get("k"), store.put("k", Blob(b"child")), store.get("k")))
        assert in_child == repr((Blob(b"parent", version="1"), "2", Blob(b"child", version="2")))
        assert store.get("k") == Blob(b"parent", version="1")

    def test_a_lock_that_another_thread_holds_is_free_in_the_child(self) -> None:
        store, held = MemoryStore(), threading.Event()

        def hold() -> None:
            with memory._lock:
                held.set()
                time.sleep(0.1)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        assert in_forked_child(lambda: store.put("k", Blob(b""))) == "'1'"
        thread.join()


def in_forked_child(function: Callable[[], object]) -> str:
    """Return the repr of what `function` returns in a forked child, which hangs for 20 s at most."""
    read, write = os.pipe()
    child = os.fork()
    if not child:  # no exception may get out of here, or two processes would run the tests
        try:
            signal.alarm(20)
            os.write(write, repr(function()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.usefixtures("_empty_namespace")
class TestShared:
    def test_views_see_each_other(self) -> None:
        layer, dataset, bucket = map(open_shared, ("b/ds/layer", "b/ds", "b"))
        layer.put("8_8_8/0-1_0-1_0-1", Blob(b"x"))
        assert list(bucket.list("")) == ["ds/layer/8_8_8/0-1_0-1_0-1"]
        assert dataset.get("layer/8_8_8/0-1_0-1_0-1") == layer.get("8_8_8/0-1_0-1_0-1")
        assert list(dataset.list("lay")) == ["layer/8_8_8/0-1_0-1_0-1"]
        bucket.delete(["ds/layer/8_8_8/0-1_0-1_0-1"])
        assert layer.stat("8_8_8/0-1_0-1_0-1") is None

    def test_folders_are_whole_names(self) -> None:
        open_shared("b/layer2").put("info", Blob(b"{}"))
        assert list(open_shared("b/layer").list("")) == []

    def test_a_private_store_shares_with_nobody(self) -> None:
        open_shared("b").put("info", Blob(b"{}"))
        assert list(MemoryStore().list("")) == []

    def test_clear(self) -> None:
        store = open_shared("b/ds")
        version = store.put("info", Blob(b"{}"))
        clear_shared()
        assert store.get("info") is None
        assert int(store.put("info", Blob(b"{}"))) > int(version)

    @pytest.mark.parametrize("folder", ["", "/", "b/", "b//ds", "b/../ds"])
    def test_a_folder_is_a_key(self, folder: str) -> None:
        with pytest.raises(StoreError, match="is no key"):
            open_shared(folder)

    @pytest.mark.parametrize(
        ("path", "folder"),
        [(CloudPath("mem", "b", "ds/layer"), "b/ds/layer"), (CloudPath("mem", "b", ""), "b")],
    )
    def test_the_plugin_opens_the_shared_folder(self, path: CloudPath, folder: str) -> None:
        (protocol,) = plugin.precomp_register_protocols()
        assert (protocol.scheme, protocol.options) == ("mem", None)
        store = protocol.open(path, None)
        assert isinstance(store, plugin.MemoryStore)
        store.put("info", Blob(b"{}"))
        assert open_shared(folder).get("info") == store.get("info")
