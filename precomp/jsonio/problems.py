"""What is wrong with a document, and where: paths and texts."""

from reprlib import Repr
from typing import Any

__all__ = ["Problems", "located", "member", "named", "shown", "wrong"]


class _Short(Repr):
    # Texts of a class of their own are cut where others are, so that a secret in them can be found.
    repr_Filled = Repr.repr_str  # noqa: N815


_SHORT = _Short()
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


def located(cause: Exception, place: str, owner: type[Any] | None = None) -> list[tuple[str, str]]:
    """Return the problems that an exception amounts to, at or below `place`.

    `owner`: the class whose own code raised it, which is named where the exception is no refusal of a value.
    """
    if isinstance(cause, Problems):
        return [(place + path, text) for path, text in cause.found]
    if isinstance(cause, (ValueError, TypeError, OverflowError)):
        return [(place, _said(cause) or type(cause).__name__)]
    who = f", raised by {owner.__module__}.{owner.__qualname__}" if owner else ""
    return [(place, f"{named(cause)}{who}")]


def named(cause: BaseException) -> str:
    """Return the class of an exception and what it says."""
    return f"{type(cause).__name__}: {_said(cause)}".removesuffix(": ")


def _said(cause: BaseException) -> str:
    first = cause.args[0] if cause.args else None
    # The validators of attrs pass on the field and the value, too, and KeyError shows a repr.
    if isinstance(first, str) and (type(cause) in (ValueError, TypeError) or isinstance(cause, KeyError)):
        return first
    try:
        return str(cause)
    except Exception:  # noqa: BLE001  a stranger's exception may raise anything
        return ""


def member(key: object) -> str:
    """Return the step of a path that leads to the field `key` of an object."""
    plain = isinstance(key, str) and key.removeprefix("@").isidentifier()
    return f".{key}" if plain else f"[{key!r}]"


def shown(value: Any) -> str:
    """Return `value` as Python would show it, cut short where it is long or deep."""
    return _SHORT.repr(value)


def wrong(expected: str, value: Any) -> ValueError:
    """Return the error for a value that is not as expected."""
    return ValueError(f"expected {expected}, got {shown(value)}")
