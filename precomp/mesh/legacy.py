"""The legacy mesh format: bytes to `Mesh` and back, no I/O.

Source: Neuroglancer's `src/datasource/precomputed/meshes.md`, "Legacy single-resolution mesh format".
A segment's manifest `{id}:0` is JSON, `{"fragments": ["name", ...]}`; each name is a file of the
same folder that holds a part of the surface:

    u32 n | f32[n, 3] vertices in nanometres | u32[m, 3] faces, indices into these n     (little endian)
"""

import re
from collections.abc import Iterable

import numpy as np

from precomp.errors import ArgumentError, MeshError
from precomp.interfaces import Buffer
from precomp.jsonio import dumps, loads
from precomp.mesh.model import Mesh

__all__ = ["decode_fragment", "decode_manifest", "encode_fragment", "encode_manifest"]

# A name that stays in its folder on every system and can be part of a key: no separator, no NUL,
# no lone surrogate, and no leading dot (`..`, and the stores' temporary files).
_NAME = re.compile(r"(?!\.)[^/\\\0\ud800-\udfff]+")


def decode_manifest(data: Buffer, where: str) -> list[str]:
    """Return the fragment names of a manifest, in its order; none is legal and means an empty mesh.

    Raises MeshError, its text starting with `where`, for what is not the JSON described above and
    for a name that leads out of the folder.
    """
    content = loads(bytes(data), where, MeshError)
    names = content.get("fragments") if isinstance(content, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MeshError(
            f'{where}: expected {{"fragments": [names]}}, found {bytes(data[:60])!r}; if this is a legacy '
            "manifest at all, mesh the segment again"
        )
    return [_checked(name, where) for name in names]


def encode_manifest(fragments: Iterable[str]) -> bytes:
    """Return the manifest that lists `fragments`; MeshError for a name that leads out of the folder."""
    return dumps({"fragments": [_checked(name, "manifest") for name in fragments]}, compact=True)


def decode_fragment(data: Buffer, where: str) -> Mesh:
    """Return the mesh of a fragment; 0 vertices are legal. The arrays may be read-only views of `data`.

    Raises MeshError, its text starting with `where`, where counts and length disagree, a face is
    out of range or a vertex not finite.
    """
    # Vertices and faces are both triples of four bytes, so the length alone says how many there are.
    triples, rest = divmod(len(data) - 4, 12)
    count = int.from_bytes(data[:4], "little")
    if rest or count > triples:
        raise MeshError(
            f"{where}: expected 4 bytes, {count} vertices of 12 bytes and faces of 12 bytes, "
            f"found {len(data)} bytes; the fragment is truncated or damaged, mesh the segment again"
        )
    words = np.frombuffer(data, "<u4")[1:].reshape(-1, 3)
    try:
        return Mesh(words[:count].view("<f4"), words[count:])
    except ArgumentError as error:
        raise MeshError(f"{where}: the fragment is damaged: {error}, or mesh the segment again") from error


def encode_fragment(mesh: Mesh) -> bytes:
    """Return a fragment that holds all of `mesh`; MeshError where a u32 cannot count its vertices."""
    if len(mesh.vertices) >= 2**32:
        raise MeshError(f"expected fewer than 2**32 vertices, found {len(mesh.vertices)}; split the mesh")
    count = len(mesh.vertices).to_bytes(4, "little")
    return count + mesh.vertices.astype("<f4").tobytes() + mesh.faces.astype("<u4").tobytes()


def _checked(name: str, where: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise MeshError(
            f"{where}: expected names of files in the mesh folder, found {name!r}; a name must not be empty, "
            "start with a dot or hold a slash, a backslash or NUL"
        )
    return name
