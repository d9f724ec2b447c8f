"""Configs: every volume opens as its tables say; what is wrong is said at once and in its place."""

import copy
import inspect
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp import CloudVolume, Vec, VolumeFactory, open_volume
from precomp.create import EncodingSettings
from precomp.errors import (
    ArgumentError,
    CloudPathError,
    ConfigError,
    InfoNotFoundError,
    PluginConflictError,
    PrecompWarning,
    ScaleNotFoundError,
    UnknownEncodingError,
    UnknownProtocolError,
)
from precomp.factory import sources
from precomp.factory.tables import CreateTable, DefaultsTable
from precomp.hookspecs import CodecPlugin, ProtocolPlugin, hookimpl
from precomp.interfaces import CloudPath, Store
from precomp.jsonio.problems import member
from precomp.memory import MemoryStore
from precomp.plugins import Registry

NEW: dict[str, Any] = {
    "num_channels": 1,
    "layer_type": "image",
    "data_type": "uint8",
    "encoding": "raw",
    "resolution": [8, 8, 40],
    "voxel_offset": [0, 0, 0],
    "volume_size": [20, 20, 10],
    "chunk_size": [10, 10, 10],
    "max_mip": 1,
}
_number = itertools.count()


def fresh() -> str:
    """The path of a layer that does not exist."""
    return f"mem://factory/{next(_number)}/layer"


@pytest.fixture(autouse=True)
def _nobody_elses_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PRECOMP_CONFIG", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


# Writing configs ----------------------------------------------------------------------------------------


def toml_text(text: str) -> str:
    # JSON escapes what TOML does, except for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_value(value: Any) -> str:
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml_text(key)} = {toml_value(item)}' for key, item in value.items())}}}"
    return json.dumps(value)


def toml(config: Mapping[str, Mapping[str, Any]]) -> str:
    """A config as TOML: sections and volumes as tables, what is in them inline."""
    lines = []
    for section, tables in config.items():
        nested = section in ("volumes", "protocols")
        for path, table in (
            [(f"{section}.{toml_text(name)}", table) for name, table in tables.items()]
            if nested
            else [(section, tables)]
        ):
            lines += [f"[{path}]", *(f"{toml_text(key)} = {toml_value(item)}" for key, item in table.items())]
    return "\n".join(lines) + "\n"


def escaped(value: Any) -> Any:
    """A config in which no text is a reference to a variable."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    return value


def write(folder: Path, config: Mapping[str, Any], suffix: str = ".toml") -> Path:
    file = folder / f"precomp{suffix}"
    file.write_text(toml(config) if suffix == ".toml" else json.dumps(config), encoding="utf-8")
    return file


# Plugins ------------------------------------------------------------------------------------------------


@attrs.frozen
class LabOptions:
    """What a stranger's protocol may be told."""

    endpoint: str
    retries: int = 3
    token: str | None = None
    credentials: dict[str, str] | None = None
    colour: str = attrs.field(default="red")

    @colour.validator
    def _known(self, _: object, value: str) -> None:
        if value not in ("red", "green") or (value == "green" and self.retries > 5):
            raise ValueError(f"no colour for {self.retries} retries: {value}")


def module(name: str, **hooks: Callable[[], Any]) -> ModuleType:
    plugin = ModuleType(name)
    for hook, function in hooks.items():
        setattr(plugin, hook, hookimpl(function))
    return plugin


def lab(opened: list[tuple[str, Any]], *schemes: str) -> ModuleType:
    """A plugin whose protocols keep layers in memory, and note with which options they are opened."""
    stores: dict[CloudPath, MemoryStore] = {}

    def open_store(path: CloudPath, options: Any) -> Store:
        opened.append((str(path), options))
        return stores.setdefault(path, MemoryStore())

    def protocols() -> Iterable[ProtocolPlugin]:
        return [ProtocolPlugin(scheme, open_store, options=LabOptions) for scheme in schemes or ("lab",)]

    return module("lab_plugin", precomp_register_protocols=protocols)


@pytest.fixture
def opened() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def registry(opened: list[tuple[str, Any]]) -> Registry:
    from precomp_plugins import memory
    from precomp_plugins.codecs import raw
    from precomp_plugins.compressors import gzip

    return Registry.of([lab(opened, "lab", "other"), memory, raw, gzip])


def lines_of(config: Any, **arguments: Any) -> list[str]:
    """What is wrong with a config."""
    with pytest.raises(ConfigError) as caught:
        VolumeFactory.from_dict(config, **arguments)
    return str(caught.value).split("\n")


# What a config may hold is what CloudVolume takes -------------------------------------------------------


def test_every_option_of_a_volume_can_stand_in_a_config() -> None:
    parameters = inspect.signature(CloudVolume.__init__).parameters
    apart = {"self", "cloudpath", "info", "provenance", "create", "options", "secrets", "registry"}
    options = {name: one.default for name, one in parameters.items() if name not in apart}
    assert {field.name: field.default for field in attrs.fields(DefaultsTable)} == options


def test_every_argument_of_create_new_info_can_stand_in_a_config() -> None:
    parameters = inspect.signature(CloudVolume.create_new_info).parameters
    arguments = {
        name: attrs.NOTHING if one.default is inspect.Parameter.empty else one.default
        for name, one in parameters.items()
        if name not in ("registry", "settings")
    }
    arguments |= dict.fromkeys(EncodingSettings.__annotations__)
    assert {field.name: field.default for field in attrs.fields(CreateTable)} == arguments


# Random configs -----------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(
    lambda name: not set("/\\~") & set(name) and name not in (".", "..")
)
option_values: dict[str, st.SearchStrategy[Any]] = {
    "mip": st.sampled_from([0, 1, [8, 8, 40], [16, 16, 40]]),
    "bounded": st.booleans(),
    "fill_missing": st.booleans(),
    "autocrop": st.booleans(),
    "background_color": st.integers(0, 255) | st.sampled_from([0.0, 3.0]),
    "non_aligned_writes": st.booleans(),
    "delete_black_uploads": st.booleans(),
    "progress": st.booleans() | st.none(),
    "compress": st.sampled_from([None, False, True, "", "gzip"]),
    "cdn_cache": st.booleans() | st.integers(0, 99) | st.sampled_from(["no-store", "a$b", "${HOME}", "$$"]),
    "parallel": st.none() | st.booleans() | st.integers(1, 4),
    "cache_bytes": st.none() | st.integers(1, 10**12),
    "cache_validate": st.booleans(),
}
settings_tables = st.fixed_dictionaries({}, optional=option_values)
BUILT_IN = {field.name: field.default for field in attrs.fields(DefaultsTable)}


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A valid config. Each volume has a path of its own or is like one before it, or both."""
    volumes: dict[str, dict[str, Any]] = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        table = draw(settings_tables)
        earlier = draw(st.none() | st.sampled_from([*volumes])) if volumes else None
        if earlier is not None:
            table["like"] = earlier
        if earlier is None or draw(st.booleans()):
            table["cloudpath"] = fresh()
        if earlier is None:
            table["create"] = dict(NEW)
        keys = draw(st.permutations(list(table)))
        volumes[name] = {key: table[key] for key in keys}
    order = draw(st.permutations(list(volumes)))
    config: dict[str, Any] = {"volumes": {name: volumes[name] for name in order}}
    if draw(st.booleans()):
        config["defaults"] = draw(settings_tables)
    return config


def expected(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = config["volumes"][name]
    inherited = expected(config, table["like"]) if "like" in table else config.get("defaults", {})
    return {**inherited, **table}


def check_volume(vol: CloudVolume, wanted: Mapping[str, Any]) -> None:
    assert vol.cloudpath == wanted["cloudpath"]
    for key, value in {**BUILT_IN, **{key: wanted[key] for key in BUILT_IN if key in wanted}}.items():
        found = vol.cache.enabled if key == "cache" else getattr(vol, key)
        if key == "mip":
            assert found == (value if isinstance(value, int) else [8, 16].index(value[0]))
        else:
            assert (found, type(found)) == (value, type(value)), key


@given(configs(), st.sampled_from([".toml", ".json"]))
def test_volumes_open_exactly_as_the_config_says(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any], suffix: str
) -> None:
    if suffix == ".toml":
        config = without_null(config)
    factory = VolumeFactory.from_file(write(tmp_path_factory.mktemp("random"), escaped(config), suffix))
    assert factory.names == tuple(config["volumes"])
    assert repr(factory).endswith(f"names={factory.names!r})")
    for name in factory.names:
        check_volume(factory.open(name), expected(config, name))


@given(configs(), settings_tables, st.data())
def test_arguments_come_before_the_config(
    config: dict[str, Any], overrides: dict[str, Any], data: st.DataObject
) -> None:
    factory = VolumeFactory.from_dict(escaped(config))
    name = data.draw(st.sampled_from(factory.names))
    check_volume(factory.open(name, **overrides), {**expected(config, name), **overrides})
    check_volume(factory.open(name), expected(config, name))  # nothing of it stays


def misspelt(key: str, place: int) -> str:
    return key[: place % len(key)] + key[place % len(key) + 1 :]


WRONG_VALUES: dict[str, Any] = {
    "mip": [-1, "0", 1.5, True, [8, 8], [8, 8, 0], [8, "8", 40], {}],
    "bounded": ["true", 1, [], {}],
    "background_color": ["0", True, [1]],
    "progress": ["yes", 0],
    "compress": [1, ["gzip"]],
    "cdn_cache": [-1, 1.5, [], "no-store\nx: y", "für immer"],
    "parallel": [0, -1, "2", 1.5],
    "cloudpath": [1, ["mem://a/b"], "em", "gs:/bucket", "mem://a//b", "://a"],
    "like": [1, [], "nobody", {}],
    "options": [1, "fsync", []],
    "create": ["yes", True, 1, []],
}


@given(configs(), st.data())
def test_one_wrong_key_is_one_line_that_names_its_place(config: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(config["volumes"])))
    table = config["volumes"][name]
    kind = data.draw(st.sampled_from(["misspelt", "wrong", "missing", "create"]))
    key = data.draw(st.sampled_from(sorted(option_values)))
    if kind == "misspelt":
        key = misspelt(key, data.draw(st.integers(0, 20)))
        table[key] = 1
    elif kind == "wrong":
        key = data.draw(st.sampled_from(sorted(WRONG_VALUES)))
        table[key] = data.draw(st.sampled_from(WRONG_VALUES[key]))
        if key == "like":
            table.setdefault("cloudpath", fresh())
    elif kind == "missing":
        key = "cloudpath"
        table.clear()
        config = {"volumes": {name: table}}
    else:
        key = data.draw(st.sampled_from(sorted(NEW)))
        table["create"] = {**NEW, key: data.draw(st.sampled_from(["", -1, None, [1, 2], 0.5]))}
        key = f"create.{key}"
    (line,) = lines_of(escaped(config), name="precomp.toml")
    assert line.startswith(f"precomp.toml: volumes{member(name)}.{key}"), line
    if kind == "misspelt":
        assert "unknown field (did you mean '" in line


@st.composite
def damages(draw: st.DrawFn) -> tuple[tuple[str, ...], Any, str]:
    """One wrong key outside of the volumes: where it stands, its value, and the place of the error."""
    kind = draw(st.sampled_from(["section", "defaults", "file", "mem", "scheme", "plugins", "prefer"]))
    slip = draw(st.integers(0, 20))
    wrong = draw(st.booleans())  # a wrong value under a right key, or a misspelt key
    if kind == "section":
        section = draw(st.sampled_from(["volumes", "protocols", "plugins", "defaults"]))
        if wrong and section != "volumes":
            return (section,), draw(st.sampled_from([[], 1, "x", None])), section
        section = misspelt(section, slip)
        return (section,), {}, section
    if kind == "defaults":
        keys = sorted(option_values.keys() & WRONG_VALUES.keys()) if wrong else sorted(option_values)
        key = draw(st.sampled_from(keys))
        value = draw(st.sampled_from(WRONG_VALUES[key])) if wrong else draw(option_values[key])
        key = key if wrong else misspelt(key, slip)
        return ("defaults", key), value, f"defaults.{key}"
    if kind == "file":
        key = "fsync" if wrong else misspelt("fsync", slip)
        value = draw(st.sampled_from([1, "yes", None, []])) if wrong else True
        return ("protocols", "file", key), value, f"protocols.file.{key}"
    if kind == "mem":
        return ("protocols", "mem", "size"), 1, "protocols.mem.size"
    if kind == "scheme":
        scheme = misspelt(draw(st.sampled_from(["file", "mem"])), slip)
        return ("protocols", scheme), draw(st.sampled_from([{}, {"fsync": True}])), f"protocols.{scheme}"
    key = draw(st.sampled_from(["prefer", "disable"]))
    if kind == "prefer":
        return ("plugins", "prefer"), ["precomp", "precmp"], "plugins.prefer"
    if wrong:
        value = draw(st.sampled_from(["raw", 1, [1], [["raw"]], {}]))
        return ("plugins", key), value, f"plugins.{key}"
    key = misspelt(key, slip)
    return ("plugins", key), ["raw"], f"plugins.{key}"


@given(configs(), damages())
def test_one_wrong_key_outside_of_the_volumes_is_one_line_too(
    config: dict[str, Any], damage: tuple[tuple[str, ...], Any, str]
) -> None:
    (*path, key), value, place = damage
    table = config
    for step in path:
        table = table.setdefault(step, {})
    table[key] = value
    (line,) = lines_of(escaped(config), name="precomp.toml")
    assert re.match(rf"precomp\.toml: {re.escape(place)}(\[\d\])?: .", line), line


# Shape --------------------------------------------------------------------------------------------------


def test_all_problems_of_a_file_are_listed_at_once(tmp_path: Path) -> None:
    file = tmp_path / "precomp.toml"
    file.write_text(
        """
        [volums.em]
        [plugins]
        prefr = []
        prefer = ["nobody"]
        [protocols.file]
        fsnc = true
        [protocols.mem]
        size = 1
        [protocols.fiel]
        [defaults]
        mipp = 3
        cloudpath = "mem://a/b"
        [volumes.em]
        cloudpath = "em"
        fill_misng = true
        [volumes.a]
        like = "b"
        [volumes.b]
        like = "a"
        mip = -1
        [volumes.c]
        like = "emm"
        [volumes."lab/em"]
        cloudpath = "mem://a/b"
        [volumes.d]
        cloudpath = "mem://a/b"
        options = {x = 1}
        create = {num_channels = 0, data_type = "int3"}
        """
    )
    with pytest.raises(ConfigError) as caught:
        VolumeFactory.from_file(file)
    found = dict(line.removeprefix(f"{file}: ").split(": ", 1) for line in str(caught.value).split("\n"))
    texts = {
        "volums": "unknown table (did you mean 'volumes'?), expected volumes, protocols, plugins, defaults",
        "plugins.prefr": "unknown field (did you mean 'prefer'?), expected prefer, disable",
        "protocols.file.fsnc": "unknown field (did you mean 'fsync'?), expected fsync",
        "protocols.mem.size": "the protocol 'mem' has no options",
        "protocols.fiel": "unknown protocol 'fiel' (did you mean 'file'?); known: ",
        "defaults.mipp": "unknown field (did you mean 'mip'?), expected mip, ",
        "defaults.cloudpath": "unknown field, expected mip, ",
        "volumes.em.cloudpath": "'em' is no cloudpath: it has no protocol and no slash; the local folder is ",
        "volumes.em.fill_misng": "unknown field (did you mean 'fill_missing'?), expected ",
        "volumes.b.like": "the volumes are like each other in a circle, a -> b -> a; break it",
        "volumes.b.mip": "expected a mip such as 0, or a resolution in nm such as [8, 8, 40], got -1",
        "volumes.c.like": "there is no volume 'emm' (did you mean 'em'?), expected one of em, a, b, c, ",
        "volumes['lab/em']": "this reads as a path, not as the name of a volume; rename it",
        "volumes.d.options.x": "the protocol 'mem' has no options",
        "volumes.d.create.num_channels": "must be at least 1, got 0",
        "volumes.d.create.data_type": "must be one of uint8, int8, ",
        **{
            f"volumes.d.create.{key}": "required field missing"
            for key in ("layer_type", "encoding", "resolution", "voxel_offset", "volume_size")
        },
    }
    assert found.keys() == texts.keys()
    assert {place: found[place][: len(text)] for place, text in texts.items()} == texts


@pytest.mark.parametrize(
    ("config", "lines"),
    [
        (5, ["config: expected a table, got 5"]),
        ({"volumes": []}, ["config: volumes: expected an object, got []"]),
        ({"volumes": {"em": 5}}, ["config: volumes.em: expected an object, got 5"]),
        ({"defaults": "fast"}, ["config: defaults: expected an object, got 'fast'"]),
        ({"plugins": {"disable": "ftp"}}, ["config: plugins.disable: expected a list, got 'ftp'"]),
        ({"plugins": {"disable": [1]}}, ["config: plugins.disable[0]: expected a text, got 1"]),
        ({"protocols": {"file": 1}}, ["config: protocols.file: expected an object, got 1"]),
        ({5: {}}, ["config: ['5']: unknown table, expected volumes, protocols, plugins, defaults"]),
        (
            {"volumes": {"em": {"cloudpath": "mem://a/b", "mip": object}}},
            [
                "config: volumes.em.mip: expected None, a bool, a finite number, a text, a list or a dict "
                "with text keys, got <class 'object'>"
            ],
        ),
    ],
)
def test_tables_of_the_wrong_shape(config: Any, lines: list[str]) -> None:
    assert lines_of(config) == lines


def test_an_unknown_preference_names_the_plugins() -> None:
    (line,) = lines_of({"plugins": {"prefer": ["precmp"]}})
    start = "config: plugins.prefer: no plugin or distribution is called 'precmp' (did you mean 'precomp'?); "
    assert line.startswith(start)


def test_an_empty_config_is_right() -> None:
    assert VolumeFactory.from_dict({}).names == ()


def test_a_config_is_copied(tmp_path: Path) -> None:
    config = {"volumes": {"em": {"cloudpath": fresh(), "create": dict(NEW), "mip": 1}}}
    factory = VolumeFactory.from_dict(config)
    config["volumes"]["em"].clear()
    config["volumes"]["other"] = {}
    assert factory.open("em").mip == 1
    assert pickle.loads(pickle.dumps(factory)).names == ("em",)


def test_numpy_values_are_plain_values() -> None:
    config = {
        "volumes": {"em": {"cloudpath": fresh(), "create": {**NEW, "volume_size": np.array([9, 9, 9])}}}
    }
    factory = VolumeFactory.from_dict(config)
    vol = factory.open("em", mip=np.int64(1), bounded=np.bool_(False), background_color=np.uint8(3))
    assert (vol.mip, vol.bounded, vol.background_color) == (1, False, 3)
    assert factory.open("em", mip=Vec(16, 16, 40)).mip == 1


# like ---------------------------------------------------------------------------------------------------


def test_a_volume_inherits_from_one_that_inherits() -> None:
    path = fresh()
    config = {
        "volumes": {
            "c": {"like": "b", "mip": 1},
            "b": {"like": "a", "bounded": False, "fill_missing": False},
            "a": {"cloudpath": path, "fill_missing": True, "autocrop": True, "create": NEW},
        }
    }
    vol = VolumeFactory.from_dict(config).open("c")
    found = (vol.cloudpath, vol.mip, vol.bounded, vol.fill_missing, vol.autocrop)
    assert found == (path, 1, False, False, True)


def test_create_is_inherited_key_by_key_and_null_drops_it() -> None:
    other, third = fresh(), fresh()
    config = {
        "volumes": {
            "a": {"cloudpath": fresh(), "create": NEW},
            "b": {"cloudpath": other, "like": "a", "create": {"data_type": "uint64"}},
            "c": {"cloudpath": third, "like": "b", "create": None},
        }
    }
    factory = VolumeFactory.from_dict(config)
    assert (factory.open("b").dtype, factory.open("a").dtype) == ("uint64", "uint8")
    with pytest.raises(InfoNotFoundError, match=third) as caught:
        factory.open("c")
    assert caught.value.__notes__ == ["while opening 'c' of config"]
    assert factory.open("c", create=NEW).dtype == "uint8"


@pytest.mark.parametrize(
    ("likes", "place", "text"),
    [
        ({"a": "a"}, "a", "the volumes are like each other in a circle, a -> a; break it"),
        ({"a": "b", "b": "c", "c": "a"}, "c", "a circle, a -> b -> c -> a; break it"),
        ({"x": "b", "b": "c", "c": "b"}, "c", "a circle, b -> c -> b; break it"),
        ({"a": "B"}, "a", "there is no volume 'B', expected one of a"),
    ],
)
def test_like_that_leads_nowhere(likes: dict[str, str], place: str, text: str) -> None:
    volumes = {name: {"like": like, "cloudpath": "mem://a/b"} for name, like in likes.items()}
    (line,) = lines_of({"volumes": volumes})
    assert line.startswith(f"config: volumes.{place}.like: ")
    assert line.endswith(text)


def test_a_problem_is_told_where_it_is_written_and_once() -> None:
    volumes = {
        "a": {"cloudpath": "mem://a/b", "mip": -1, "create": {**NEW, "factor": [0, 1, 1]}},
        "b": {"like": "a"},
        "c": {"like": "b", "create": {"encoding": 5}},
    }
    assert [line.split(": ")[1] for line in lines_of({"volumes": volumes, "defaults": {"bounded": 1}})] == [
        "defaults.bounded",
        "volumes.a.mip",
        "volumes.a.create.factor[0]",
        "volumes.c.create.encoding",
    ]


# Precedence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("highest", range(5))
def test_settings_come_from_the_nearest_table(highest: int) -> None:
    values = [None, 1, 2, 3, 4][: highest + 1]
    places: list[dict[str, Any]] = [{} for _ in range(5)]
    for place, value in zip(places, values, strict=False):
        if value is not None:
            place["parallel"] = value
    _, defaults, parent, own, overrides = places
    config = {
        "defaults": defaults,
        "volumes": {
            "parent": {"cloudpath": fresh(), "create": NEW, **parent},
            "own": {"like": "parent", **own},
        },
    }
    assert VolumeFactory.from_dict(config).open("own", **overrides).parallel == values[-1]


def options_config(*tables: dict[str, Any]) -> dict[str, Any]:
    protocol, parent, own = tables
    path = f"lab://bucket/{next(_number)}/layer"
    return {
        "protocols": {"lab": protocol},
        "volumes": {
            "parent": {"cloudpath": path, "create": NEW, "options": parent},
            "own": {"like": "parent", "options": own},
        },
    }


@pytest.mark.parametrize("highest", range(4))
def test_options_come_from_the_nearest_table(
    highest: int, registry: Registry, opened: list[tuple[str, Any]]
) -> None:
    tables: list[dict[str, Any]] = [
        {"retries": number} if number <= highest else {} for number in range(1, 5)
    ]
    tables[0]["endpoint"] = "here"
    factory = VolumeFactory.from_dict(options_config(*tables[:3]), registry=registry)
    assert opened == []  # checked, and nothing opened
    factory.open("own", options=tables[3])
    assert {options for _, options in opened} == {LabOptions("here", highest or 3)}


def test_two_endpoints_of_one_protocol_fit_in_one_config(
    registry: Registry, opened: list[tuple[str, Any]]
) -> None:
    config = {
        "protocols": {"lab": {"endpoint": "home", "retries": 5}},
        "volumes": {
            "here": {"cloudpath": "lab://b/d/here", "create": NEW},
            "there": {"cloudpath": "lab://b/d/there", "create": NEW, "options": {"endpoint": "away"}},
        },
    }
    factory = VolumeFactory.from_dict(config, registry=registry)
    for name in factory.names:
        factory.open(name)
    assert dict(opened) == {
        "lab://b/d/here": LabOptions("home", 5),
        "lab://b/d/there": LabOptions("away", 5),
    }


def test_a_registry_may_bring_options(registry: Registry, opened: list[tuple[str, Any]]) -> None:
    theirs = registry.configured({"lab": {"endpoint": "a", "retries": 7}, "other": {"endpoint": "b"}})
    config = {
        "protocols": {"lab": {"endpoint": "c"}},
        "volumes": {
            "lab": {"cloudpath": "lab://b/d/l", "create": NEW},
            "other": {"cloudpath": "other://b/d/l", "create": NEW, "options": {"retries": 1}},
        },
    }
    factory = VolumeFactory.from_dict(config, registry=theirs)
    for name in factory.names:
        factory.open(name)
    assert dict(opened) == {"lab://b/d/l": LabOptions("c"), "other://b/d/l": LabOptions("b", 1)}
    assert registry.options == {}
    CloudVolume("lab://b/d/l", registry=theirs, options={"retries": 2})
    assert opened[-1][1] == LabOptions("a", 2)


def test_options_of_another_protocol_are_not_inherited(
    registry: Registry, opened: list[tuple[str, Any]]
) -> None:
    config = {
        "protocols": {"other": {"endpoint": "other"}},
        "volumes": {
            "a": {"cloudpath": "lab://b/d/a", "options": {"endpoint": "lab", "retries": 9}, "create": NEW},
            "b": {"like": "a", "cloudpath": "other://b/d/b"},
            "c": {"like": "b", "cloudpath": "mem://factory/c/c"},
            "d": {"like": "a", "cloudpath": "lab://b/d/d", "options": {"retries": 1}},
            "e": {"like": "c", "cloudpath": "lab://b/d/e", "options": {"endpoint": "e"}},
        },
    }
    factory = VolumeFactory.from_dict(config, registry=registry)
    for name in factory.names:
        factory.open(name)
    factory.open("a", cloudpath="other://b/d/x")
    assert dict(opened) == {
        "lab://b/d/a": LabOptions("lab", 9),
        "other://b/d/b": LabOptions("other"),
        "lab://b/d/d": LabOptions("lab", 1),
        "lab://b/d/e": LabOptions("e"),
        "other://b/d/x": LabOptions("other"),
    }


def test_options_null_goes_back_to_those_of_the_protocol(
    registry: Registry, opened: list[tuple[str, Any]]
) -> None:
    config = options_config({"endpoint": "protocol"}, {"endpoint": "parent", "retries": 9}, {})
    factory = VolumeFactory.from_dict(config, registry=registry)
    factory.open("own", options=None)
    assert {options for _, options in opened} == {LabOptions("protocol")}


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ([{}, {}, {}], "volumes.parent.options.endpoint: required field missing"),
        (
            [{"endpoint": "x", "retrys": 1}, {}, {}],
            "protocols.lab.retrys: unknown field (did you mean 'retries'?), ",
        ),
        ([{"endpoint": 1}, {}, {}], "protocols.lab.endpoint: expected a text, got 1"),
        ([{"endpoint": "x"}, {"retries": "3"}, {}], "volumes.parent.options.retries: expected an integer, "),
        (
            [{"endpoint": "x"}, {}, {"retries": True}],
            "volumes.own.options.retries: expected an integer, got ",
        ),
        (
            [{"endpoint": "x"}, {}, {"colour": "blue"}],
            "volumes.own.options.colour: no colour for 3 retries: ",
        ),
        # Each is right alone, and only both together are wrong.
        (
            [{"endpoint": "x", "colour": "green"}, {}, {"retries": 6}],
            "protocols.lab.colour: no colour for 6 retries: green",
        ),
    ],
)
def test_wrong_options_are_told_where_they_are_written(
    registry: Registry, tables: list[dict[str, Any]], line: str
) -> None:
    found = lines_of(options_config(*tables), registry=registry)
    assert found[0].startswith(f"config: {line}")
    assert len(found) == (2 if "required" in line else 1)  # that of the other volume is missing, too


def test_options_of_protocols_that_no_volume_uses_are_checked(registry: Registry) -> None:
    assert VolumeFactory.from_dict({"protocols": {"lab": {"retries": 1}}}, registry=registry).names == ()
    (line,) = lines_of({"protocols": {"lab": {"retries": "1"}}}, registry=registry)
    assert line == "config: protocols.lab.retries: expected an integer, got '1'"


# Environment --------------------------------------------------------------------------------------------


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_a_text_with_doubled_dollars_is_that_text(text: str) -> None:
    config = {"volumes": {"em": {"cloudpath": "mem://a/b", "cdn_cache": text.replace("$", "$$")}}}
    described = VolumeFactory.from_dict(config).describe()
    assert described["volumes"]["em"]["settings"]["cdn_cache"] == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A_NAME}", "value"),
        ("${A_NAME}/${A_NAME}", "value/value"),
        ("x${A_NAME}y", "xvaluey"),
        ("${A_NAME:-other}", "value"),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-$b}", "a:-$b"),
        ("$${A_NAME}", "${A_NAME}"),
        ("$$${A_NAME}", "$value"),
        ("$A_NAME", "$A_NAME"),
        ("$", "$"),
        ("{A_NAME}", "{A_NAME}"),
        ("${DOLLAR}", "${A_NAME}"),  # what is filled in is not looked at again
    ],
)
def test_variables_are_filled_in(monkeypatch: pytest.MonkeyPatch, text: str, value: str) -> None:
    monkeypatch.setenv("A_NAME", "value")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("DOLLAR", "${A_NAME}")
    monkeypatch.delenv("UNSET", raising=False)
    config = {"volumes": {"em": {"cloudpath": "mem://a/b", "cdn_cache": text}}}
    described = VolumeFactory.from_dict(config).describe()
    assert described["volumes"]["em"]["settings"]["cdn_cache"] == value


@pytest.mark.parametrize(
    "text", ["${", "${}", "a${A NAME}", "${1A}", "${A", "${A:+b}", "${A-b}", "${A_NAME:-x"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    (line,) = lines_of({"plugins": {"disable": ["x", text]}})
    assert line.startswith("config: plugins.disable[1]: expected ${NAME} or ${NAME:-text} of an environment ")


def test_unset_variables_are_all_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    file = tmp_path / "precomp.toml"
    file.write_text(
        "[volumes.a]\ncloudpath = '${NO_SUCH}'\n[volumes.b]\noptions = {x = [{y = 'a${NO_SUCH}'}]}"
    )
    with pytest.raises(ConfigError) as caught:
        VolumeFactory.from_file(file)
    why = "the environment variable NO_SUCH is not set; set it, or give a default: ${NO_SUCH:-text}"
    assert str(caught.value).split("\n") == [
        f"{file}: volumes.a.cloudpath: {why}",
        f"{file}: volumes.b.options.x[0].y: {why}",
        f"{file}: volumes.b.cloudpath: required field missing",
    ]


def test_what_cannot_be_read_hides_nothing_else(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, tmp_path: Path
) -> None:
    """And nothing is said twice: what follows from a value that is not known is no problem of its own."""
    monkeypatch.delenv("NO_SUCH", raising=False)
    file = tmp_path / "precomp.toml"
    file.write_text(
        """
        [defaults]
        cdn_cache = 2020-01-01
        [plugins]
        prefer = ["${NO_SUCH}"]
        [protocols.lab]
        endpoint = "${NO_SUCH}"
        colour = "${NO_SUCH}"
        retries = "three"
        [volumes.a]
        cloudpath = "${NO_SUCH}/em"
        options = {endpoint = "x", unheard = 1}
        [volumes.b]
        like = "${NO_SUCH}"
        mip = -1
        [volumes.c]
        cloudpath = "lab://${NO_SUCH}/em"
        fill_misng = true
        create = {data_type = "${NO_SUCH}", encoding = "${NO_SUCH}", mesh = "${", num_channels = 0}
        [volumes.d]
        like = "e"
        [volumes]
        e = 1979-05-27
        f = 5
        """
    )
    for plugins in (None, registry):
        with pytest.raises(ConfigError) as caught:
            VolumeFactory.from_file(file, registry=plugins)
        found = [line.removeprefix(f"{file}: ").split(": ", 1) for line in str(caught.value).split("\n")]
        unset = {place for place, text in found if "NO_SUCH is not set" in text}
        assert unset == {
            "plugins.prefer[0]",
            "protocols.lab.endpoint",
            "protocols.lab.colour",
            "volumes.a.cloudpath",
            "volumes.b.like",
            "volumes.c.cloudpath",
            "volumes.c.create.data_type",
            "volumes.c.create.encoding",
        }
        others = {place: text for place, text in found if place not in unset}
        assert len(unset) + len(others) == len(found)
        wanted = {
            "defaults.cdn_cache": "expected None, a bool, ",
            "volumes.b.mip": "expected a mip ",
            "volumes.c.fill_misng": "unknown field",
            "volumes.c.create.mesh": "expected ${NAME}",
            "volumes.c.create.num_channels": "must be at least 1",
            **{f"volumes.c.create.{key}": "required field missing" for key in ("layer_type", "resolution")},
            **{
                f"volumes.c.create.{key}": "required field missing" for key in ("voxel_offset", "volume_size")
            },
            "volumes.e": "expected None, a bool, ",
            "volumes.f": "expected an object, got 5",
        }
        if plugins is not None:  # else nothing serves lab://, which a volume uses
            wanted["protocols.lab.retries"] = "expected an integer"
        assert {place: text[: len(wanted.get(place, ""))] for place, text in others.items()} == wanted


def test_an_unset_variable_in_a_volume_that_is_like_another(
    monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    monkeypatch.delenv("NO_SUCH", raising=False)
    config = {
        "volumes": {
            "a": {"cloudpath": "${NO_SUCH}", "options": {"endpoint": "x"}},
            "b": {"like": "a", "cloudpath": "lab://b/d/l"},
        }
    }
    (line,) = lines_of(config, registry=registry)
    assert line.startswith("config: volumes.a.cloudpath: the environment variable NO_SUCH is not set")


def test_a_key_that_is_no_text_is_named_in_its_place() -> None:
    volumes: Any = {"em": {"cloudpath": "mem://a/b", 3: 4, "options": {5: 1}}, 7: {}}
    assert lines_of({"volumes": volumes}) == [
        "config: volumes[7]: expected a text as key; write it in quotes",
        "config: volumes.em[3]: expected a text as key; write it in quotes",
        "config: volumes.em.options[5]: expected a text as key; write it in quotes",
    ]


def test_a_config_that_is_nested_too_deep_is_refused() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    line, *_ = lines_of({"volumes": {"em": {"cloudpath": "mem://a/b", "mip": deep}}})
    assert line.endswith(": expected tables and lists at most 100 deep; nest them less")


def test_variables_are_filled_in_everywhere(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, opened: list[tuple[str, Any]]
) -> None:
    monkeypatch.setenv("WORD", "raw")
    config = {
        "protocols": {"lab": {"endpoint": "${WORD}"}},
        "volumes": {
            "em": {"cloudpath": "lab://${WORD}/d/l", "create": {**NEW, "encoding": "${WORD}"}},
            "raw": {"like": "em"},
            "x": {"like": "${WORD}"},
        },
    }
    factory = VolumeFactory.from_dict(config, registry=registry)
    assert factory.open("x").encoding == "raw"
    assert opened[-1] == ("lab://raw/d/l", LabOptions("raw"))


# Secrets ------------------------------------------------------------------------------------------------


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.setenv("LAB_TOKEN", "hunter2" * 20)
    monkeypatch.setenv("BUCKET_SECRET", "abc")
    config = {
        "protocols": {"lab": {"endpoint": "https://ada:pass@lab/x", "token": "letmein"}},
        "volumes": {
            "a": {"cloudpath": "lab://b/d/l", "options": {"token": "${LAB_TOKEN}"}},
            "b": {
                "cloudpath": "lab://${BUCKET_SECRET}/d/l",
                "cdn_cache": "x-${LAB_TOKEN}-y",
                "create": {**NEW, "mesh": "${LAB_TOKEN}"},
                "options": {"credentials": {"user": "ada lovelace"}},
            },
        },
    }
    factory = VolumeFactory.from_dict(config, registry=registry)
    volumes = factory.describe()["volumes"]
    assert volumes["a"]["options"]["token"] == "***"
    assert volumes["a"]["options"]["endpoint"] == "https://***@lab/x"
    assert (volumes["b"]["cloudpath"], volumes["b"]["settings"]["cdn_cache"]) == ("***", "x-***-y")
    assert (volumes["b"]["create"]["mesh"], volumes["b"]["options"]["credentials"]) == ("***", "***")
    told = [json.dumps(factory.describe()), repr(factory), repr(factory.registry)]
    wrong: Any = copy.deepcopy(config)
    wrong["volumes"]["a"]["mip"] = "${LAB_TOKEN}"
    wrong["volumes"]["b"]["options"] |= {"token": ["letmein"], "colour": "a ${LAB_TOKEN}"}
    wrong["volumes"]["b"]["cdn_cache"] = 1.5
    wrong["protocols"]["lab"]["endpoint"] = ["ada lovelace"]  # which is also said to be a credential
    told += lines_of(wrong, registry=registry)
    with pytest.raises(ArgumentError) as caught:
        factory.open("a", options={"colour": "hunter2" * 20})
    told.append(str(caught.value))
    assert len(told) == 9
    for text in told:
        for secret in ("hunter2", "letmein", "abc", "pass@", "lovelace"):
            assert secret not in text


# Files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.toml", b"[volumes.em]\ncloudpath = ", "this is not TOML: Invalid value (at line 2, column 13)"),
        (
            "a.toml",
            b"x = 1\n[volumes.em\n",
            "this is not TOML: Expected ']' at the end of a table declaration ",
        ),
        ("a.toml", b"[a]\nb = 1\nb = 2", "Cannot overwrite a value (at line 3, column 6); repair the file"),
        ("a.toml", b"x = '\xff'", "expected UTF-8 text, but byte 5 is 0xff; save the file as UTF-8"),
        ("a.toml", b"x = " + b"[" * 100_000, "nested too deep"),
        ("a.toml", b"x = " + b"1" * 10_000, "this is not TOML"),
        (
            "a.json",
            b'{\n"volumes": }',
            "this is not JSON: Expecting value: line 2 column 12; repair the file",
        ),
        ("a.json", b"[]", "expected a table, got []"),
        (
            "a.json",
            b'{"volumes": {"em": {"mip": 0, "cloudpath": "mem://a/b", "mip": 1}}}',
            "the key 'mip' stands twice in one object, whose keys are mip, cloudpath, mip; keep one of",
        ),
        ("a.json", b'{"defaults": {"background_color": NaN}}', "NaN is not a finite number"),
        (
            "a.toml",
            b"defaults.background_color = nan",
            "defaults.background_color: expected None, a bool, a ",
        ),
        ("a.toml", b"defaults.cdn_cache = 2020-01-01", "got datetime.date(2020, 1, 1)"),
        ("a.yaml", b"", "expected the name of a config file to end in .toml or .json"),
        ("a", b"", "expected the name of a config file to end in .toml or .json"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        VolumeFactory.from_file(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert text in str(caught.value)


def test_a_byte_order_mark_and_an_upper_case_suffix_are_fine(tmp_path: Path) -> None:
    for suffix, content in ((".TOML", "[volumes.em]\ncloudpath = 'mem://a/b'"), (".Json", '{"volumes": {}}')):
        file = tmp_path / f"a{suffix}"
        file.write_text(f"\ufeff{content}", encoding="utf-8")
        VolumeFactory.from_file(str(file))


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^no\.toml: there is no such config file$") as caught:
        VolumeFactory.from_file("no.toml")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.toml: the config file cannot be read"):
        VolumeFactory.from_file(tmp_path / "folder.toml")
    monkeypatch.setenv("PRECOMP_CONFIG", "gone.toml")
    with pytest.raises(
        ConfigError, match=r"^gone\.toml: .* file; the environment variable PRECOMP_CONFIG names"
    ):
        open_volume("em")


def test_relative_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    config = {
        "volumes": {
            "dot": {"cloudpath": "./data/em"},
            "up": {"cloudpath": "../em"},
            "plain": {"cloudpath": "data/seg"},
            "marked": {"cloudpath": "precomputed://./data/em"},
            "absolute": {"cloudpath": f"{tmp_path}/x/y"},
            "url": {"cloudpath": f"file://{tmp_path}/x/y"},
            "home": {"cloudpath": "~/em"},
        }
    }
    write(folder, config)
    paths = {
        "dot": folder / "data/em",
        "up": tmp_path / "em",
        "plain": folder / "data/seg",
        "marked": folder / "data/em",
        "absolute": tmp_path / "x/y",
        "url": tmp_path / "x/y",
        "home": tmp_path / "home/em",
    }
    expected_paths = {name: f"file://{path}" for name, path in paths.items()}
    monkeypatch.chdir(folder)
    by_name = VolumeFactory.from_file("precomp.toml")
    monkeypatch.chdir(tmp_path)
    factories = [
        by_name,
        pickle.loads(pickle.dumps(by_name)),
        VolumeFactory.from_file("conf/precomp.toml"),
        VolumeFactory.from_file(folder / "precomp.toml"),
        VolumeFactory.from_dict(config, folder=folder),
    ]
    for factory in factories:
        found = {name: one["cloudpath"] for name, one in factory.describe()["volumes"].items()}
        assert found == expected_paths
    from_dict = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": "./em"}}})
    assert from_dict.describe()["volumes"]["em"]["cloudpath"] == f"file://{tmp_path}/em"
    with pytest.raises(InfoNotFoundError, match=f"^file://{tmp_path}/elsewhere/info"):
        by_name.open("dot", cloudpath="./elsewhere")  # an argument counts from the working directory
    with pytest.raises(InfoNotFoundError, match=f"^file://{tmp_path}/elsewhere/info"):
        by_name.open("dot", cloudpath=Path("elsewhere"))


# Where the config is found ------------------------------------------------------------------------------


def named(path: Path, fill: bool = True) -> Path:
    """A config with a volume that tells which config it is from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = {"cloudpath": fresh(), "create": NEW, "cdn_cache": str(path)}
    path.write_text(toml({"volumes": {"em": volume}}), encoding="utf-8")
    return path


def test_the_nearest_config_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError) as caught:
        open_volume("em")
    user = tmp_path / "home/.config/precomp/precomp.toml"
    assert str(caught.value) == (
        "'em': there is no config file that could name it: PRECOMP_CONFIG is not set, and there is no "
        f"precomp.toml and no {user}; a local folder of that name is './em'"
    )
    for place in (user, tmp_path / "xdg/precomp/precomp.toml", tmp_path / "work/precomp.toml"):
        named(place)
        if "xdg" in str(place):
            assert open_volume("em").cdn_cache == str(user)
            monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
        assert open_volume("em").cdn_cache == str(place)
    monkeypatch.setenv("PRECOMP_CONFIG", "")
    assert open_volume("em").cdn_cache == str(tmp_path / "work/precomp.toml")
    variable = named(tmp_path / "named.toml")
    monkeypatch.setenv("PRECOMP_CONFIG", str(variable))
    assert open_volume("em").cdn_cache == str(variable)
    argument = named(tmp_path / "argument.toml")
    for config in (argument, str(argument), VolumeFactory.from_file(argument)):
        assert open_volume("em", config).cdn_cache == str(argument)
    assert open_volume("em", {"volumes": {"em": {"cloudpath": fresh(), "create": NEW}}}).cdn_cache is False


def test_a_home_that_starts_with_a_tilde_is_expanded(tmp_path: Path) -> None:
    file = named(tmp_path / "home/lab.toml")
    assert VolumeFactory.from_file("~/lab.toml").open("em").cdn_cache == str(file)


def test_a_relative_xdg_folder_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named(tmp_path / "work/conf/precomp/precomp.toml")
    user = named(tmp_path / "home/.config/precomp/precomp.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", "conf")
    assert open_volume("em").cdn_cache == str(user)


def test_the_config_folders_of_other_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert sources.places() == [
            "precomp.toml",
            f"{home}/.config/precomp/precomp.toml",
            f"{home}/Library/Application Support/precomp/precomp.toml",
        ]
    with monkeypatch.context() as patch:
        patch.setenv("APPDATA", "/appdata")
        patch.setattr(os, "name", "nt")
        found = sources.places()
    assert found == ["precomp.toml", "/appdata/precomp/precomp.toml"]


def test_cloudvolume_reads_no_config_and_importing_reads_none() -> None:
    Path("precomp.toml").write_text("this is no TOML")
    code = """
        import sys
        from precomp import CloudVolume
        try:
            CloudVolume("mem://a/b")
        except LookupError:
            pass
        print([name for name in ("tomllib", "precomp.factory") if name in sys.modules])
        import precomp.factory
        print("tomllib" in sys.modules)
        import precomp
        try:
            precomp.open_volume("mem://a/b")
        except ValueError as error:
            print(error)
    """
    found = run(code).splitlines()
    assert found[:2] == ["[]", "False"]
    assert found[2].startswith("precomp.toml: this is not TOML: ")


# Names and paths ----------------------------------------------------------------------------------------


def test_an_unknown_name_shows_the_known_ones() -> None:
    config = {"volumes": {"retina": {"cloudpath": "mem://a/b"}, "cortex": {"cloudpath": "mem://a/c"}}}
    with pytest.raises(ConfigError) as caught:
        open_volume("retna", config)
    assert str(caught.value) == (
        "config: there is no volume 'retna' (did you mean 'retina'?), expected retina, cortex; a local "
        "folder of that name is './retna'"
    )
    with pytest.raises(ConfigError, match=r"there is no volume '', expected retina, cortex"):
        open_volume("", config)
    with pytest.raises(ConfigError, match="there is no volume 'x', expected none;"):
        open_volume("x", {})


@pytest.mark.parametrize("name", ["a/b", "mem://a", "~", "~ada", ".", "..", "a\\b", "/", ""])
def test_a_volume_cannot_be_called_like_a_path(name: str) -> None:
    (line,) = lines_of({"volumes": {name: {"cloudpath": "mem://a/b"}}})
    assert line.endswith(": this reads as a path, not as the name of a volume; rename it")


def test_a_path_gets_the_defaults_and_its_protocols_options(
    registry: Registry, opened: list[tuple[str, Any]]
) -> None:
    config = {"defaults": {"bounded": False, "mip": 1}, "protocols": {"lab": {"endpoint": "here"}}}
    factory = VolumeFactory.from_dict(config, registry=registry)
    factory.open("lab://b/d/l", create=NEW)
    vol = open_volume("lab://b/d/l", factory, mip=0)
    assert (vol.bounded, vol.mip, open_volume("lab://b/d/l", factory).mip) == (False, 0, 1)
    assert {options for _, options in opened} == {LabOptions("here")}
    open_volume("lab://b/d/l", factory, options={"retries": 7})
    assert opened[-1][1] == LabOptions("here", 7)


def test_a_path_needs_no_config(tmp_path: Path) -> None:
    CloudVolume(f"{tmp_path}/work/em", info=CloudVolume.create_new_info(**NEW)).commit_info()
    for path in ("./em", "../work/em", f"file://{tmp_path}/work/em", Path("em"), tmp_path / "work/em"):
        assert open_volume(path, fill_missing=True).cloudpath == f"file://{tmp_path}/work/em"


def test_wrong_paths_raise_what_cloudvolume_raises() -> None:
    with pytest.raises(CloudPathError, match="'mem://a//b' is no cloudpath"):
        open_volume("mem://a//b")
    with pytest.raises(UnknownProtocolError, match="unknown protocol 'ftp'"):
        open_volume("ftp://a/b")
    with pytest.raises(InfoNotFoundError, match="mem://nothing/here/info"):
        open_volume("mem://nothing/here")
    with pytest.raises(
        ArgumentError, match="expected the name of a volume, a cloudpath or a local path, got 5"
    ):
        open_volume(5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="config: expected a file, a dict or a VolumeFactory, got 5"):
        open_volume("em", 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            {"fill_misng": True},
            "open('em'): fill_misng: unknown field (did you mean 'fill_missing'?), expected",
        ),
        ({"mip": -1}, "open('em'): mip: expected a mip such as 0, or a resolution"),
        ({"cloudpath": "em"}, "open('em'): cloudpath: 'em' is no cloudpath"),
        ({"options": {"x": 1}}, "open('em'): options.x: the protocol 'mem' has no options"),
        ({"options": 1}, "open('em'): options: expected an object, got 1"),
        ({"create": {"num_channels": 0}}, "open('em'): create.num_channels: must be at least 1, got 0"),
        ({"like": "seg"}, "open('em'): like: it belongs into a config"),
        ({"provenance": {}}, "open('em'): provenance: unknown field"),
        ({"mip": object()}, "open('em'): mip: expected None, a bool"),
        ({"a b": 1}, "open('em'): ['a b']: unknown field, expected mip, "),
        (
            {"options": {3: 4}},
            "open('em'): options: expected None, a bool, a finite number, a text, a list or ",
        ),
        ({"background_color": -1}, "open('em'): background_color: -1 does not fit uint8; choose a value "),
    ],
)
def test_wrong_arguments_are_named(overrides: dict[str, Any], text: str) -> None:
    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": fresh(), "create": NEW}}})
    with pytest.raises(ArgumentError) as caught:
        factory.open("em", **overrides)
    assert str(caught.value).startswith(text)
    assert "like" not in str(caught.value) or "like" in overrides


def test_a_path_is_given_once() -> None:
    for path in ("./a/b/c", "mem://x/y"):
        with pytest.raises(
            ArgumentError, match="cloudpath: the path is given twice, and this one is 'mem://a/"
        ):
            open_volume(path, cloudpath="mem://a/b")


def test_a_registry_is_a_registry() -> None:
    for call in (
        lambda: VolumeFactory.from_dict({}, registry=3),  # type: ignore[arg-type]
        lambda: CloudVolume("mem://a/b", registry=3),  # type: ignore[arg-type]
        lambda: CloudVolume.create_new_info(**NEW, registry={}),  # type: ignore[arg-type]
    ):
        with pytest.raises(
            ArgumentError, match=r"^registry: expected None or a precomp\.plugins\.Registry, got "
        ):
            call()


def test_what_the_layer_lacks_is_told_with_the_name() -> None:
    factory = VolumeFactory.from_dict(
        {"volumes": {"em": {"cloudpath": fresh(), "create": NEW}}}, name="lab.toml"
    )
    factory.open("em")
    with pytest.raises(ScaleNotFoundError) as caught:
        factory.open("em", mip=7)
    assert caught.value.__notes__ == ["while opening 'em' of lab.toml"]


# Making layers ------------------------------------------------------------------------------------------


def test_a_layer_is_made_once_and_then_opened() -> None:
    path = fresh()
    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": path, "create": NEW}}})
    with pytest.raises(InfoNotFoundError):
        CloudVolume(path)
    vol = factory.open("em")
    assert vol.info == CloudVolume(path).info == CloudVolume.create_new_info(**NEW)
    vol[...] = 7
    assert (factory.open("em")[...] == 7).all()


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("num_channels", 3, "num_channels is 1 there and 3 here"),
        ("layer_type", "segmentation", "layer_type is 'image' there and 'segmentation' here"),
        ("data_type", "uint16", "data_type is 'uint8' there and 'uint16' here"),
        ("encoding", "npz", "encoding is 'raw' there and 'npz' here"),
        ("resolution", [4, 4, 40], "resolution is (8, 8, 40) there and (4, 4, 40) here"),
        ("voxel_offset", [1, 0, 0], "voxel_offset is (0, 0, 0) there and (1, 0, 0) here"),
        ("volume_size", [9, 9, 9], "volume_size is (20, 20, 10) there and (9, 9, 9) here"),
        ("chunk_size", [5, 5, 5], "chunk_size is (10, 10, 10) there and (5, 5, 5) here"),
    ],
)
def test_a_layer_that_is_another_one_is_refused(key: str, value: Any, shown: str) -> None:
    path = fresh()
    CloudVolume(path, info=CloudVolume.create_new_info(**NEW)).commit_info()
    config = {"volumes": {"em": {"cloudpath": path, "create": {**NEW, key: value}}}}
    factory = VolumeFactory.from_dict(config, name="precomp.toml")
    with pytest.raises(ConfigError) as caught:
        factory.open("em")
    assert str(caught.value) == (
        f"precomp.toml: volumes.em.create: the layer {path} exists and is another one: {shown}; correct what "
        "is here, or choose another cloudpath"
    )
    assert CloudVolume(path).info == CloudVolume.create_new_info(**NEW)


def test_what_create_does_not_say_or_what_may_change_is_not_compared() -> None:
    path = fresh()
    vol = CloudVolume(path, info=CloudVolume.create_new_info(**{**NEW, "data_type": "UINT8"}))
    vol.info["scales"][0]["resolution"] = [8.0, 8, 40.0]
    vol.reset_scales()
    vol.add_scale((4, 4, 1))
    vol.info["mesh"] = "mesh"
    vol.commit_info()
    new = {key: value for key, value in NEW.items() if key != "chunk_size"}
    opened = open_volume("em", {"volumes": {"em": {"cloudpath": path, "create": new}}})
    assert opened.chunk_size == (10, 10, 10)


def test_a_layer_that_redirects_to_nowhere_is_not_overwritten() -> None:
    path, info = fresh(), {"redirect": fresh()}
    store = CloudVolume(path, info=CloudVolume.create_new_info(**NEW))._layer.objects()
    store.write("info", json.dumps(info).encode())
    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": path, "create": NEW}}})
    with pytest.raises(InfoNotFoundError, match=info["redirect"]):
        factory.open("em")
    assert json.loads(bytes(store.read("info", 1000) or b"")) == info


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (
            {"factor": [1, 1, 1]},
            "create.factor: one axis must be above 1 where max_mip is above 0, got (1, 1, 1)",
        ),
        (
            {"encoding": "jpeg", "data_type": "float32"},
            "create.encoding: jpeg holds uint8, not float32; choose",
        ),
        (
            {"encoding": "jpeg", "num_channels": 2},
            "create.encoding: jpeg holds 1 or 3 channels, not 2; choose",
        ),
        ({"max_mip": -1}, "create.max_mip: must be at least 0, got -1"),
        ({"data_type": "int64"}, "create.data_type: must be one of uint8, "),
        ({"data_type": "uint9"}, "create.data_type: must be one of uint8, "),
        ({"layer_type": "Image"}, "create.layer_type: expected 'image' or 'segmentation'"),
        ({"colour": 1}, "create.colour: unknown field, expected num_channels, layer_type, "),
        ({"encoding": ""}, "create.encoding: must not be empty"),
        ({"max_mip": 100}, "create.max_mip: at most "),
        (
            {"max_mip": 1, "factor": [2**61, 1, 1]},
            "create.factor: (2305843009213693952, 1, 1) is too much for ",
        ),
    ],
)
def test_a_layer_that_cannot_be_made_is_found_at_once(wrong: dict[str, Any], line: str) -> None:
    (found,) = lines_of({"volumes": {"em": {"cloudpath": fresh(), "create": {**NEW, **wrong}}}})
    assert found.startswith(f"config: volumes.em.{line}")


def test_a_background_that_the_new_layer_cannot_hold_is_found_at_once() -> None:
    volumes = {
        "em": {"cloudpath": fresh(), "create": NEW},
        "seg": {"cloudpath": fresh(), "background_color": -1},
    }
    (line,) = lines_of({"volumes": volumes, "defaults": {"background_color": 256}})
    assert line == "config: defaults.background_color: 256 does not fit uint8; choose a value that does"


def test_a_new_layer_that_no_viewer_shows_is_a_warning() -> None:
    factory = VolumeFactory.from_dict(
        {"volumes": {"em": {"cloudpath": fresh(), "create": {**NEW, "encoding": "npz"}}}}
    )
    with pytest.warns(PrecompWarning, match="Neuroglancer cannot show the encoding npz"):
        factory.open("em")
    factory.open("em")


# Plugins that are not there -----------------------------------------------------------------------------


def test_what_is_absent_matters_to_the_volumes_that_need_it() -> None:
    config = {
        "protocols": {"ftp": {"user": "ada"}, "dav": {"endpoint": "x"}},
        "volumes": {
            "ftp": {"cloudpath": "ftp://a/b"},
            "packed": {"cloudpath": fresh(), "create": NEW, "compress": "lz4"},
            "coded": {"cloudpath": fresh(), "create": {**NEW, "encoding": "webp"}},
            "like": {"like": "ftp", "mip": 1},
            "fine": {"cloudpath": fresh(), "create": NEW},
        },
    }
    factory = VolumeFactory.from_dict(config)
    assert factory.open("fine").dtype == "uint8"
    kinds = {
        "ftp": ("volumes.ftp.cloudpath: unknown protocol 'ftp'; known: ", UnknownProtocolError),
        "packed": ("volumes.packed.compress: unknown compressor 'lz4'; known: ", UnknownEncodingError),
        "coded": ("volumes.coded.create.encoding: unknown encoding 'webp'; known: ", UnknownEncodingError),
        "like": ("volumes.ftp.cloudpath: unknown protocol 'ftp'; known: ", UnknownProtocolError),
    }
    for name, (text, cause) in kinds.items():
        with pytest.raises(ConfigError) as caught:
            factory.open(name)
        assert str(caught.value).startswith(f"config: {text}")
        assert isinstance(caught.value.__cause__, cause)
    starts = [text for name, (text, _) in kinds.items() if name != "like"]
    starts.append(
        "protocols.dav: no plugin serves this protocol here, and no volume uses it: unknown protocol"
    )
    problems = factory.describe()["problems"]
    assert [
        problem[len("config: ") :][: len(text)] for problem, text in zip(problems, starts, strict=True)
    ] == starts
    assert factory.open("packed", compress=None).compress is None


def test_plugins_in_conflict_matter_to_the_volumes_that_need_them() -> None:
    from precomp_plugins import memory
    from precomp_plugins.codecs import raw

    rivals = Registry.of([lab([]), lab([]), memory, raw])
    config = {
        "protocols": {"lab": {"endpoint": "x"}},
        "volumes": {"lab": {"cloudpath": "lab://a/b"}, "em": {"cloudpath": fresh(), "create": NEW}},
    }
    factory = VolumeFactory.from_dict(config, registry=rivals)
    assert factory.open("em").dtype == "uint8"
    with pytest.raises(
        ConfigError, match=r"^config: volumes\.lab\.cloudpath: protocol 'lab' is claimed by "
    ) as caught:
        factory.open("lab")
    assert isinstance(caught.value.__cause__, PluginConflictError)


def test_options_of_a_wrong_class_matter_to_the_volumes_that_need_them(registry: Registry) -> None:
    @attrs.frozen
    class Odd:
        where: complex = 1j

    plugin = module("odd", precomp_register_protocols=lambda: [ProtocolPlugin("odd", print, options=Odd)])  # type: ignore[arg-type]
    config = {"protocols": {"odd": {"where": 1}}, "volumes": {"odd": {"cloudpath": "odd://a/b"}}}
    factory = VolumeFactory.from_dict(config, registry=Registry.of([plugin]))
    with pytest.raises(
        ConfigError, match=r"^config: volumes\.odd\.options: .*complex.* is no type that JSON "
    ):
        factory.open("odd")


@attrs.frozen
class ForCheckersOnly:
    number: "NotDefined" = 1  # type: ignore[name-defined]  # noqa: F821


def test_options_that_nobody_can_resolve_matter_to_the_volumes_that_need_them() -> None:
    """At the top the plugin is failed; deeper down it is found when the options are looked at."""
    from precomp_plugins import memory
    from precomp_plugins.codecs import raw

    @attrs.frozen
    class Outer:
        inner: ForCheckersOnly | None = None

    def strange(options: Any) -> Registry:
        hook: Any = lambda: [ProtocolPlugin("odd", print, options=options)]  # type: ignore[arg-type]  # noqa: E731
        return Registry.of([module("odd_plugin", precomp_register_protocols=hook), memory, raw])

    config = {
        "protocols": {"odd": {"inner": {}}},
        "volumes": {"odd": {"cloudpath": "odd://a/b"}, "em": {"cloudpath": fresh(), "create": NEW}},
    }
    texts = {
        ForCheckersOnly: r"volumes\.odd\.cloudpath: unknown protocol 'odd'.*failed: in-memory 0 \(entry "
        r"point 'odd_plugin'\): .* protocol 'odd': expected annotations in ForCheckersOnly .*'NotDefined'",
        Outer: r"volumes\.odd\.options: in-memory 0 \(entry point 'odd_plugin'\): .*Outer.*'NotDefined'",
    }
    for options, text in texts.items():
        registry = strange(options)
        factory = VolumeFactory.from_dict(config, registry=registry)
        assert factory.open("em").dtype == "uint8"
        with pytest.raises(ConfigError, match=rf"(?s)^config: {text}"):
            factory.open("odd")
        with pytest.raises((ConfigError, UnknownProtocolError), match=r"(?s)in-memory 0 .*'NotDefined'"):
            CloudVolume("odd://a/b", registry=registry)


def test_options_may_be_what_json_cannot_hold(registry: Registry) -> None:
    @attrs.frozen
    class Odd:
        folder: Path = Path("/a")

    plugin = module("odd", precomp_register_protocols=lambda: [ProtocolPlugin("odd", print, options=Odd)])  # type: ignore[arg-type]
    config = {"volumes": {"odd": {"cloudpath": "odd://a/b"}}}
    described = VolumeFactory.from_dict(config, registry=Registry.of([plugin])).describe()
    assert described["volumes"]["odd"]["options"] == {"folder": "/a"}


@pytest.mark.parametrize("state", ["failed", "blocked"])
def test_a_table_of_a_protocol_that_a_broken_plugin_may_serve_is_fine(tmp_path: Path, state: str) -> None:
    """But not one that is nearly called like a protocol that is served."""
    install(
        tmp_path, "broken", "raise RuntimeError('out of order')" if state == "failed" else "import nothing"
    )
    code = """
        from precomp import VolumeFactory
        factory = VolumeFactory.from_dict({
            "protocols": {"ftp": {"user": "ada"}},
            "volumes": {"em": {"cloudpath": "file:///tmp/x/y"}},
        })
        print([plugin.state for plugin in factory.registry.plugins if plugin.entry == "broken"])
        try:
            factory.open("ftp://a/b")
        except ValueError as error:
            print(error)
        print(factory.describe()["problems"][0])
        try:
            VolumeFactory.from_dict({"protocols": {"fiel": {"fsync": True}}})
        except ValueError as error:
            print(error)
    """
    environment = {"PRECOMP_DISABLE_PLUGINS": "broken"} if state == "blocked" else {}
    found = run(code, folder=tmp_path, **environment)
    assert found.startswith(f"['{state}']\nunknown protocol 'ftp'")
    assert f"{state}: broken 1.0 (entry point 'broken')" in found
    assert "\nconfig: protocols.ftp: no plugin serves this protocol here, and no volume uses it: " in found
    assert "\nconfig: protocols.fiel: unknown protocol 'fiel' (did you mean 'file'?); known: " in found


def test_a_table_that_nothing_serves_or_uses_is_a_problem_and_no_error() -> None:
    unused = VolumeFactory.from_dict({"protocols": {"nope": {"user": "ada"}}})
    (problem,) = unused.describe()["problems"]
    assert problem.startswith("config: protocols.nope: no plugin serves this protocol here, and no volume ")
    used = VolumeFactory.from_dict(
        {"protocols": {"nope": {"user": "ada"}}, "volumes": {"em": {"cloudpath": "nope://a/b"}}}
    )
    (problem,) = used.describe()["problems"]
    assert problem.startswith("config: volumes.em.cloudpath: unknown protocol 'nope'")
    for near in ("fiel", "FILE"):
        (line,) = lines_of({"protocols": {near: {"fsync": True}}})
        assert line.startswith(f"config: protocols.{near}: unknown protocol '{near}' (did you mean 'file'?)")


def test_disabled_plugins_that_are_not_there_are_a_problem_and_no_error() -> None:
    factory = VolumeFactory.from_dict({"plugins": {"disable": ["jpeg", "jpg", "precomp:npz"]}})
    assert factory.describe()["problems"] == [
        "config: plugins.disable[1]: no plugin is called 'jpg' (did you mean 'jpeg'?); `precomp plugins` "
        "lists what is installed"
    ]
    (blocked, _) = [plugin for plugin in factory.registry.plugins if plugin.state == "blocked"]
    assert blocked.detail == "disabled by `disable` of a config's [plugins] or of precomp.plugins.load"


def install(folder: Path, name: str, code: str) -> None:
    """A distribution with one plugin, as pip would leave it."""
    (folder / f"{name}_plugin.py").write_text(textwrap.dedent(code))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[precomp]\n{name} = {name}_plugin\n")


def run(code: str, folder: Path | None = None, **environment: str) -> str:
    """Run `code` in a fresh interpreter, with the distributions in `folder`, and return what it prints."""
    path = [str(folder), os.environ.get("PYTHONPATH", "")] if folder else [os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


SCRATCH = """
    import attrs
    from precomp.hookspecs import ProtocolPlugin, hookimpl
    from precomp.memory import MemoryStore

    @attrs.frozen
    class ScratchOptions:
        quota_mb: int = 100

    stores = {}

    def open_scratch(path, options):
        print("opened with", options)
        return stores.setdefault(path, MemoryStore())

    @hookimpl
    def precomp_register_protocols():
        return [ProtocolPlugin("scratch", open_scratch, options=ScratchOptions)]
"""


def test_an_installed_strangers_protocol_gets_typed_options(tmp_path: Path) -> None:
    install(tmp_path, "scratch", SCRATCH)
    config = {
        "protocols": {"scratch": {"quota_mb": 5}},
        "volumes": {"em": {"cloudpath": "scratch://a/b/c", "create": NEW, "fill_missing": True}},
    }
    write(tmp_path, config)
    code = """
        from precomp import open_volume
        vol = open_volume("em", CONFIG)
        vol[0:10, 0:10, 0:10] = 7
        print(open_volume("em", CONFIG)[5:15, 5, 5].ravel().tolist())
        try:
            open_volume("em", {"protocols": {"scratch": {"quota": 5}}})
        except ValueError as error:
            print(error)
    """.replace("CONFIG", repr(str(tmp_path / "precomp.toml")))
    lines = run(code, folder=tmp_path).splitlines()
    assert set(lines[:-2]) == {"opened with ScratchOptions(quota_mb=5)"}
    assert lines[-2] == "[7, 7, 7, 7, 7, 0, 0, 0, 0, 0]"
    assert lines[-1].startswith("config: protocols.scratch.quota: unknown field (did you mean 'quota_mb'?), ")


def test_plugins_are_chosen_by_the_config(tmp_path: Path) -> None:
    install(tmp_path, "one", SCRATCH.replace("opened", "one opened"))
    install(tmp_path, "two", SCRATCH.replace("opened", "two opened"))
    code = """
        from precomp import VolumeFactory, plugins
        volumes = {"em": {"cloudpath": "scratch://a/b/c"}}
        for table in ({"prefer": ["two"]}, {"disable": ["two"]}, {"prefer": ["one", "two"]}, {}):
            factory = VolumeFactory.from_dict({"volumes": volumes, "plugins": table})
            try:
                factory.open("em")
            except LookupError as error:
                pass
            except ValueError as error:
                print(error)
            same = VolumeFactory.from_dict({"plugins": table}).registry
            assert same._claims is factory.registry._claims  # discovered once
    """
    lines = run(code, folder=tmp_path).splitlines()
    assert [line.split(" with")[0] for line in lines[:3]] == ["two opened", "one opened", "one opened"]
    assert lines[3].startswith("config: volumes.em.cloudpath: protocol 'scratch' is claimed by ")


# The registry of a volume -------------------------------------------------------------------------------


def test_a_volume_keeps_its_plugins_wherever_it_goes(
    registry: Registry, opened: list[tuple[str, Any]]
) -> None:
    config = {
        "protocols": {"lab": {"endpoint": "here"}, "other": {"endpoint": "there"}},
        "volumes": {
            "a": {"cloudpath": "lab://b/d/a", "create": NEW},
            "b": {"like": "a", "cloudpath": "lab://b/e/b"},
        },
    }
    factory = VolumeFactory.from_dict(config, registry=registry)
    a, b = factory.open("a", parallel=1), factory.open("b")
    a[...] = 7
    a.transfer_to("other://b/d/copy")
    assert opened[-1] == ("other://b/d/copy", LabOptions("there"))
    assert (CloudVolume("other://b/d/copy", registry=factory.registry)[...] == 7).all()
    a.layer, a.dataset_name = "a", "d"
    b.dataset_name, b.layer = "e", "b"
    assert opened[-1] == ("lab://b/e/b", LabOptions("here"))
    store = b._layer.objects()
    store.write("info", b'{"redirect": "other://b/d/copy"}')
    assert factory.open("b", create=None).cloudpath == "other://b/d/copy"
    assert opened[-1] == ("other://b/d/copy", LabOptions("there"))


def test_codecs_come_from_the_registry_that_is_given() -> None:
    from precomp_plugins import memory
    from precomp_plugins.codecs import raw

    plugin = module(
        "mine",
        precomp_register_codecs=lambda: [
            CodecPlugin("mine", raw.precomp_register_codecs()[0].build, viewable=True)
        ],
    )
    mine = Registry.of([plugin, memory])
    config = {"volumes": {"em": {"cloudpath": fresh(), "create": {**NEW, "encoding": "mine"}}}}
    vol = VolumeFactory.from_dict(config, registry=mine).open("em")
    vol[...] = 7
    assert (vol[...] == 7).all()
    with pytest.raises(UnknownEncodingError, match="unknown encoding 'mine'"):
        CloudVolume(vol.cloudpath)[...]


def test_a_volume_of_installed_plugins_travels_with_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "scratch", SCRATCH)
    monkeypatch.setenv("LAB_TOKEN", "one")
    code = """
        import pickle, sys
        from precomp import VolumeFactory
        new = NEW
        factory = VolumeFactory.from_dict({
            "plugins": {"disable": ["scratch", "jpeg"], "prefer": ["precomp"]},
            "protocols": {"file": {"fsync": True}},
            "volumes": {"em": {"cloudpath": PATH, "create": new, "cdn_cache": "${LAB_TOKEN}"}},
        })
        vol = factory.open("em")
        vol[...] = 7
        open(OUT, "wb").write(pickle.dumps([vol, factory]))
    """
    out = str(tmp_path / "pickle")
    path = f"file://{tmp_path}/ds/em"
    code = code.replace("NEW", repr(NEW)).replace("PATH", repr(path)).replace("OUT", repr(out))
    run(code, folder=tmp_path)
    assert b"one" not in Path(out).read_bytes().split(b"VolumeFactory")[1]
    code = """
        import pickle
        vol, factory = pickle.load(open(OUT, "rb"))
        print((vol[...] == 7).all(), vol._layer._options)
        for one in (vol._layer.registry, factory.registry):
            blocked = [plugin.entry for plugin in one.plugins if plugin.state == "blocked"]
            print(sorted(blocked), dict(one.options["file"]))
        print(factory.open("em").cdn_cache, vol.cdn_cache)
    """.replace("OUT", repr(out))
    assert run(code, folder=tmp_path, LAB_TOKEN="two").splitlines() == [
        "True {'file': FileOptions(fsync=True)}",
        "['jpeg', 'scratch'] {'fsync': True}",
        "['jpeg', 'scratch'] {'fsync': True}",
        "two one",
    ]


def test_plugins_made_in_memory_do_not_travel(registry: Registry) -> None:
    config = {"volumes": {"em": {"cloudpath": fresh(), "create": NEW}}}
    factory = VolumeFactory.from_dict(config, registry=registry)
    vol = factory.open("em")
    for what in (vol, factory, registry):
        with pytest.raises(ArgumentError, match="registry: one made in memory, of lab_plugin, "):
            pickle.dumps(what)
    vol[...] = 7
    assert (copy.deepcopy(vol)[...] == 7).all()  # but they may be copied here
    assert copy.deepcopy(factory).registry.schemes == registry.schemes


def test_a_layer_that_somebody_else_makes_meanwhile_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    from precomp.factory import creation

    path = fresh()

    def slower(*arguments: Any, **given: Any) -> CloudVolume:
        monkeypatch.setattr(creation, "CloudVolume", CloudVolume)
        try:
            return CloudVolume(*arguments, **given)  # there is none yet
        finally:
            CloudVolume(path, info=CloudVolume.create_new_info(**NEW)).commit_info()

    monkeypatch.setattr(creation, "CloudVolume", slower)
    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": path, "create": NEW}}})
    assert factory.open("em").cloudpath == path


def test_one_factory_serves_many_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": fresh(), "create": NEW}}})

    def work(number: int) -> int:
        return factory.open("em", parallel=number % 3 + 1).parallel  # type: ignore[return-value]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(48)))
    assert found == [number % 3 + 1 for number in range(48)]
