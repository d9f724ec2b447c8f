"""What a volume knows of its segments beside their voxels: meshes."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from precomp import url
from precomp.volume.layer import Layer
from precomp.volume.settings import Settings, worker_count

if TYPE_CHECKING:
    from precomp.mesh.facade import Meshes

__all__ = ["Segments"]


class Segments:
    """The part of CloudVolume that deals with segments."""

    _layer: Layer

    _settings: Settings

    @property
    def mesh(self) -> "Meshes":
        """The meshes of the segments: `vol.mesh.get(ids)`, `vol.mesh.save(ids)`."""
        from precomp.mesh.facade import Meshes  # as most volumes are opened for their voxels

        layer, folder = self._layer, self._layer.document.model().mesh
        place, key = url.resolve(layer.path, folder, "mesh folder") if folder else (layer.path, None)
        objects = layer.objects(place)
        workers = worker_count(self._settings.parallel, layer.workers(objects))
        return Meshes(objects, key, layer.registry, workers)

    def save_mesh(self, segids: int | Iterable[int], filepath: Any = None, file_format: str = "obj") -> str:
        """Write the meshes of segments into one file and return its path.

        One id makes `./12345.obj`, a list `./FIRST_LAST.obj`. Raises MeshError, naming the segment, with
        no file left behind, and UnknownEncodingError for an unknown `file_format`.
        """
        return self.mesh.save(segids, filepath=filepath, file_format=file_format)
