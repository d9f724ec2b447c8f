"""The values of a config as they are read: plain, with environment variables filled in, secrets noted."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from precomp.errors import ConfigError
from precomp.jsonio import MAX_DEPTH, plain
from precomp.jsonio.problems import member
from precomp.jsonio.secrets import is_secret, secrets_in
from precomp.jsonio.variables import filled

if TYPE_CHECKING:
    from precomp.factory.findings import Findings

__all__ = ["Unknown", "fill_in"]


class Unknown(str):
    """Stands for a value that is wrong by itself, so that everything else can be checked.

    What is found wrong with it later is not noted, since its place has a problem already.
    """


def fill_in(
    value: Any, place: str, findings: "Findings", name: str = "", *, depth: int = MAX_DEPTH - 1
) -> Any:
    """Return plain values with their variables filled in; what is wrong is noted at its `place`.

    So are secrets: values of variables and of keys whose name says so. `name` is the key that holds
    `value`, `depth` how deep tables and lists may be nested in it.
    """
    if isinstance(value, (Mapping, list, tuple)) and not depth:
        findings.add(place, f"expected tables and lists at most {MAX_DEPTH} deep; nest them less")
        return Unknown()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                findings.add(place + member(key), "expected a text as key; write it in quotes")
        return {
            key: fill_in(
                item, place + member(key), findings, name if is_secret(name) else key, depth=depth - 1
            )
            for key, item in value.items()
            if isinstance(key, str)
        }
    if isinstance(value, (list, tuple)):
        return [
            fill_in(item, f"{place}[{number}]", findings, name, depth=depth - 1)
            for number, item in enumerate(value)
        ]
    try:
        made = filled(value) if isinstance(value, str) else plain(value, place, ConfigError)
    except ValueError as error:
        findings.secrets |= secrets_in(value, name)
        findings.add(place, str(error).removeprefix(f"{place}: "))
        return Unknown(value if isinstance(value, str) else "")
    if isinstance(made, list):  # of an array
        return fill_in(made, place, findings, name, depth=depth)
    findings.secrets |= secrets_in(made, name)
    return made
