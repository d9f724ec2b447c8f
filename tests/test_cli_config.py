"""`precomp config check`: what it shows, what it hides, and with which exit code it leaves."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from precomp import VolumeFactory
from precomp.cli import main
from precomp.plugins import load

GOOD = """
[defaults]
parallel = 2

[protocols.file]
fsync = true

[volumes.em]
cloudpath = "./data/em"
mip = [16, 16, 40]

[volumes.em.create]
num_channels = 1
layer_type = "image"
data_type = "uint8"
encoding = "raw"
resolution = [8, 8, 40]
voxel_offset = [0, 0, 0]
volume_size = [20, 20, 10]

[volumes."left eye"]
like = "em"
cloudpath = "mem://${BUCKET_KEY}/left"
cdn_cache = "no-store"
create = {volume_size = [9, 9, 9]}

[volumes.plain]
cloudpath = "mem://lab/plain"
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PRECOMP_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BUCKET_KEY", "hunter2")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def config(text: str, name: str = "precomp.toml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def check(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    code = main(["config", "check", *arguments])
    return code, *capsys.readouterr()


def test_it_shows_what_every_volume_comes_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(config(GOOD), capsys=capsys)
    assert (code, err) == (0, "")
    blocks: dict[str, list[str]] = {}
    for line in out.splitlines():
        if line.startswith("  "):
            blocks[list(blocks)[-1]].append(line[2:])
        else:
            blocks[line] = []
    assert list(blocks) == ["em", "left eye", "plain", "precomp.toml is right"]
    origin = f"precomp {version('precomp')} (entry point"
    settings = [
        "bounded: true",
        "fill_missing: false",
        "autocrop: false",
        "background_color: 0",
        "non_aligned_writes: false",
        "delete_black_uploads: false",
        "progress: null",
        "compress: null",
    ]
    caching = ["cache: false", "cache_bytes: 10737418240", "cache_validate: false"]
    new = [
        "create.num_channels: 1",
        'create.layer_type: "image"',
        'create.data_type: "uint8"',
        'create.encoding: "raw"',
        "create.resolution: [8, 8, 40]",
        "create.voxel_offset: [0, 0, 0]",
    ]
    assert blocks["em"] == [
        f"cloudpath: file://{tmp_path}/work/data/em",
        f"protocol: file of {origin} 'file')",
        "mip: [16, 16, 40]",
        *settings,
        "cdn_cache: false",
        "parallel: 2",
        "lru_bytes: 0",
        *caching,
        "options.fsync: true",
        *new,
        "create.volume_size: [20, 20, 10]",
    ]
    assert blocks["left eye"] == [
        "cloudpath: mem://***/left",
        f"protocol: mem of {origin} 'mem')",
        "mip: [16, 16, 40]",
        *settings,
        'cdn_cache: "no-store"',
        "parallel: 2",
        "lru_bytes: 0",
        *caching,
        *new,
        "create.volume_size: [9, 9, 9]",
    ]
    assert blocks["plain"][-1] == "create: no"
    assert not list(Path("data").glob("*"))  # nothing is opened, and nothing made


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    file = config(GOOD)
    code, out, err = check(file, "--json", capsys=capsys)
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(VolumeFactory.from_file(file).describe()))
    found = json.loads(out)["volumes"]["left eye"]
    assert found["cloudpath"] == "mem://***/left"
    assert found["protocol"] == {
        "scheme": "mem",
        "entry": "mem",
        "distribution": "precomp",
        "version": version("precomp"),
    }
    assert "hunter2" not in out


WRONG = """
[volumes.em]
cloudpath = "mem://a/b"
fill_misng = true
mip = "${BUCKET_KEY}"

[volums]
"""
PROBLEMS = [
    "wrong.toml: volums: unknown table (did you mean 'volumes'?), expected volumes, protocols, plugins, ",
    "wrong.toml: volumes.em.fill_misng: unknown field (did you mean 'fill_missing'?), expected mip, ",
    "wrong.toml: volumes.em.mip: expected a mip such as 0, or a resolution in nm such as [8, 8, 40], got ***",
]


def same_starts(found: list[str]) -> bool:
    return [line[: len(start)] for line, start in zip(found, PROBLEMS, strict=True)] == PROBLEMS


def test_all_problems_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    file = config(WRONG, "wrong.toml")
    code, out, err = check(file, capsys=capsys)
    assert (code, out) == (1, "")
    assert same_starts(err.splitlines())
    code, out, err = check(file, "--json", capsys=capsys)
    assert (code, err) == (1, "")
    found: dict[str, Any] = json.loads(out)
    assert (found["config"], found["volumes"]) == ("wrong.toml", {})
    assert same_starts(found["problems"])


def test_what_plugins_lack_is_a_problem_too(capsys: pytest.CaptureFixture[str]) -> None:
    file = config(
        "[volumes.a]\ncloudpath = 'ftp://a/b'\n[volumes.b]\ncloudpath = 'mem://a/b'\ncompress = 'lz4'"
    )
    VolumeFactory.from_file(file)  # other volumes of the config could be opened
    code, out, err = check(file, capsys=capsys)
    assert code == 1
    assert "protocol: absent" in out
    assert "right" not in out
    assert [line for line in err.splitlines() if line.startswith("precomp.toml: ")] == [
        f"precomp.toml: volumes.a.cloudpath: unknown protocol 'ftp'; known: {', '.join(load().schemes)}",
        "precomp.toml: volumes.b.compress: unknown compressor 'lz4'; known: br, gzip, zstd",
    ]
    code, out, _ = check(file, "--json", capsys=capsys)
    found = json.loads(out)
    assert (code, len(found["problems"]), list(found["volumes"])) == (1, 2, ["a", "b"])
    assert found["volumes"]["a"]["protocol"] is None


def test_without_a_file_it_checks_the_one_that_would_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = check(capsys=capsys)
    assert (code, out) == (1, "")
    user = tmp_path / "home/.config/precomp/precomp.toml"
    assert err == f"precomp: error: there is no config file: no precomp.toml and no {user}; name one\n"
    user.parent.mkdir(parents=True)
    user.write_text("")
    assert check(capsys=capsys) == (0, f"{user} is right\n", "")
    config(GOOD)
    assert check(capsys=capsys)[1].endswith("\nprecomp.toml is right\n")
    monkeypatch.setenv("PRECOMP_CONFIG", "gone.toml")
    why = "there is no such config file; the environment variable PRECOMP_CONFIG names it"
    assert check(capsys=capsys) == (1, "", f"gone.toml: {why}\n")


def test_the_command_runs() -> None:
    config("x = ")
    done = subprocess.run(
        [sys.executable, "-m", "precomp", "config", "check", "precomp.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    why = "this is not TOML: Invalid value (at line 1, column 5); repair the file"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"precomp.toml: {why}\n")
