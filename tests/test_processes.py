"""One volume in several processes: forked, spawned, threads and processes mixed."""

import multiprocessing
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from volumes import make, noise

from precomp import CloudVolume


def total(vol: CloudVolume) -> int:
    return int(np.asarray(vol[...], np.int64).sum())


def put_and_report(vol: CloudVolume, queue: Any) -> None:
    vol[-5:11, 3:19, 100:116] = 9
    queue.put(total(vol))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_volume_works_in_another_process(tmp_path: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{sys.platform} has no {method}")
    vol = make(tmp_path / "ds" / "image", parallel=4)
    voxels = noise(vol.shape)
    vol[...] = voxels
    assert total(vol) == voxels.sum(dtype=np.int64)  # the volume has been used, with threads, before
    voxels[:16, :16, :16] = 9
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [total(vol) for _ in iter(stop.is_set, True)])
    busy.start()  # a fork while another thread reads
    try:
        child = context.Process(target=put_and_report, args=(vol, queue))
        child.start()
        assert queue.get(timeout=60) == voxels.sum(dtype=np.int64)
        child.join(60)
        assert child.exitcode == 0
    finally:
        stop.set()
        busy.join()
    np.testing.assert_array_equal(vol[...], voxels)
