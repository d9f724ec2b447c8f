"""The helper processes of some encodings: shared by threads, new after a fork, gone at the end."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from volumes import make

from precomp import CloudVolume
from precomp.errors import MissingDependencyError
from precomp.interfaces import ChunkSpec
from precomp_plugins.codecs._fpzip.codec import Fpzip
from precomp_plugins.codecs._helper import pool as helpers
from precomp_plugins.codecs._helper.room import Room, open_room

CHUNK = np.asfortranarray(np.arange(60, dtype=np.float32).reshape(5, 4, 3, 1) / 7)
SPEC = ChunkSpec((5, 4, 3, 1), CHUNK.dtype)
STREAM = Fpzip().encode(CHUNK)


def decodes() -> bool:
    return bool(np.array_equal(Fpzip().decode(STREAM, SPEC), CHUNK))


def test_threads_decode_at_once_and_helpers_are_kept() -> None:
    helpers._close_all()  # those of other tests
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: decodes(), range(40)))
    before = [helper.process.pid for helper in helpers._idle["fpzip"]]
    assert 1 <= len(before) <= 4
    assert decodes()
    assert [helper.process.pid for helper in helpers._idle["fpzip"]] == before


def test_a_helper_that_was_killed_is_replaced() -> None:
    assert decodes()
    for helper in helpers._idle["fpzip"]:
        os.killpg(helper.process.pid, signal.SIGKILL)
    assert all(decodes() for _ in range(5))


def test_a_worker_that_was_killed_leaves_no_answer_behind() -> None:
    """Of a helper's two processes the one that decodes; the out-of-memory killer takes any."""
    others = [CHUNK * np.float32(number) for number in range(1, 6)]
    streams = [Fpzip().encode(other) for other in others]
    helpers._close_all()  # those that other tests killed
    for _ in range(3):
        assert decodes()
        (helper,) = helpers._idle["fpzip"]
        pid = helper.process.pid
        (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(int(worker), signal.SIGKILL)
        time.sleep(0.1)
        for other, stream in zip(others, streams, strict=True):
            assert np.array_equal(Fpzip().decode(stream, SPEC), other)


def test_a_forked_child_has_helpers_of_its_own() -> None:
    assert decodes()
    child = os.fork()
    if not child:
        os._exit(0 if not helpers._idle and decodes() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert decodes()


def test_nobody_is_given_a_helper_that_is_closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemon threads decode until the very end."""
    assert decodes()
    close, closed = helpers._Helper.close, []

    def watched(helper: helpers._Helper) -> None:
        closed.append(helper)
        assert not any(helper in kept for kept in helpers._idle.values())
        close(helper)

    monkeypatch.setattr(helpers._Helper, "close", watched)
    helpers._close_all()
    assert closed


@pytest.mark.parametrize("end", ["", "import os; os.kill(os.getpid(), 9)"])
def test_helpers_end_with_the_process(end: str) -> None:
    """However that ends."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_codec_helpers as t; assert t.decodes(); "
        f"print(*(h.process.pid for h in t.helpers._idle['fpzip']), flush=True); {end}"
    )
    command = [sys.executable, "-W", "error", "-c", code, os.path.dirname(__file__)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == (-9 if end else 0), child.stderr
    assert not child.stderr
    (helper,) = map(int, child.stdout.split())
    for _ in range(100):
        try:
            os.killpg(helper, 0)
        except ProcessLookupError:
            break
        subprocess.run(["sleep", "0.1"], check=True)
    else:
        raise AssertionError("the helper is still there")


def test_a_helper_that_does_not_start_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "_idle", {})
    monkeypatch.setattr(sys, "path", [])  # nothing is found there
    with pytest.raises(ImportError, match="the helper process of fpzip does not start: No module named"):
        helpers.decode_outside("fpzip", STREAM, CHUNK.nbytes, len, shape=SPEC.shape)


@pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")
def test_a_system_that_gives_no_process_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what is written then to blame."""
    for encoding, dtype in (("fpzip", "float32"), ("compresso", "uint32")):
        vol = make(tmp_path / "ds" / encoding, (16, 16, 16), dtype=dtype, encoding=encoding)
        vol[...] = 1

    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(helpers, "_idle", {})
    monkeypatch.setattr(helpers.subprocess, "Popen", refuse)
    for encoding in ("fpzip", "compresso"):
        with pytest.raises(MissingDependencyError, match=r"8_8_40/.*does not start: .*Too many open files"):
            CloudVolume(tmp_path / "ds" / encoding)[...]
    with pytest.raises(MissingDependencyError, match=r"8_8_40/.*cannot be encoded: .*Too many open files"):
        CloudVolume(tmp_path / "ds" / "compresso")[...] = 2


def test_python_within_another_program_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers, "_idle", {})
    monkeypatch.setattr(sys, "executable", None)
    with pytest.raises(ImportError, match=r"does not start: sys.executable"):
        decodes()


def test_a_chunk_for_which_memory_does_not_do_is_no_damage() -> None:
    room = Room(open_room())
    for size in (2**50, 2**62, 2**70):
        with pytest.raises(MemoryError, match="to share with a helper"):
            room.take(size)
    with room.take(10) as few:
        assert len(few) == 10
    room.close()


def test_a_child_forked_from_a_thread_at_work_lets_go_of_its_helper() -> None:
    """So that the helper ends with its own process, however long the child lives."""
    decoding, go_on = threading.Event(), threading.Event()

    def give(voxels: memoryview) -> None:
        decoding.set()
        go_on.wait(30)
        raise InterruptedError

    def work() -> None:
        with pytest.raises(InterruptedError):
            helpers.encode_outside("to compresso", 8, give, shape=[2, 2, 2], dtype="|u1")

    thread = threading.Thread(target=work)
    thread.start()
    assert decoding.wait(30)
    (busy,) = set(helpers._living) - {helper for kept in helpers._idle.values() for helper in kept}
    child = os.fork()
    if not child:
        os._exit(0 if busy.process.stdin.closed and not helpers._living else 1)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_large_chunk_leaves_no_memory_behind() -> None:
    """Neither one that is decoded nor one that is refused."""
    shape = (1024, 1024, 20, 1)
    large = np.zeros(shape, np.float32, order="F")
    stream, spec = Fpzip().encode(large), ChunkSpec(shape, large.dtype)
    helpers._close_all()
    assert np.array_equal(Fpzip().decode(stream, spec), large)
    (helper,) = helpers._idle["fpzip"]
    assert os.fstat(helper._room.file).st_size == 0
    with pytest.raises(ValueError):
        Fpzip().decode(stream + b"more", spec)
    assert os.fstat(helper._room.file).st_size == 0
    assert decodes()
