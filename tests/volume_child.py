"""The other process of the volume tests: `python volume_child.py COMMAND PATH [ARGUMENT ...]`."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from precomp import Bbox, CloudVolume
from precomp.errors import StoreError

_MANY = 20_000  # rather than for ever, should the one who ends it be killed


def run(command: str, *arguments: object) -> str:
    """Run a command of this file in a process of its own and return what it said."""
    done = subprocess.run(
        [sys.executable, __file__, command, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def say(word: object) -> None:
    print(word, flush=True)


def download(path: str, target: str) -> None:
    """Map a whole volume to a file for which there is no room."""
    vol = CloudVolume(path, fill_missing=True)
    try:
        vol.download_to_file(target, vol.bounds)
    except StoreError as error:
        say(error)


def write_again_and_again(path: str, number: int) -> None:
    vol = CloudVolume(path, parallel=2, fill_missing=True, non_aligned_writes=True)
    for _ in range(_MANY):
        for vol.compress in (None, "gzip"):
            vol[...] = number
            vol[1:-1] = number


def killed(path: str, times: str) -> None:
    """Kill writers at random moments and look at what they leave."""
    info = CloudVolume.create_new_info(
        1, "image", "uint16", "raw", (8, 8, 40), (0, 0, 0), (128, 64, 64), chunk_size=(64, 64, 32)
    )
    CloudVolume(path, info=info).commit_info()
    vol = CloudVolume(path)
    vol[...] = 0
    chance = random.Random(0)
    for number in range(1, int(times) + 1):
        (writer,) = in_processes(1, lambda _, n=number: write_again_and_again(path, n))  # type: ignore[misc]
        time.sleep(chance.uniform(0.005, 0.06))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        keys = vol.exists(vol.bounds)
        names = [name for name in os.listdir(Path(path) / "8_8_40") if not name.startswith(".")]
        assert len(keys) == 4
        assert all(keys.values())
        assert len({name.removesuffix(".gz") for name in names}) == 4
        for corner in ((0, 0, 0), (64, 0, 0), (0, 0, 32), (64, 0, 32)):
            chunk = vol[tuple(slice(a, a + n) for a, n in zip(corner, (64, 64, 32), strict=True))]
            values = np.unique(chunk).tolist()
            assert values in ([number - 1], [number]), f"a chunk of {values} after {number}"
        # Nobody waits for the lock of the dead, and all is of one value again.
        survivor = CloudVolume(path, fill_missing=True, non_aligned_writes=True)
        survivor[1:-1] = number
        survivor[...] = number
        say("whole")


def killed_slabs(path: str, times: str) -> None:
    """Kill processes that write slab by slab at random moments, and look at what they leave."""
    info = CloudVolume.create_new_info(
        1, "image", "uint16", "raw", (8, 8, 40), (0, 0, 0), (96, 64, 400), chunk_size=(64, 64, 20)
    )
    CloudVolume(path, info=info).commit_info()
    vol, chance = CloudVolume(path), random.Random(1)

    def write(number: int) -> None:
        while True:
            with CloudVolume(path, parallel=2).slab_writer() as writer:
                for z in range(400):
                    writer.write(z, 1000 * number + z)

    for number in range(1, int(times) + 1):
        (writer,) = in_processes(1, lambda _, n=number: write(n))  # type: ignore[misc]
        while number == 1 and not any(vol.exists(vol.bounds).values()):
            time.sleep(0.01)  # a busy machine may take longer than that to begin
        time.sleep(chance.uniform(0.02, 0.12))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        for key, there in vol.exists(vol.bounds).items():
            if there:
                chunk = vol[Bbox.from_filename(key)]
                first = int(chunk[0, 0, 0, 0])
                expected = first + np.arange(20, dtype=np.uint16)
                assert (chunk[..., 0] == expected).all(), f"{key} after {number}"
                assert first // 1000 <= number
        say("whole")


def in_processes(count: int, work: Callable[[int], None]) -> list[int]:
    """Call `work(number)` in so many processes and return their ids."""
    children = []
    for number in range(count):
        child = os.fork()
        if not child:
            status = 1
            try:
                work(number)
                status = 0
            except BaseException:  # noqa: BLE001  the end of this process
                traceback.print_exc()
            os._exit(status)
        children.append(child)
    return children


def wait_for(children: list[int]) -> None:
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


def unaligned(path: str, processes: str, writes: str) -> None:
    """Write single voxels of one chunk, each in turn by another process: voxel x becomes x + 1."""

    def work(number: int) -> None:
        vol = CloudVolume(path, non_aligned_writes=True, fill_missing=True)
        for x in range(number, int(writes), int(processes)):
            vol[x, 0, 0] = x + 1

    wait_for(in_processes(int(processes), work))


def rewrite(path: str, values: str) -> None:
    """Rewrite a volume, stored in every way, while it is read, until so many values were met."""
    stop = multiprocessing.get_context("fork").Event()

    def work(number: int) -> None:
        vol = CloudVolume(path, parallel=1)
        for turn in range(_MANY):
            vol.compress = (None, "gzip", "zstd")[turn % 3]
            vol[...] = (2 * turn + number) % 60_000
            if stop.is_set():
                return

    writers = in_processes(2, work)
    met: set[int] = set()
    known = CloudVolume(path)
    try:
        while len(met) < int(values):
            for vol in (known, CloudVolume(path)):
                for vol.parallel in (1, 2):
                    for corner in (0, 64):  # of one chunk each
                        for part in (vol[corner : corner + 64], vol[corner + 3, :, 5:7]):
                            found = np.unique(part)
                            assert len(found) == 1, f"a chunk of {found}"
                            met.update(found)
    finally:
        stop.set()
    wait_for(writers)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
