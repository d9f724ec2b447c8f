"""Where secrets are looked for: the user's folders, in a fixed order, when a layer is opened.

`~/.neuroglancer/secrets/` first, then `~/.cloudvolume/secrets/`. What is found never stands in a repr, an
error or a log; what may be told is where it came from.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from precomp.errors import CredentialsError

__all__ = ["Secret", "find", "path_of", "places", "project_name", "travelling"]

_FOLDERS = (".neuroglancer/secrets", ".cloudvolume/secrets")  # in the user's home
_MAX_SIZE = 2**20  # bytes; a service account file has three thousand


@attrs.frozen
class Secret:
    """The content of one secret.

    Attributes:
        values: the fields of the file, as they stand there.
        origin: what to call it in errors, a file's path or `secrets=`.
    """

    values: Mapping[str, Any] = attrs.field(repr=False)
    origin: str

    def text(self, *names: str, default: str | None = None) -> str | None:
        """Return the first of `names` that is a field, stripped. Raises CredentialsError if it is no text."""
        for name in names:
            value = self.values.get(name)
            if value is None:
                continue
            if not isinstance(value, str) or not value.strip():
                raise CredentialsError(f"{self.origin}: {name}: expected a text that is not empty")
            return value.strip()
        return default

    def required(self, *names: str) -> str:
        """Return the first of the fields `names`. Raises CredentialsError where there is none."""
        value = self.text(*names)
        if value is None:
            found = ", ".join(sorted(map(str, self.values))) or "no field"
            raise CredentialsError(f"{self.origin}: expected the field {names[0]}, found {found}; add it")
        return value


def places(service: str, bucket: str = "") -> list[Path]:
    """Return the files where the secret of a service (`aws`, `google`, `boss`) may be.

    The first that is there counts. The second folder may have one of the bucket's own. None where the user
    has no home, as in some containers.
    """
    home = _home()
    if home is None:
        return []
    first, second = (home / folder for folder in _FOLDERS)
    own = [second / f"{bucket}-{service}-secret.json"] if bucket else []
    return [first / f"{service}-secret.json", *own, second / f"{service}-secret.json"]


def find(service: str, bucket: str = "", given: Any = None) -> Secret | None:
    """Return the secret for a bucket: the `given` one, else of the first file there is, else None.

    `given` is a mapping of the file's fields, or the path of such a file. Raises CredentialsError, which
    names the file, where one is there and cannot be read or is no JSON object, or the given one is not there.
    """
    if given is None:
        found = (_read(path) for path in places(service, bucket))
        return next((secret for secret in found if secret is not None), None)
    if isinstance(given, Mapping):
        return Secret(dict(given), "secrets=")
    if not isinstance(given, (str, os.PathLike)):
        raise CredentialsError(
            "secrets=: expected a dict of the fields of a secret file, or the path of one, found "
            f"{type(given).__name__}"
        )
    secret, path = None, path_of(given)
    try:
        secret = _read(Path(os.path.expanduser(os.fsdecode(given))))
    except (CredentialsError, ValueError):  # a name too long, or that no file can have
        if path is not None:
            raise
    if secret is None:
        shown = "" if path is None else f" {path}"  # any other text may be the secret itself
        raise CredentialsError(
            f"secrets=: there is no file{shown} that can be read; expected a dict of the fields of a secret "
            "file, or the path of one"
        )
    return secret


def path_of(given: Any) -> str | None:
    """Return the path of the file that `secrets=` names, such that it holds in another process, too.

    None where it is the secret itself, or may be: a text is a path where it ends in .json or there is such a
    file.
    """
    if not isinstance(given, (str, os.PathLike)):
        return None
    text = os.fsdecode(given)
    named = text.endswith(".json") and text.isprintable() and "{" not in text
    if not named and not os.path.isfile(os.path.expanduser(text)):
        return None
    return text if text.startswith("~") else os.path.abspath(text)  # the other side has a home of its own


def travelling(place: str, given: Any) -> str | None:
    """Return what to pickle of `secrets=` with the store at `place`; None where nothing was given.

    Raises CredentialsError where that is the secret itself.
    """
    path = path_of(given)
    if given is not None and path is None:
        raise CredentialsError(
            f"{place}: a store that was given secrets= does not travel by pickle; put the secret into a file "
            "and give its path, or into the environment of the other side"
        )
    return path


def project_name() -> str | None:
    """Return the Google project in `~/.neuroglancer/project_name`; None where there is no such file."""
    home = _home()
    if home is None:
        return None
    path = home / ".neuroglancer" / "project_name"
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path}: the project's name cannot be read: {error}") from error


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # neither HOME nor an entry for the user
        return None


def _read(path: Path) -> Secret | None:
    """Return what the file holds; None where there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CredentialsError(f"{path}: the secret cannot be read: {error}") from error
    if len(data) > _MAX_SIZE:
        raise CredentialsError(
            f"{path}: expected a secret of some kilobytes, found more than {_MAX_SIZE} bytes"
        )
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        # Not chained: the cause of a broken file may quote what is in it.
        raise CredentialsError(
            f"{path}: expected a JSON object with the secret, found something else"
        ) from None
    if not isinstance(values, dict):
        raise CredentialsError(
            f"{path}: expected a JSON object with the secret, found {type(values).__name__}"
        )
    return Secret(values, str(path))
