"""`precomp demo`: what it writes is there, right and of use, and what goes wrong is said."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from precomp import CloudVolume
from precomp.cli import main
from precomp.cli.demo import layers
from precomp.cli.demo.surface import surface
from precomp.cli.demo.tissue import make_tissue
from precomp.errors import StoreError
from precomp.mesh.legacy import encode_fragment
from precomp.mesh.model import Mesh

SIZE = (100, 90, 33)
SIZE_ARGUMENTS = ["--size", *map(str, SIZE)]


def demo(folder: Path) -> int:
    return main(["demo", str(folder), *SIZE_ARGUMENTS])


def test_both_volumes_hold_the_tissue_in_all_mips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "with space"
    assert demo(folder) == 0
    image, labels = make_tissue(SIZE)
    for name, voxels, layer_type in (("image", image, "image"), ("segmentation", labels, "segmentation")):
        vol = CloudVolume(f"file://{folder}/{name}")
        assert (vol.layer_type, vol.dtype, vol.available_mips) == (layer_type, voxels.dtype.name, [0, 1, 2])
        assert np.array_equal(vol[...][..., 0], voxels)
        vol.mip = 2
        assert tuple(vol.volume_size) == (25, 23, 33)
        assert len(np.unique(vol[...])) > 5
    output = capsys.readouterr().out
    assert output.count("every voxel came back") == 2
    assert len(re.findall(r"wrote \d+ MB/s, read \d+ MB/s", output)) == 2


def test_tensorstore_reads_the_same(tmp_path: Path) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    assert demo(tmp_path) == 0
    store = {"driver": "file", "path": f"{tmp_path}/segmentation"}
    opened = tensorstore.open({"driver": "neuroglancer_precomputed", "kvstore": store}).result()
    assert np.array_equal(opened.read().result()[..., 0], make_tissue(SIZE)[1])


def test_the_picture_shows_image_and_segments_side_by_side(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    assert demo(tmp_path) == 0
    with image_module.open(tmp_path / "picture" / "00000.png") as file:
        pixels = np.asarray(file)
    assert pixels.shape == (90, 200, 3)
    image, labels = make_tissue(SIZE)
    assert np.array_equal(pixels[:, :100, 1], image[:, :, 16].T)
    assert np.array_equal(pixels[:, 100:].any(axis=2), labels[:, :, 16].T != 0)


def test_the_meshes_lie_around_their_segments(tmp_path: Path) -> None:
    assert demo(tmp_path) == 0
    vol = CloudVolume(f"file://{tmp_path}/segmentation")
    manifests = [
        path.name for path in (tmp_path / "segmentation" / "mesh").glob("*:0") if path.name.count(":") == 1
    ]
    assert len(manifests) == 3
    for name in manifests:
        segid = int(name.split(":")[0])
        inside = np.argwhere(vol[...][..., 0] == segid) * vol.resolution
        mesh = vol.mesh.get(segid)
        margin = 2 * np.asarray(vol.mip_resolution(2))
        assert np.all(abs(mesh.vertices.min(axis=0) - inside.min(axis=0)) <= margin)
        assert np.all(abs(mesh.vertices.max(axis=0) - inside.max(axis=0)) <= margin)


def test_what_it_says_to_paste_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path / "it's here") == 0
    output = capsys.readouterr().out
    code = "\n".join(
        line.strip() for line in output.partition("paste this")[2].partition("or this")[0].splitlines()[1:]
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (tmp_path / "saved_images").is_dir()
    assert len(list(tmp_path.glob("*.obj"))) == 1
    assert "mip=1" in run.stdout
    compile((tmp_path / "it's here" / "serve.py").read_text(), "serve.py", "exec")


def test_a_second_demo_replaces_the_first(tmp_path: Path) -> None:
    assert demo(tmp_path) == 0
    assert main(["demo", str(tmp_path), "--size", "40", "40", "32"]) == 0
    chunks = [path.name for path in (tmp_path / "image" / "8_8_40").iterdir()]
    assert chunks == ["0-40_0-40_0-32"]


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "thesis").write_text("years of work")
    assert demo(tmp_path) == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert (tmp_path / "image" / "thesis").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_a_file_in_the_way_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "demo").write_text("")
    assert demo(tmp_path / "demo") == 1
    assert "could not be written" in capsys.readouterr().err


def test_too_small_a_size_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / "demo"), "--size", "100", "100", "31"]) == 1
    assert "--size" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_changed_voxel_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disk(CloudVolume):
        """Spoils one voxel of mip 1 in what was stored, before the demo opens it to read."""

        def __init__(self, cloudpath: str, info: dict[str, object] | None = None, **others: object) -> None:
            if info is None:
                chunk = next(Path(cloudpath.removeprefix("file://"), "16_16_40").iterdir())
                stored = bytearray(chunk.read_bytes())
                stored[7] ^= 1
                chunk.write_bytes(stored)
            super().__init__(cloudpath, info=info, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(layers, "CloudVolume", Disk)
    assert demo(tmp_path) == 1
    message = capsys.readouterr().err
    assert "image mip 1: 1 of" in message
    assert "(7, 0, 0, 0)" in message


def test_without_pillow_it_goes_on_and_names_the_install_line(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["PIL"] = sys.modules["tqdm"] = sys.modules["simplejpeg"] = None
from precomp.cli import main
sys.exit(main(["demo", {str(tmp_path)!r}, *{SIZE_ARGUMENTS}]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'precomp[images]'" in run.stdout
    assert "Next, paste" in run.stdout
    assert run.stderr == ""


def test_tissue_is_the_same_each_time_and_different_for_each_seed() -> None:
    image, labels = make_tissue((64, 48, 32), seed=3)
    again, labels_again = make_tissue((64, 48, 32), seed=3)
    other, _ = make_tissue((64, 48, 32), seed=4)
    assert np.array_equal(image, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(image, other)
    assert image.shape == labels.shape == (64, 48, 32)
    assert image.flags.f_contiguous
    assert labels.flags.f_contiguous


def test_membranes_are_dark_and_segments_run_on_from_section_to_section() -> None:
    image, labels = make_tissue((128, 128, 40))
    assert image[labels == 0].mean() < image[labels != 0].mean() - 50
    assert 0.05 < (labels == 0).mean() < 0.25
    assert (labels[:, :, 1:] == labels[:, :, :-1]).mean() > 0.8


def test_a_surface_is_closed_faces_outward_and_encloses_the_volume() -> None:
    x, y, z = np.mgrid[-10:11, -10:11, -10:11]
    ball = x**2 + y**2 + z**2 < 81
    mesh = surface(ball, (2, 3, 4), (5, 0, -5), 1)
    assert _enclosed(mesh) == pytest.approx(ball.sum() * 24, rel=0.03)
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]).tolist()
    directed = {tuple(edge) for edge in edges}
    assert len(directed) == len(edges)
    assert directed == {(b, a) for a, b in directed}
    # The ball fills voxels 2 to 18 (3 to 19 as edges) of the array.
    assert mesh.vertices.min(axis=0).tolist() == [14, 6, -12]
    assert mesh.vertices.max(axis=0).tolist() == [48, 57, 56]


def test_a_surface_is_closed_where_the_segment_leaves_the_array() -> None:
    mesh = surface(np.ones((6, 5, 4), bool), (1, 1, 1), (0, 0, 0), 1)
    assert _enclosed(mesh) == pytest.approx(120, rel=0.15)  # edges are cut off
    assert mesh.vertices.min(axis=0).tolist() == [0, 0, 0]
    assert mesh.vertices.max(axis=0).tolist() == [6, 5, 4]


def test_a_changed_mesh_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trip = layers.round_trip(f"file://{tmp_path}/segmentation", make_tissue((40, 40, 32))[1])
    monkeypatch.setattr(
        layers, "encode_fragment", lambda mesh: encode_fragment(Mesh(mesh.vertices + 1, mesh.faces))
    )
    with pytest.raises(StoreError, match="came back changed"):
        layers.round_trip_meshes(trip.volume, tmp_path / "segmentation" / "mesh")


def _enclosed(mesh: Mesh) -> float:
    a, b, c = mesh.vertices.astype(np.float64)[mesh.faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)
