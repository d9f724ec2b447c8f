"""precomp: Neuroglancer Precomputed volumes as numpy arrays.

Errors are in `precomp.errors`, what a plugin implements in `precomp.hookspecs` and `precomp.interfaces`.
"""

from typing import TYPE_CHECKING

from precomp.cutout import VolumeCutout
from precomp.errors import PrecompError
from precomp.geometry import Bbox, Vec
from precomp.info import Scale, VolumeInfo
from precomp.mesh.model import Mesh
from precomp.provenance import Provenance
from precomp.volume import CloudVolume

__all__ = [
    "Bbox",
    "CloudVolume",
    "Mesh",
    "PrecompError",
    "Provenance",
    "Scale",
    "Vec",
    "VolumeCutout",
    "VolumeInfo",
    "__version__",
]

__version__: str

if not TYPE_CHECKING:  # where a checker saw this function, every misspelt name would be right

    def __getattr__(name: str) -> str:
        if name == "__version__":  # on demand, as it reads the distribution's files
            from importlib.metadata import version

            return version("precomp")
        raise AttributeError(f"module 'precomp' has no attribute {name!r}")
