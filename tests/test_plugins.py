"""Discovery: broken, blocked, doubled and rival plugins, none of which may disturb the others."""

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import precomp.cli
from precomp.errors import (
    ConfigError,
    MissingDependencyError,
    PluginConflictError,
    PrecompError,
    UnknownEncodingError,
    UnknownProtocolError,
)
from precomp.hookspecs import (
    CodecPlugin,
    CompressorPlugin,
    MeshExporterPlugin,
    ProtocolPlugin,
    hookimpl,
)
from precomp.interfaces import Buffer
from precomp.plugins import DISABLE_VARIABLE, Plugin, Registry, load

DISTRIBUTIONS = Path(__file__).parent / "distributions"
BROKEN = ["absent_import", "bad_syntax", "quits", "misspelt", "raising", "no_metadata", "no_value", "no_text"]
HEAVY = {
    "boto3",
    "google.cloud",
    "intern",
    "dask",
    "PIL",
    "simplejpeg",
    "brotli",
    "zstandard",
    "tqdm",
}


def run(code: str, *folders: str, **environment: str) -> Any:
    """Run `code` in a fresh interpreter that finds these distributions, and return the JSON it prints."""
    path = os.pathsep.join(str(DISTRIBUTIONS / folder) for folder in folders)
    inherited = {name: text for name, text in os.environ.items() if name != DISABLE_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**inherited, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


REPORT = """
    import json
    from precomp.plugins import load
    registry = load()
    plugins = {f"{p.distribution}:{p.entry}": [p.version, p.state, p.detail, p.provides]
               for p in registry.plugins}
"""


def codec(name: Any, **options: Any) -> CodecPlugin:
    return CodecPlugin(name, lambda info, scale: None, **options)  # type: ignore[arg-type,return-value]


def plugin_of(name: str = "mine", **hooks: Callable[[], Any]) -> ModuleType:
    """Return a plugin module with these hooks."""
    module = ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    return module


def codecs(name: str, *encodings: str) -> ModuleType:
    return plugin_of(name, precomp_register_codecs=lambda: [codec(encoding) for encoding in encodings])


GOOD = codecs("good", "good")


def test_broken_plugins_are_reported_and_disturb_nobody(tmp_path: Path) -> None:
    found = run(
        REPORT
        + """
    from precomp.url import parse
    from precomp.interfaces import Blob
    path = parse(PATH)
    plugin = registry.protocol("file")
    store = plugin.open(path, plugin.options())
    store.put("key", Blob(b"abc"))
    try:
        registry.protocol("ftp")
    except ValueError as error:
        message = str(error)
    print(json.dumps([plugins, bytes(store.get("key").data).decode(), message]))
    """.replace("PATH", repr(str(tmp_path / "ds" / "layer"))),
        *BROKEN,
    )
    plugins, content, message = found
    assert content == "abc"
    expected = {
        "absent-import:absent": ("1.1", "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
        "bad-syntax:syntax": ("1.2", "SyntaxError: invalid syntax (bad_syntax_plugin.py, line 1)"),
        "quits:quits": ("1.3", "SystemExit: no licence found"),
        "misspelt:misspelt": (
            "1.4",
            "unknown hook 'precomp_register_codec' (did you mean 'precomp_register_codecs'?)",
        ),
        "raising:raising": ("1.5", "RuntimeError: the hook is out of order"),
        f"{DISTRIBUTIONS / 'no_metadata'}:?": ("?", "METADATA has no Name"),
        f"{DISTRIBUTIONS / 'no_value'}:?": ("?", "metadata cannot be read: TypeError"),
        f"{DISTRIBUTIONS / 'no_text'}:?": ("?", "metadata cannot be read: UnicodeDecodeError"),
    }
    broken = {name: found for name, found in plugins.items() if found[1] != "loaded"}
    assert broken.keys() == expected.keys()
    for name, (version, reason) in expected.items():
        assert broken[name][0] == version
        assert broken[name][1] == "failed"
        assert reason in broken[name][2]
        assert "\n" not in broken[name][2]
        assert broken[name][3] == []
        assert reason in message, "an unknown name lists what failed to load"
    shipped = {name: found for name, found in plugins.items() if name.startswith("precomp:")}
    assert all(found[1:3] == ["loaded", ""] for found in shipped.values())
    assert ["protocol", "file"] in shipped["precomp:file"][3]


def test_disabled_plugins_are_not_imported() -> None:
    code = """
    import json, os, sys
    from precomp.plugins import load
    os.environ["PRECOMP_DISABLE_PLUGINS"] = " quits ,Beta.FTP:beta,, nobody-has-this"
    registry = load(disable=["alpha:ftp"])
    states = {p.entry: [p.state, p.detail] for p in registry.plugins if p.distribution != "precomp"}
    try:
        registry.protocol("ftp")
    except ValueError as error:
        message = str(error)
    imported = sorted(name for name in sys.modules if name.endswith("_plugin"))
    os.environ["PRECOMP_DISABLE_PLUGINS"] = "alpha:ftp,quits"
    print(json.dumps([states, message, imported, load().protocol("ftp").install_hint]))
    """
    states, message, imported, later = run(code, "alpha", "beta", "quits")
    why = "disabled by the environment variable PRECOMP_DISABLE_PLUGINS"
    other = "disabled by `disable` of a config's [plugins] or of precomp.plugins.load"
    assert states == {"quits": ["blocked", why], "beta": ["blocked", why], "ftp": ["blocked", other]}
    assert f"blocked: alpha 1.0 (entry point 'ftp'): {other}" in message
    assert imported == []
    assert later == "beta", "the variable is read at each load, not at import"


def test_rivals_conflict_only_where_they_are_asked_for() -> None:
    code = (
        REPORT
        + """
    try:
        registry.protocol("ftp")
    except Exception as error:
        failure = [type(error).__name__, str(error)]
    chosen = [load(prefer=[name]).protocol("ftp").install_hint
              for name in ("alpha", "ftp", "alpha:ftp", "beta-ftp", "Beta_FTP:beta", "beta")]
    print(json.dumps([plugins, failure, chosen, registry.codec("alpha").encoding]))
    """
    )
    plugins, (kind, message), chosen, encoding = run(code, "alpha", "beta")
    assert kind == "PluginConflictError"
    assert "'ftp'" in message
    assert message.endswith(
        "; for the first one pass registry=precomp.plugins.load(prefer=['alpha:ftp']), or say so in `prefer` "
        "of a config's [plugins], or set the environment variable PRECOMP_DISABLE_PLUGINS=beta_ftp:beta"
    )
    assert "alpha 1.0 (entry point 'ftp')" in message
    assert "beta_ftp 2.0 (entry point 'beta')" in message
    assert chosen == ["alpha"] * 3 + ["beta"] * 3
    assert encoding == "alpha"
    assert plugins["alpha:ftp"][1:3] == [
        "conflicting",
        "protocol 'ftp' is also claimed by beta_ftp 2.0 (entry point 'beta')",
    ]
    assert plugins["beta_ftp:beta"][1] == "conflicting"


@pytest.mark.parametrize(
    ("folders", "expected"),
    [(("alpha", "alpha_again"), "1.0"), (("alpha_again", "alpha"), "0.9"), (("alpha", "alpha"), "1.0")],
)
def test_of_two_copies_of_a_distribution_the_first_counts(folders: tuple[str, str], expected: str) -> None:
    plugins = run(REPORT + "    print(json.dumps(plugins))", *folders)
    copies = {name: found for name, found in plugins.items() if not name.startswith("precomp:")}
    assert [(found[0], found[1]) for found in copies.values()] == [(expected, "loaded")]


def test_hooks_run_once_however_many_threads_load() -> None:
    code = """
    import json, threading
    import counting_plugin
    from precomp.plugins import load
    found = []
    threads = [threading.Thread(target=lambda: found.append(load())) for _ in range(8)]
    for thread in threads:
        thread.start()
    counting_plugin.gate.set()
    for thread in threads:
        thread.join()
    print(json.dumps([len(counting_plugin.calls), len(set(map(id, found))), load() is found[0]]))
    """
    assert run(code, "counting") == [1, 1, True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_forked_while_a_thread_loads_can_load() -> None:
    code = """
    import json, os, threading, time
    import counting_plugin
    from precomp.plugins import load
    thread = threading.Thread(target=load)
    thread.start()
    while not counting_plugin.calls:
        time.sleep(0.001)
    child = os.fork()
    if child == 0:
        counting_plugin.gate.set()
        os._exit(0 if "file" in load().schemes else 1)
    status = os.waitpid(child, 0)[1]
    counting_plugin.gate.set()
    thread.join()
    print(json.dumps(os.waitstatus_to_exitcode(status)))
    """
    assert run(code, "counting", PYTHONWARNINGS="ignore") == 0


def test_loading_imports_no_sdk() -> None:
    code = REPORT + "    import sys\n    print(json.dumps([sorted(sys.modules), plugins]))"
    modules, plugins = run(code)
    assert not HEAVY & set(modules)
    assert "precomp_plugins.file" in modules
    assert all(found[1] == "loaded" for found in plugins.values())


def test_load_is_cached() -> None:
    assert load() is load()
    assert load(disable=["npz"]) is load(disable=("npz", "npz")) is load(disable="npz")
    assert load(disable=["npz"]) is not load()
    assert load(prefer="precomp") is load(prefer=["precomp"])
    assert "npz" in load().encodings
    assert "npz" not in load(disable=["npz"]).encodings


def test_disabling_names_plugins_and_not_distributions() -> None:
    assert load(disable=["precomp"]).schemes == load().schemes
    assert "file" not in load(disable=["precomp:file"]).schemes
    assert load(disable=["other:file"]).schemes == load().schemes


def test_shipped_names() -> None:
    registry = load()
    assert {"file", "mem"} <= set(registry.schemes)
    assert {"raw", "jpeg", "npz"} <= set(registry.encodings)
    assert registry.suffixes["gzip"] == (".gz",)
    assert registry.exporter("obj").suffix == ".obj"
    assert registry.compressor_plugin("gzip").name == "gzip"
    packed = registry.compressor("gzip").compress(b"precomp" * 99)
    assert bytes(registry.compressor("gzip").decompress(packed, 10_000)) == b"precomp" * 99


def test_a_registry_is_frozen() -> None:
    registry: Any = Registry.of([GOOD])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        registry.plugins = ()
    with pytest.raises(TypeError):
        registry.suffixes["gzip"] = (".other",)
    assert registry.encodings == ("good",)


def unbuildable(name: str) -> list[ProtocolPlugin]:
    return [ProtocolPlugin(name, "open me")]  # type: ignore[arg-type]


def failing_generator() -> Iterable[CodecPlugin]:
    yield codec("one")
    raise KeyError("two")


def quitting() -> Iterable[CodecPlugin]:
    sys.exit("no licence")


def scheme(name: str, **options: Any) -> Callable[[], list[ProtocolPlugin]]:
    return lambda: [ProtocolPlugin(name, lambda path, options: None, **options)]  # type: ignore[arg-type,return-value]


def compression(suffixes: Any) -> Callable[[], list[CompressorPlugin]]:
    return lambda: [CompressorPlugin("xz", suffixes, lambda level=None: None)]  # type: ignore[arg-type,return-value]


@attrs.frozen
class ForCheckersOnly:
    number: "NotDefined"  # type: ignore[name-defined]  # noqa: F821


class Hostile:
    def __repr__(self) -> str:
        raise ZeroDivisionError("a repr that raises")


class Unprintable(Exception):  # noqa: N818  an error by accident
    def __str__(self) -> str:
        raise ZeroDivisionError


def unprintable() -> list[CodecPlugin]:
    raise Unprintable


class Leaves(BaseException):
    """As those of async libraries and test runners."""


def leaving() -> list[CodecPlugin]:
    raise Leaves("cancelled\nwith a second line")


@pytest.mark.parametrize(
    ("hook", "function", "reason"),
    [
        ("codecs", lambda: None, "found None"),
        ("codecs", lambda: 5, "not iterable"),
        ("codecs", lambda: codec("one"), "not iterable"),
        ("codecs", lambda: "raw", "found 'r' in it"),
        ("codecs", lambda: [codec("one"), 7], "found 7 in it"),
        ("codecs", lambda: [Hostile()], "a repr that raises"),
        ("codecs", scheme("ftp"), "expected an iterable of CodecPlugin"),
        ("codecs", failing_generator, "KeyError: 'two'"),
        ("codecs", quitting, "SystemExit: no licence"),
        ("codecs", leaving, "Leaves: cancelled"),
        ("codecs", unprintable, "found Unprintable"),
        ("codecs", lambda: [codec("")], "a name in lower case"),
        ("codecs", lambda: [codec("RAW")], "a name in lower case"),
        ("codecs", lambda: [codec("r aw")], "a name in lower case"),
        ("codecs", lambda: [codec(" raw")], "a name in lower case"),
        ("codecs", lambda: [codec(b"raw")], "a name in lower case"),
        ("codecs", lambda: [codec(["raw"])], "a name in lower case"),
        ("codecs", lambda: [codec("one"), codec("one")], "'one' twice"),
        ("codecs", lambda: [codec("one", dtypes="uint8")], "a tuple or None as 'dtypes'"),
        ("codecs", lambda: [codec("one", channels=iter([1]))], "a tuple or None as 'channels'"),
        ("codecs", lambda: [codec("one", channels=3)], "a tuple or None as 'channels'"),
        ("codecs", lambda extra: [codec("one")], "extra"),
        ("protocols", lambda: unbuildable("ftp"), "a callable as 'open'"),
        ("protocols", scheme("precomputed"), "a scheme such as"),
        ("protocols", scheme("my_ftp"), "a scheme such as"),
        ("protocols", scheme("c"), "a scheme such as"),
        ("protocols", scheme("ftp", options=dict), "an attrs class or None"),
        (
            "protocols",
            scheme("ftp", options=ForCheckersOnly),
            "ForCheckersOnly .*'NotDefined' is not defined",
        ),
        ("compressors", compression(".xz"), "a tuple of suffixes"),
        ("compressors", compression(("xz",)), "a tuple of suffixes"),
        ("compressors", compression(()), "a tuple of suffixes"),
        ("compressors", compression(None), "a tuple of suffixes"),
        ("mesh_exporters", lambda: [MeshExporterPlugin("xyz", "xyz", object)], "a suffix such as"),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_the_failure_of_its_plugin_only(
    hook: str, function: Callable[[], Any], reason: str
) -> None:
    bad = plugin_of("bad", **{f"precomp_register_{hook}": function})
    for plugins in ([bad, GOOD], [GOOD, bad]):
        registry = Registry.of(plugins)
        found = {plugin.entry: plugin for plugin in registry.plugins}
        assert found["good"].state == "loaded"
        assert registry.codec("good").encoding == "good"
        assert found["bad"].state == "failed"
        assert re.search(reason, found["bad"].detail)
        assert "\n" not in found["bad"].detail
        assert "second line" not in found["bad"].detail
        assert found["bad"].provides == ()
        assert registry.encodings == ("good",)


def test_a_plugin_without_hooks_or_decorators_is_a_failure() -> None:
    def precomp_register_codecs() -> list[CodecPlugin]:
        return [codec("one")]

    bare = SimpleNamespace(precomp_register_codecs=precomp_register_codecs)
    empty = ModuleType("empty")
    half = codecs("half", "two")
    half.precomp_register_protocols = scheme("ftp")  # type: ignore[attr-defined]
    registry = Registry.of([bare, empty, half, None, GOOD])
    details = [plugin.detail for plugin in registry.plugins]
    assert details[0] == "precomp_register_codecs lacks the decorator @precomp.hookspecs.hookimpl"
    assert details[1].startswith("it implements none of the hooks")
    assert details[2] == "precomp_register_protocols lacks the decorator @precomp.hookspecs.hookimpl"
    assert details[3].startswith("it implements none of the hooks")
    assert registry.encodings == ("good",)


def test_specifications_that_come_with_a_star_are_no_hooks() -> None:
    """`from precomp.hookspecs import *` is what many start with."""
    starred = codecs("starred", "starred")
    exec("from precomp.hookspecs import *", vars(starred))
    starred.precomp_register_codecs = hookimpl(lambda: [codec("starred")])  # type: ignore[attr-defined]
    lazy = ModuleType("lazy")
    exec("from precomp.hookspecs import *", vars(lazy))
    registry = Registry.of([starred, lazy])
    assert [plugin.state for plugin in registry.plugins] == ["loaded", "failed"]
    assert registry.codec("starred").encoding == "starred"
    assert registry.plugins[1].detail.startswith("it implements none of the hooks")


@pytest.mark.parametrize(
    "name", ["precomp_register_codec", "precomp_registr_protocols", "precomp_register_it"]
)
def test_a_misspelt_hook_is_found_without_its_decorator(name: str) -> None:
    half = codecs("half", "one")
    setattr(half, name, lambda: [codec("two")])
    half.precomp_helper = lambda: None  # type: ignore[attr-defined]
    half.precomp_register_notes = "no function"  # type: ignore[attr-defined]
    (plugin,) = Registry.of([half]).plugins
    assert plugin.state == "failed"
    assert plugin.detail.startswith(f"unknown hook {name!r}")
    delattr(half, name)
    assert Registry.of([half]).plugins[0].state == "loaded"


def test_a_keyboard_interrupt_passes() -> None:
    def interrupted() -> list[CodecPlugin]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Registry.of([plugin_of(precomp_register_codecs=interrupted)])


def test_whatever_a_module_raises_is_its_own_failure() -> None:
    plugins = run(REPORT + "    print(json.dumps(plugins))", "leaves")
    assert plugins["leaves:leaves"][1:3] == ["failed", "Leaves: nobody expects me"]
    assert plugins["precomp:file"][1] == "loaded"


def test_objects_can_be_plugins() -> None:
    class Mine:
        @hookimpl
        def precomp_register_codecs(self) -> list[CodecPlugin]:
            return [codec("mine")]

    registry = Registry.of([Mine()])
    assert registry.plugins == (Plugin("Mine", "in-memory", "0", provides=(("encoding", "mine"),)),)
    assert registry.codec("mine").encoding == "mine"


NAMES = ["one", "two", "three"]
rivals = st.lists(st.sets(st.sampled_from(NAMES)), max_size=4)


@given(rivals, st.lists(st.integers(0, 3), max_size=3), st.randoms())
def test_a_name_is_served_if_one_claims_it_or_one_is_preferred(
    claims: list[set[str]], preferred: list[int], random: Any
) -> None:
    modules = [codecs(f"plugin{index}", *sorted(names)) for index, names in enumerate(claims)]
    prefer = [f"plugin{index}" for index in preferred if index < len(modules)]
    shuffled = random.sample(modules, len(modules))
    registry = Registry.of(shuffled, prefer)
    states = {plugin.entry: plugin.state for plugin in registry.plugins}
    contested = set()
    for name in NAMES:
        claimants = [f"plugin{index}" for index, names in enumerate(claims) if name in names]
        winner = next((text for text in prefer if text in claimants), None)
        if winner or len(claimants) == 1:
            expected = Registry.of([modules[int((winner or claimants[0])[-1])]]).codec(name)
            assert registry.codec(name).encoding == expected.encoding
            left_out = [plugin for plugin in registry.plugins if plugin.entry in claimants and winner]
            for plugin in left_out:
                assert (f"encoding {name!r} is left to" in plugin.detail) is (plugin.entry != winner)
        elif claimants:
            contested |= set(claimants)
            with pytest.raises(PluginConflictError) as caught:
                registry.codec(name)
            assert all(f"entry point {claimant!r}" in str(caught.value) for claimant in claimants)
        else:
            with pytest.raises(UnknownEncodingError):
                registry.codec(name)
    assert {name for name, state in states.items() if state == "conflicting"} == contested
    assert registry.encodings == tuple(sorted(set(itertools.chain(*claims))))


def test_preferring_a_distribution_leaves_its_own_rivals_to_the_next() -> None:
    modules = [codecs(name, "same") for name in ("left", "right")]
    with pytest.raises(PluginConflictError, match=r"make the registry with prefer=\['in-memory:left'\] or "):
        Registry.of(modules, ["in-memory"]).codec("same")
    registry = Registry.of(modules, ["in-memory", "right"])
    assert [plugin.detail for plugin in registry.plugins] == [
        "encoding 'same' is left to in-memory 0 (entry point 'right')",
        "",
    ]


def test_preferring_what_is_not_installed_is_an_error() -> None:
    with pytest.raises(
        ConfigError, match=r"'godo' \(did you mean 'good'\?\); expected one of good, in-memory"
    ):
        Registry.of([GOOD], ["godo"])
    with pytest.raises(ConfigError, match=r"did you mean 'precomp'\?"):
        load(prefer=["precmp"])


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda registry: registry.protocol("nothing"), UnknownProtocolError),
        (lambda registry: registry.codec("nothing"), UnknownEncodingError),
        (lambda registry: registry.compressor("nothing"), UnknownEncodingError),
        (lambda registry: registry.compressor_plugin("nothing"), UnknownEncodingError),
        (lambda registry: registry.exporter("nothing"), UnknownEncodingError),
    ],
)
def test_unknown_names(ask: Callable[[Registry], object], error: type[PrecompError]) -> None:
    with pytest.raises(error, match="'nothing'; known: none\n"):
        ask(Registry.of([]))


def test_an_unknown_name_says_what_to_do() -> None:
    with pytest.raises(UnknownProtocolError) as caught:
        load().protocol("dvid")
    first, *_, last = str(caught.value).splitlines()
    assert first == f"unknown protocol 'dvid'; known: {', '.join(load().schemes)}"
    assert "comes with another package or a later version" in last
    assert "`precomp plugins`" in last
    with pytest.raises(UnknownEncodingError, match=r"'jpg' \(did you mean 'jpeg'\?\)"):
        load().codec("jpg")


class Packer:
    def compress(self, data: Buffer) -> Buffer:
        return data

    def decompress(self, data: Buffer, max_size: int) -> Buffer:
        return data


def building(build: Callable[..., Any], hint: str | None = None) -> Registry:
    declared = CompressorPlugin("xz", (".xz", ".lzma"), build, hint)
    return Registry.of([plugin_of(precomp_register_compressors=lambda: [declared])])


def test_a_compressor_is_built_once_for_all_threads() -> None:
    barrier = threading.Barrier(4)
    registry = building(lambda level=None: Packer())
    found = []

    def ask() -> None:
        barrier.wait()
        found.append(registry.compressor("xz"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert registry.suffixes == {"xz": (".xz", ".lzma")}


def test_a_missing_package_is_told_with_its_install_line() -> None:
    def build(level: int | None = None) -> object:
        return importlib.import_module("a_package_that_nobody_has")

    with pytest.raises(MissingDependencyError, match=r"nobody_has.*pip install 'xz'") as caught:
        building(build, "pip install 'xz'").compressor("xz")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(MissingDependencyError, match="install the package"):
        building(build).compressor("xz")


def test_an_error_of_the_plugin_passes_and_the_next_try_builds() -> None:
    answers = iter([MissingDependencyError("install it"), Packer()])

    def build(level: int | None = None) -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    registry = building(build)
    with pytest.raises(MissingDependencyError, match=r"^install it$"):
        registry.compressor("xz")
    assert registry.compressor("xz") is registry.compressor("xz")


def test_suffixes_of_rivals_are_all_known() -> None:
    def rival(name: str, *suffixes: str) -> ModuleType:
        declared = CompressorPlugin("xz", suffixes, lambda level=None: None)  # type: ignore[arg-type,return-value]
        return plugin_of(name, precomp_register_compressors=lambda: [declared])

    registry = Registry.of([rival("left", ".xz"), rival("right", ".lzma", ".xz")])
    assert registry.suffixes == {"xz": (".xz", ".lzma")}
    with pytest.raises(PluginConflictError):
        registry.compressor("xz")


def table(text: str) -> list[Mapping[str, str]]:
    """Read an aligned table by the places of its headings."""
    head, *lines = text.splitlines()
    starts = [
        index for index, char in enumerate(head) if char != " " and (not index or head[index - 1] == " ")
    ]
    spans = [slice(start, stop) for start, stop in itertools.zip_longest(starts, starts[1:])]
    return [{head[span].strip(): line[span].strip() for span in spans} for line in lines]


def test_command_lists_plugins(capsys: pytest.CaptureFixture[str]) -> None:
    assert precomp.cli.main(["plugins"]) == 0
    rows = table(capsys.readouterr().out)
    file = next(row for row in rows if (row["KIND"], row["NAME"]) == ("protocol", "file"))
    version = next(plugin.version for plugin in load().plugins if plugin.entry == "file")
    assert file == {
        "KIND": "protocol",
        "NAME": "file",
        "DISTRIBUTION": "precomp",
        "VERSION": version,
        "STATE": "loaded",
        "REASON": "",
    }
    other = next(row for row in rows if row["NAME"] == "npz_uint8")
    assert other["REASON"] == "entry point 'npz'"


def test_command_lists_what_failed_and_what_is_disabled() -> None:
    code = """
    import contextlib, io, json
    from precomp.cli import main
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["plugins"])
    print(json.dumps([code, out.getvalue()]))
    """
    code, text = run(code, "alpha", "beta", "raising", PRECOMP_DISABLE_PLUGINS="npz")
    rows = {(row["KIND"], row["NAME"], row["DISTRIBUTION"]): row for row in table(text)}
    assert code == 0
    assert rows["plugin", "npz", "precomp"]["STATE"] == "blocked"
    assert rows["plugin", "raising", "raising"]["STATE"] == "failed"
    assert "out of order" in rows["plugin", "raising", "raising"]["REASON"]
    assert (
        rows["protocol", "ftp", "alpha"]["STATE"]
        == rows["protocol", "ftp", "beta_ftp"]["STATE"]
        == "conflicting"
    )
    assert rows["protocol", "mem", "precomp"]["STATE"] == "loaded"
    assert all(line == line.rstrip() for line in text.splitlines())


def test_command_alone_prints_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert precomp.cli.main([]) == 0
    assert "plugins" in capsys.readouterr().out
    assert precomp.cli.main(["--version"]) == 0
    version = next(plugin.version for plugin in load().plugins if plugin.distribution == "precomp")
    assert capsys.readouterr().out == f"precomp {version}\n"
    with pytest.raises(SystemExit, match="2"):
        precomp.cli.main(["no-such-command"])


def test_a_precomp_error_of_a_command_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(args: object) -> int:
        raise ConfigError("the file is wrong")

    command = ModuleType("precomp.cli.failing")
    command.add_parser = lambda subparsers: subparsers.add_parser("failing")  # type: ignore[attr-defined]
    command.run = failing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, command.__name__, command)
    monkeypatch.setattr(precomp.cli, "_COMMANDS", ("failing",))
    assert precomp.cli.main(["failing"]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "precomp: error: the file is wrong\n")
