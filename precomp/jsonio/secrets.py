"""Which of plain values are secret, as the names of their keys tell, and texts without them."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from precomp.jsonio.problems import shown
from precomp.jsonio.variables import Filled

__all__ = ["HIDDEN", "has_user", "hidden", "is_secret", "masked", "secrets_in"]

HIDDEN = "***"

_SECRET = re.compile(
    r"secret|token|passw|pwd|passphrase|credential|authorization|cookie|signature"
    r"|(api|access|account|private)key|(?<![a-z])(key|auth)(?![a-z])",
    re.IGNORECASE,
)
_USER = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # https://user:password@host
_SHORTEST = 4  # characters; hiding shorter ones would leave nothing of a text


def is_secret(name: object) -> bool:
    """Whether a key or variable of this name holds a secret."""
    return isinstance(name, str) and _SECRET.search(name) is not None


def has_user(text: str) -> bool:
    """Whether a text is an address with a user's name, and so mostly a password, in it."""
    return _USER.search(text) is not None


def secrets_in(value: Any, name: object = "") -> set[str]:
    """Return the texts of a value that are not to be shown. `name` is the key that holds it.

    They are all that stands below a key whose name says so, and what such a variable filled in.
    """
    if isinstance(value, Mapping):
        pairs = [(item, name if is_secret(name) else key) for key, item in value.items()]
        return set().union(*(secrets_in(item, owner) for item, owner in pairs))
    if isinstance(value, (list, tuple, set, frozenset)):
        return set().union(*(secrets_in(item, name) for item in value))
    if isinstance(value, str):
        values = value.values if isinstance(value, Filled) else {}
        found = {text for variable, text in values.items() if is_secret(variable)}
        if is_secret(name) or any(len(text) < _SHORTEST for text in found):
            found.add(str(value))
        return found - {""}
    plain = value is None or isinstance(value, bool)
    return {str(value), repr(value), shown(value)} if is_secret(name) and not plain else set()


def hidden(text: str, secrets: Collection[str]) -> str:
    """Return a text without the secrets in it; of the shortest ones only what is quoted is hidden."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may hold another
        text = text.replace(shown(secret), HIDDEN).replace(repr(secret), HIDDEN)
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def masked(value: Any, secrets: Collection[str], name: object = "") -> Any:
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
