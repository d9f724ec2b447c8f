"""What a plugin's `open` and `build` raise or return by mistake is told with the plugin's name."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import attrs
import numpy as np
import pytest

from precomp import CloudVolume, VolumeFactory
from precomp.errors import (
    InfoNotFoundError,
    MissingDependencyError,
    PluginConflictError,
    PluginError,
    PrecompError,
    PrecompWarning,
    StoreError,
    UnsupportedError,
)
from precomp.hookspecs import CodecPlugin, CompressorPlugin, ProtocolPlugin, hookimpl
from precomp.memory import MemoryStore
from precomp.plugins import Registry

PATH = "odd://bucket/dataset/layer"
ORIGIN = "of in-memory 0 (entry point 'strange')"


def fails(*_: Any, **__: Any) -> Any:
    raise KeyError("boom")


def lacks(*_: Any, **__: Any) -> Any:
    raise ImportError("no module named odd_sdk")


def leaves(*_: Any, **__: Any) -> Any:
    raise UnsupportedError("not here")


def registry_of(
    opens: Callable[..., Any] = lambda path, options: MemoryStore(), build: Callable[..., Any] = fails
) -> Registry:
    """A plugin with one of each kind."""
    plugin = ModuleType("strange")
    hooks: dict[str, Callable[[], Any]] = {
        "protocols": lambda: [ProtocolPlugin("odd", opens, install_hint="pip install odd")],
        "codecs": lambda: [CodecPlugin("odd", build, viewable=True, install_hint="pip install odd")],
        "compressors": lambda: [CompressorPlugin("odd", (".odd",), build, "pip install odd")],
    }
    for name, hook in hooks.items():
        setattr(plugin, f"precomp_register_{name}", hookimpl(hook))
    return Registry.of([plugin])


class Everything(MemoryStore):
    """A store, a codec and a compressor."""

    def encode(self, chunk: Any) -> bytes:
        raise NotImplementedError

    decode = compress = decompress = encode


WRONG: list[tuple[Callable[..., Any], type[Exception] | None, str]] = [
    (fails, KeyError, "failed with KeyError: 'boom' when its"),
    (lambda *_, **__: None, None, "returned None when its"),
    (lambda *_, **__: object(), None, "returned <object object at"),
    (lambda *_, **__: Everything, None, "returned <class "),  # and not an instance of it
]


@pytest.mark.parametrize(("code", "cause", "text"), WRONG)
def test_open(code: Callable[..., Any], cause: type[Exception] | None, text: str) -> None:
    with pytest.raises(StoreError) as caught:
        CloudVolume(PATH, registry=registry_of(code))
    message = str(caught.value)
    assert message.startswith(f"{PATH}: protocol 'odd' {ORIGIN} {text}")
    assert "'open' was called; expected a Store (see precomp.interfaces); report it" in message
    assert (caught.value.__cause__ and type(caught.value.__cause__)) is cause


@pytest.mark.parametrize(("code", "cause", "text"), WRONG)
def test_build(code: Callable[..., Any], cause: type[Exception] | None, text: str) -> None:
    registry = registry_of(build=code)
    info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (8, 8, 40), (0, 0, 0), (64, 64, 64))
    info["scales"][0]["encoding"] = "odd"
    vol = CloudVolume(PATH, info=info, registry=registry)
    for kind, name, ask in (
        (f"{PATH}/info: encoding", "a Codec", lambda: vol[0:64, 0:64, 0:64]),
        ("compressor", "a Compressor", lambda: registry.compressor("odd")),
    ):
        with pytest.raises(PluginError) as caught:
            ask()
        message = str(caught.value)
        assert message.startswith(f"{kind} 'odd' {ORIGIN} {text}")
        assert f"'build' was called; expected {name} (see precomp.interfaces)" in message
        assert (caught.value.__cause__ and type(caught.value.__cause__)) is cause


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        (lacks, MissingDependencyError, "needs a package .*odd_sdk.*; pip install odd"),
        (leaves, UnsupportedError, "^not here$"),
    ],
)
def test_what_a_plugin_says_itself_passes(
    code: Callable[..., Any], error: type[PrecompError], text: str
) -> None:
    registry = registry_of(code, code)
    for ask in (lambda: CloudVolume(PATH, registry=registry), lambda: registry.compressor("odd")):
        with pytest.raises(error, match=text):
            ask()


def test_other_volumes_of_a_config_stay_usable() -> None:
    from precomp_plugins import memory

    registry = Registry.of([plugin_module(fails), memory])
    config = {"volumes": {"odd": {"cloudpath": PATH}, "em": {"cloudpath": "mem://plugin/code/em"}}}
    factory = VolumeFactory.from_dict(config, registry=registry)
    with pytest.raises(InfoNotFoundError):
        factory.open("em")
    with pytest.raises(StoreError, match="protocol 'odd' of in-memory") as caught:
        factory.open("odd")
    assert caught.value.__notes__ == ["while opening 'odd' of config"]


def test_a_conflict_is_settled_for_new_layers_too() -> None:
    from precomp_plugins import memory
    from precomp_plugins.codecs import raw

    rival = ModuleType("rival")
    claimed = attrs.evolve(raw.precomp_register_codecs()[0], viewable=False)
    rival.precomp_register_codecs = hookimpl(lambda: [claimed])  # type: ignore[attr-defined]
    size = {"resolution": (8, 8, 40), "voxel_offset": (0, 0, 0), "volume_size": (9, 9, 9)}
    new: dict[str, Any] = dict(num_channels=1, layer_type="image", data_type="uint8", encoding="raw", **size)
    voxels = np.arange(729, dtype=np.uint8).reshape(9, 9, 9)
    unsettled = Registry.of([raw, rival, memory])
    for make in (
        lambda: CloudVolume.create_new_info(**new, registry=unsettled),
        lambda: CloudVolume.from_numpy(voxels, "mem://plugin/code/new", registry=unsettled),
    ):
        with pytest.raises(
            PluginConflictError, match=r"make the registry with prefer=\['in-memory:precomp_plugi"
        ):
            make()
    settled = Registry.of([raw, rival, memory], prefer=["rival"])
    with pytest.warns(PrecompWarning, match="cannot show"):  # so says the rival
        assert CloudVolume.create_new_info(**new, registry=settled) == CloudVolume.create_new_info(**new)
    with pytest.warns(PrecompWarning, match="cannot show"):
        vol = CloudVolume.from_numpy(voxels, "mem://plugin/code/new", registry=settled)
    assert (vol[...][..., 0] == voxels).all()


def plugin_module(opens: Callable[..., Any]) -> ModuleType:
    plugin = ModuleType("strange")
    plugin.precomp_register_protocols = hookimpl(lambda: [ProtocolPlugin("odd", opens)])  # type: ignore[attr-defined]
    return plugin
