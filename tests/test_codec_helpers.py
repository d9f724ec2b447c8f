"""The helper processes of crackle and fpzip: shared by threads, new after a fork, gone at the end."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from precomp.interfaces import ChunkSpec
from precomp_plugins.codecs._fpzip.codec import Fpzip
from precomp_plugins.codecs._helper import pool as helpers

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


def test_a_forked_child_has_helpers_of_its_own() -> None:
    assert decodes()
    child = os.fork()
    if not child:
        os._exit(0 if not helpers._idle and decodes() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert decodes()


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
    with pytest.raises(ImportError, match="the helper process of fpzip does not start"):
        helpers.decode_outside("fpzip", STREAM, CHUNK.nbytes, len, shape=SPEC.shape)
