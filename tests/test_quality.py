"""The promises about the code itself: types, style, size of files, public names, dependencies."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

import precomp

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for name in ("precomp", "precomp_plugins") for path in (ROOT / name).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"all", "testing", "test", "bench", "docs"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["mypy", "--strict"], ["ruff", "check"], ["ruff", "format", "--check"]],
    ids=["mypy", "ruff-check", "ruff-format"],
)
def test_checker_is_content(command: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_source_file_is_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert len(lengths) > 40
    assert {str(path): length for path, length in lengths.items() if length > 300} == {}


def test_every_public_module_lists_its_public_names() -> None:
    without = []
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {target.id for node in tree.body for target in _targets(node) if isinstance(target, ast.Name)}
        only_a_docstring = len(tree.body) == 1
        if not path.stem.startswith("_") or path.stem == "__init__":
            without += [str(path)] if not only_a_docstring and "__all__" not in names else []
    assert without == []


def test_the_public_names_are_there() -> None:
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
        assert [name for name in getattr(module, "__all__", []) if not hasattr(module, name)] == []


def test_the_version_is_that_of_the_distribution() -> None:
    assert precomp.__version__ == PROJECT["version"]
    with pytest.raises(AttributeError, match="no_such_name"):
        precomp.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def _targets(node: ast.stmt) -> list[ast.expr]:
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


def test_type_information_is_shipped() -> None:
    assert all((ROOT / name / "py.typed").is_file() for name in ("precomp", "precomp_plugins"))


def test_all_holds_every_runtime_extra_with_a_permissive_licence() -> None:
    (everything,) = EXTRAS["all"]
    match = re.fullmatch(r"precomp\[(.*)\]", everything)
    assert match
    copyleft = {"crackle"}  # its dependency fastremap is under the LGPL: for those who ask for it
    assert set(match[1].split(",")) == set(EXTRAS) - FOR_DEVELOPERS - copyleft


def test_readme_names_every_extra_for_users() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) == set(EXTRAS) - (FOR_DEVELOPERS - {"all", "testing"})


def test_readme_names_everything_that_the_plugins_bring() -> None:
    from precomp.plugins import load

    provided = {
        (kind, name)
        for plugin in load().plugins
        if plugin.distribution == "precomp"
        for kind, name in plugin.provides
    }
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (protocol|chunk encoding|compression|mesh format) \| (.*) \|$", text, re.M))
    shown = {
        (kind, name)
        for kind, row in zip(
            ("protocol", "encoding", "compressor", "exporter"),
            ("protocol", "chunk encoding", "compression", "mesh format"),
            strict=True,
        )
        for name in re.findall(r"`(\w+)`", rows[row])
    }
    assert shown == provided


def test_the_default_installation_holds_nothing_gpl() -> None:
    licenses = {name: _license(name) for name in _required("precomp")}
    assert {"numpy", "attrs", "cattrs", "pluggy", "isal"} <= set(licenses)
    assert all(licenses.values())
    # Tests and build tools inside a wheel's licence files do not count, what the package declares does.
    assert [name for name, text in licenses.items() if re.search(r"\b[AL]?GPL|General Public", text)] == []


def _required(name: str) -> set[str]:
    """The distributions that an installation without extras brings, `name` itself excepted."""
    found: set[str] = set()
    todo = [name]
    while todo:
        for requirement in distribution(todo.pop()).requires or []:
            match = re.match(r"[\w.-]+", requirement)
            if match and "extra ==" not in requirement and match[0] not in found:
                try:
                    distribution(match[0])
                except PackageNotFoundError:  # for another platform or Python
                    continue
                found.add(match[0])
                todo.append(match[0])
    return found


def _license(name: str) -> str:
    metadata = distribution(name).metadata
    stated = [
        line.partition("\n")[0]  # some put the whole text of the licence here
        for field in ("License-Expression", "License", "Classifier")
        for line in metadata.get_all(field) or []
        if field != "Classifier" or line.startswith("License ::")
    ]
    return "; ".join(stated)
