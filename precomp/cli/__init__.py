"""The `precomp` command.

A subcommand NAME is a module `precomp.cli.NAME` with `add_parser(subparsers)` and `run(args) -> int`,
listed in `_COMMANDS`. What it needs for its work it imports in `run`, so that `precomp --help` stays quick.
"""

import argparse
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence

from precomp.errors import PrecompError

__all__ = ["main"]

_COMMANDS = ("config", "demo", "plugins")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code.

    A precomp error is one line on stderr and exit code 1; argparse's own exits pass.
    """
    parser = argparse.ArgumentParser(
        prog="precomp", description="Work with Neuroglancer Precomputed volumes."
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    commands = {name: importlib.import_module(f"precomp.cli.{name}") for name in _COMMANDS}
    for command in commands.values():
        command.add_parser(subparsers)
    args = parser.parse_args(argv)
    if args.version:
        print(f"precomp {importlib.metadata.version('precomp')}")
        return 0
    if args.command is None:
        parser.print_help()
        return 0
    try:
        code: int = commands[args.command].run(args)
    except PrecompError as error:
        print(f"precomp: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `precomp ... | head` has seen enough; nor may the flush at exit fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
