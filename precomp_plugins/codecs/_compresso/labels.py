"""Which labels a stream of `compresso` has, where that can be told without decoding it.

It lists a label for each component, and labels of some boundary voxels. How many components there are is
known for certain only when they are decoded; labels that are listed for more of them occur nowhere.
"""

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec
from precomp_plugins.codecs._compresso.stream import Stream, count, opened, taken_apart
from precomp_plugins.codecs._compresso.windows import Windows

__all__ = ["labels_of"]

# Where the voxel is whose label a location means, along x, y, z.
_STEPS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))


def labels_of(data: Buffer, spec: ChunkSpec) -> NDArray[Any] | None:
    """Return the labels of a chunk, each at least once; None where that is not certain.

    ValueError where `data` is damaged or of another kind.
    """
    stream = opened(data, spec)
    codes, told = taken_apart(stream.locations)
    if stream.header.connectivity != 4 or not _lead_to_labels(codes, stream):
        return None
    least = _fewest_components(stream.windows)
    certain = np.unique(np.concatenate([stream.ids[:least], told]))
    if least > len(stream.ids) or not np.isin(stream.ids[least:], certain).all():
        return None
    return certain.astype(spec.dtype)


def _fewest_components(windows: Windows) -> int:
    """How many components there are within slices at least: exactly as many where none has a hole.

    Euler's formula: components less holes are voxels less pairs of neighbours and more squares of four.
    """
    inner = windows.inside() & ~windows.bits
    left, above = windows.before(0), windows.before(1)
    corner = attrs.evolve(windows, bits=left).before(1)
    voxels, pairs = count(inner), count(inner & ~left) + count(inner & ~above)
    squares = count(inner & ~(left | above | corner))
    return max(voxels - pairs + squares, int(voxels > 0))


def _lead_to_labels(codes: NDArray[Any], stream: Stream) -> bool:
    """Whether all locations that mean a voxel still to come mean one inside a component."""
    windows, steps = stream.windows, np.array(_STEPS)
    places = windows.places(stream.unknown)[codes < len(steps)]
    codes = codes[codes < len(steps)].astype(np.int64)
    nx, ny, nz = windows.size
    there = np.stack((places % nx, places // nx % ny, places // (nx * ny)), axis=1) + steps[codes]
    if not ((there >= 0) & (there < (nx, ny, nz))).all():
        return False  # the decoder tells what is wrong
    return not windows.at(*there[steps[codes].sum(axis=1) > 0].T).any()
