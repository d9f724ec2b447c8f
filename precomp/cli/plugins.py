"""`precomp plugins`: what is installed, where it comes from and what became of it."""

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from precomp.plugins import Plugin, Registry
    from precomp.plugins.records import Declaration

__all__ = ["add_parser", "run"]


class _Row(NamedTuple):
    """One thing that a plugin provides, or a plugin that provides nothing (kind `plugin`)."""

    kind: str
    name: str
    entry_point: str
    distribution: str
    version: str
    state: str
    reason: str


_SHOWN = ("kind", "name", "distribution", "version", "state", "reason")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "plugins",
        help="list plugins with their origin and state",
        description="List what each installed plugin provides, its origin and its state: loaded; SDK missing "
        "(a package that it needs is not installed); conflicting (another plugin claims the same name); "
        "failed; or blocked (by PRECOMP_DISABLE_PLUGINS=NAME,...). A plugin that failed or is blocked is "
        "listed by its entry point. Names in that variable that no plugin has are told on stderr.",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list of objects")


def run(args: argparse.Namespace) -> int:
    """Print one aligned line, or one JSON object, for each thing that a plugin provides."""
    from precomp.plugins import DISABLE_VARIABLE, disabled_by_variable, load, unknown_names

    registry = load()
    rows = sorted(_rows(registry))
    for problem in unknown_names(registry, disabled_by_variable()):
        print(f"{DISABLE_VARIABLE}: {problem}", file=sys.stderr)
    if args.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    cells = [[name.upper() for name in _SHOWN], *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _cells(row: _Row) -> list[str]:
    """Return what the table shows; how to disable the plugin, where its names do not tell."""
    alias = "" if row.name == row.entry_point else f"entry point {row.entry_point!r}"
    return [getattr(row._replace(reason=row.reason or alias), name) for name in _SHOWN]


def _rows(registry: "Registry") -> Iterator[_Row]:
    for plugin, declared in zip(registry.plugins, registry.declared, strict=True):
        origin = plugin.entry, plugin.distribution, plugin.version
        if not declared:
            yield _Row("plugin", plugin.entry, *origin, plugin.state, plugin.detail)
        for declaration in declared:
            state = _state(plugin, declaration, registry.plugins)
            yield _Row(declaration.kind, declaration.name, *origin, *state)


def _state(plugin: "Plugin", declared: "Declaration", plugins: "Sequence[Plugin]") -> tuple[str, str]:
    """Return state and reason of one name; of a plugin's names only some may be in conflict."""
    claim = declared.kind, declared.name
    if any(claim in other.provides for other in plugins if other is not plugin):
        return plugin.state, plugin.detail
    missing = [module for module in declared.record.requires if not _is_installed(module)]
    if missing:
        return "SDK missing", _what_to_do(missing, declared.record)
    return "loaded", ""


def _is_installed(module: str) -> bool:
    """Whether a module could be imported, as far as can be told without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except Exception:  # noqa: BLE001  of a dotted name the parent is imported, and may raise anything
        return False


def _what_to_do(missing: Sequence[str], record: Any) -> str:
    return f"no module {' and '.join(missing)}; {record.install_hint or 'install it'}"
