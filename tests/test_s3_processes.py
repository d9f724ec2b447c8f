"""`s3://` in several processes: after a fork, by pickle, and writing to the same chunks; and memory."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3_places import alone, layer, new_path, put_secret, store_at
from servers.s3 import s3_server
from volumes import make, noise

from precomp import CloudVolume
from precomp.errors import CredentialsError

fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
quiet = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    alone(tmp_path / "home", monkeypatch)
    put_secret(tmp_path / "home" / ".neuroglancer" / "secrets", s3_server().secret)
    return tmp_path / "home"


def in_children(count: int, work: Any, *arguments: Any) -> list[Any]:
    """Call `work(number, *arguments)` in forked children at once, and return what they return."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [
        context.Process(target=lambda number=number: queue.put(work(number, *arguments)))
        for number in range(count)
    ]
    for child in children:
        child.start()
    found = [queue.get(timeout=100) for _ in children]
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    return found


@fork
@quiet
def test_a_volume_used_before_a_fork_works_in_the_child() -> None:
    vol = make(new_path(), options=layer())
    voxels = noise(vol.shape)
    vol[...] = voxels

    def use(number: int) -> int:
        vol[11:27, 3:19, 100:116] = 9
        return int(np.asarray(vol[...], np.int64).sum())

    expected = voxels.copy()
    expected[16:32, :16, :16] = 9
    assert in_children(1, use) == [expected.sum(dtype=np.int64)]
    np.testing.assert_array_equal(vol[...], expected)


@fork
@quiet
def test_eight_processes_lose_nothing() -> None:
    """Each writes a slice of the same chunks, unaligned, for several times."""
    vol = make(new_path(), (16, 16, 16), options=layer(), non_aligned_writes=True, fill_missing=True)
    first = vol.voxel_offset.x

    def write(number: int) -> int:
        for value in (1, 2, 100 + number):
            vol[first + 2 * number : first + 2 * number + 2, :, :] = value
        return number

    assert sorted(in_children(8, write)) == list(range(8))
    expected = np.repeat(np.arange(100, 108, dtype=np.uint8), 2)
    np.testing.assert_array_equal(vol[:, 3, 100, 0].ravel(), expected)
    np.testing.assert_array_equal(vol[:, 18, 115, 0].ravel(), expected)


def test_a_volume_goes_to_another_process() -> None:
    vol = make(new_path(), (16, 16, 16), options=layer())
    vol[...] = 7
    script = """
import pickle, sys
vol = pickle.load(sys.stdin.buffer)
assert (vol[...] == 7).all()
vol[...] = 8
"""
    data = pickle.dumps(vol)
    assert s3_server().secret["AWS_SECRET_ACCESS_KEY"].encode() not in data
    subprocess.run([sys.executable, "-c", script], input=data, check=True, timeout=60)
    assert (np.asarray(vol[...]) == 8).all()


def test_secrets_that_were_given_do_not_travel() -> None:
    vol = make(new_path(), (16, 16, 16), options=layer(), secrets=s3_server().secret)
    data = pickle.dumps(vol)
    for value in s3_server().secret.values():
        assert value.encode() not in data
    with pytest.raises(CredentialsError, match="does not travel"):
        pickle.loads(data)[...]
    with pytest.raises(CredentialsError, match="secrets= does not travel"):
        pickle.dumps(store_at())


def test_memory_stays_with_the_array_and_the_chunks_in_hand() -> None:
    """Read and written: 64 chunks of 1 MiB by 4 threads."""
    script = """
import json, sys
import numpy as np
from precomp import CloudVolume

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))

path, options = sys.argv[1], json.loads(sys.argv[2])
info = CloudVolume.create_new_info(
    1, "image", "uint8", "raw", (8, 8, 40), (0, 0, 0), (512, 512, 256), chunk_size=(128, 128, 64)
)
vol = CloudVolume(path, info=info, options=options, compress=sys.argv[3] == "gzip" and "gzip", progress=False)
vol.commit_info()
vol[:128, :128, :64] = 7
vol[:128, :128, :64]  # all is imported, and the threads have been there
voxels = np.random.default_rng(0).integers(0, 256, vol.shape, dtype=np.uint8)
voxels = np.asfortranarray(voxels)
before = peak()
vol[...] = voxels
written = peak()
out = vol[...]
print(written - before, peak() - written)
assert (out == voxels).all()
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    for compress in ("gzip", "none"):
        command = [sys.executable, "-c", script, new_path(), json.dumps(layer()), compress]
        run = subprocess.run(command, check=True, timeout=100, capture_output=True, text=True, env=os.environ)
        written, read = map(int, run.stdout.split())
        chunk, array = 2**20, 2**26
        in_hand = 4 * chunk * 4  # stored, as the SDK has it, decompressed, and what the allocator keeps
        assert written < in_hand + 2**24
        assert read < array + in_hand + 2**24


def test_a_volume_is_shared_by_processes_that_know_nothing_of_each_other() -> None:
    vol = make(new_path(), (16, 16, 16), options=layer())
    vol[...] = 3
    assert (np.asarray(CloudVolume(vol.cloudpath, options=layer())[...]) == 3).all()
