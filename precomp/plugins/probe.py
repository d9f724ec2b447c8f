"""One plugin alone: import it, check its hooks, collect what they declare, keep what it raises."""

from collections.abc import Callable, Collection, Iterator
from types import ModuleType
from typing import Any

import attrs
import pluggy

from precomp import hookspecs
from precomp.errors import did_you_mean
from precomp.hookspecs import CodecPlugin, CompressorPlugin, MeshExporterPlugin, ProtocolPlugin
from precomp.plugins.records import KINDS, Declaration, Kind, Plugin
from precomp.url import is_scheme

__all__ = ["Probed", "one_line", "probe"]

_MARK = f"{hookspecs.hookimpl.project_name}_impl"
_HOOKS = tuple(kind.hook for kind in KINDS.values())


@attrs.frozen
class Probed:
    """A plugin and what it declares: nothing unless its state is `loaded`."""

    plugin: Plugin
    declarations: tuple[Declaration, ...] = ()


def probe(origin: Plugin, load: Callable[[], object]) -> Probed:
    """Load a plugin and run its hooks. Never raises: a failure is told by the state and detail."""
    try:
        declarations = tuple(_ask(f"{origin.distribution}:{origin.entry}", load()))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        import logging

        logging.getLogger(__name__).info("plugin %s failed", origin, exc_info=True)
        return Probed(attrs.evolve(origin, state="failed", detail=one_line(error)))
    provides = tuple((declared.kind, declared.name) for declared in declarations)
    return Probed(attrs.evolve(origin, provides=provides), declarations)


def one_line(error: BaseException) -> str:
    """Return an exception's class and the first line of its message."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # noqa: BLE001  a stranger's exception may raise anything
        lines = []
    text = " ".join(lines[0].split()) if lines else ""
    return text if type(error) is _BadPluginError else f"{type(error).__name__}: {text}".removesuffix(": ")


class _Manager(pluggy.PluginManager):
    """A manager that looks for hooks where they are: it is made once per plugin."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        if isinstance(plugin, ModuleType) and not hasattr(plugin.__dict__.get(name), _MARK):
            return None  # pluggy finds the same, but inspects every name of the module for it
        return super().parse_hookimpl_opts(plugin, name)


class _BadPluginError(Exception):
    """A plugin can be imported, but its hooks are wrong; the message stands for itself."""


def _ask(name: str, plugin: object) -> Iterator[Declaration]:
    # A manager for this plugin only: a wrong or raising hook has no one else to disturb.
    manager = _Manager(hookspecs.hookspec.project_name)
    try:
        manager.register(plugin, name)
        if (specifications := _specifications(manager, plugin)) is not None:
            manager.add_hookspecs(specifications)
    except pluggy.PluginValidationError as error:  # what is wrong stands in its last line
        raise _BadPluginError(" ".join(str(error).split())) from error
    _check_hooks(manager, plugin)
    seen: set[tuple[str, str]] = set()
    for title, kind in KINDS.items():
        for record in _call(getattr(manager.hook, kind.hook, None), kind):
            declared = Declaration(title, getattr(record, kind.name), record)
            _check(declared, kind)
            if (title, declared.name) in seen:
                raise _BadPluginError(f"{kind.hook} declares {title} {declared.name!r} twice")
            seen.add((title, declared.name))
            yield declared


def _specifications(manager: pluggy.PluginManager, plugin: object) -> ModuleType | None:
    """Return the specifications of a registered plugin's hooks: pluggy takes its time over each one."""
    names = {caller.name for caller in manager.get_hookcallers(plugin) or []}.intersection(_HOOKS)
    module = ModuleType(hookspecs.__name__)
    vars(module).update({name: getattr(hookspecs, name) for name in names})
    return module if names else None


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    callers = manager.get_hookcallers(plugin) or []
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        name = next(caller.name for caller in callers if not caller.has_spec())
        raise _unknown_hook(name) from error
    implemented = {caller.name for caller in callers}
    for name in dir(plugin):
        if name in implemented or not (_looks_like_a_hook(name) and callable(getattr(plugin, name))):
            continue
        if name not in _HOOKS:
            raise _unknown_hook(name)
        if getattr(plugin, name) is not getattr(hookspecs, name):  # those come with `import *`
            raise _BadPluginError(f"{name} lacks the decorator @precomp.hookspecs.hookimpl")
    if not implemented:
        raise _BadPluginError(f"it implements none of the hooks {', '.join(_HOOKS)}")


def _looks_like_a_hook(name: str) -> bool:
    """Whether a function of this name is a hook or meant to be one, whose name has a slip in it."""
    if not name.startswith("precomp_"):
        return False
    if name.startswith("precomp_register"):
        return True
    import difflib

    return bool(difflib.get_close_matches(name, _HOOKS, 1, 0.8))


def _unknown_hook(name: str) -> _BadPluginError:
    return _BadPluginError(
        f"unknown hook {name!r}{did_you_mean(name, _HOOKS)}; the hooks are {', '.join(_HOOKS)}"
    )


def _call(hook: pluggy.HookCaller | None, kind: Kind) -> list[Any]:
    if hook is None:
        return []
    expected = f"{kind.hook}: expected an iterable of {kind.record.__name__}"
    try:
        results = [list(result) for result in hook()]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _BadPluginError(f"{expected}, found {one_line(error)}") from error
    if not results:  # pluggy leaves None out
        raise _BadPluginError(f"{expected}, found None")
    records = [record for result in results for record in result]
    for record in records:
        if not isinstance(record, kind.record):
            raise _BadPluginError(f"{expected}, found {record!r} in it")
    return records


def _check(declared: Declaration, kind: Kind) -> None:
    name, record = declared.name, declared.record
    wrong = f"{kind.hook}: {declared.kind} {name!r}: expected"
    if not isinstance(name, str) or name.split() != [name.lower()]:
        raise _BadPluginError(f"{wrong} a name in lower case without spaces")
    if not callable(getattr(record, kind.factory)):
        raise _BadPluginError(f"{wrong} a callable as {kind.factory!r}")
    requires = record.requires
    if not (_is_collection(requires) and all(isinstance(module, str) for module in requires)):
        raise _BadPluginError(f"{wrong} a tuple of module names as 'requires'")
    match record:
        case ProtocolPlugin():
            if not is_scheme(name):
                raise _BadPluginError(f"{wrong} a scheme such as 'ftp' (letters, digits, '+', '-', '.')")
            _check_options(record.options, wrong)
        case CodecPlugin():
            for field in ("dtypes", "channels"):
                value = getattr(record, field)
                if value is not None and not _is_collection(value):
                    raise _BadPluginError(f"{wrong} a tuple or None as {field!r}")
        case CompressorPlugin():
            suffixes = record.suffixes
            if not (_is_collection(suffixes) and suffixes and all(map(_is_suffix, suffixes))):
                raise _BadPluginError(f"{wrong} a tuple of suffixes such as ('.gz',)")
        case MeshExporterPlugin():
            if not _is_suffix(record.suffix):
                raise _BadPluginError(f"{wrong} a suffix such as '.obj'")


def _check_options(options: Any, wrong: str) -> None:
    if options is None:
        return
    if not (isinstance(options, type) and attrs.has(options)):
        raise _BadPluginError(f"{wrong} an attrs class or None as 'options'")
    try:
        attrs.resolve_types(options)
    except Exception as error:
        raise _BadPluginError(
            f"{wrong} annotations in {options.__qualname__} that are there at run time and not only for type "
            f"checkers, found {one_line(error)}"
        ) from error


def _is_collection(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str)


def _is_suffix(text: object) -> bool:
    return isinstance(text, str) and len(text) > 1 and text.startswith(".") and "/" not in text
