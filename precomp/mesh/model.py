"""The mesh of one or several segments."""

from collections.abc import Iterable
from typing import Any

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from precomp.errors import ArgumentError, MeshError

__all__ = ["Mesh"]

_MAX_VERTICES = 2**32  # what a uint32 face index can tell apart


def _triples(name: str, value: ArrayLike) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ArgumentError(
            f"{name}: expected shape (n, 3), found {error}; give one row of three each"
        ) from error
    if array.size % 3 or (array.ndim != 1 and array.shape[-1:] != (3,)):
        raise ArgumentError(f"{name}: expected shape (n, 3), found {array.shape}; give one row of three each")
    return array.reshape(-1, 3)


def _vertices(value: ArrayLike) -> NDArray[np.float32]:
    given = _triples("vertices", value)
    if given.dtype.kind not in "fiu":
        raise ArgumentError(f"vertices: expected real numbers, found dtype {given.dtype}; give float32")
    with np.errstate(over="ignore"):  # found below, as infinities
        vertices = np.ascontiguousarray(given, dtype=np.float32)
    finite = np.isfinite(vertices)
    if not finite.all():
        row = int(np.argmin(finite.all(axis=1)))
        raise ArgumentError(
            f"vertices: expected finite float32 numbers, found {given[row].tolist()} in row {row}; "
            "remove that vertex and its faces"
        )
    return vertices


def _faces(value: ArrayLike) -> NDArray[np.uint32]:
    given = _triples("faces", value)
    if given.size and given.dtype.kind not in "iu":
        raise ArgumentError(f"faces: expected integers, found dtype {given.dtype}; give uint32 indices")
    if given.size and not 0 <= int(given.min()) <= int(given.max()) < _MAX_VERTICES:
        raise ArgumentError(
            f"faces: expected indices from 0 to 2**32 - 1, found {given.min()} to {given.max()}; "
            "count vertices from 0"
        )
    return np.ascontiguousarray(given, dtype=np.uint32)


@attrs.frozen(eq=False)
class Mesh:
    """A triangle mesh, valid by construction: finite vertices, faces in range.

    Attributes:
        vertices: float32, shape (n, 3), x, y, z in nanometres.
        faces: uint32, shape (m, 3), indices into `vertices`.
        segid: the segment, or None for a merged mesh.

    Raises ArgumentError where an array has another shape, a vertex is not finite or a face names
    a vertex that is not there.

    >>> Mesh([[0, 0, 0], [8, 0, 0], [0, 8, 0]], [[0, 1, 2]]).faces.dtype
    dtype('uint32')
    """

    vertices: NDArray[np.float32] = attrs.field(converter=_vertices)
    faces: NDArray[np.uint32] = attrs.field(converter=_faces)
    segid: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.faces.size and (last := int(self.faces.max())) >= len(self.vertices):
            raise ArgumentError(
                f"faces: expected indices below the {len(self.vertices)} vertices, found {last}; "
                "faces count vertices from 0"
            )

    @classmethod
    def concatenate(cls, meshes: Iterable["Mesh"], segid: int | None = None) -> "Mesh":
        """Return one mesh of all, in their order, its arrays its own; no mesh gives an empty one.

        Vertices that several meshes share are kept as often as they come, so that `faces` of each
        stay a plain shift. Raises MeshError where a uint32 cannot count the vertices.
        """
        parts = list(meshes)
        total = sum(len(part.vertices) for part in parts)
        if total > _MAX_VERTICES:
            raise MeshError(
                f"expected at most 2**32 vertices in a mesh, found {total} in {len(parts)} parts; merge fewer"
            )
        vertices = np.empty((total, 3), np.float32)
        faces = np.empty((sum(len(part.faces) for part in parts), 3), np.uint32)
        vertex = face = 0
        for part in parts:
            stop = face + len(part.faces)
            vertices[vertex : vertex + len(part.vertices)] = part.vertices
            np.add(part.faces, np.uint32(vertex), out=faces[face:stop])
            vertex, face = vertex + len(part.vertices), stop
        return cls(vertices, faces, segid)

    def __eq__(self, other: Any) -> bool:
        """Equal vertices and faces, in the same order."""
        if not isinstance(other, Mesh):
            return NotImplemented
        return np.array_equal(self.vertices, other.vertices) and np.array_equal(self.faces, other.faces)

    __hash__ = None  # type: ignore[assignment]
