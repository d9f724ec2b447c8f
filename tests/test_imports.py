"""The import rule holds, and importing precomp with all its plugins imports no optional package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from imports import find_cycle, imports_of, modules_in, violations

ROOT = Path(__file__).parent.parent
KNOWN = {**modules_in(ROOT / "precomp"), **modules_in(ROOT / "precomp_plugins")}
GRAPH = {name: imports_of(name, path.read_text(encoding="utf-8"), KNOWN) for name, path in KNOWN.items()}

OPTIONAL = [
    "boto3",
    "botocore",
    "google",
    "google.cloud",
    "urllib3",
    "requests",
    "intern",
    "blosc",
    "dask",
    "PIL",
    "simplejpeg",
    "imagecodecs",
    "compressed_segmentation",
    "compresso",
    "crackle",
    "fpzip",
    "zfpy",
    "brotli",
    "zstandard",
]
OPTIONAL += ["tqdm", "tensorstore", "hypothesis", "pytest"]


def test_each_module_imports_only_what_stands_above_it() -> None:
    assert violations(GRAPH) == []


def test_nothing_is_imported_in_a_circle() -> None:
    assert find_cycle(GRAPH) == []


def test_the_reader_sees_the_imports_that_are_there() -> None:
    assert "precomp.engine.read" in GRAPH["precomp.volume.scale_io"]
    assert "precomp.volume" in GRAPH["precomp.factory.volumes"]
    assert "precomp_plugins._file.store" in GRAPH["precomp_plugins.file"]


@pytest.mark.parametrize(
    ("name", "source", "imported"),
    [
        ("precomp.engine.read", "from precomp.plugins import load", "precomp.plugins"),
        ("precomp.engine.read", "from precomp import plugins", "precomp.plugins"),
        ("precomp.engine.read", "def f():\n    import precomp.volume.facade", "precomp.volume.facade"),
        ("precomp.engine.read", "from ..volume import voxels", "precomp.volume.voxels"),
        ("precomp.plugins.registry", "from precomp.engine import objects", "precomp.engine.objects"),
        ("precomp.imaging", "import precomp.cutout", "precomp.cutout"),
        ("precomp.mesh.model", "from precomp.mesh.legacy import decode_fragment", "precomp.mesh.legacy"),
        ("precomp.info", "from precomp.provenance import Provenance", "precomp.provenance"),
        ("precomp.cli", "import precomp_plugins.file", "precomp_plugins.file"),
        ("precomp.volume", "from precomp import CloudVolume", "precomp"),
        ("precomp_plugins.file", "from precomp.engine.update import update", "precomp.engine.update"),
        ("precomp_plugins.file", "from precomp.progress import Tick", "precomp.progress"),
    ],
)
def test_the_rule_finds_a_planted_violation(name: str, source: str, imported: str) -> None:
    found = imports_of(name, source, KNOWN)
    assert imported in found
    assert f"{name} may not import {imported}" in violations({name: found})


def test_imports_for_typing_do_not_count() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import precomp.volume\n"
    assert imports_of("precomp.engine.read", source, KNOWN) == set()
    source += "else:\n    import precomp.volume\n"
    assert imports_of("precomp.engine.read", source, KNOWN) == {"precomp.volume"}


def test_a_module_without_a_line_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"precomp\.unheard_of"):
        violations({"precomp.unheard_of": {"precomp.errors"}})


def test_a_planted_circle_is_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_importing_precomp_and_loading_plugins_imports_nothing_optional() -> None:
    script = """
import json, sys
before = set(sys.modules)
import precomp, precomp.plugins
registry = precomp.plugins.load(disable=[])
states = {plugin.entry: plugin.state for plugin in registry.plugins if plugin.distribution == "precomp"}
print(json.dumps([states, sorted(set(sys.modules) - before)]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    states, loaded = json.loads(run.stdout)
    assert set(states.values()) == {"loaded"}
    assert {"file", "mem", "raw", "jpeg", "npz", "gzip", "br", "zstd", "obj"} <= set(states)
    assert [name for name in OPTIONAL if name in loaded] == []
