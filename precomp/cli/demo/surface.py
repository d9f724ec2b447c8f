"""The surface of a segment as a smooth triangle mesh: naive surface nets.

Every cell between eight neighbouring voxel centres that the surface crosses gets one vertex, the mean
of the places where it crosses the cell's edges; every edge that it crosses gets a quad of the four
cells around it. (S. Gibson, "Constrained elastic surface nets", 1998, without the relaxation.)
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.mesh.model import Mesh

__all__ = ["surface"]


def surface(mask: NDArray[Any], resolution: Sequence[float], offset: Sequence[float], segid: int) -> Mesh:
    """Return the surface of the voxels where `mask` (x, y, z) holds: closed, faces outward.

    `resolution` is nm per voxel, `offset` the coordinates in voxels of the first one.
    """
    solid = np.pad(mask, 1)  # so that the surface is closed where the segment leaves the array
    cells = tuple(length - 1 for length in solid.shape)
    corners = {
        corner: solid[tuple(slice(c, c + n) for c, n in zip(corner, cells, strict=True))]
        for corner in product((0, 1), repeat=3)
    }
    filled = sum(corner.astype(np.int8) for corner in corners.values())
    crossed = (filled > 0) & (filled < 8)
    places = np.argwhere(crossed)
    number = np.zeros(cells, np.uint32)
    number[crossed] = np.arange(len(places))
    total, crossings, quads = np.zeros(places.shape), np.zeros((len(places), 1)), []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        for low, corner in corners.items():
            if low[axis] == 0:
                high = tuple(1 if i == axis else low[i] for i in range(3))
                here = (corner != corners[high])[crossed][:, None]
                total += here * (np.add(low, high) / 2)
                crossings += here
        steps = np.diff(solid.astype(np.int8), axis=axis)
        for direction in (-1, 1):
            edges = np.argwhere(steps == direction)
            around = []
            for back_b, back_c in ((0, 0), (1, 0), (1, 1), (0, 1))[::-direction]:
                cell = edges.copy()
                cell[:, b] -= back_b
                cell[:, c] -= back_c
                around.append(number[tuple(cell.T)])
            quads.append(np.stack(around, axis=1))
    # Cell 0 begins at the centre of a voxel of the padding, half a voxel before the array.
    vertices = (places + total / crossings - 0.5 + np.asarray(offset)) * np.asarray(resolution)
    corners_of = np.concatenate(quads)
    return Mesh(vertices, np.concatenate([corners_of[:, [0, 1, 2]], corners_of[:, [0, 2, 3]]]), segid)
