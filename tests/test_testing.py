"""`precomp.testing` itself: FaultyStore, strategies, and what importing it needs and brings."""

import json
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from numpy.typing import NDArray

import precomp.testing
from precomp import Bbox, CloudVolume
from precomp.errors import ArgumentError, CredentialsError, EmptyVolumeError, StoreError
from precomp.hookspecs import CodecPlugin, ProtocolPlugin, hookimpl
from precomp.info import CREATABLE_DATA_TYPES
from precomp.interfaces import Blob, ByteRange, GetsRanges, Store, SupportsUpdate, UsesSuffixes
from precomp.memory import check_key
from precomp.plugins import Registry, load
from precomp.testing import Fault, FaultyStore, MemoryStore, StoreTests, VolumeStateMachine, strategies
from precomp_plugins._file.store import FileStore

KEY = "8_8_40/0-64_0-64_0-64"


def filled(*faults: Fault, **options: Any) -> FaultyStore:
    """A store with an object of ten bytes, put before any fault."""
    inner = MemoryStore()
    inner.put(KEY, Blob(b"0123456789"))
    return FaultyStore(inner, faults, **options)


def data_of(blob: Blob | None) -> bytes | None:
    return None if blob is None else bytes(blob.data)


class TestWithoutFaults(StoreTests):
    """It is a right store around a right one, and has what that has."""

    max_examples = 5

    def make_store(self) -> Store:
        return FaultyStore(FileStore(self.new_folder()))


def test_it_can_what_the_other_store_can(tmp_path: Path) -> None:
    for store in (FileStore(tmp_path), MemoryStore()):
        faulty = FaultyStore(store)
        for protocol in (SupportsUpdate, GetsRanges, UsesSuffixes):
            assert isinstance(faulty, protocol) is isinstance(store, protocol)


def test_before_does_nothing_and_after_does_it() -> None:
    store = filled(Fault("before", "put"), Fault("after", "put"), Fault("after", "delete"))
    for expected in (None, b"new"):
        with pytest.raises(StoreError, match="injected"):
            store.put("a", Blob(b"new"))
        assert data_of(store.get("a")) == expected
    with pytest.raises(StoreError):
        store.delete(["a", KEY])
    assert (store.get("a"), data_of(store.get(KEY))) == (None, b"0123456789")
    store.put("a", Blob(b"well"))
    assert [(method, key, fault.kind) for method, key, fault in store.struck] == [
        ("put", "a", "before"),
        ("put", "a", "after"),
        ("delete", "a", "after"),
    ]
    assert store.calls == {"put": 3, "get": 4, "delete": 1}


def test_truncated_and_absent_answers() -> None:
    store = filled(Fault("truncate"), Fault("truncate", "get_ranges"), Fault("absent", times=4))
    assert data_of(store.get(KEY)) == b"01234"
    assert isinstance(store, GetsRanges)
    parts = store.get_ranges(KEY, [ByteRange(0, 4), ByteRange(4, 10)])
    assert [data_of(part) for part in parts or ()] == [b"01", b"456"]
    assert store.get(KEY) is None
    assert store.get_ranges(KEY, [ByteRange(0, 4)]) is None
    assert store.stat(KEY) is None
    assert list(store.list("")) == []
    assert list(store.list("")) == [KEY]
    assert store.get(KEY) == store.get(KEY, None)


def test_a_script_picks_its_calls() -> None:
    refused = CredentialsError("refused")
    store = filled(Fault("before", "get", "mesh/*", skip=1, times=2, error=refused))
    outcomes = []
    for key in ("mesh/1", KEY, "mesh/2", "mesh/1", "mesh/1"):
        try:
            store.get(key)
            outcomes.append("well")
        except CredentialsError:
            outcomes.append("refused")
    assert outcomes == ["well", "well", "refused", "refused", "well"]


def test_an_update_fails_as_a_put_does(tmp_path: Path) -> None:
    store = FaultyStore(FileStore(tmp_path), [Fault("before", "update"), Fault("after", "update")])
    assert isinstance(store, SupportsUpdate)
    for expected in (None, b"new"):
        with pytest.raises(StoreError):
            store.update("a", lambda blob: Blob(b"new"))
        assert data_of(store.get("a")) == expected


def test_a_delay_lets_others_go_first() -> None:
    store = filled(Fault("delay", "get", seconds=0.2))
    slow = threading.Thread(target=store.get, args=(KEY,))
    slow.start()
    while not store.struck:
        time.sleep(0.001)
    assert data_of(store.get(KEY)) == b"0123456789"
    assert slow.is_alive()
    slow.join()


def test_a_seed_strikes_the_same_calls_in_any_order() -> None:
    keys = [f"{number}" for number in range(100)]

    def struck(order: list[str], seed: int) -> set[tuple[str, str, str]]:
        store = filled(seed=seed, rate=0.3, kinds=("before", "after", "absent"))
        for _ in range(3):
            for key in order:
                try:
                    store.get(key)
                    store.put(key, Blob(b""))
                except StoreError:
                    pass
        assert store.calls["get"] == 300
        return {(method, key, fault.kind) for method, key, fault in store.struck if method == "get"}

    first = struck(keys, 1)
    assert first == struck(keys[::-1], 1)
    assert first != struck(keys, 2)
    assert {kind for _, _, kind in first} == {"before", "after", "absent"}
    assert 50 < len(first) < 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explode",), "kind: expected one of before, after, truncate, absent, delay, got 'explode'"),
        (("truncate", "put"), "a fault 'truncate' strikes get, get_ranges, got 'put'"),
        (("before", "open"), "got 'open'"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        Fault(*arguments)


def test_a_volume_meets_it() -> None:
    """Through a registry of plugins at hand, as the page "Writing a protocol" shows."""
    store = FaultyStore(MemoryStore(), [Fault("absent", "get", "8_8_40/*", skip=1)])

    class Plugin:
        @hookimpl
        def precomp_register_protocols(self) -> list[ProtocolPlugin]:
            return [ProtocolPlugin("faulty", lambda path, options: store)]

        @hookimpl
        def precomp_register_codecs(self) -> list[CodecPlugin]:
            return [load().codec("raw")]

    info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    vol = CloudVolume("faulty://b/d/l", info=info, registry=Registry.of([Plugin()]))
    vol.commit_info()
    vol[:, :, :] = 7
    assert vol[:, :, :].min() == 7
    with pytest.raises(EmptyVolumeError, match=KEY):
        vol[:, :, :]
    assert vol[:, :, :].min() == 7


def test_the_state_machine_draws_every_dtype() -> None:
    seen = set()

    class Life(VolumeStateMachine):
        dtypes = CREATABLE_DATA_TYPES

        def cloudpath(self) -> str:
            return f"mem://life/{uuid.uuid4()}/layer"

        def teardown(self) -> None:
            seen.add(self.vol.data_type)

    once = settings(max_examples=200, stateful_step_count=1, derandomize=True, deadline=None, database=None)
    run_state_machine_as_test(Life, settings=once)
    assert seen == set(CREATABLE_DATA_TYPES)


# --- strategies -------------------------------------------------------------------------------------


ONLY_FIND = settings(phases=[Phase.generate], max_examples=500, database=None)


@given(strategies.keys())
def test_keys_are_legal(key: str) -> None:
    check_key(key)
    key.encode()


@given(strategies.chunks(("uint16", "float32"), channels=(2, 3), max_side=5))
def test_chunks_are_chunks(chunk: NDArray[Any]) -> None:
    assert chunk.ndim == 4
    assert chunk.shape[3] in (2, 3)
    assert all(1 <= length <= 5 for length in chunk.shape[:3])
    assert chunk.dtype in (np.uint16, np.float32)


@pytest.mark.parametrize("order", [(True, False), (False, True), (False, False)])
def test_chunks_come_in_every_memory_order(order: tuple[bool, bool]) -> None:
    def fits(chunk: NDArray[Any]) -> bool:
        return (chunk.flags.c_contiguous, chunk.flags.f_contiguous) == order

    assert fits(find(strategies.chunks(max_side=3), fits, settings=ONLY_FIND))


@pytest.mark.parametrize("dtype", CREATABLE_DATA_TYPES)
def test_chunks_come_in_every_dtype(dtype: str) -> None:
    assert find(strategies.chunks(max_side=2), lambda chunk: chunk.dtype == dtype, settings=ONLY_FIND).size


@given(st.data(), strategies.boxes())
def test_boxes_hold_voxels_and_lie_within(data: st.DataObject, outer: Bbox) -> None:
    inner = data.draw(strategies.boxes(outer))
    assert (inner.size3() >= 1).all()
    assert outer.contains_bbox(inner)
    assert Bbox((0, 0, 0), (4, 1, 7)).contains_bbox(data.draw(strategies.boxes((4, 1, 7))))


# --- the package ------------------------------------------------------------------------------------


def test_it_lists_its_names() -> None:
    assert {"StoreTests", "CodecTests", "CompressorTests", "PluginTests", "FaultyStore", "strategies"} <= set(
        precomp.testing.__all__
    )
    assert not [name for name in precomp.testing.__all__ if name.startswith("Test")], (
        "pytest would collect it"
    )


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_without_its_packages_it_says_what_to_install(missing: str) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
try:
    import precomp.testing
except ImportError as error:
    print(type(error).__name__, error, type(error.__cause__).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingDependencyError precomp.testing needs pytest and hypothesis")
    assert f"{missing}" in done.stdout
    assert "pip install 'precomp[testing]' ModuleNotFoundError" in done.stdout


def test_it_imports_no_plugin() -> None:
    code = "import json, sys, precomp.testing; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in json.loads(done.stdout) if name.startswith("precomp_plugins")]
