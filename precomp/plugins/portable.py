"""Options of protocols on their way to another process."""

from collections.abc import Iterator, Mapping
from typing import Any

from precomp.credentials import path_of
from precomp.jsonio.problems import member
from precomp.jsonio.secrets import has_user, is_secret
from precomp.jsonio.variables import Filled, LeftOut

__all__ = ["left_out", "portable"]

_WHY = (
    "a secret that is written out does not travel by pickle; write ${NAME} of an environment variable into a "
    "config, keep it in ~/.neuroglancer/secrets on this side, or open the volume in this process"
)


def portable(value: Any, name: object = "") -> Any:
    """Return plain values such that no secret is pickled with them. `name` is the key that holds `value`.

    Secret are texts and numbers of a key whose name says so, and an address with a user in it. What an
    environment variable filled in stays: by itself it goes as it was written, without what a secret one
    has for a default. So does the option `secrets` where it names a file.
    """
    if isinstance(value, Mapping):
        made = {key: portable(item, name if is_secret(name) else key) for key, item in value.items()}
        if name == "" and isinstance(made.get("secrets"), LeftOut):
            made["secrets"] = path_of(value["secrets"]) or made["secrets"]
        return made
    if isinstance(value, (list, tuple)):
        return [portable(item, name) for item in value]
    if value is None or isinstance(value, (LeftOut, bool)):
        return value
    if isinstance(value, Filled):
        return value.without_defaults() if is_secret(name) or any(map(is_secret, value.values)) else value
    return LeftOut(_WHY) if is_secret(name) or (isinstance(value, str) and has_user(value)) else value


def left_out(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path of each value that did not come along, and why."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from left_out(item, path + member(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from left_out(item, f"{path}[{number}]")
    elif isinstance(value, LeftOut):
        yield path, value.why
