"""Where secrets are looked for, and `CloudVolume(secrets=...)`: found in order, and never shown."""

import json
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from precomp import CloudVolume, VolumeFactory, open_volume
from precomp.cli import main
from precomp.credentials import Secret, find, places, project_name
from precomp.errors import ArgumentError, ConfigError, CredentialsError
from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.interfaces import CloudPath, Store
from precomp.memory import open_shared
from precomp.plugins import Registry
from precomp.plugins.probe import probe
from precomp.plugins.records import Plugin

SECRET = "hunter2-and-a-half"
NEW: dict[str, Any] = {
    "num_channels": 1,
    "layer_type": "image",
    "data_type": "uint8",
    "encoding": "raw",
    "resolution": [8, 8, 40],
    "voxel_offset": [0, 0, 0],
    "volume_size": [20, 20, 10],
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def failing(call: Callable[[], object], error: type[Exception]) -> str:
    """The text of the error, once it is sure that nothing that is printed of it holds a secret."""
    with pytest.raises(error) as caught:
        call()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in repr(caught.value)
    return str(caught.value)


# The places ---------------------------------------------------------------------------------------------


def test_the_places(home: Path) -> None:
    first, second = home / ".neuroglancer" / "secrets", home / ".cloudvolume" / "secrets"
    assert places("aws", "lab") == [
        first / "aws-secret.json",
        second / "lab-aws-secret.json",
        second / "aws-secret.json",
    ]
    assert places("boss") == [first / "boss-secret.json", second / "boss-secret.json"]


def test_the_first_file_that_is_there_counts(home: Path) -> None:
    assert find("google", "lab") is None
    for number, path in reversed(list(enumerate(places("google", "lab")))):
        write(path, {"number": number})
        assert find("google", "lab") == Secret({"number": number}, str(path))
    other = find("google", "other")
    assert other is not None
    assert other.values["number"] == 0
    assert find("aws", "lab") is None


def test_a_buckets_own_file_is_for_that_bucket_only(home: Path) -> None:
    write(places("aws", "lab")[1], {"a": "of lab"})
    write(places("aws")[1], {"a": "of all"})
    assert [find("aws", bucket).values["a"] for bucket in ("lab", "other", "")] == [  # type: ignore[union-attr]
        "of lab",
        "of all",
        "of all",
    ]


def test_what_is_given_comes_first(home: Path, tmp_path: Path) -> None:
    write(places("aws")[0], {"a": "of the file"})
    assert find("aws", "lab", {"a": "given"}) == Secret({"a": "given"}, "secrets=")
    path = write(tmp_path / "mine.json", {"a": "mine"})
    for given in (path, str(path)):
        assert find("aws", "lab", given) == Secret({"a": "mine"}, str(path))
    write(home / "mine.json", {"a": "at home"})
    assert find("aws", "lab", "~/mine.json") == Secret({"a": "at home"}, str(home / "mine.json"))
    absent = failing(lambda: find("aws", "lab", tmp_path / "absent.json"), CredentialsError)
    assert str(tmp_path / "absent.json") in absent
    assert "found int" in failing(lambda: find("aws", "lab", 7), CredentialsError)


@pytest.mark.parametrize(
    "given",
    [SECRET, json.dumps({"token": SECRET * 100}), f"{SECRET}\0", f"{SECRET}\udcff", f"{SECRET}/" * 1000],
    ids=["short", "longer than a name", "NUL", "no UTF-8", "longer than a path"],
)
def test_a_text_that_may_be_the_secret_itself_is_not_quoted(given: str) -> None:
    text = failing(lambda: find("google", "lab", given), CredentialsError)
    assert text.startswith("secrets=: there is no file that can be read; expected a dict")


@pytest.mark.parametrize(
    "content",
    [f'{{"token": "{SECRET}", ', f'["{SECRET}"]', f'"{SECRET}"', "", "\udcff" + SECRET, "[" * 100_000],
)
def test_a_broken_file_is_named_and_not_quoted(home: Path, content: str) -> None:
    path = places("boss")[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    text = failing(lambda: find("boss"), CredentialsError)
    assert text.startswith(f"{path}: expected a JSON object with the secret, found ")


def test_a_file_too_large_is_refused(home: Path) -> None:
    path = write(places("boss")[0], json.dumps({"token": SECRET * 100_000}))
    assert failing(lambda: find("boss"), CredentialsError).startswith(
        f"{path}: expected a secret of some kilo"
    )


def test_a_file_that_cannot_be_read_is_not_passed_over(home: Path) -> None:
    places("aws")[0].mkdir(parents=True)
    write(places("aws")[1], {"a": "the next"})
    text = failing(lambda: find("aws"), CredentialsError)
    assert text.startswith(f"{places('aws')[0]}: the secret cannot be read: ")


def test_a_dangling_link_and_a_file_for_a_folder_are_no_secrets(home: Path) -> None:
    write(home / ".cloudvolume", "a file")
    path = places("aws")[0]
    path.parent.mkdir(parents=True)
    path.symlink_to(home / "nowhere")
    assert find("aws", "lab") is None


def test_a_user_without_a_home_has_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert places("aws", "lab") == []
    assert find("aws", "lab") is None
    assert project_name() is None


def test_the_project(home: Path) -> None:
    assert project_name() is None
    path = write(home / ".neuroglancer" / "project_name", "  my-project\n")
    assert project_name() == "my-project"
    write(path, "\n")
    assert project_name() is None
    path.write_bytes(b"\xff")
    assert failing(project_name, CredentialsError).startswith(f"{path}: ")


# A secret -----------------------------------------------------------------------------------------------


def test_a_secret_is_not_shown(home: Path) -> None:
    secret = Secret({"token": SECRET}, "secrets=")
    assert repr(secret) == str(secret) == "Secret(origin='secrets=')"


def test_the_fields() -> None:
    secret = Secret({"token": f" {SECRET}\n", "a": None, "b": "", "c": [SECRET]}, "x.json")
    assert secret.text("absent", "token") == secret.required("a", "token") == SECRET
    assert secret.text("absent") is None
    assert secret.text("a", default="d") == "d"
    assert failing(lambda: secret.text("b"), CredentialsError) == (
        "x.json: b: expected a text that is not empty"
    )
    assert "x.json: c: expected a text" in failing(lambda: secret.text("c"), CredentialsError)
    text = failing(lambda: secret.required("user", "login"), CredentialsError)
    assert text == "x.json: expected the field user, found a, b, c, token; add it"
    assert "found no field" in failing(lambda: Secret({}, "x").required("user"), CredentialsError)


# `secrets=` ---------------------------------------------------------------------------------------------


@attrs.frozen
class LabOptions:
    user: str = "ada"
    secrets: Any = attrs.field(default=None, repr=False)


opened: list[LabOptions] = []


def open_store(path: CloudPath, options: LabOptions) -> Store:
    opened.append(options)
    return open_shared(f"{path.bucket}/{path.path}")


class Lab:
    @staticmethod
    @hookimpl
    def precomp_register_protocols() -> list[ProtocolPlugin]:
        return [ProtocolPlugin("lab", open_store, options=LabOptions)]


def lab_registry() -> Registry:
    """A registry that travels, as one of installed plugins does."""
    from precomp_plugins import file, memory
    from precomp_plugins.codecs import raw
    from precomp_plugins.compressors import gzip

    modules = [Lab, file, memory, raw, gzip]
    probed = [probe(Plugin(one.__name__, "tests", "1.0"), lambda one=one: one) for one in modules]  # type: ignore[misc]
    return Registry.assemble(probed, recipe=(lab_registry, ()))


@pytest.fixture
def registry() -> Registry:
    found = lab_registry()
    CloudVolume(
        "lab://credentials/d/em", info=CloudVolume.create_new_info(**NEW), registry=found
    ).commit_info()
    return found


@pytest.mark.parametrize("secrets", [{"token": SECRET}, "/run/mine.json", Path("/run/mine.json")])
def test_secrets_are_short_for_the_option(registry: Registry, secrets: Any) -> None:
    vol = CloudVolume("lab://credentials/d/em", secrets=secrets, options={"user": "grace"}, registry=registry)
    plain = os.fspath(secrets) if isinstance(secrets, Path) else secrets
    assert opened[-1] == LabOptions("grace", plain)
    assert "hunter2" not in repr(vol) + repr(vars(vol)) + repr(opened[-1]) + repr(vol._layer.__dict__)
    assert opened[-1].secrets == plain


def test_secrets_that_are_none_or_twice(registry: Registry) -> None:
    path = "lab://credentials/d/em"
    assert CloudVolume(path, secrets=None, registry=registry).shape
    twice = failing(
        lambda: CloudVolume(
            path, secrets={"a": SECRET}, options={"secrets": {"a": SECRET}}, registry=registry
        ),
        ArgumentError,
    )
    assert twice.startswith("secrets: given twice")
    for wrong in (7, [SECRET], SECRET.encode()):
        text = failing(lambda wrong=wrong: CloudVolume(path, secrets=wrong, registry=registry), ArgumentError)  # type: ignore[misc]
        assert text.startswith("secrets: expected a dict of the fields of a secret file, or the path of one")


def test_new_layers_and_copies_take_secrets(registry: Registry, tmp_path: Path) -> None:
    voxels = np.full((8, 8, 8), 7, np.uint8)
    made = CloudVolume.from_numpy(
        voxels,
        "lab://credentials/d/made",
        secrets={"a": "made"},
        options={"user": "grace"},
        registry=registry,
    )
    assert opened[-1] == LabOptions("grace", {"a": "made"})
    copy = made.transfer_to("lab://credentials/d/copied", secrets={"a": "copy"})
    assert opened[-1] == LabOptions("ada", {"a": "copy"})
    again = made.transfer_to("lab://credentials/d/copied", options={"user": "eve"})
    assert opened[-1] == LabOptions("eve", None)
    assert (copy[...] == 7).all()
    assert (again[...] == 7).all()


@pytest.mark.parametrize("scheme", ["file", "mem"])
def test_a_protocol_without_secrets_says_so(scheme: str, registry: Registry) -> None:
    text = failing(
        lambda: (
            CloudVolume(f"{scheme}:///b/d/l", secrets={"token": SECRET}, registry=registry)
            if scheme == "file"
            else CloudVolume(f"{scheme}://b/d/l", secrets={"token": SECRET}, registry=registry)
        ),
        ConfigError,
    )
    assert text == f"secrets: the protocol {scheme!r} takes none; leave them out"


@pytest.mark.parametrize(
    "secrets",
    [{"token": "hunter2", "user": "x.json"}, "hunter2", '{"token": "hunter2.json', "hunter2\n.json"],
)
def test_secrets_do_not_travel_and_the_other_side_says_so(registry: Registry, secrets: Any) -> None:
    vol = CloudVolume("lab://credentials/d/em", secrets=secrets, registry=registry)
    vol[...] = 3
    data = pickle.dumps(vol)
    assert b"hunter2" not in data
    there = pickle.loads(data)
    assert there.shape == vol.shape
    text = failing(lambda: there[...], CredentialsError)
    assert text.startswith("lab: option secrets")
    assert "does not travel by pickle" in text
    assert "~/.neuroglancer/secrets" in text


@pytest.mark.parametrize("where", ["argument", "config", "registry"])
@pytest.mark.parametrize("name", ["mine.json", "mine"])
def test_the_path_of_a_secret_file_travels(
    registry: Registry, home: Path, where: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(home / "here" / name, {"token": SECRET})
    monkeypatch.chdir(file.parent)
    if where == "argument":
        vol = CloudVolume("lab://credentials/d/em", secrets=name, registry=registry)
    elif where == "config":
        factory = VolumeFactory.from_dict(config(secrets=name), folder=file.parent, registry=registry)
        vol = factory.open("em")
    else:
        known = registry.configured({"lab": {"secrets": name}})
        vol = CloudVolume("lab://credentials/d/em", registry=known)
    vol[...] = 3
    data = pickle.dumps(vol)
    assert b"hunter2" not in data
    monkeypatch.chdir(home)
    assert (pickle.loads(data)[...] == 3).all()
    assert opened[-1].secrets == str(file)


def test_the_path_in_a_home_is_that_of_the_other_side(registry: Registry) -> None:
    vol = CloudVolume("lab://credentials/d/em", secrets="~/mine.json", registry=registry)
    vol[...] = 3
    assert (pickle.loads(pickle.dumps(vol))[...] == 3).all()
    assert opened[-1].secrets == "~/mine.json"


def test_secrets_that_were_looked_for_are_looked_for_again(registry: Registry) -> None:
    vol = CloudVolume("lab://credentials/d/em", registry=registry)
    vol[...] = 3
    assert (pickle.loads(pickle.dumps(vol))[...] == 3).all()


# In a config --------------------------------------------------------------------------------------------


def config(**volume: Any) -> dict[str, Any]:
    return {"volumes": {"em": {"cloudpath": "lab://credentials/d/em", **volume}}}


def test_a_volumes_table_takes_secrets(registry: Registry, tmp_path: Path) -> None:
    table = {"token": SECRET}
    factory = VolumeFactory.from_dict(config(secrets=table, options={"user": "grace"}), registry=registry)
    factory.open("em")
    assert opened[-1] == LabOptions("grace", table)
    factory.open("em", secrets={"token": "hunter2 of today"})
    assert opened[-1] == LabOptions("grace", {"token": "hunter2 of today"})
    factory.open("lab://credentials/d/em", secrets=tmp_path / "mine.json")
    assert opened[-1] == LabOptions("ada", str(tmp_path / "mine.json"))
    open_volume("em", factory, secrets="/run/mine.json")
    assert opened[-1] == LabOptions("grace", "/run/mine.json")
    shown = json.dumps(factory.describe()) + repr(factory)
    assert "hunter2" not in shown
    assert factory.describe()["volumes"]["em"]["options"] == {"user": "grace", "secrets": "***"}


def test_a_relative_path_counts_from_the_configs_folder(registry: Registry, home: Path) -> None:
    for text, path in {
        "mine.json": "/etc/lab/mine.json",
        "/run/mine.json": "/run/mine.json",
        "~/mine.json": "~/mine.json",
    }.items():
        VolumeFactory.from_dict(config(secrets=text), folder="/etc/lab", registry=registry).open("em")
        assert opened[-1].secrets == path


def test_a_variable_is_filled_in_on_both_sides(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "hunter2")
    factory = VolumeFactory.from_dict(config(secrets={"token": "${LAB_TOKEN}"}), registry=registry)
    data = pickle.dumps(factory.open("em"))
    assert b"hunter2" not in data
    monkeypatch.setenv("LAB_TOKEN", "theirs")
    there = pickle.loads(data)
    there[...] = 1
    assert opened[-1].secrets == {"token": "theirs"}


def test_secrets_of_another_protocol_are_not_inherited(registry: Registry, tmp_path: Path) -> None:
    tables = config(secrets={"token": SECRET})
    tables["volumes"]["copy"] = {"like": "em", "cloudpath": "mem://credentials/d/copy", "create": NEW}
    tables["volumes"]["twin"] = {"like": "em", "options": {"secrets": {"token": "of the twin"}}}
    factory = VolumeFactory.from_dict(tables, registry=registry)
    factory.open("copy")
    factory.open("twin")
    assert opened[-1].secrets == {"token": "of the twin"}


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        ({"secrets": [SECRET]}, "volumes.em.secrets: expected"),
        ({"secrets": 77778888}, "volumes.em.secrets: expected"),
        (
            {"secrets": {"a": SECRET}, "options": {"secrets": "x"}},
            "volumes.em.secrets: options.secrets says it",
        ),
        (
            {"secrets": {"a": SECRET}, "cloudpath": "mem://b/d/l"},
            "volumes.em.secrets: the protocol 'mem' has no",
        ),
        (
            {"secrets": {"a": SECRET}, "cloudpath": "/b/d/l"},
            "volumes.em.secrets: unknown field, expected fsync",
        ),
    ],
)
def test_wrong_secrets_in_a_config(registry: Registry, volume: dict[str, Any], problem: str) -> None:
    text = failing(lambda: VolumeFactory.from_dict(config(**volume), registry=registry), ConfigError)
    assert text.startswith(f"config: {problem}"), text
    assert "77778888" not in text
    if "cloudpath" not in volume:
        factory = VolumeFactory.from_dict(config(), registry=registry)
        assert "77778888" not in failing(lambda: factory.open("em", **volume), ArgumentError)


def test_config_check_masks_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(
        tmp_path / "precomp.toml",
        f'[volumes.em]\ncloudpath = "/d/l"\nsecrets = {{token = "{SECRET}"}}\n'
        f'[protocols.file]\nsecrets = "{SECRET}.json"\n',
    )
    assert main(["config", "check", str(file)]) == 1
    said = capsys.readouterr()
    assert "volumes.em.secrets: unknown field" in said.err
    assert "hunter2" not in said.out + said.err
