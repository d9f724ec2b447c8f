"""Discovery: from the installed entry points to one immutable `Registry`.

pluggy's own entry-point loading stops at the first plugin that cannot be imported and drops a second
one of the same name without a word, so the loop is our own: each plugin is loaded and asked alone,
and whatever it raises is its own failure.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from precomp.errors import ArgumentError, did_you_mean
from precomp.jsonio.problems import shown
from precomp.plugins import installed
from precomp.plugins.probe import Probed, one_line, probe
from precomp.plugins.records import Plugin, canonical
from precomp.plugins.registry import Registry

__all__ = [
    "DISABLE_VARIABLE",
    "Plugin",
    "Registry",
    "chosen",
    "disabled_by_variable",
    "load",
    "unknown_names",
]

DISABLE_VARIABLE = "PRECOMP_DISABLE_PLUGINS"
_lock = threading.RLock()  # one thread runs the hooks; the others wait for its registry


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)  # the thread that held it is not in the child


def load(disable: Iterable[str] = (), prefer: Iterable[str] = ()) -> Registry:
    """Return the registry of all installed plugins; made once per process and set of arguments.

    Args:
        disable: entry point names, or `distribution:entry`, of plugins that shall not be imported.
            Those that the environment variable `PRECOMP_DISABLE_PLUGINS` lists (with commas) are
            added. Names of plugins that are not installed are fine; `unknown_names` tells of them.
        prefer: distributions, entry point names or `distribution:entry`: where several plugins claim
            one name, the first of these that is among them gets it.

    A plugin that fails disturbs no other; `Registry.plugins` says why it failed. Raises ConfigError
    where `prefer` names nothing that is installed.
    """
    blocked = frozenset(name.strip() for name in _names(disable)) - {""}
    with _lock:
        return _load(blocked, frozenset(disabled_by_variable()), tuple(_names(prefer)))


def chosen(registry: Registry | None) -> Registry:
    """Return the registry that an argument `registry` asks for: for None that of all installed plugins.

    Raises ArgumentError for anything else.
    """
    if registry is None:
        return load()
    if isinstance(registry, Registry):
        return registry
    raise ArgumentError(
        f"registry: expected None or a precomp.plugins.Registry, got {shown(registry)}; "
        "precomp.plugins.load() makes one"
    )


def disabled_by_variable() -> tuple[str, ...]:
    """Return the names in the environment variable `PRECOMP_DISABLE_PLUGINS`."""
    names = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return tuple(name.strip() for name in names if name.strip())


def unknown_names(registry: Registry, names: Iterable[str]) -> Iterator[str]:
    """Yield what to say of each name by which no plugin can be disabled."""
    for name in names:
        if not any(plugin.answers_to(name) for plugin in registry.plugins):
            hint = did_you_mean(name, (plugin.entry for plugin in registry.plugins))
            yield f"no plugin is called {name!r}{hint}; `precomp plugins` lists what is installed"


def _names(names: Iterable[str]) -> Iterable[str]:
    return (names,) if isinstance(names, str) else names


@functools.lru_cache(maxsize=16)
def _load(by_argument: frozenset[str], by_variable: frozenset[str], prefer: tuple[str, ...]) -> Registry:
    blocked = {
        **dict.fromkeys(by_variable, f"the environment variable {DISABLE_VARIABLE}"),
        **dict.fromkeys(by_argument, "`disable` of a config's [plugins] or of precomp.plugins.load"),
    }
    return Registry.assemble(_installed(blocked), prefer, recipe=(load, (tuple(sorted(blocked)), prefer)))


def _installed(blocked: Mapping[str, str]) -> Iterator[Probed]:
    """Yield every plugin on `sys.path`; of two copies of a distribution the first one counts."""
    seen: set[str] = set()
    for place in installed.places():
        try:
            found = installed.read(place)
        except Exception as error:  # noqa: BLE001  anything may stand in another package's metadata
            why = f"its metadata cannot be read: {one_line(error)}"
            yield Probed(Plugin("?", installed.describe(place), "?", "failed", why))
            continue
        if found is not None and canonical(found.name) not in seen:
            seen.add(canonical(found.name))
            for entry, load in found.points:
                yield _probed(Plugin(entry, found.name, found.version), load, blocked)


def _probed(plugin: Plugin, load: Callable[[], object], blocked: Mapping[str, str]) -> Probed:
    who = sorted({blocked[name] for name in blocked if plugin.answers_to(name)})
    if not who:
        return probe(plugin, load)
    return Probed(attrs.evolve(plugin, state="blocked", detail=f"disabled by {' and by '.join(who)}"))
