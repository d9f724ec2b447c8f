"""Legacy meshes: the format, merging, damage, and saving without leftovers."""

import json
import os
import pickle
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp import CloudVolume
from precomp.engine.objects import Objects
from precomp.errors import (
    ArgumentError,
    MeshError,
    MissingDependencyError,
    StoreError,
    UnknownEncodingError,
    UnsupportedError,
)
from precomp.hookspecs import MeshExporterPlugin, hookimpl
from precomp.interfaces import Blob, ByteRange
from precomp.memory import MemoryStore
from precomp.mesh.facade import Meshes
from precomp.mesh.legacy import decode_fragment, decode_manifest, encode_fragment, encode_manifest
from precomp.mesh.model import Mesh
from precomp.plugins import Registry
from precomp_plugins.compressors import gzip
from precomp_plugins.compressors._gzip import Gzip
from precomp_plugins.exporters import obj
from precomp_plugins.exporters._obj import ObjExporter

REGISTRY = Registry.of([obj, gzip])
TRIANGLE = Mesh([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0], [0.0, 8.0, 0.5]], [[0, 1, 2]])
SQUARE = Mesh([[1, 1, 1], [2, 1, 1], [2, 2, 1], [1, 2, 1]], [[0, 1, 2], [2, 3, 0]])


def layer(
    segments: dict[int, list[Mesh]] | None = None, folder: str | None = "mesh", workers: int = 1
) -> tuple[MemoryStore, Meshes]:
    """A store with these segments, one fragment a mesh, named SEGID:0:NUMBER."""
    store = MemoryStore()
    for segid, parts in (segments or {}).items():
        put(store, segid, {f"{segid}:0:{i}": encode_fragment(part) for i, part in enumerate(parts)}, folder)
    return store, Meshes(Objects(store, REGISTRY.compressor), folder, REGISTRY, workers)


def put(store: MemoryStore, segid: int, fragments: dict[str, bytes], folder: str | None = "mesh") -> None:
    prefix = f"{folder}/" if folder else ""
    store.put(f"{prefix}{segid}:0", Blob(encode_manifest(fragments)))
    for name, data in fragments.items():
        store.put(prefix + name, Blob(data))


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    count = draw(st.integers(0, 6))
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    corners = st.tuples(*[st.integers(0, count - 1)] * 3) if count else st.nothing()
    vertices = draw(st.lists(st.tuples(floats, floats, floats), min_size=count, max_size=count))
    faces = draw(st.lists(corners, max_size=5)) if count else []
    return Mesh(np.array(vertices, np.float32).reshape(-1, 3), np.array(faces, np.uint32).reshape(-1, 3))


def corners_of(mesh: Mesh) -> NDArray[np.float32]:
    """What a mesh means: the corners of its triangles, shape (m, 3, 3)."""
    return mesh.vertices[mesh.faces.astype(np.int64)]


class TestModel:
    def test_converts_and_validates(self) -> None:
        mesh = Mesh(np.zeros((3, 3), ">f8"), np.array([[0, 1, 2]], ">i8"))
        assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.dtype("float32"), np.dtype("uint32"))
        assert mesh.vertices.flags.c_contiguous
        assert mesh.faces.tolist() == [[0, 1, 2]]

    @pytest.mark.parametrize(
        ("vertices", "faces", "problem"),
        [
            ([[0, 0]], [], r"vertices: expected shape \(n, 3\), found \(1, 2\)"),
            ([[0, 0, 0], [1]], [], "vertices: expected shape"),
            ([["a", "b", "c"]], [], "vertices: expected real numbers"),
            ([[0, 0, np.nan]], [], "found .*nan.* in row 0"),
            ([[0, 0, 0], [0, np.inf, 0]], [], "found .*inf.* in row 1"),
            ([[0, 0, 1e39]], [], r"found \[0.0, 0.0, 1e\+39\] in row 0"),
            ([[0, 0, 0]], [[0, 0, 1]], "below the 1 vertices, found 1"),
            ([[0, 0, 0]], [[0, 0, -1]], "found -1 to 0"),
            ([[0, 0, 0]], [[0, 0, 2**32]], "found 0 to 4294967296"),
            ([[0, 0, 0]], [[0.0, 0.0, 0.0]], "faces: expected integers, found dtype float64"),
            ([], [[0, 0, 0]], "below the 0 vertices"),
        ],
    )
    def test_refuses_what_is_no_mesh(self, vertices: Any, faces: Any, problem: str) -> None:
        with pytest.raises(ArgumentError, match=problem):
            Mesh(vertices, faces)

    @given(st.lists(meshes(), max_size=5))
    def test_concatenate_is_a_plain_shift(self, parts: list[Mesh]) -> None:
        merged = Mesh.concatenate(parts)
        expected: list[list[list[float]]] = [corner.tolist() for part in parts for corner in corners_of(part)]
        assert corners_of(merged).tolist() == expected
        assert len(merged.vertices) == sum(len(part.vertices) for part in parts)  # nothing is fused

    def test_concatenate_owns_its_arrays(self) -> None:
        merged = Mesh.concatenate([decode_fragment(encode_fragment(TRIANGLE), "here")])
        merged.vertices[:] = 5
        assert merged != TRIANGLE
        assert TRIANGLE.vertices[1, 0] == 8

    def test_more_vertices_than_an_index_can_count(self) -> None:
        # Vertices that share twelve bytes of memory; true ones would take 24 and 48 GiB.
        one, half, whole = (Mesh([[0, 0, 0]], []) for _ in range(3))
        object.__setattr__(half, "vertices", np.broadcast_to(one.vertices, (2**31, 3)))
        object.__setattr__(whole, "vertices", np.broadcast_to(one.vertices, (2**32, 3)))
        with pytest.raises(MeshError, match=r"at most 2\*\*32 vertices in a mesh, found 4294967297 in 3"):
            Mesh.concatenate([half, half, one])
        with pytest.raises(MeshError, match="fewer than"):
            encode_fragment(whole)

    def test_pickles(self) -> None:
        assert pickle.loads(pickle.dumps(SQUARE)) == SQUARE
        assert SQUARE != TRIANGLE


class TestFormat:
    def test_golden_bytes(self) -> None:
        data = struct.pack("<I9f3I", 3, 0, 0, 0, 8, 0, 0, 0, 8, 0.5, 0, 1, 2)
        assert encode_fragment(TRIANGLE) == data
        assert decode_fragment(data, "here") == TRIANGLE
        assert decode_fragment(memoryview(bytearray(data)), "here") == TRIANGLE
        assert encode_manifest(["5:0:a", "ü"]) == b'{"fragments":["5:0:a","\xc3\xbc"]}'

    @given(meshes())
    def test_round_trip(self, mesh: Mesh) -> None:
        assert decode_fragment(encode_fragment(mesh), "here") == mesh

    def test_empty_fragment(self) -> None:
        mesh = decode_fragment(bytes(4), "here")
        assert (mesh.vertices.shape, mesh.faces.shape) == ((0, 3), (0, 3))

    def test_damage_at_every_byte_is_found_or_harmless(self) -> None:
        data = encode_fragment(SQUARE)
        refused = 0
        for place in range(len(data)):
            for value in range(256):
                damaged = data[:place] + bytes([value]) + data[place + 1 :]
                try:
                    mesh = decode_fragment(damaged, "here")
                except MeshError:
                    refused += 1
                    continue
                assert np.isfinite(mesh.vertices).all()
                assert mesh.faces.size == 0 or mesh.faces.max() < len(mesh.vertices)
                assert encode_fragment(mesh) == damaged
        assert refused > 6 * 4 * 250  # all but the valid indices, for the 6 face corners of 4 bytes at least

    def test_every_truncation_and_growth(self) -> None:
        data = encode_fragment(SQUARE)
        whole_faces = {len(data) - 12 * removed for removed in range(3)}  # a shorter, valid fragment
        for size in set(range(len(data))) - whole_faces:
            with pytest.raises(MeshError, match=f"found {size} bytes"):
                decode_fragment(data[:size], "here")
        for extra in range(1, 12):
            with pytest.raises(MeshError, match="truncated or damaged"):
                decode_fragment(data + bytes(extra), "here")

    def test_claimed_counts_allocate_nothing(self) -> None:
        with pytest.raises(MeshError, match="4294967295 vertices"):
            decode_fragment(b"\xff" * 16, "here")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"\xff\xfe{}",
            b"[]",
            b"null",
            b"{}",
            b'{"fragments": "5:0:a"}',
            b'{"fragments": {"5:0:a": 1}}',
            b'{"fragments": ["5:0:a", 7]}',
            b'{"fragments": [null]}',
            b"[" * 100_000,
        ],
    )
    def test_damaged_manifests(self, data: bytes) -> None:
        with pytest.raises(MeshError, match=r"^here: "):
            decode_manifest(data, "here")

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "..\\x",
            "C:\\x",
            "a\0",
            ".hidden",
            "a/../../b",
            "\ud800",
        ],
    )
    def test_names_that_leave_the_folder(self, name: str) -> None:
        with pytest.raises(MeshError, match=r"^here: expected names of files in the mesh folder"):
            decode_manifest(json.dumps({"fragments": ["fine", name]}).encode(), "here")
        with pytest.raises(MeshError, match="mesh folder"):
            encode_manifest([name])

    @given(st.lists(st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1)))
    def test_manifest_round_trip(self, names: list[str]) -> None:
        names = [f"5:0:{name}" for name in names]
        assert decode_manifest(encode_manifest(names), "here") == names


class TestGet:
    @given(
        st.dictionaries(st.integers(0, 2**64 - 1), st.lists(meshes(), max_size=3), min_size=1, max_size=4),
        st.integers(1, 3),
    )
    def test_merges_like_numpy(self, segments: dict[int, list[Mesh]], workers: int) -> None:
        _, mesh = layer(segments, workers=workers)
        expected = {
            segid: [corner.tolist() for part in parts for corner in corners_of(part)]
            for segid, parts in segments.items()
        }
        merged = mesh.get(list(segments))
        assert corners_of(merged).tolist() == [corner for corners in expected.values() for corner in corners]
        assert merged.segid == (next(iter(segments)) if len(segments) == 1 else None)
        apart = mesh.get(segments, fuse=False)
        assert {segid: corners_of(part).tolist() for segid, part in apart.items()} == expected
        assert all(part.segid == segid for segid, part in apart.items())

    @pytest.mark.parametrize("folder", ["mesh", "", "a/b_err_40"])
    def test_folders(self, folder: str) -> None:
        _, mesh = layer({5: [TRIANGLE]}, folder)
        assert mesh.get(5) == TRIANGLE

    def test_kinds_of_ids(self) -> None:
        _, mesh = layer({5: [TRIANGLE], 2**64 - 1: [SQUARE]})
        for one in (
            5,
            np.uint8(5),
            np.int64(5),
            np.array(5),
            [5],
            (5,),
            {5},
            np.array([5]),
            iter([5]),
            [5, 5],
        ):
            assert mesh.get(one) == TRIANGLE
        assert mesh.get(np.uint64(2**64 - 1)) == SQUARE
        assert len(mesh.get(np.array([5, 2**64 - 1], np.uint64)).vertices) == 7

    @pytest.mark.parametrize(
        "bad",
        [-1, 2**64, True, False, 5.0, "5", b"5", None, [5, -1], [5.0], ["5"], [True], [[5]], np.array([0.5])],
    )
    def test_what_is_no_id(self, bad: Any) -> None:
        _, mesh = layer({5: [TRIANGLE]})
        with pytest.raises(ArgumentError, match="segids: expected integers from 0"):
            mesh.get(bad)

    @pytest.mark.parametrize("none", [[], (), np.array([], np.uint64)])
    def test_no_ids(self, none: Any) -> None:
        with pytest.raises(ArgumentError, match="at least one segment id"):
            layer()[1].get(none)

    def test_compressed_objects(self) -> None:
        store, mesh = layer({5: [TRIANGLE]})
        for key in list(store.list("")):
            blob = store.get(key)
            assert blob is not None
            store.put(key, Blob(Gzip().compress(blob.data), "gzip"))
        assert mesh.get(5) == TRIANGLE

    def test_manifest_that_lists_itself(self) -> None:
        store, mesh = layer({5: [TRIANGLE]})
        store.put("mesh/5:0", Blob(encode_manifest(["5:0", "5:0:0"])))
        assert mesh.get(5) == TRIANGLE

    def test_no_fragments_is_an_empty_mesh(self) -> None:
        _, mesh = layer({5: []})
        assert mesh.get(5) == Mesh([], [])

    def test_absent_manifest_and_fragment(self) -> None:
        store, mesh = layer({5: [TRIANGLE, SQUARE]}, workers=2)
        with pytest.raises(MeshError, match=r"segment 6: there is no manifest mesh/6:0"):
            mesh.get([5, 6])
        store.delete(["mesh/5:0:1"])
        with pytest.raises(MeshError, match=r"segment 5: mesh/5:0:1: the manifest 5:0 lists this fragment"):
            mesh.get(5)

    @pytest.mark.parametrize("workers", [1, 4])
    @pytest.mark.parametrize(
        ("key", "blob"),
        [
            ("mesh/5:0", Blob(b"no json")),
            ("mesh/5:0", Blob(b"\x1f\x8b no gzip", "gzip")),
            ("mesh/5:0:1", Blob(encode_fragment(SQUARE)[:-1])),
            ("mesh/5:0:1", Blob(encode_fragment(SQUARE)[:-4] + b"\xff\0\0\0")),
            ("mesh/5:0:1", Blob(b"no gzip", "gzip")),
        ],
    )
    def test_damage_names_segment_and_key(self, key: str, blob: Blob, workers: int) -> None:
        store, mesh = layer({4: [TRIANGLE], 5: [TRIANGLE, SQUARE]}, workers=workers)
        store.put(key, blob)
        with pytest.raises(MeshError, match=f"^segment 5: {key}: ") as caught:
            mesh.get([4, 5])
        if blob.content_encoding or key.endswith(":0"):
            assert caught.value.__cause__ is not None

    def test_a_bomb_is_an_error(self) -> None:
        store, mesh = layer({5: [TRIANGLE]})
        store.put("mesh/5:0:0", Blob(Gzip().compress(bytes(2**26)), "gzip"))
        with pytest.raises(MeshError, match=r"segment 5: mesh/5:0:0: .* at most"):
            mesh.get(5)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_failing_store_surfaces(self, workers: int) -> None:
        class Failing(MemoryStore):
            def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
                if key.endswith(":0:1"):
                    raise StoreError(f"{key}: the network is down")
                return super().get(key, byte_range)

        store = Failing()
        put(store, 5, {f"5:0:{i}": encode_fragment(TRIANGLE) for i in range(9)})
        with pytest.raises(StoreError, match="mesh/5:0:1: the network is down"):
            Meshes(Objects(store, REGISTRY.compressor), "mesh", REGISTRY, workers).get(5)

    def test_no_mesh_folder(self) -> None:
        _, mesh = layer(folder=None)
        with pytest.raises(MeshError, match="no mesh folder"):
            mesh.get(5)


class Counting(MemoryStore):
    """Remembers which keys were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        self.asked.append(key)
        return super().get(key, byte_range)


class TestMultiResolution:
    def meshes(self, info: bytes | None) -> tuple[Counting, Meshes]:
        store = Counting()
        put(store, 5, {"5:0:0": encode_fragment(TRIANGLE)})
        if info is not None:
            store.put("mesh/info", Blob(info))
        return store, Meshes(Objects(store, REGISTRY.compressor), "mesh", REGISTRY, 2)

    def test_says_that_they_are_not_read(self) -> None:
        _, mesh = self.meshes(b'{"@type": "neuroglancer_multilod_draco"}')
        with pytest.raises(UnsupportedError, match="multi-resolution meshes are not read by this version"):
            mesh.get(6)
        assert mesh.get(5) == TRIANGLE  # a legacy manifest beside them is read

    @pytest.mark.parametrize(
        "info", [None, b'{"@type": "neuroglancer_legacy_mesh"}', b"{}", b"[]", b"damaged"]
    )
    def test_anything_else_is_an_absent_manifest(self, info: bytes | None) -> None:
        _, mesh = self.meshes(info)
        with pytest.raises(MeshError, match="segment 6: there is no manifest mesh/6:0"):
            mesh.get(6)

    def test_info_is_read_once_and_only_when_needed(self) -> None:
        store, mesh = self.meshes(b"{}")
        mesh.get(5)
        assert "mesh/info" not in store.asked
        for _ in range(3):
            with pytest.raises(MeshError):
                mesh.get([6, 7, 8])
        assert store.asked.count("mesh/info") == 1


class TestSave:
    @pytest.fixture(autouse=True)
    def _in_empty_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def expected(self, *parts: Mesh, segid: int | None = None) -> bytes:
        return ObjExporter().export(Mesh.concatenate(parts, segid))

    def test_default_names(self) -> None:
        _, mesh = layer({5: [TRIANGLE], 7: [SQUARE], 3: [TRIANGLE]})
        assert mesh.save(5) == "./5.obj"
        assert Path("5.obj").read_bytes() == self.expected(TRIANGLE, segid=5)
        assert mesh.save([7]) == "./7.obj"
        assert mesh.save(np.array([7, 5, 3])) == "./7_3.obj"
        assert Path("7_3.obj").read_bytes() == self.expected(SQUARE, TRIANGLE, TRIANGLE)
        assert sorted(os.listdir()) == ["5.obj", "7.obj", "7_3.obj"]

    def test_paths(self, tmp_path: Path) -> None:
        _, mesh = layer({5: [TRIANGLE], 7: [SQUARE]})
        folder = tmp_path / "sub"
        folder.mkdir()
        cases: list[tuple[str | Path, str]] = [
            ("name", "name"),
            ("name.obj", "name"),
            ("sub/x.v2", "sub/x.v2"),
            (folder / "y", str(folder / "y")),
        ]
        for filepath, expected in cases:
            assert mesh.save([5, 7], filepath) == f"{expected}.obj"
            assert Path(f"{expected}.obj").read_bytes() == self.expected(TRIANGLE, SQUARE)
        assert mesh.save(5, filepath="UPPER.OBJ") == "UPPER.OBJ"
        assert mesh.save([5, 7], folder) == str(folder / "5_7.obj")
        assert mesh.save(5, "sub/") == "sub/5.obj"

    def test_replaces_a_file_and_keeps_the_umask(self) -> None:
        _, mesh = layer({5: [TRIANGLE]})
        Path("5.obj").write_bytes(b"old" * 1000)
        Path("plain").touch()
        mesh.save(5)
        assert Path("5.obj").read_bytes() == self.expected(TRIANGLE, segid=5)
        assert Path("5.obj").stat().st_mode == Path("plain").stat().st_mode

    @pytest.mark.parametrize("filepath", ["absent/x.obj", "absent/", "file/x", 5, "nul\0", "", b""])
    def test_impossible_paths(self, filepath: Any) -> None:
        _, mesh = layer({5: [TRIANGLE]})
        Path("file").touch()
        with pytest.raises((ArgumentError, StoreError)):
            mesh.save(5, filepath)
        assert os.listdir() == ["file"]

    @pytest.mark.parametrize("segids", [6, [5, 6], [5, 8], []])
    def test_errors_leave_nothing_behind(self, segids: int | list[int]) -> None:
        store, mesh = layer({5: [TRIANGLE], 8: [TRIANGLE, SQUARE]})
        store.put("mesh/8:0:1", Blob(b"damaged"))
        Path("5_6.obj").write_bytes(b"older")
        with pytest.raises((MeshError, ArgumentError)):
            mesh.save(segids)
        assert os.listdir() == ["5_6.obj"]
        assert Path("5_6.obj").read_bytes() == b"older"

    def test_a_failing_write_leaves_nothing_behind(self) -> None:
        _, mesh = layer({5: [TRIANGLE]})
        Path("5.obj").mkdir()  # cannot be replaced by a file
        with pytest.raises(StoreError, match=r"\./5\.obj: could not write the mesh") as caught:
            mesh.save(5)
        assert isinstance(caught.value.__cause__, OSError)
        assert os.listdir() == ["5.obj"]

    def test_unknown_format_lists_the_known_and_fetches_nothing(self) -> None:
        _, mesh = layer()
        with pytest.raises(UnknownEncodingError, match="obj"):
            mesh.save(5, file_format="ply")

    @pytest.mark.parametrize("file_format", [None, 5, b"obj"])
    def test_what_names_no_format(self, file_format: Any) -> None:
        _, mesh = layer()
        with pytest.raises(ArgumentError, match=r"^file_format: expected the name of a format"):
            mesh.save(5, file_format=file_format)

    def test_exporter_plugins(self) -> None:
        class Broken:
            def export(self, mesh: Mesh) -> bytes:
                raise ZeroDivisionError("oops")

        def build() -> Broken:
            raise ImportError("no module named draco")

        class Texts:
            def export(self, mesh: Mesh) -> str:
                return "v 1 2 3"

        def quirky() -> Broken:
            raise KeyError("quirk")

        class Plugin:
            @hookimpl
            def precomp_register_mesh_exporters(self) -> Iterable[MeshExporterPlugin]:
                return [
                    MeshExporterPlugin("broken", ".broken", Broken),
                    MeshExporterPlugin("drc", ".drc", build, "pip install draco"),
                    MeshExporterPlugin("texts", ".txt", Texts),  # type: ignore[arg-type]
                    MeshExporterPlugin("quirky", ".q", quirky),
                    MeshExporterPlugin("nothing", ".n", lambda: None),  # type: ignore[arg-type,return-value]
                ]

        _, mesh = layer({5: [TRIANGLE]})
        mesh = attrs.evolve(mesh, registry=Registry.of([Plugin()]))
        origin = r"of in-memory 0 \(entry point 'Plugin'\)"
        with pytest.raises(
            MeshError, match=rf"5\.broken: the exporter 'broken' {origin} failed \(oops\)"
        ) as caught:
            mesh.save(5, file_format="broken")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        with pytest.raises(MissingDependencyError, match="pip install draco"):
            mesh.save(5, file_format="drc")
        with pytest.raises(MeshError, match=rf"5\.txt: .*'texts' {origin} returned str, expected bytes"):
            mesh.save(5, file_format="texts")
        with pytest.raises(MeshError, match=rf"exporter 'quirky' {origin} failed with KeyError: 'quirk'"):
            mesh.save(5, file_format="quirky")
        with pytest.raises(
            MeshError, match=rf"exporter 'nothing' {origin} returned None .* expected a MeshExporter"
        ):
            mesh.save(5, file_format="nothing")
        assert os.listdir() == []

    def test_its_repr_is_short(self) -> None:
        assert repr(layer({5: [TRIANGLE]})[1]) == "Meshes(objects='', folder='mesh', workers=1)"


@pytest.mark.parametrize("fragment", ["folder", "part.gz"])
def test_a_fragment_that_no_file_can_be_names_the_segment(tmp_path: Path, fragment: str) -> None:
    info = CloudVolume.create_new_info(
        1, "segmentation", "uint64", "raw", (8, 8, 40), (0, 0, 0), (64, 64, 64), mesh="mesh"
    )
    vol = CloudVolume(f"file://{tmp_path}/ds/seg", info=info)
    vol.commit_info()
    folder = tmp_path / "ds/seg/mesh"
    (folder / "folder").mkdir(parents=True)
    (folder / "7:0").write_text(json.dumps({"fragments": [fragment]}))
    with pytest.raises(StoreError, match=f"segment 7: .*{fragment}"):
        vol.save_mesh(7, filepath=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ds"]
