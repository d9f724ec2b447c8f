"""What is wrong with a document, and where: paths and texts."""

from reprlib import Repr
from typing import Any

__all__ = ["Problems", "located", "member", "shown", "wrong"]

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_SHORT.maxlevel = 2


class Problems(ValueError):  # noqa: N818  it holds several
    """All that is wrong inside a list or an object.

    Attributes:
        found: pairs of a path from there, `.size[2]`, and a text.
    """

    def __init__(self, found: list[tuple[str, str]]) -> None:
        super().__init__(found)
        self.found = found


def located(cause: Exception, place: str) -> list[tuple[str, str]]:
    """Return the problems that an exception amounts to, at or below `place`."""
    if isinstance(cause, Problems):
        return [(place + path, text) for path, text in cause.found]
    return [(place, str(cause) or type(cause).__name__)]


def member(key: str) -> str:
    """Return the step of a path that leads to the field `key` of an object."""
    return f".{key}" if key.removeprefix("@").isidentifier() else f"[{key!r}]"


def shown(value: Any) -> str:
    """Return `value` as Python would show it, cut short where it is long or deep."""
    return _SHORT.repr(value)


def wrong(expected: str, value: Any) -> ValueError:
    """Return the error for a value that is not as expected."""
    return ValueError(f"expected {expected}, got {shown(value)}")
