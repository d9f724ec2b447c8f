"""Environment variables in a config's texts, and which of its values are not to be shown.

`${NAME}` is the variable's value, `${NAME:-text}` the text where the variable is unset or empty, and
`$$` a dollar sign, so that `$${NAME}` stays as it is. Any other dollar sign is literal.
"""

import os
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from precomp.jsonio.problems import member, shown

if TYPE_CHECKING:
    from precomp.factory.findings import Findings

__all__ = ["HIDDEN", "fill_in", "hidden", "is_secret", "masked"]

HIDDEN = "***"

_REFERENCE = re.compile(r"\$\$|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")
_SECRET = re.compile(r"secret|token|passw|passphrase|credential|key", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # https://user:password@host
_SHORTEST = 4  # characters; hiding shorter ones would leave nothing of a text


def is_secret(name: str) -> bool:
    """Whether a key or variable of this name holds a secret."""
    return _SECRET.search(name) is not None


def fill_in(value: Any, place: str, findings: "Findings", name: str = "") -> Any:
    """Return plain values with their variables filled in.

    Problems are noted at their `place`, and so are secrets: values of variables and of keys whose name
    says so. `name` is the key that holds `value`.
    """
    if isinstance(value, dict):
        owners = {key: name if is_secret(name) else key for key in value}
        return {key: fill_in(item, place + member(key), findings, owners[key]) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, f"{place}[{number}]", findings, name) for number, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    try:
        text = _REFERENCE.sub(_value_of, value)
    except ValueError as error:
        findings.add(place, error)
        return value
    variables = {found[1] or "" for found in _REFERENCE.finditer(value)}
    secrets = {os.environ.get(variable, "") for variable in variables if is_secret(variable)}
    if is_secret(name) or any(len(secret) < _SHORTEST for secret in secrets):
        secrets.add(text)
    findings.secrets |= secrets - {""}
    return text


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


def hidden(text: str, secrets: Collection[str]) -> str:
    """Return a text without the secrets in it."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may hold another
        if len(secret) >= _SHORTEST:
            text = text.replace(shown(secret), HIDDEN).replace(secret, HIDDEN)
    return text


def masked(value: Any, secrets: Collection[str], name: str = "") -> Any:
    """Return plain values to be shown, without secrets. `name` is the key that holds `value`."""
    if value is not None and is_secret(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: masked(item, secrets, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, secrets) for item in value]
    if isinstance(value, str):
        return HIDDEN if value in secrets else _USER.sub(HIDDEN, hidden(value, secrets))
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return masked(str(value), secrets)  # whatever a plugin's options are made of
