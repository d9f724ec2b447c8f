"""OBJ files: every float32 and every index comes back when the text is read."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from precomp.errors import UnknownEncodingError
from precomp.interfaces import MeshExporter
from precomp.mesh.model import Mesh
from precomp.plugins import Registry
from precomp_plugins.exporters import obj

REGISTRY = Registry.of([obj])
FINITE = npst.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.just(3)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def parse(data: bytes) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read OBJ text as any program would that stores float32, one line at a time."""
    lines = [line.split(" ") for line in data.decode("ascii").splitlines()]
    vertices = [[np.float32(text) for text in line[1:]] for line in lines if line[0] == "v"]
    faces = [[int(text) for text in line[1:]] for line in lines if line[0] == "f"]
    assert {line[0] for line in lines} <= {"#", "v", "f"}
    return np.array(vertices, np.float32).reshape(-1, 3), np.array(faces, np.int64).reshape(-1, 3)


def exporter() -> MeshExporter:
    return REGISTRY.exporter("obj").build()


def test_golden_text() -> None:
    mesh = Mesh([[0.0, 0.0, 0.0], [8.0, 0.0, -0.5], [0.0, 1e6, 40.0]], [[0, 1, 2], [2, 1, 0]], 12345)
    assert exporter().export(mesh) == (
        b"# segment 12345, 3 vertices in nanometres, 2 faces, by precomp\n"
        b"v 0 0 0\nv 8 0 -0.5\nv 0 1000000 40\nf 1 2 3\nf 3 2 1\n"
    )
    assert exporter().export(Mesh([], [])) == b"# segments, 0 vertices in nanometres, 0 faces, by precomp\n"


@given(FINITE)
def test_every_vertex_comes_back_bit_by_bit(vertices: NDArray[np.float32]) -> None:
    found, _ = parse(bytes(exporter().export(Mesh(vertices, []))))
    assert found.view(np.uint32).tolist() == vertices.view(np.uint32).tolist()


def test_every_exponent_and_the_extremes() -> None:
    # All exponents with the lowest, the highest and scattered fractions; subnormals and -0 included.
    fractions = np.concatenate([[0, 1, 2, 2**23 - 1], np.arange(9973, 2**23, 99991)])
    bits = (np.arange(255)[:, None] << 23 | fractions).astype(np.uint32).ravel()
    values = np.concatenate([bits, bits | np.uint32(2**31)]).view(np.float32)
    vertices = values[: len(values) // 3 * 3].reshape(-1, 3)
    found, _ = parse(bytes(exporter().export(Mesh(vertices, []))))
    assert np.array_equal(found.view(np.uint32), vertices.view(np.uint32))


@pytest.mark.parametrize("count", [1, 1023, 1024, 1025, 5000])
def test_blocks_join_without_a_seam(count: int) -> None:
    rng = np.random.default_rng(count)
    mesh = Mesh(rng.random((count, 3), np.float32), rng.integers(0, count, (2 * count, 3)))
    data = bytes(exporter().export(mesh))
    vertices, faces = parse(data)
    assert np.array_equal(vertices, mesh.vertices)
    assert np.array_equal(faces, mesh.faces.astype(np.int64) + 1)
    assert re.fullmatch(rb"(?:[#vf] [^\n\r]+\n)+", data)


def test_the_largest_index() -> None:
    mesh = Mesh([[0, 0, 0]], [[0, 0, 0]])
    mesh.faces[:] = 2**32 - 1  # no machine here holds a mesh that needs it
    assert bytes(exporter().export(mesh)).endswith(b"\nf 4294967296 4294967296 4294967296\n")


def test_unknown_formats_name_the_known_one() -> None:
    with pytest.raises(UnknownEncodingError, match="obj"):
        REGISTRY.exporter("ply")
    assert REGISTRY.exporter("obj").suffix == ".obj"
