"""The other processes of the disk cache's tests: `python disk_child.py COMMAND ARGUMENT ...`."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from precomp import CloudVolume
from precomp.engine.disk.entries import HIDDEN
from precomp.engine.disk.ledger import Ledger

CHUNK = 8**3 * 2
LIMIT = 3 * CHUNK  # of eight chunks


def start(command: str, *arguments: object) -> "subprocess.Popen[str]":
    """Run a command of this file in a process of its own."""
    return subprocess.Popen(
        [sys.executable, __file__, command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: "subprocess.Popen[str]") -> str:
    out, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (0, "")
    return out


def opened(path: str, folder: str) -> CloudVolume:
    return CloudVolume(
        path, cache=folder, cache_bytes=LIMIT, fill_missing=True, non_aligned_writes=True, parallel=2
    )


def write(path: str, folder: str, last: str) -> None:
    """Write 1, 2, ... into every chunk, whole or in part."""
    vol = opened(path, folder)
    for number in range(1, int(last) + 1):
        vol[...] = number
        vol[1:15, 1:15, 1:15] = number


def read(path: str, folder: str, last: str) -> None:
    """Read until the last number is everywhere; no voxel may ever become an older one."""
    vol = opened(path, folder)
    chance, latest = random.Random(os.getpid()), np.zeros(8, int)
    while latest.min() < int(last):
        number = chance.randrange(8)
        x, y, z = (8 * (number >> axis & 1) for axis in range(3))
        value = int(vol[x + 3, y + 3, z + 3].item())
        assert value >= latest[number], f"chunk {number}: {value} after {latest[number]}"
        latest[number] = value


def work(path: str, folder: str, seed: str) -> None:
    """Read and write for ever; every write of a chunk is one number."""
    vol, chance = opened(path, folder), random.Random(int(seed))
    print("ready", flush=True)
    while True:
        x, y, z = (8 * chance.randrange(2) for _ in range(3))
        if chance.random() < 0.5:
            vol[x : x + 8, y : y + 8, z : z + 8] = chance.randrange(1, 60_000)
        else:
            vol[...]


def hold(folder: str) -> None:
    """Take the lock, fork, and be killed; the child lives on."""
    with Ledger(f"{folder}/{HIDDEN}/ledger").locked(5):
        if os.fork() == 0:
            time.sleep(1)  # of work in which the child does not know that anything was locked
            print("alive", flush=True)
            os._exit(0)
        Path(folder, "held").write_text("")
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    {"write": write, "read": read, "work": work, "hold": hold}[sys.argv[1]](*sys.argv[2:])
