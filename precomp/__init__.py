"""precomp: Neuroglancer Precomputed volumes as numpy arrays.

Errors are in `precomp.errors`, what a plugin implements in `precomp.hookspecs` and `precomp.interfaces`.
"""

from typing import TYPE_CHECKING, Any

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
    "VolumeFactory",
    "VolumeInfo",
    "__version__",
    "open_volume",
]

__version__: str

if TYPE_CHECKING:
    from precomp.factory import VolumeFactory, open_volume
else:  # where a checker saw this function, every misspelt name would be right

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

    def __getattr__(name: str) -> Any:
        if name in ("VolumeFactory", "open_volume"):  # on demand, as most who import precomp have no config
            from precomp import factory

            return getattr(factory, name)
        if name == "__version__":  # on demand, as it reads the distribution's files
            from importlib.metadata import version

            return version("precomp")
        raise AttributeError(f"module 'precomp' has no attribute {name!r}")
