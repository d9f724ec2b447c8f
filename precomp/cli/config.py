"""`precomp config check`: is a config right, and what does it come to?"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from precomp.errors import ConfigError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the subcommand."""
    parser = subparsers.add_parser(
        "config", help="check a config file", description="Work with config files of named volumes."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="check a config and show what its volumes come to",
        description="Check a config and show what each volume comes to: its path, the plugin that serves it, "
        "all its options. Secrets are shown as ***. No volume is opened. Where something is wrong, all of "
        "it is listed and the exit code is 1.",
    )
    check.add_argument(
        "file", nargs="?", metavar="FILE", help="TOML or JSON; default: the one that open_volume would use"
    )
    check.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print what the config comes to, its problems on stderr; 1 where it has some."""
    from precomp.factory import VolumeFactory, sources

    file = args.file or sources.find()
    if file is None:
        raise ConfigError(f"there is no config file: no {' and no '.join(sources.places())}; name one")
    try:
        found = VolumeFactory.from_file(file).describe()
    except ConfigError as error:
        found = {"config": file, "problems": str(error).split("\n"), "volumes": {}}
    problems = found["problems"]
    if args.json:
        print(json.dumps(found, indent=2))
        return 1 if problems else 0
    for name, volume in found["volumes"].items():
        print(f"{name}\n" + "\n".join(f"  {line}" for line in _lines(volume)))
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{file} is right")
    return 1 if problems else 0


def _lines(volume: Mapping[str, Any]) -> Iterator[str]:
    yield f"cloudpath: {volume['cloudpath']}"
    if plugin := volume["protocol"]:
        origin = f"{plugin['distribution']} {plugin['version']} (entry point {plugin['entry']!r})"
        yield f"protocol: {plugin['scheme']} of {origin}"
    else:
        yield "protocol: absent"
    for key, value in volume["settings"].items():
        yield f"{key}: {json.dumps(value)}"
    for key, value in volume["options"].items():
        yield f"options.{key}: {json.dumps(value)}"
    if volume["create"] is None:
        yield "create: no"
    else:
        for key, value in volume["create"].items():
            yield f"create.{key}: {json.dumps(value)}"
