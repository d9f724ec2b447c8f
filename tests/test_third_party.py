"""Packages of strangers, installed by pip into an environment of their own beside precomp, at work."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from installing import Environment, project_wheel, unpacked_wheel

HERE = Path(__file__).parent
STRANGER = HERE / "packages" / "precomp-stranger"
BROKEN = ("absent_import", "misspelt", "raising", "quits", "alpha", "beta", "lacking")

CONFIG = """
[protocols.stranger]
folder = "cupboard"
timeout = 5

[volumes.retina]
cloudpath = "stranger://bucket/retina/image"

[volumes.retina.create]
num_channels = 1
layer_type = "image"
data_type = "uint16"
encoding = "delta"
resolution = [8, 8, 40]
voxel_offset = [-5, 0, 7]
volume_size = [100, 70, 30]
chunk_size = [32, 32, 16]

[volumes.attic]
like = "retina"
options = { folder = "attic" }

[volumes.plain]
cloudpath = "./plain/image"
compress = "xz"
like = "retina"
create = { data_type = "uint8", encoding = "raw", mesh = "mesh", voxel_offset = [0, 0, 0], volume_size = [64, 64, 64], chunk_size = [64, 64, 64] }
"""  # noqa: E501  TOML has inline tables on one line

HEAD = """
import json, sys, warnings
import numpy as np
from precomp import open_volume
from precomp.errors import PrecompError
warnings.simplefilter("ignore")
voxels = (np.arange(100 * 70 * 30) % 65521).astype("uint16").reshape(100, 70, 30, 1)
"""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """One environment with the stranger and with everything that is broken."""
    folder = tmp_path_factory.mktemp("environment")
    environment = Environment(folder / "venv")
    wheels = [unpacked_wheel(HERE / "distributions" / name, folder) for name in BROKEN]
    environment.install([project_wheel(STRANGER, folder), *wheels])
    return environment


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory with a config."""
    (tmp_path / "precomp.toml").write_text(CONFIG)
    return tmp_path


def script(code: str) -> str:
    return HEAD + textwrap.dedent(code)


def test_pip_installed_it_outside_of_the_repository(env: Environment) -> None:
    found = env.ask(
        """
import json, importlib.metadata, precomp_stranger
distribution = importlib.metadata.distribution("precomp-stranger")
print(json.dumps([precomp_stranger.__file__, distribution.version, distribution.read_text("INSTALLER")]))
"""
    )
    assert Path(found[0]).is_relative_to(env.folder)
    assert found[1:] == ["3.1.4", "pip\n"]


def test_a_volume_by_name(env: Environment, here: Path) -> None:
    """Written in one process, read in another; the config is found, and given."""
    write = """
    vol = open_volume("retina")
    vol[:, :, :] = voxels
    vol.non_aligned_writes = True
    vol[0:3, 1:2, 7:8] = 9
    print(json.dumps([vol.cloudpath, vol.encoding, vol.bounds.to_list()]))
    """
    found = env.ask(script(write), here)
    assert found == ["stranger://bucket/retina/image", "delta", [-5, 0, 7, 95, 70, 37]]
    assert (here / "cupboard" / "bucket.sqlite").stat().st_size > 20_000
    read = """
    vol = open_volume("retina", config=sys.argv[1] + "/precomp.toml")
    voxels[5:8, 1, 0] = 9
    part = vol[10:20, 3, 20]
    print(json.dumps([bool((vol[:, :, :] == voxels).all()), bool((part == voxels[15:25, 3:4, 13:14]).all())]))
    """
    (here / "read.py").write_text(script(read))
    done = env.run("read.py", str(here), cwd=here)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, True]


def test_a_volume_may_have_options_of_its_own(env: Environment, here: Path) -> None:
    found = env.ask(script('open_volume("attic")[:, :, :] = 1\nprint("null")'), here)
    assert found is None
    assert (here / "attic" / "bucket.sqlite").exists()
    assert not (here / "cupboard").exists()


def test_its_options_are_checked_as_its_class_says(env: Environment, here: Path) -> None:
    code = """
    from pathlib import Path
    text, found = Path("precomp.toml").read_text(), []
    for line in ("timeout = 'soon'", "fsnyc = true", "fsync = 1"):
        Path("wrong.toml").write_text(text.replace("timeout = 5", line))
        try:
            open_volume("retina", "wrong.toml")
        except PrecompError as error:
            found.append([type(error).__name__, str(error)])
    print(json.dumps(found))
    """
    expected = [
        r"wrong\.toml: protocols\.stranger\.timeout: .*'soon'",
        r"wrong\.toml: protocols\.stranger\.fsnyc: .*did you mean 'fsync'",
        r"wrong\.toml: protocols\.stranger\.fsync: .* 1",
    ]
    for (kind, text), message in zip(env.ask(script(code), here), expected, strict=True):
        assert kind == "ConfigError"
        assert re.search(message, text), text


def test_its_compression_and_mesh_format_serve_a_local_volume(env: Environment, here: Path) -> None:
    code = """
    from pathlib import Path
    from precomp import Mesh
    from precomp.mesh.legacy import encode_fragment, encode_manifest
    vol = open_volume("plain")
    vol[:, :, :] = 7
    names = sorted(path.name for path in Path("plain/image").rglob("*") if path.is_file())
    folder = Path("plain/image/mesh")
    folder.mkdir()
    mesh = Mesh([[0, 0, 0], [8, 0, 0], [0, 8.5, 0]], [[0, 1, 2]])
    (folder / "12:0").write_bytes(encode_manifest(["12:0:all"]))
    (folder / "12:0:all").write_bytes(encode_fragment(mesh))
    saved = vol.mesh.save(12, file_format="ply")
    voxel = int(open_volume("./plain/image")[3, 4, 5][0, 0, 0, 0])
    print(json.dumps([names, voxel, saved, Path(saved).read_text().splitlines()[-4:]]))
    """
    names, voxel, saved, lines = env.ask(script(code), here)
    assert names == ["0-64_0-64_0-64.xz", "info"]
    assert voxel == 7
    assert saved == "./12.ply"
    assert lines == ["0 0 0", "8 0 0", "0 8.5 0", "3 0 1 2"]


@pytest.mark.slow
def test_the_kit_passes_the_stranger(env: Environment, tmp_path: Path) -> None:
    """With its own tests, run where it is installed; the random life of a volume is among them."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error", f"--rootdir={tmp_path}"]
    done = env.run(
        "-m", "pytest", *options, str(STRANGER / "test_stranger.py"), cwd=tmp_path, TMPDIR=str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[7-9]\d passed|1\d\d passed", done.stdout), done.stdout


# --- broken ones --------------------------------------------------------------------------------------


def plugins(env: Environment) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = env.ask("from precomp.cli import main; main(['plugins', '--json'])")
    return {(row["kind"], row["name"], row["distribution"]): row for row in rows}


def test_every_plugin_is_listed_with_its_state(env: Environment) -> None:
    rows = plugins(env)
    states = {key: (row["version"], row["state"]) for key, row in rows.items() if key[2] != "precomp"}
    assert states == {
        ("protocol", "stranger", "precomp-stranger"): ("3.1.4", "loaded"),
        ("encoding", "delta", "precomp-stranger"): ("3.1.4", "loaded"),
        ("compressor", "xz", "precomp-stranger"): ("3.1.4", "loaded"),
        ("exporter", "ply", "precomp-stranger"): ("3.1.4", "loaded"),
        ("plugin", "absent", "absent-import"): ("1.1", "failed"),
        ("plugin", "misspelt", "misspelt"): ("1.4", "failed"),
        ("plugin", "raising", "raising"): ("1.5", "failed"),
        ("plugin", "quits", "quits"): ("1.3", "failed"),
        ("protocol", "ftp", "alpha"): ("1.0", "conflicting"),
        ("protocol", "ftp", "beta_ftp"): ("2.0", "conflicting"),
        ("encoding", "alpha", "alpha"): ("1.0", "loaded"),
        ("encoding", "hologram", "lacking"): ("1.7", "SDK missing"),
        ("encoding", "plain", "lacking"): ("1.7", "loaded"),
    }
    reasons = {key[1]: row["reason"] for key, row in rows.items() if key[2] != "alpha"}
    assert reasons["absent"] == "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"
    assert "did you mean 'precomp_register_codecs'" in reasons["misspelt"]
    assert "alpha 1.0 (entry point 'ftp')" in reasons["ftp"]
    assert reasons["hologram"] == "no module a_package_that_nobody_has.part; pip install 'lacking[holograms]'"
    shipped = [row["state"] for key, row in rows.items() if key[2] == "precomp"]
    assert set(shipped) == {"loaded"}


def test_the_broken_ones_do_not_disturb_local_files(env: Environment, here: Path) -> None:
    code = """
    from precomp import CloudVolume
    vol = CloudVolume.from_numpy(voxels, "./em/image", compress="gzip")
    same = bool((CloudVolume("./em/image")[:, :, :] == voxels).all())
    print(json.dumps([same, sorted(vol.exists(vol.bounds).values())[0]]))
    """
    assert env.ask(script(code), here) == [True, True]


NAMED = {
    "open_volume('nosuch://b/d/l')": (
        "UnknownProtocolError",
        ["absent-import 1.1", "misspelt 1.4", "quits 1.3"],
    ),
    "open_volume('ftp://b/d/l')": ("PluginConflictError", ["alpha 1.0", "beta_ftp 2.0"]),
    "load().codec('misspelt')": ("UnknownEncodingError", ["misspelt 1.4", "did you mean"]),
    "load().compressor('nosuch')": ("UnknownEncodingError", ["raising 1.5", "the hook is out of order"]),
}


def test_what_is_broken_is_named_when_asked_for(env: Environment, tmp_path: Path) -> None:
    code = f"""
    from precomp.plugins import load
    found = []
    for ask in {list(NAMED)}:
        try:
            eval(ask)
        except PrecompError as error:
            found.append([type(error).__name__, str(error)])
    print(json.dumps(found))
    """
    for (kind, text), (expected, names) in zip(env.ask(script(code), tmp_path), NAMED.values(), strict=True):
        assert kind == expected
        assert [name for name in names if name not in text] == []


@pytest.mark.parametrize(
    ("table", "winner"),
    [
        ('prefer = ["beta-ftp"]', "beta"),
        ('prefer = ["alpha"]', "alpha"),
        ('prefer = ["alpha", "beta-ftp"]', "alpha"),
        ('disable = ["alpha:ftp"]', "beta"),
    ],
)
def test_a_config_settles_a_conflict(env: Environment, tmp_path: Path, table: str, winner: str) -> None:
    (tmp_path / "precomp.toml").write_text(f"[plugins]\n{table}\n")
    code = """
    print(json.dumps(open_volume("ftp://bucket/dataset/layer").info["mesh"]))
    """
    assert env.ask(script(code), tmp_path) == winner


def test_the_advice_of_a_conflict_is_true(env: Environment, tmp_path: Path) -> None:
    """Each of the ways out that the error names leads out."""
    code = """
    import os, re
    from precomp import CloudVolume
    import precomp.plugins
    path, found = "ftp://bucket/dataset/layer", []
    try:
        CloudVolume(path)
    except PrecompError as error:
        advice = str(error)
    registry = eval(re.search(r"registry=(precomp\\.plugins\\.load\\(.*?\\))", advice)[1])
    found.append(CloudVolume(path, registry=registry).info["mesh"])
    name, value = re.search(r"(PRECOMP_DISABLE_PLUGINS)=(\\S+)", advice).groups()
    os.environ[name] = value
    found.append(CloudVolume(path).info["mesh"])
    print(json.dumps(found))
    """
    assert env.ask(script(code), tmp_path) == ["alpha", "alpha"]
