"""Is what was read what was stored? Asked after the clock has stopped, of every read and every write."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.bench.layer import Box, Layer, place_of
from precomp.errors import PrecompError

__all__ = ["BenchError", "compare", "load_truth", "map_truth", "save_truth"]

# Grey values that two decoders of one JPEG may differ by, and what a JPEG may lose: the mean over all
# voxels of made-up tissue is 3.4, and 15 or more where chunks were confused.
_DECODERS, _LOSS = 2, 8


class BenchError(PrecompError, RuntimeError):
    """A contestant read or wrote wrong voxels, or failed; its times would mean nothing."""


def save_truth(path: Path, voxels: NDArray[Any]) -> None:
    """Write the voxels (x, y, z, 1, Fortran order) of a volume for other processes to compare with."""
    path.write_bytes(voxels.T.data)


def load_truth(path: Path, layer: Layer) -> NDArray[Any]:
    """Read what `save_truth` wrote, into memory."""
    return np.fromfile(path, layer.dtype).reshape((*layer.shape, 1), order="F")


def map_truth(path: Path, layer: Layer) -> NDArray[Any]:
    """Map what `save_truth` wrote; unlike `np.memmap` the array can be dropped at once."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, layer.dtype).reshape((*layer.shape, 1), order="F")


def compare(
    found: NDArray[Any], box: Box, truth: NDArray[Any], layer: Layer, lossy: bool = False
) -> str | None:
    """Tell how `found` differs from the voxels of `box` in `truth`; None where it does not.

    `lossy` says that a JPEG lies between the two, not just another decoder.
    """
    expected = truth[place_of(box)]
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"expected {expected.dtype} {expected.shape}, found {found.dtype} {found.shape}"
    if layer.encoding == "jpeg":
        apart = np.abs(np.asarray(found, np.int16) - expected)
        worst, bound = (apart.mean(), _LOSS) if lossy else (apart.max(), _DECODERS)
        what = "on average" if lossy else "at most"
        return None if worst <= bound else f"expected grey values {what} {bound} apart, found {worst:.1f}"
    wrong = np.asarray(found != expected)
    if not wrong.any():
        return None
    place = tuple(np.argwhere(wrong)[0].tolist())
    voxel = tuple(low + step for low, step in zip(box.low, place[:3], strict=True))
    return (
        f"{np.count_nonzero(wrong)} of {wrong.size} voxels are wrong, first {voxel}: "
        f"expected {expected[place]}, found {found[place]}"
    )
