"""Which part of a volume each work reads."""

from typing import Any

import numpy as np

from precomp.bench.layer import Box, Layer
from precomp.bench.rows import Row

__all__ = ["request_for"]

_SIDE = 64  # voxels of a cutout


def request_for(row: Row, rng: np.random.Generator) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of the request that a child gets for a batch of `row.count` works."""
    layer = row.layer
    if row.work == "voxel":
        return "voxels", {"places": rng.integers(0, layer.shape, (row.count, 3)).tolist()}
    if row.work == "cutout":
        return "read", {"boxes": [_cutout(layer, rng) for _ in range(row.count)]}
    if row.work == "plane":
        return "read", {"boxes": [_plane(layer, rng) for _ in range(row.count)]}
    return "read", {"boxes": [layer.whole]}


def _cutout(layer: Layer, rng: np.random.Generator) -> Box:
    """Return a cube that starts on no chunk border along any axis."""
    x, y, z = (
        int(rng.integers((length - _SIDE) // chunk) * chunk + rng.integers(1, chunk))
        for length, chunk in zip(layer.shape, layer.chunk, strict=True)
    )
    return Box((x, y, z), (x + _SIDE, y + _SIDE, z + _SIDE))


def _plane(layer: Layer, rng: np.random.Generator) -> Box:
    x, y, depth = layer.shape
    z = int(rng.integers(0, depth))
    return Box((0, 0, z), (x, y, z + 1))
