"""`precomp plugins`: what is installed, where it comes from and what became of it."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from precomp.plugins import Plugin

__all__ = ["add_parser", "run"]

_HEADER = ("KIND", "NAME", "DISTRIBUTION", "VERSION", "STATE", "REASON")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    subparsers.add_parser(
        "plugins",
        help="list plugins with their origin and state",
        description="List what each installed plugin provides, its origin and its state. A plugin that "
        "failed or is disabled (PRECOMP_DISABLE_PLUGINS=NAME,...) is listed by its entry point.",
    )


def run(args: argparse.Namespace) -> int:
    """Print one aligned line for each thing that a plugin provides."""
    from precomp.plugins import load

    rows = [_HEADER, *sorted(row for plugin in load().plugins for row in _rows(plugin))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _rows(plugin: "Plugin") -> Iterator[tuple[str, ...]]:
    origin = plugin.distribution, plugin.version, plugin.state
    if not plugin.provides:
        yield "plugin", plugin.entry, *origin, plugin.detail
    for kind, name in plugin.provides:
        alias = "" if name == plugin.entry else f"entry point {plugin.entry!r}"
        yield kind, name, *origin, plugin.detail or alias
