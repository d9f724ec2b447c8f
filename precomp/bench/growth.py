"""How the cost of precomp's own work grows with chunks, threads and plugins."""

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.bench.check import BenchError, compare
from precomp.bench.data import Blocks
from precomp.bench.layer import Layer, empty
from precomp.bench.results import Growth
from precomp.bench.rows import Sizes
from precomp.grid import ChunkGrid, Plan
from precomp.volume import CloudVolume

__all__ = ["grown"]

_CHUNK = (8, 8, 8)  # so small that what counts is not their voxels
_THREADS = (1, 2, 4)
_PLUGINS = (0, 30)
_ROUNDS = 3

_LOAD = """
import time
import precomp.plugins
start = time.perf_counter()
registry = precomp.plugins.load()
print(sum(plugin.entry.startswith("bench") for plugin in registry.plugins), time.perf_counter() - start)
"""

_PLUGIN = """
from precomp.hookspecs import CompressorPlugin, hookimpl

@hookimpl
def precomp_register_compressors():
    return [CompressorPlugin(__name__, ("." + __name__,), lambda level=None: None)]
"""


def grown(sizes: Sizes, blocks: Blocks, folder: Path) -> Iterator[Growth]:
    """Measure all of it in this process, with files in `folder`, which is left empty."""
    yield from _chunks(sizes, blocks, folder)
    yield from _planning(sizes)
    yield from _threads(sizes, blocks, folder)
    yield from _plugins(folder)


def _median(work: Callable[[], float]) -> float:
    return statistics.median(work() for _ in range(_ROUNDS))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _walk(plan: Plan) -> float:
    start = time.perf_counter()
    for _ in plan.refs():
        pass
    return time.perf_counter() - start


@attrs.frozen
class _Volume:
    """A volume to be written and read as a whole, again and again."""

    layer: Layer
    folder: Path
    voxels: NDArray[Any]

    @classmethod
    def of(cls, layer: Layer, folder: Path, blocks: Blocks) -> "_Volume":
        layer.commit(folder)
        return cls(layer, folder, blocks.volume(layer.kind, layer.shape, np.random.default_rng(0)))

    def write(self, parallel: int | None = None) -> float:
        """Return the seconds that it takes to write all voxels into an emptied folder."""
        empty(self.layer.chunk_folder(self.folder))
        volume = CloudVolume(f"file://{self.folder}", compress=self.layer.compress, parallel=parallel)
        start = time.perf_counter()
        volume[...] = self.voxels
        return time.perf_counter() - start

    def read(self, parallel: int | None = None) -> float:
        """Return the seconds that it takes to read them. Raises BenchError where they are wrong."""
        volume = CloudVolume(f"file://{self.folder}", parallel=parallel)
        start = time.perf_counter()
        found = volume[...]
        seconds = time.perf_counter() - start
        if wrong := compare(found, self.layer.whole, self.voxels, self.layer):
            raise BenchError(f"growth: precomp: {wrong}")
        return seconds


def _chunks(sizes: Sizes, blocks: Blocks, folder: Path) -> Iterator[Growth]:
    for counts in sizes.growth:
        x, y, z = (n * length for n, length in zip(counts, _CHUNK, strict=True))
        volume, number = _Volume.of(Layer("em", (x, y, z), _CHUNK), folder, blocks), math.prod(counts)
        for what, work in (("write, per chunk", volume.write), ("read, per chunk", volume.read)):
            yield Growth(what, number, "chunks of 8x8x8", _median(work) / number * 1e6, "us")
        empty(folder)


def _planning(sizes: Sizes) -> Iterator[Growth]:
    for counts in sizes.planned:
        x, y, z = (64 * n for n in counts)
        grid, number = ChunkGrid("8_8_40", (0, 0, 0), (x, y, z), (64, 64, 64)), math.prod(counts)
        planned = _median(partial(_seconds, partial(grid.plan, (0, 0, 0), grid.stop)))
        yield Growth("planning a box", number, "chunks", planned * 1e6, "us")
        walked = _median(partial(_walk, grid.plan((0, 0, 0), grid.stop)))
        yield Growth("walking its plan, per chunk", number, "chunks", walked / number * 1e6, "us")


def _threaded(sizes: Sizes) -> Iterator[tuple[str, Layer]]:
    yield "image, raw", Layer("em", sizes.image)
    yield "image, raw + gzip", Layer("em", sizes.image, compress="gzip")
    for kind, encoding in (
        ("labels", "compressed_segmentation"),
        ("labels", "compresso"),
        ("labels", "crackle"),
        ("floats", "fpzip"),
    ):
        yield encoding, Layer(kind, sizes.labels, encoding=encoding)


def _threads(sizes: Sizes, blocks: Blocks, folder: Path) -> Iterator[Growth]:
    for title, layer in _threaded(sizes):
        volume = _Volume.of(layer, folder, blocks)
        for number in _THREADS:
            seconds = _median(partial(volume.write, number))
            yield Growth(f"{title}: write", number, "threads", layer.nbytes / 1e6 / seconds, "MB/s")
            volume.read(number)  # helper processes start
            seconds = _median(partial(volume.read, number))
            yield Growth(f"{title}: read", number, "threads", layer.nbytes / 1e6 / seconds, "MB/s")
        empty(folder)


def _plugins(folder: Path) -> Iterator[Growth]:
    for number in _PLUGINS:
        for place in range(number):
            name = f"bench{place}"
            (folder / f"{name}.py").write_text(_PLUGIN)
            metadata = folder / f"{name}-1.0.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (metadata / "entry_points.txt").write_text(f"[precomp]\n{name} = {name}\n")
        yield Growth(
            "loading the registry", number, "more plugins", _median(partial(_load, folder)) * 1e3, "ms"
        )
    empty(folder)


def _load(folder: Path) -> float:
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
    run = subprocess.run(
        [sys.executable, "-P", "-c", _LOAD], env=environment, capture_output=True, text=True, check=True
    )
    found, seconds = run.stdout.split()
    expected = len(list(folder.glob("bench*.py")))
    if int(found) != expected:
        raise BenchError(f"growth: expected {expected} plugins, found {found}")
    return float(seconds)
