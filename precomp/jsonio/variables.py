"""Environment variables in texts.

`${NAME}` is the variable's value, `${NAME:-text}` the text where the variable is unset or empty, and
`$$` a dollar sign, so that `$${NAME}` stays as it is. Any other dollar sign is literal.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

__all__ = ["Filled", "LeftOut", "filled"]

_REFERENCE = re.compile(r"\$\$|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class Filled(str):
    """A text whose variables are filled in.

    By pickle it goes as it was written, and is filled in again on the other side, which has its own
    variables; it is a LeftOut there where one of them is not set.

    Attributes:
        written: the text before, `Bearer ${TOKEN}`.
        values: of its variables, by their names.
    """

    written: str
    values: Mapping[str, str]

    def __new__(cls, text: str, written: str, values: Mapping[str, str]) -> Self:
        """Take the filled text, the written one, and what makes the difference."""
        made = super().__new__(cls, text)
        made.written, made.values = written, values
        return made

    def __reduce__(self) -> tuple[Callable[..., str], tuple[str, ...]]:
        return _again, (self.written,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # immutable; a copy in this process need not look at the environment

    def without_defaults(self) -> "Filled":
        """Return the same text, which does not take along what stands in for its variables."""
        written = _REFERENCE.sub(lambda found: f"${{{found[1]}}}" if found[1] else found[0], self.written)
        return Filled(self, written, self.values)


class LeftOut(str):
    """Stands for a text that did not come along by pickle.

    Attributes:
        why: what happened, and what to do.
        written: with variables, which are looked for again where it goes next; None for none.
    """

    why: str
    written: str | None

    def __new__(cls, why: str, written: str | None = None) -> Self:
        """Take the reason."""
        made = super().__new__(cls, "(left out)")
        made.why, made.written = why, written
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return (LeftOut, (self.why,)) if self.written is None else (_again, (self.written,))

    def __deepcopy__(self, memo: object) -> Self:
        return self


def filled(text: str) -> str:
    """Return a text with its variables filled in, a Filled where it has some.

    Raises ValueError for an unset variable without default and for what is no reference.
    """
    values: dict[str, str] = {}

    def fill(reference: re.Match[str]) -> str:
        value = _value_of(reference)
        if reference[1]:
            values[reference[1]] = value
        return value

    made = _REFERENCE.sub(fill, text)
    return Filled(made, text, values) if values else made


def _again(written: str) -> str:
    try:
        return filled(written)
    except ValueError as error:
        return LeftOut(str(error), written)


def _value_of(reference: re.Match[str]) -> str:
    name, default = reference.groups()
    if reference[0] == "$$":
        return "$"
    if name is None:
        raise ValueError("expected ${NAME} or ${NAME:-text} of an environment variable; a literal ${ is $${")
    text = os.environ.get(name, "")
    if not text and default is not None:
        return str(default)
    if name not in os.environ:
        raise ValueError(
            f"the environment variable {name} is not set; set it, or give a default: ${{{name}:-text}}"
        )
    return text
