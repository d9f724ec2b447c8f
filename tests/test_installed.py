"""What is installed is found as importlib.metadata finds it, which is asked only where it must be."""

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp.hookspecs import ENTRY_POINT_GROUP
from precomp.plugins import installed
from precomp.plugins.installed import Found


def make(folder: Path, name: str, points: str, version: str = "1.0") -> Path:
    """Lay out the metadata of a distribution as an installer does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "entry_points.txt").write_text(points, encoding="utf-8")
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not this one\n"
    kind = "PKG-INFO" if folder.name.lower().endswith("egg-info") else "METADATA"
    (folder / kind).write_text(text, encoding="utf-8")
    return folder


def names(found: Found | None) -> list[str]:
    return [] if found is None else [name for name, _ in found.points]


def of_path(monkeypatch: pytest.MonkeyPatch, *path: Path) -> dict[str, list[str]]:
    monkeypatch.setattr(sys, "path", [str(folder) for folder in path])
    found = [installed.read(place) for place in installed.places()]
    return {one.name: names(one) for one in found if one is not None}


def test_all_that_is_installed_here_is_found() -> None:
    found = [one for place in installed.places() if (one := installed.read(place)) is not None]
    expected = {point.name for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    assert {name for one in found for name in names(one)} == expected >= {"file", "raw", "gzip"}
    ours = next(one for one in found if one.name == "precomp")
    assert ours.version == metadata.version("precomp")
    assert dict(ours.points)["file"]() is sys.modules["precomp_plugins.file"]


SECTIONS = ["[precomp]", "[other]", "[precomp.more]", "[]"]
LINES = [
    "a = os",
    "b=os.path",
    " c = os : path.join ",
    "d = os:path [x, y]",
    "e = json [extra]",
    "f.g-h = os",
]
ODD = ["# no = os", "", "i = os:", "j = no such", "= os"]


@given(st.lists(st.sampled_from(SECTIONS + LINES + ODD), max_size=8))
def test_entry_points_are_read_as_importlib_reads_them(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    folder = make(tmp_path_factory.mktemp("site") / "mine-1.0.dist-info", "mine", "\n".join(lines))
    theirs = metadata.PathDistribution(folder)
    expected = [(point.name, point) for point in theirs.entry_points.select(group=ENTRY_POINT_GROUP)]
    found = installed.read(str(folder))
    assert names(found) == [name for name, _ in expected]
    for (_, load), (_, point) in zip(found.points if found else (), expected, strict=True):
        try:
            loaded = point.load()
        except Exception as error:  # noqa: BLE001
            with pytest.raises(type(error)):
                load()
        else:
            assert load() is loaded


def test_every_form_of_metadata_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[precomp]\nos = os\n"
    make(tmp_path / "site" / "One-1.0.dist-info", "One", text)
    make(tmp_path / "site" / "two.egg-info", "two", text)
    make(tmp_path / "three.egg" / "EGG-INFO", "three", text)
    (tmp_path / "site" / "four.egg-info").write_text("Name: four\n")
    (tmp_path / "no folder").write_bytes(b"neither is it a zip file")
    with zipfile.ZipFile(tmp_path / "five.zip", "w") as archive:
        archive.writestr("five-1.0.dist-info/METADATA", "Name: five\nVersion: 1.0\n")
        archive.writestr("five-1.0.dist-info/entry_points.txt", text)
    path = [tmp_path / name for name in ("site", "three.egg", "absent", "no folder", "five.zip")]
    assert of_path(monkeypatch, *path) == {name: ["os"] for name in ("One", "two", "three", "five")}


def test_a_finder_of_somebodys_own_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = metadata.PathDistribution(make(tmp_path / "x-1.dist-info", "hidden", "[precomp]\nos = os\n"))

    class Finder(metadata.DistributionFinder):
        def find_distributions(self, context: object = None) -> list[metadata.Distribution]:
            return [made]

        def find_spec(self, *_: object, **__: object) -> None:
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert of_path(monkeypatch, tmp_path / "nothing") == {"hidden": ["os"]}


def test_importlib_metadata_is_not_imported() -> None:
    """It takes longer than all plugins; and this test would not notice if something else imported it."""
    code = "import sys, precomp.plugins as p; p.load(); print('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
