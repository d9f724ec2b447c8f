"""One contestant in a process of its own: `python -m precomp.bench.child MODULE`.

Requests and replies are lines of JSON on stdin and stdout. The clock runs around the contestant's own work
only; what was read is compared afterwards.
"""

import gc
import importlib
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from precomp.bench import memory
from precomp.bench.check import compare, load_truth, map_truth
from precomp.bench.layer import Box, Layer, place_of
from precomp.bench.peers import Handle

__all__ = ["main"]

Reply = dict[str, Any]


class _Server:
    """Does what it is asked with one contestant; each public method is a request.

    A reply holds `seconds` and the seconds of `cpu` (of a single work, the median of a batch), or
    `multiple` (of the array), or `wrong`: how voxels differ.
    """

    def __init__(self, open_layer: Callable[[Path, Layer], Handle]) -> None:
        self._open_layer = open_layer

    def open(self, folder: str, layer: Mapping[str, Any]) -> Reply:
        """Open the layer that the requests from now on are about."""
        self._layer = Layer(**layer)
        self._handle = self._open_layer(Path(folder), self._layer)
        return {}

    def read(self, boxes: Sequence[Any], truth: str) -> Reply:
        """Read every box."""
        expected, seconds, cpu = map_truth(Path(truth), self._layer), [], []
        gc.collect()
        for low, high in boxes:
            box = Box(tuple(low), tuple(high))
            place = place_of(box)
            used, start = time.process_time(), time.perf_counter()
            found = self._handle.read(place)
            seconds.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
            if wrong := compare(found, box, expected, self._layer):
                return {"wrong": wrong}
            del found  # the next one gets pages of its own, as the first one did
        return {"seconds": statistics.median(seconds), "cpu": statistics.median(cpu)}

    def voxels(self, places: Sequence[Any], truth: str) -> Reply:
        """Read single voxels."""
        expected, seconds = map_truth(Path(truth), self._layer), []
        gc.collect()
        for x, y, z in places:
            start = time.perf_counter()
            found = self._handle.voxel((x, y, z))
            seconds.append(time.perf_counter() - start)
            if found.size != 1 or found.ravel()[0] != expected[x, y, z, 0]:
                return {"wrong": f"voxel {(x, y, z)}: expected {expected[x, y, z, 0]}, found {found}"}
        return {"seconds": statistics.median(seconds)}

    def write(self, truth: str) -> Reply:
        """Write the whole volume."""
        voxels = load_truth(Path(truth), self._layer)
        gc.collect()
        used, start = time.process_time(), time.perf_counter()
        self._handle.write(voxels)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "cpu": time.process_time() - used}

    def check(self, truth: str) -> Reply:
        """Read what another one wrote."""
        box = self._layer.whole
        found = self._handle.read(place_of(box))
        return {"wrong": compare(found, box, map_truth(Path(truth), self._layer), self._layer, lossy=True)}

    def opens(self, layers: Sequence[Any]) -> Reply:
        """Open layers, pairs of folder and shape."""
        seconds = []
        gc.collect()
        for folder, shape in layers:
            path = Path(folder)
            start = time.perf_counter()
            handle = self._open_layer(path, self._layer)
            seconds.append(time.perf_counter() - start)
            if handle.shape != tuple(shape):
                return {"wrong": f"expected a volume of {tuple(shape)}, found {handle.shape}"}
        return {"seconds": statistics.median(seconds)}

    def memory_read(self, truth: str) -> Reply:
        """Read the whole volume; the array that this makes is part of the growth."""
        box, before = self._layer.whole, self._start_counting()
        found = self._handle.read(place_of(box))
        grown = memory.peak() - before  # before the truth is looked at, which counts too
        wrong = compare(found, box, map_truth(Path(truth), self._layer), self._layer)
        return {"multiple": grown / self._layer.nbytes, "wrong": wrong}

    def memory_write(self, truth: str) -> Reply:
        """Write the whole volume; the array that is written is part of the growth."""
        before = self._start_counting()
        self._handle.write(load_truth(Path(truth), self._layer))
        return {"multiple": (memory.peak() - before) / self._layer.nbytes}

    def _start_counting(self) -> int:
        gc.collect()
        memory.reset_peak()
        return memory.resident()


def _private_stdout() -> TextIO:
    """Keep stdout for the replies: what a contestant prints goes to stderr."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def main(module: str) -> None:
    """Import the contestant, then answer requests until stdin ends."""
    replies = _private_stdout()

    def reply(content: Reply) -> None:
        replies.write(json.dumps(content) + "\n")
        replies.flush()

    server = _Server(importlib.import_module(module).open_layer)
    reply({})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except Exception as error:  # noqa: BLE001  it is the driver that stops, and says in which row
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        reply(answer)


if __name__ == "__main__":
    main(sys.argv[1])
