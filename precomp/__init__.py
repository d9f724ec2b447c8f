"""precomp: Neuroglancer Precomputed volumes as numpy arrays.

Errors are in `precomp.errors`, what a plugin implements in `precomp.hookspecs` and `precomp.interfaces`.
The names below are imported when they are first used, so that a plugin or the command line, which need few
of them, do not wait for the others.
"""

from typing import TYPE_CHECKING, Any

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
    from precomp.cutout import VolumeCutout
    from precomp.errors import PrecompError
    from precomp.factory import VolumeFactory, open_volume
    from precomp.geometry import Bbox, Vec
    from precomp.info import Scale, VolumeInfo
    from precomp.mesh.model import Mesh
    from precomp.provenance import Provenance
    from precomp.volume import CloudVolume
else:  # where a checker saw these functions, every misspelt name would be right
    _HOMES = {
        "cutout": ["VolumeCutout"],
        "errors": ["PrecompError"],
        "factory": ["VolumeFactory", "open_volume"],
        "geometry": ["Bbox", "Vec"],
        "info": ["Scale", "VolumeInfo"],
        "mesh.model": ["Mesh"],
        "provenance": ["Provenance"],
        "volume": ["CloudVolume"],
    }

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            value = version("precomp")
        else:
            home = next((home for home, names in _HOMES.items() if name in names), None)
            if home is None:
                raise AttributeError(f"module 'precomp' has no attribute {name!r}")
            from importlib import import_module

            value = getattr(import_module(f"precomp.{home}"), name)
        globals()[name] = value  # the next use finds it without this function
        return value
