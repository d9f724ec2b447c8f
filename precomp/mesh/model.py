"""The mesh of one or several segments."""

from typing import Any

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Mesh"]


def _vertices(value: ArrayLike) -> NDArray[np.float32]:
    return np.ascontiguousarray(value, dtype=np.float32).reshape(-1, 3)


def _faces(value: ArrayLike) -> NDArray[np.uint32]:
    return np.ascontiguousarray(value, dtype=np.uint32).reshape(-1, 3)


@attrs.frozen(eq=False)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: float32, shape (n, 3), x, y, z in nanometres.
        faces: uint32, shape (m, 3), indices into `vertices`.
        segid: the segment, or None for a merged mesh.
    """

    vertices: NDArray[np.float32] = attrs.field(converter=_vertices)
    faces: NDArray[np.uint32] = attrs.field(converter=_faces)
    segid: int | None = None

    def __eq__(self, other: Any) -> bool:
        """Equal vertices and faces, in the same order."""
        if not isinstance(other, Mesh):
            return NotImplemented
        return np.array_equal(self.vertices, other.vertices) and np.array_equal(self.faces, other.faces)

    __hash__ = None  # type: ignore[assignment]
