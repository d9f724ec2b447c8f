"""Who may import whom: the rule, and a reader of import statements that finds what breaks it."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["find_cycle", "imports_of", "modules_in", "violations"]

# Each line may import only what stands above it. A name covers the modules below it that have no line of
# their own; modules of one package that share a line may import each other.
LINES = [
    ["precomp.errors"],
    ["precomp.geometry", "precomp.shard_layout"],
    ["precomp.info", "precomp.provenance", "precomp.mesh", "precomp.mesh.model"],
    ["precomp.interfaces"],
    [
        "precomp.hookspecs",
        "precomp.url",
        "precomp.jsonio",
        "precomp.grid",
        "precomp.credentials",
        "precomp.retry",
        "precomp.ranges",
        "precomp.memory",
        "precomp.progress",
        "precomp.files",
    ],
    ["precomp.shards"],
    ["precomp.engine", "precomp.plugins"],
    ["precomp.imaging", "precomp.create", "precomp.mesh.legacy", "precomp.mesh.facade"],
    ["precomp.cutout"],
    ["precomp.volume"],
    ["precomp.factory"],
    ["precomp.ops", "precomp.viewer"],
    ["precomp.cli", "precomp.testing", "precomp.bench"],
    ["precomp", "precomp.__main__"],
]
_PLUGINS_MAY_IMPORT = {name for line in LINES[:5] for name in line} - {
    "precomp.progress",
    "precomp.files",
    "precomp.shard_layout",
}


def modules_in(package: Path) -> dict[str, Path]:
    """Return the modules of a package's folder: dotted name to file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, source: str, known: Mapping[str, Path]) -> set[str]:
    """Return which modules of `known` the source of module `name` imports, anywhere in it.

    Imports under `if TYPE_CHECKING:` do not count.
    """
    found: set[str] = set()
    for node in _run_time_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [base])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return {module for module in found if module in known}


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in child.orelse:
                yield from _run_time_nodes(other)
        else:
            yield from _run_time_nodes(child)


def violations(graph: Mapping[str, set[str]]) -> list[str]:
    """Return every import of `graph` (module to the modules it imports) that breaks the rule."""
    return [
        f"{name} may not import {imported}"
        for name, targets in sorted(graph.items())
        for imported in sorted(targets)
        if not _allowed(name, imported)
    ]


def _allowed(name: str, imported: str) -> bool:
    if name.split(".")[0] == "precomp_plugins":
        return imported.split(".")[0] == "precomp_plugins" or _entry(imported)[1] in _PLUGINS_MAY_IMPORT
    if imported.split(".")[0] == "precomp_plugins":
        return False
    own, other = _entry(name)[0], _entry(imported)[0]
    return other < own or (other == own and name.split(".")[1:2] == imported.split(".")[1:2])


def _entry(name: str) -> tuple[int, str]:
    """The line that a module stands on, and the name there that covers it."""
    numbers = {entry: number for number, line in enumerate(LINES, 1) for entry in line}
    parts = name.split(".")
    covers = (".".join(parts[:length]) for length in range(len(parts), 1, -1))
    entry = next((cover for cover in covers if cover in numbers), name)
    if entry not in numbers:
        raise LookupError(f"{name}: give this module a line in {__file__}")
    return numbers[entry], entry


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, or nothing."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name not in done:
            for imported in sorted(graph.get(name, ())):
                if cycle := walk(imported, [*trail, name]):
                    return cycle
            done.add(name)
        return []

    return next((cycle for name in sorted(graph) if (cycle := walk(name, []))), [])
