"""The chunks of a grid by number: the compressed Morton code, in which neighbours have near numbers.

Source: Neuroglancer's `precomputed/volume.md`, "sharded chunk storage".
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from precomp.engine.shards.ids import Ids
from precomp.errors import InfoError, StoreError
from precomp.grid import ChunkGrid

__all__ = ["Cells", "Morton"]

_MOST_KEPT = 2**14  # names of chunks along one axis


class Morton:
    """The compressed Morton code of a grid of cells: bits of x, y, z in turn, none that is always zero.

    >>> code = Morton((6, 3, 2))
    >>> code.of(5, 2, 1), code.cell(53)
    (53, (5, 2, 1))

    Attributes:
        shape: cells along x, y, z.
        bits: of the largest code.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)
        lengths = [(n - 1).bit_length() for n in shape]
        places: tuple[list[int], ...] = ([], [], [])
        self.bits = 0
        for bit in range(max(lengths)):
            for axis, length in enumerate(lengths):
                if bit < length:
                    places[axis].append(self.bits)
                    self.bits += 1
        self._places = places

    def spread(self, axis: int, position: int) -> int:
        """The share of one coordinate in the code."""
        code = 0
        for bit, place in enumerate(self._places[axis]):
            code |= (position >> bit & 1) << place
        return code

    def of(self, x: int, y: int, z: int) -> int:
        """The code of a cell."""
        return self.spread(0, x) | self.spread(1, y) | self.spread(2, z)

    def cell(self, code: int) -> tuple[int, int, int] | None:
        """The cell of a code; None where the grid has none of that code."""
        x, y, z = (
            sum((code >> place & 1) << bit for bit, place in enumerate(places)) for places in self._places
        )
        inside = x < self.shape[0] and y < self.shape[1] and z < self.shape[2] and not code >> self.bits
        return (x, y, z) if inside else None

    def block(self, bits: int) -> tuple[int, int, int]:
        """How many cells along x, y, z the codes have that differ in their lowest `bits` only."""
        x, y, z = (1 << sum(place < bits for place in places) for places in self._places)
        return x, y, z


class _Names(dict[str, int]):
    """The share in the code by the name of a chunk's extent along one axis, `64-128`."""

    def __init__(self, code: Morton, axis: int, offset: int, stop: int, chunk: int) -> None:
        super().__init__()
        self._of = code, axis, offset, stop, chunk

    def __missing__(self, name: str) -> int:
        code, axis, offset, stop, chunk = self._of
        cut = name.index("-", 1)  # the first may be a sign
        begin = int(name[:cut])
        position, rest = divmod(begin - offset, chunk)
        if rest or not offset <= begin < stop or name != f"{begin}-{min(begin + chunk, stop)}":
            raise ValueError(name)
        if len(self) >= _MOST_KEPT:
            self.clear()
        found = self[name] = code.spread(axis, position)
        return found


class Cells:
    """The chunks of one scale by their keys and by number. Safe to share between threads.

    Attributes:
        code: of the grid.
        grid: of the chunks.
        count: of the chunks.
    """

    def __init__(self, grid: ChunkGrid, name: str = "") -> None:
        """`name` of the info stands in errors. Raises InfoError for a grid that 64 bits cannot number."""
        shape = [-(-size // chunk) for size, chunk in zip(grid.size, grid.chunk, strict=True)]
        self.code, self.grid, self.count = Morton(shape), grid, math.prod(shape)
        if self.code.bits > 64:
            raise InfoError(
                f"{name}: scale {grid.folder}: a sharded scale numbers its chunks in 64 bits, and this one's "
                f"grid of {shape} chunks needs {self.code.bits}; choose larger chunks"
            )
        self._start = len(grid.folder) + 1
        self._x, self._y, self._z = (
            _Names(self.code, axis, grid.offset[axis], grid.stop[axis], grid.chunk[axis]) for axis in range(3)
        )

    def id_of(self, key: str) -> int:
        """Return the number of a chunk. Raises StoreError where the key names no chunk of the grid."""
        try:
            if key[: self._start] == self.grid.folder + "/":
                x, y, z = key[self._start :].split("_")
                return self._x[x] | self._y[y] | self._z[z]
        except ValueError:
            pass
        raise StoreError(
            f"{key!r}: expected the key of a chunk of {self.grid.folder}, such as {self.key_of((0, 0, 0))!r}"
        )

    def key_of(self, cell: tuple[int, int, int]) -> str:
        """Return the key of the chunk of a cell."""
        low = [o + n * c for o, n, c in zip(self.grid.offset, cell, self.grid.chunk, strict=True)]
        ends = zip(low, self.grid.chunk, self.grid.stop, strict=True)
        return f"{self.grid.folder}/" + "_".join(f"{a}-{min(a + c, s)}" for a, c, s in ends)

    def ids_of(self, keys: Iterable[str]) -> Ids:
        """Return the numbers of chunks."""
        return np.fromiter(map(self.id_of, keys), np.uint64)

    def keys_of(self, ids: Ids) -> list[str]:
        """Return the keys of the chunks that have these numbers; numbers of no chunk are left out."""
        return [self.key_of(cell) for number in ids.tolist() if (cell := self.code.cell(number)) is not None]
