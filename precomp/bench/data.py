"""Made-up data, or real ones from a folder: what the volumes of the bench are filled with.

A block that is periodic along all axes is made once; each round shifts it by a random way, so that
every chunk has a content that nobody has seen before.
"""

import functools
import lzma
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.bench.layer import Int3
from precomp.errors import ArgumentError

__all__ = ["Blocks", "load_blocks", "make_blocks"]

_BLOCK = (256, 256, 64)  # voxels; z is coarser in reality, too
_LARGEST = (512, 512, 256)  # voxels used of real data


@attrs.frozen
class Blocks:
    """One block of each kind, which volumes of any size are tiled with.

    Attributes:
        em: uint8, (x, y, z).
        labels: uint64, likewise.
        origin: where they are from, for the report.
    """

    em: NDArray[np.uint8]
    labels: NDArray[np.uint64]
    origin: str

    def volume(self, kind: str, shape: Int3, rng: np.random.Generator) -> NDArray[Any]:
        """Return a volume (x, y, z, 1) in Fortran order whose content depends on `rng`."""
        block: NDArray[Any] = self.labels if kind == "labels" else self.em
        if kind == "floats":
            block = np.multiply(block, np.float32(1 / 255), order="F")
        block = np.roll(block, tuple(int(rng.integers(length)) for length in block.shape), (0, 1, 2))
        out = np.empty((*shape, 1), block.dtype, order="F")
        for x in range(0, shape[0], block.shape[0]):
            for y in range(0, shape[1], block.shape[1]):
                for z in range(0, shape[2], block.shape[2]):
                    part = out[x:, y:, z:, 0][tuple(slice(length) for length in block.shape)]
                    part[...] = block[tuple(slice(length) for length in part.shape)]
        return out


@functools.cache
def make_blocks() -> Blocks:
    """Make both blocks: grey blobs and grain as of an electron microscope, and large smooth segments."""
    rng = np.random.default_rng(0)
    blobs, grain = _smooth(rng, 7), rng.standard_normal(_BLOCK[::-1], np.float32).T
    membranes = np.exp(-((_smooth(rng, 10) / 0.15) ** 2))  # where a smooth field changes its sign
    grey = 150 + 10 * blobs - 70 * membranes + 5.5 * grain
    em = np.asfortranarray(np.clip(grey, 0, 255).astype(np.uint8))
    return Blocks(em, _segments(rng), "generated")


def _smooth(rng: np.random.Generator, width: float) -> NDArray[np.float32]:
    """Return periodic Gaussian noise of unit variance that varies over `width` voxels in x and y."""
    spectrum = np.fft.rfftn(rng.standard_normal(_BLOCK[::-1], np.float32))
    frequencies = np.meshgrid(
        np.fft.fftfreq(_BLOCK[2]) / 3, np.fft.fftfreq(_BLOCK[1]), np.fft.rfftfreq(_BLOCK[0]), indexing="ij"
    )
    spectrum *= np.exp(-2 * (np.pi * width) ** 2 * sum(f**2 for f in frequencies))
    field = np.fft.irfftn(spectrum, _BLOCK[::-1], axes=(0, 1, 2))
    return np.asarray(field / field.std(), np.float32).T


def _segments(rng: np.random.Generator) -> NDArray[np.uint64]:
    """Return Voronoi cells of some 40 voxels, bent by smooth fields; the ids use most of 64 bits."""
    half = tuple(length // 2 for length in _BLOCK)
    nearest = np.full(half, np.inf, np.float32)
    cells = np.zeros(half, np.int64)
    axes = np.ogrid[: half[0], : half[1], : half[2]]
    count = int(np.prod(_BLOCK)) // 40**3
    for number, middle in enumerate(rng.uniform(0, half, (count, 3))):
        distance = np.zeros(half, np.float32)
        for axis, m, length in zip(axes, middle, half, strict=True):
            away = abs(axis - m)
            distance = distance + np.minimum(away, length - away).astype(np.float32) ** 2
        cells[distance < nearest] = number
        np.minimum(nearest, distance, out=nearest)
    bend, bent = _smooth(rng, 12), []
    for number, (axis, far) in enumerate(zip(np.ogrid[tuple(map(slice, _BLOCK))], (9, 9, 3), strict=True)):
        moved = axis + far * np.roll(bend, 80 * number, (0, 1))  # so far away it is another field
        bent.append(np.floor(moved / 2).astype(np.int64) % half[number])
    ids = rng.integers(2**40, 2**63, count).astype(np.uint64)
    return np.asfortranarray(ids[cells[tuple(bent)]])


def load_blocks(folder: Path) -> Blocks:
    """Take blocks from the `.npy` and `.npy.xz` files of a folder; what is not there is generated.

    An array of uint8 is an image, one of a wider unsigned integer holds labels; each has three axes,
    x, y and z. Raises ArgumentError where there is none.
    """
    em: NDArray[np.uint8] | None = None
    labels: NDArray[np.uint64] | None = None
    found = []
    for path in sorted([*folder.glob("*.npy"), *folder.glob("*.npy.xz")]):
        array = _load(path)
        if array.ndim != 3 or array.dtype.kind != "u" or not array.size:
            continue
        array = array[tuple(slice(length) for length in _LARGEST)]
        if array.dtype == np.uint8:
            em = np.asfortranarray(array)
        else:
            labels = np.asfortranarray(array, np.uint64)
        found.append(f"{'em' if array.dtype == np.uint8 else 'labels'} from {path.name}")
    if not found:
        raise ArgumentError(
            f"--data {folder}: expected .npy or .npy.xz files of three axes (x, y, z), uint8 for an image or "
            "uint16, uint32, uint64 for labels; found none"
        )
    made = make_blocks()
    if em is None or labels is None:
        found.append("em generated" if em is None else "labels generated")
    return Blocks(made.em if em is None else em, made.labels if labels is None else labels, ", ".join(found))


def _load(path: Path) -> NDArray[Any]:
    if path.suffix == ".npy":
        return np.asarray(np.load(path, mmap_mode="r"))
    with lzma.open(path) as file:
        return np.asarray(np.load(file))
