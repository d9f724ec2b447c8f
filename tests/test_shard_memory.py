"""Memory that sharded volumes take: bounded by the shards in the works, measured."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from shards import make_sharded, sharding

from precomp.volume.sharded import _Groups

MIB = 2**20
SHARD = 16 * MIB
SLACK = 14 * MIB  # of the interpreter, and of what is not the shards'

CHILD = """
import sys
import numpy as np
from precomp import CloudVolume
from precomp.engine.shards import store

def memory(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

path, parallel, what, most = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
store._MOST_MEMORY = most
vol = CloudVolume(path, parallel=parallel)
voxels = np.random.default_rng(0).integers(0, 255, vol.shape, np.uint8)  # which no page shares
start = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # forget the peak
if what == "all":
    vol[...] = voxels
elif what == "planes":
    vol[:64] = voxels[:64]
elif what == "most":
    vol[64:] = voxels[64:]
elif what == "copy":
    vol.transfer_to(path + "2")
print(memory("VmHWM") - start)
"""


def peak(path: Path, parallel: int, what: str, most: int = 2**40) -> int:
    """Bytes that something takes at most, in a process of its own; `most`: that shards in the works may."""
    command = [sys.executable, "-c", CHILD, str(path), str(parallel), what, str(most)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


pytestmark = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="only Linux tells")


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards of 64 chunks each."""
    path = tmp_path_factory.mktemp("shards") / "ds" / "a"
    size = (256, 256, 1024)
    make_sharded(path, sharding(3, 3, 2), size, chunk_size=(64, 64, 64), voxel_offset=(0, 0, 0))
    first = peak(path, 1, "all")
    assert first < SHARD + SLACK  # nothing was there to be read
    return path


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize(("what", "copies"), [("most", 3), ("planes", 2.3), ("copy", 3)])
def test_memory_is_that_of_the_shards_in_the_works(
    layer: Path, what: str, copies: float, parallel: int
) -> None:
    """The new chunks, the old file and the new one."""
    assert peak(layer, parallel, what) < parallel * copies * SHARD + SLACK


@pytest.mark.parametrize("what", ["most", "copy"])
def test_many_threads_have_no_more_shards_in_the_works_than_fit_into_memory(layer: Path, what: str) -> None:
    """As sixteen threads would have on S3; the others help with the chunks of a shard."""
    assert peak(layer, 4, what, 4 * SHARD) < 4 * SHARD + SLACK  # four of them take 10


def test_very_many_chunks_take_little_memory_each_before_it_is_their_shards_turn() -> None:
    vol = make_sharded("mem://bucket/many/chunks", sharding(3, 3, 20), (400, 400, 400), chunk_size=(4, 4, 4))
    io = vol._layer.scale(0)
    plan = io.grid.plan(io.grid.offset, io.grid.stop)
    assert len(plan) == 10**6
    tracemalloc.start()
    groups = _Groups(io.shards, plan)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 * 10**6  # a ChunkRef alone takes 600 bytes
    chunks = [ref.key for _, refs in groups.refs() for ref in refs]
    assert sorted(chunks) == sorted(ref.key for ref in plan.refs())
    for shard, refs in groups.refs(7, 9):
        assert {io.shards.reader.form.locator.locate(io.shards.cells.id_of(ref.key))[0] for ref in refs} == {
            shard
        }
