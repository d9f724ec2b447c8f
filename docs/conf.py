"""Sphinx configuration: `sphinx-build -W docs build/docs`."""

import re
from importlib.metadata import version as installed_version
from typing import Any

project = "precomp"
author = "The precomp authors"
project_copyright = author
release = version = installed_version("precomp")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "precomp"

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_use_ivar = True


def _to_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written as plain text with `code`; runs before napoleon."""
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"``\1``", "\n".join(lines))
    # An indented block after an empty line is literal.
    text = re.sub(r"(?<=\S)\n\n(?= {4}\S)", "\n\n::\n\n", text)
    if what in ("attribute", "property"):
        text = "\\ \n" + text  # else napoleon takes what stands before a colon for the type
    lines[:] = text.split("\n")


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Fields of named tuples are described by their class."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    """Connect the above."""
    app.connect("autodoc-process-docstring", _to_rst, priority=400)
    app.connect("autodoc-skip-member", _skip)
