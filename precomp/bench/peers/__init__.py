"""The contestants: one module each, imported only in the process that runs it.

Each has a function `open_layer(folder, layer) -> Handle`.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any, Protocol

import attrs
from numpy.typing import NDArray

from precomp.bench.layer import Int3

__all__ = ["CONTESTANTS", "LIMIT", "OURS", "Contestant", "Handle", "installed"]

OURS = "precomp"
LIMIT = "limit"


class Handle(Protocol):
    """A layer that a contestant has opened."""

    @property
    def shape(self) -> Int3:
        """In voxels, as the contestant knows it."""

    def read(self, place: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Return the voxels, (x, y, z, 1), in Fortran order."""

    def voxel(self, place: Int3) -> NDArray[Any]:
        """Return one voxel, in whatever shape the contestant gives it."""

    def write(self, voxels: NDArray[Any]) -> None:
        """Store the whole volume, (x, y, z, 1), in Fortran order."""


@attrs.frozen
class Contestant:
    """Something that is measured.

    Attributes:
        name: in the table.
        module: of precomp, with `open_layer`.
        package: what has to be installed.
        imports: the statement that imports all that opens a volume.
        distribution: whose version the report states.
    """

    name: str
    module: str
    package: str
    imports: str
    distribution: str


_PEERS = "precomp.bench.peers"
_OUR_IMPORT = "from precomp import CloudVolume"  # `import precomp` alone imports nearly nothing
CONTESTANTS = (
    Contestant(OURS, f"{_PEERS}.ours", "precomp", _OUR_IMPORT, "precomp"),
    Contestant(
        "tensorstore", f"{_PEERS}.tensorstore_peer", "tensorstore", "import tensorstore", "tensorstore"
    ),
    Contestant(
        "cloud-volume", f"{_PEERS}.cloudvolume_peer", "cloudvolume", "import cloudvolume", "cloud-volume"
    ),
    Contestant(LIMIT, f"{_PEERS}.limit", "numpy", "import numpy", "numpy"),
)


def installed(names: Sequence[str] | None = None) -> tuple[list[Contestant], list[str]]:
    """Return the contestants of these names (None: all) that are installed, and notes on the others."""
    chosen = [one for one in CONTESTANTS if names is None or one.name in names]
    there = [one for one in chosen if importlib.util.find_spec(one.package) is not None]
    notes = [f"{one.name} is not installed and left out" for one in chosen if one not in there]
    return there, notes
