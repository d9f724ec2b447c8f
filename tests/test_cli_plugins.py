"""`precomp plugins`: every plugin with its state, as a table and as JSON, without importing an SDK."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from precomp.cli import main
from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.plugins import Registry

DISTRIBUTIONS = Path(__file__).parent / "distributions"
FOLDERS = ("alpha", "beta", "raising", "absent_import", "misspelt", "lacking", "no_metadata")
SDKS = {"jpeg": "simplejpeg", "br": "brotli", "zstd": "zstandard"}


def printed(*arguments: str, disabled: str = "npz", problem: str = "") -> str:
    """What the command prints in a fresh interpreter that finds the distributions, `npz` being blocked."""
    path = os.pathsep.join(str(DISTRIBUTIONS / folder) for folder in FOLDERS)
    code = f"from precomp.cli import main; raise SystemExit(main({list(arguments)!r}))"
    environment = {**os.environ, "PYTHONPATH": path, "PRECOMP_DISABLE_PLUGINS": disabled}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, problem)
    return done.stdout


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(printed("plugins", "--json"))
    return found


def states(rows: list[dict[str, str]], kind: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Name and distribution to state and reason."""
    return {
        (row["name"], row["distribution"]): (row["state"], row["reason"])
        for row in rows
        if row["kind"] == kind and row["distribution"] != "precomp"
    }


def test_plugins_that_provide_nothing_say_why(rows: list[dict[str, str]]) -> None:
    assert states(rows, "plugin") == {
        ("raising", "raising"): (
            "failed",
            "precomp_register_compressors: expected an iterable of CompressorPlugin, "
            "found RuntimeError: the hook is out of order",
        ),
        ("absent", "absent-import"): (
            "failed",
            "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        ),
        ("misspelt", "misspelt"): (
            "failed",
            "unknown hook 'precomp_register_codec' (did you mean 'precomp_register_codecs'?); the hooks are "
            "precomp_register_protocols, precomp_register_codecs, precomp_register_compressors, "
            "precomp_register_mesh_exporters",
        ),
        ("?", str(DISTRIBUTIONS / "no_metadata")): (
            "failed",
            "its metadata cannot be read: ValueError: METADATA has no Name",
        ),
    }
    (blocked,) = [row for row in rows if row["state"] == "blocked"]
    assert blocked == {
        "kind": "plugin",
        "name": "npz",
        "entry_point": "npz",
        "distribution": "precomp",
        "version": blocked["version"],
        "state": "blocked",
        "reason": "disabled by the environment variable PRECOMP_DISABLE_PLUGINS",
    }


def test_a_disabled_plugin_that_is_not_there_is_told(rows: list[dict[str, str]]) -> None:
    problem = (
        "PRECOMP_DISABLE_PLUGINS: no plugin is called 'npzz' (did you mean 'npz'?); `precomp plugins` lists "
        "what is installed\n"
    )
    found = json.loads(printed("plugins", "--json", disabled="npz, npzz,", problem=problem))
    assert found == rows


def test_rivals_name_each_other(rows: list[dict[str, str]]) -> None:
    assert states(rows, "protocol") == {
        ("ftp", "alpha"): (
            "conflicting",
            "protocol 'ftp' is also claimed by beta_ftp 2.0 (entry point 'beta')",
        ),
        ("ftp", "beta_ftp"): (
            "conflicting",
            "protocol 'ftp' is also claimed by alpha 1.0 (entry point 'ftp')",
        ),
    }


def test_each_name_has_a_state_of_its_own(rows: list[dict[str, str]]) -> None:
    """What a plugin provides beside a contested name, or one that lacks its SDK, is served all the same."""
    assert states(rows, "encoding") == {
        ("alpha", "alpha"): ("loaded", ""),
        ("hologram", "lacking"): (
            "SDK missing",
            "no module a_package_that_nobody_has.part; pip install 'lacking[holograms]'",
        ),
        ("plain", "lacking"): ("loaded", ""),
    }


def test_what_ships_is_loaded(rows: list[dict[str, str]]) -> None:
    shipped = {(row["kind"], row["name"]): row for row in rows if row["distribution"] == "precomp"}
    assert {row["state"] for row in shipped.values()} == {"loaded", "blocked"}
    assert {("protocol", "file"), ("encoding", "raw"), ("compressor", "zstd"), ("exporter", "obj")} <= set(
        shipped
    )
    assert ("encoding", "npz_uint8") not in shipped


def test_the_table_says_the_same(rows: list[dict[str, str]]) -> None:
    head, *lines = printed("plugins").splitlines()
    assert head.split() == ["KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "REASON"]
    assert len(lines) == len(rows)
    state, reason = head.index("STATE"), head.index("REASON")
    for line, row in zip(lines, rows, strict=True):
        names = [row["kind"], row["name"], row["distribution"], row["version"]]
        assert line[:state].split() == names
        assert line[state:reason].strip() == row["state"]
        alias = "" if row["entry_point"] == row["name"] else f"entry point {row['entry_point']!r}"
        assert line[reason:] == (row["reason"] or alias)


@pytest.mark.parametrize(("name", "module"), SDKS.items())
def test_a_shipped_plugin_without_its_sdk(
    name: str, module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["plugins", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[name]["state"] == "SDK missing"
    extra = "jpeg" if name == "jpeg" else "compress"
    assert rows[name]["reason"] == f"no module {module}; pip install 'precomp[{extra}]'"
    others = {
        row["state"] for other, row in rows.items() if other != name and row["distribution"] == "precomp"
    }
    assert others == {"loaded"}


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_no_sdk_is_imported(option: list[str]) -> None:
    code = f"""
import json, sys
from precomp.cli import main
main({["plugins", *option]})
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {*SDKS.values(), "PIL", "tqdm", "numpy.testing"} & set(
        json.loads(done.stdout.splitlines()[-1])
    )


@pytest.mark.parametrize("requires", ["boto3", None, 3, [b"boto3"]])
def test_what_a_plugin_requires_is_checked(requires: Any) -> None:
    plugin = ModuleType("odd")
    declared = CodecPlugin("odd", lambda info, scale: None, requires=requires)  # type: ignore[arg-type,return-value]
    plugin.precomp_register_codecs = hookimpl(lambda: [declared])  # type: ignore[attr-defined]
    (found,) = Registry.of([plugin]).plugins
    assert found.state == "failed"
    assert found.detail.endswith("'odd': expected a tuple of module names as 'requires'")
