"""The mesh format `obj`: Wavefront OBJ, text that nearly every 3D program opens."""

from precomp.hookspecs import MeshExporterPlugin, hookimpl
from precomp.interfaces import MeshExporter

__all__ = ["precomp_register_mesh_exporters"]


def _build() -> MeshExporter:
    from precomp_plugins.exporters._obj import ObjExporter

    return ObjExporter()


@hookimpl
def precomp_register_mesh_exporters() -> list[MeshExporterPlugin]:
    """Provide `obj`."""
    return [MeshExporterPlugin("obj", ".obj", _build)]
