"""The error of an encoding whose library is not installed."""

from importlib import import_module

from precomp.errors import MissingDependencyError

__all__ = ["need"]


def need(encoding: str, module: str, package: str, install: str) -> None:
    """Import `module`; raise MissingDependencyError with the line that installs it where it is not there."""
    try:
        import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"encoding {encoding} needs {package}: {install}") from error
