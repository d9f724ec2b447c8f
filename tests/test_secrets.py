"""Secrets in options: no error shows them, and no pickle takes them along."""

import copy
import pickle
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp import CloudVolume, VolumeFactory
from precomp.errors import ArgumentError, ConfigError, CredentialsError
from precomp.hookspecs import ProtocolPlugin, hookimpl
from precomp.interfaces import CloudPath, Store
from precomp.jsonio.secrets import hidden, masked, secrets_in
from precomp.jsonio.variables import Filled, LeftOut, filled
from precomp.memory import open_shared
from precomp.plugins import Registry
from precomp.plugins.portable import left_out, portable
from precomp.plugins.probe import probe
from precomp.plugins.records import Plugin

NEW: dict[str, Any] = {
    "num_channels": 1,
    "layer_type": "image",
    "data_type": "uint8",
    "encoding": "raw",
    "resolution": [8, 8, 40],
    "voxel_offset": [0, 0, 0],
    "volume_size": [20, 20, 10],
}
SECRET = "hunter2-and-a-half"
opened: list[Any] = []


def _picky(_: object, __: object, value: Any) -> None:
    if value == SECRET or (isinstance(value, str) and value.startswith("bad")):
        raise ValueError(f"this is no token: {value}, {value!r}, {[value]}")


@attrs.frozen
class LabOptions:
    user: str = "ada"
    token: str | None = attrs.field(default=None, validator=_picky)
    login: dict[str, str] = attrs.field(factory=dict)
    api_key: int = 0


def open_store(path: CloudPath, options: LabOptions) -> Store:
    opened.append(options)
    return open_shared(f"{path.bucket}/{path.path}")


def lab_plugin() -> ModuleType:
    plugin = ModuleType("lab")
    hook = hookimpl(lambda: [ProtocolPlugin("lab", open_store, options=LabOptions)])
    plugin.precomp_register_protocols = hook  # type: ignore[attr-defined]
    return plugin


def lab_registry() -> Registry:
    """A registry that travels, as one of installed plugins does."""
    from precomp_plugins import memory
    from precomp_plugins.codecs import raw
    from precomp_plugins.compressors import gzip

    modules = [lab_plugin(), memory, raw, gzip]
    probed = [probe(Plugin(one.__name__, "tests", "1.0"), lambda one=one: one) for one in modules]  # type: ignore[misc]
    return Registry.assemble(probed, recipe=(lab_registry, ()))


def shown(call: Callable[[], object], error: type[Exception]) -> str:
    """All that is printed of the error, its causes included."""
    with pytest.raises(error) as caught:
        call()
    return "".join(traceback.format_exception(caught.value))


WRONG: list[dict[str, Any]] = [
    {"token": [SECRET]},
    {"token": {"value": SECRET}},
    {"token": ["x" * 100 + SECRET + "y" * 100]},
    {"token": f"bad {SECRET}"},
    {"token": f"bad '{SECRET}\n\""},
    {"token": b"hunter2-in-bytes"},
    {"login": {"password": 77778888}},
    {"login": {"password": [SECRET]}},
    {"api_key": SECRET},
    {"api_key": 7777.8888},
    {"api_key": "abc"},
]
TELLTALES = ("hunter2", "77778888", "7777.8888", "'abc'", "xxx", "yyy")


@pytest.mark.parametrize("options", WRONG)
def test_errors_on_options_show_no_secret(options: dict[str, Any]) -> None:
    registry = lab_registry()
    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": "lab://b/d/l"}}}, registry=registry)
    config = {"volumes": {"em": {"cloudpath": "lab://b/d/l", "options": options}}}
    texts = [
        shown(lambda: CloudVolume("lab://b/d/l", options=options, registry=registry), ConfigError),
        shown(
            lambda: CloudVolume("lab://b/d/l", registry=registry.configured({"lab": options})), ConfigError
        ),
        shown(lambda: factory.open("em", options=options), ArgumentError),
        shown(lambda: factory.open("lab://b/d/l", options=options), ArgumentError),
        shown(lambda: VolumeFactory.from_dict(config, registry=registry), ConfigError),
    ]
    for text in texts:
        assert not [word for word in TELLTALES if word in text], text
        assert next(iter(options)) in text


def test_an_error_names_where_an_option_comes_from() -> None:
    registry = lab_registry().configured({"lab": {"user": 3}})
    with pytest.raises(ConfigError, match=r"^protocols\.lab\.user: .*got 3\noptions\.login\.x: .*got 4$"):
        CloudVolume("lab://b/d/l", options={"login": {"x": 4}}, registry=registry)
    with pytest.raises(
        ConfigError, match=r"^options\.size: the protocol 'mem' has no options; leave it out$"
    ):
        CloudVolume("mem://b/d/l", options={"size": 4})
    with pytest.raises(ConfigError, match=r"^options\[3\]: the protocol 'mem' has no options"):
        CloudVolume("mem://b/d/l", options={3: 4})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=r"^options\[3\]: unknown field, expected user, token, "):
        CloudVolume("lab://b/d/l", options={3: 4}, registry=registry)  # type: ignore[dict-item]
    with pytest.raises(ArgumentError, match=r"^options: expected a dict of the protocol's options, got str"):
        CloudVolume("mem://b/d/l", options=SECRET)  # type: ignore[arg-type]


def test_a_secret_that_names_a_compression_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", SECRET)
    config = {
        "volumes": {
            "packed": {"cloudpath": "mem://secrets/d/a", "create": NEW, "compress": "${LAB_TOKEN}"},
            "coded": {"cloudpath": "mem://secrets/d/b", "create": {**NEW, "encoding": "${LAB_TOKEN}"}},
        }
    }
    factory = VolumeFactory.from_dict(config)
    for name in ("packed", "coded"):
        text = shown(lambda name=name: factory.open(name), ConfigError)  # type: ignore[misc]
        assert "unknown" in text
        assert "hunter2" not in text
    assert "hunter2" not in str(factory.describe())


# By pickle ----------------------------------------------------------------------------------------------


def sent(vol: CloudVolume) -> bytes:
    data = pickle.dumps(vol)
    assert b"hunter2" not in data
    return data


def made(**options: Any) -> dict[str, Any]:
    volume = {"cloudpath": "lab://secrets/d/em", "create": NEW, "options": options}
    return {"protocols": {"lab": {"token": "${LAB_TOKEN}", "user": "grace"}}, "volumes": {"em": volume}}


def test_variables_are_filled_in_again_by_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "hunter2")
    monkeypatch.setenv("LAB_USER", "hunter2, too")
    config = made(login={"name": "${LAB_USER}", "plain": "$${LAB_USER}"})
    vol = VolumeFactory.from_dict(config, registry=lab_registry()).open("em")
    vol[...] = 7
    login = {"name": "hunter2, too", "plain": "${LAB_USER}"}
    assert opened[-1] == LabOptions("grace", "hunter2", login)
    assert {type(text) for text in (opened[-1].token, opened[-1].login["name"])} == {str}
    data = sent(vol)
    monkeypatch.setenv("LAB_TOKEN", "theirs")
    monkeypatch.setenv("LAB_USER", "bob")
    there = pickle.loads(data)
    assert (there[...] == 7).all()
    theirs = LabOptions("grace", "theirs", {"name": "bob", "plain": "${LAB_USER}"})
    assert opened[-1] == theirs
    assert b"theirs" not in pickle.dumps(there)
    assert (copy.deepcopy(there)[...] == 7).all()
    monkeypatch.setenv("LAB_TOKEN", "changed")
    assert (copy.deepcopy(vol)[...] == 7).all()
    assert opened[-1] == LabOptions("grace", "hunter2", login)  # a copy asks nobody


def test_a_variable_that_the_other_side_lacks_is_named_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "hunter2")
    vol = VolumeFactory.from_dict(made(), registry=lab_registry()).open("em")
    vol[...] = 7
    data = sent(vol)
    monkeypatch.delenv("LAB_TOKEN")
    there = pickle.loads(data)
    assert there.shape == vol.shape
    with pytest.raises(
        CredentialsError, match=r"^lab: option token: the environment variable LAB_TOKEN is not set"
    ):
        there[...]
    again = pickle.dumps(there)  # and on to a third, which has it
    monkeypatch.setenv("LAB_TOKEN", "of the third")
    assert (pickle.loads(again)[...] == 7).all()
    assert opened[-1].token == "of the third"


@pytest.mark.parametrize("where", ["argument", "config", "registry", "override"])
def test_a_secret_that_is_written_out_is_left_out(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    registry = lab_registry()
    CloudVolume(
        "lab://secrets/d/em", info=CloudVolume.create_new_info(**NEW), registry=registry
    ).commit_info()
    literal = {"token": "hunter2", "user": "grace"}
    config: dict[str, Any] = {"volumes": {"em": {"cloudpath": "lab://secrets/d/em"}}}
    if where == "argument":
        vol = CloudVolume("lab://secrets/d/em", options=literal, registry=registry)
    elif where == "config":
        config["protocols"] = {"lab": literal}
        vol = VolumeFactory.from_dict(config, registry=registry).open("em")
    elif where == "registry":
        vol = CloudVolume("lab://secrets/d/em", registry=registry.configured({"lab": literal}))
    else:
        vol = VolumeFactory.from_dict(config, registry=registry).open("em", options=literal)
    assert opened[-1] == LabOptions("grace", "hunter2")
    vol[...] = 3
    there = pickle.loads(sent(vol))
    with pytest.raises(
        CredentialsError, match=r"option token: a secret .* does not travel by pickle; write \$"
    ):
        there[...]
    assert (copy.deepcopy(vol)[...] == 3).all()
    assert opened[-1] == LabOptions("grace", "hunter2")


def test_what_is_no_secret_travels() -> None:
    options = {"user": "grace", "login": {"name": "x"}}
    info = CloudVolume.create_new_info(**NEW)
    vol = CloudVolume("lab://secrets/d/plain", info=info, options=options, registry=lab_registry())
    vol[...] = 5
    assert (pickle.loads(pickle.dumps(vol))[...] == 5).all()
    assert opened[-1] == LabOptions("grace", None, {"name": "x"})


def test_defaults_of_secrets_do_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    table = {"token": filled("${LAB_TOKEN:-hunter2}"), "user": filled("${LAB_TOKEN:-grace}")}
    assert table == {"token": "hunter2", "user": "grace"}
    data = pickle.dumps(portable(table))
    assert b"hunter2" not in data
    there = pickle.loads(data)
    assert b"grace" not in data
    assert [path for path, _ in left_out(there)] == [".token", ".user"]


@pytest.mark.parametrize(
    "options",
    [
        {"password": 12345678},
        {"PWD": "hunter2"},
        {"headers": {"Authorization": "hunter2"}},
        {"auth": "hunter2"},
        {"login": {"session_cookie": "hunter2"}},
        {"apikey": "hunter2"},
        {"accessKeyId": "hunter2"},
        {"endpoint": "https://bob:hunter2@host/"},
        {"endpoints": ["https://hunter2@host/"]},
    ],
)
def test_a_secret_by_any_name_does_not_travel(options: dict[str, Any]) -> None:
    data = pickle.dumps(portable(options))
    assert b"hunter2" not in data
    assert pickle.dumps(12345678)[2:6] not in data
    assert len(list(left_out(pickle.loads(data)))) == 1
    assert "hunter2" not in str(masked(options, secrets_in(options)))


@pytest.mark.parametrize("name", ["max_keys", "monkey", "keyspace", "author", "encoding"])
def test_other_names_hold_no_secrets(name: str) -> None:
    assert portable({name: "x", "n": 3}) == {name: "x", "n": 3}


# The parts ----------------------------------------------------------------------------------------------


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3)))
def test_what_stands_below_a_secret_name_is_hidden_wherever_it_is_quoted(value: Any) -> None:
    found = secrets_in({"table": [{"token": value}]})
    for secret in found:
        assert repr(secret) not in hidden(f"a {secret!r} b", found)
        if len(secret) >= 4:
            assert secret not in hidden(f"< {secret} >", found).replace("***", "")
    assert secrets_in({"user": value}) == set()


def test_a_filled_text_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "abc")
    text = filled("x-${LAB_TOKEN}")
    assert isinstance(text, Filled)
    assert (text, text.written, repr(text)) == ("x-abc", "x-${LAB_TOKEN}", "'x-abc'")
    assert copy.copy(text) is copy.deepcopy(text) is text
    assert type(filled("$${LAB_TOKEN}")) is str
    monkeypatch.delenv("LAB_TOKEN")
    lost = pickle.loads(pickle.dumps(text))
    assert isinstance(lost, LeftOut)
    assert copy.deepcopy(lost) is lost
