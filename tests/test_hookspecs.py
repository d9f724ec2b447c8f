"""Every hook is specified with an example, documented, and used by a plugin that ships."""

import doctest
import re
import sys
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import attrs
import pluggy
import pytest

from precomp import hookspecs
from precomp.plugins.records import KINDS

DOCS = Path(__file__).parent.parent / "docs" / "plugins.md"


def specified() -> list[str]:
    manager = pluggy.PluginManager("precomp")
    manager.add_hookspecs(hookspecs)
    return sorted(vars(manager.hook).keys() - {"_"})


def hooks_of(module: object) -> set[str]:
    manager = pluggy.PluginManager("precomp")
    manager.register(module)
    return {caller.name for caller in manager.get_hookcallers(module) or []}


HOOKS = [name for name in specified() if name.startswith("precomp_")]


def test_hooks_are_found_and_the_registry_asks_for_each() -> None:
    assert HOOKS
    assert sorted(kind.hook for kind in KINDS.values()) == HOOKS
    assert set(HOOKS) <= set(hookspecs.__all__)


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_an_example_that_runs(hook: str) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(getattr(hookspecs, hook), hook, globs={})
    assert sum(len(found.examples) for found in examples) >= 2
    for found in examples:
        assert doctest.DocTestRunner().run(found).failed == 0


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented(hook: str) -> None:
    text = DOCS.read_text()
    assert f"`{hook}`" in text
    assert re.search(rf"^def {hook}\(\):", text, re.MULTILINE), "the page shows how it is written"


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_used_by_a_plugin_that_ships(hook: str) -> None:
    entry_points = distribution("precomp").entry_points.select(group=hookspecs.ENTRY_POINT_GROUP)
    assert any(hook in hooks_of(entry_point.load()) for entry_point in entry_points)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_field_of_a_declaration_is_described(kind: object) -> None:
    record = kind.record  # type: ignore[attr-defined]
    attributes = (record.__doc__ or "").partition("Attributes:")[2]
    assert re.findall(r"^ {8}(\w+): ", attributes, re.MULTILINE) == [
        field.name for field in attrs.fields(record)
    ]


def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) > len(HOOKS)
    page = ModuleType("precomp_scratch")
    monkeypatch.setitem(sys.modules, page.__name__, page)
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), vars(page))
    assert hooks_of(page) == set(HOOKS)
