"""Calling a plugin's `open` or `build`, such that whatever goes wrong in it is told with its name."""

from collections.abc import Sequence
from typing import Any

from precomp.errors import MissingDependencyError, PrecompError
from precomp.jsonio.problems import shown
from precomp.plugins.probe import one_line
from precomp.plugins.records import Kind

__all__ = ["make"]


def make(kind: Kind, what: str, record: Any, arguments: Sequence[Any]) -> Any:
    """Return what the `open` or `build` of a declaration makes. `what` it is stands in errors.

    Raises MissingDependencyError where it cannot import something, and the kind's `failure` where it
    raises anything but a PrecompError, or returns what lacks a method.
    """
    try:
        made = getattr(record, kind.factory)(*arguments)
    except (PrecompError, MemoryError):
        raise
    except ImportError as error:
        hint = record.install_hint or "install the package it needs"
        raise MissingDependencyError(f"{what} needs a package that is not there ({error}); {hint}") from error
    except Exception as error:
        raise kind.failure(f"{what} failed with {one_line(error)} when its {_asked(kind)}") from error
    if isinstance(made, type) or not any(
        all(callable(getattr(made, name, None)) for name in names) for names in kind.methods
    ):
        raise kind.failure(f"{what} returned {shown(made)} when its {_asked(kind)}")
    return made


def _asked(kind: Kind) -> str:
    return (
        f"{kind.factory!r} was called; expected {kind.makes} (see precomp.interfaces); report it to the "
        "authors of the plugin if what it was given is right"
    )
