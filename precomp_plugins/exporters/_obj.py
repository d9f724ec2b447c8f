"""Wavefront OBJ: text that nearly every 3D program opens."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from precomp.mesh.model import Mesh

__all__ = ["ObjExporter"]

_ROWS = 1024  # per call of `%`: its argument tuple stays in the processor's cache


class ObjExporter:
    """Writes `v x y z` lines in nanometres, then `f a b c` lines that count vertices from 1.

    Nine significant digits give every float32 back exactly. ASCII, LF line ends.
    """

    def export(self, mesh: Mesh) -> bytes:
        """Return the text of `mesh`."""
        what = "segments" if mesh.segid is None else f"segment {mesh.segid}"
        header = (
            f"# {what}, {len(mesh.vertices)} vertices in nanometres, {len(mesh.faces)} faces, by precomp\n"
        )
        vertices = _lines(b"v %.9g %.9g %.9g\n", mesh.vertices)
        faces = _lines(b"f %d %d %d\n", mesh.faces, first=1)
        return b"".join([header.encode("ascii"), *vertices, *faces])


def _lines(line: bytes, rows: NDArray[np.float32] | NDArray[np.uint32], first: int = 0) -> Iterator[bytes]:
    for start in range(0, len(rows), _ROWS):
        block = rows[start : start + _ROWS]
        # In 64 bits: the last index plus one may not fit 32.
        numbers = block.astype(np.int64) + first if first else block
        yield line * len(block) % tuple(numbers.ravel().tolist())
