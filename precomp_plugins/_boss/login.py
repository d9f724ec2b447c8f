"""Which BOSS to ask, and who asks: the places of a token, in the order in which they are looked at."""

import configparser
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from precomp import credentials
from precomp.credentials import Secret
from precomp.errors import CredentialsError
from precomp.interfaces import CloudPath

if TYPE_CHECKING:
    from precomp_plugins.boss import BossOptions

__all__ = ["Login", "find_login"]

PUBLIC = "public"
_HOST = "api.bossdb.io"  # where the token `public` reads
_INTERN_FILE = "~/.intern/intern.cfg"
_FIELDS = ("protocol", "host", "token")


@attrs.frozen
class Login:
    """Where the service is and what to send it.

    Attributes:
        protocol: `https` or `http`.
        host: its name, with a port where it is not the usual one.
        token: secret.
        origin: where it was found, for errors.
    """

    protocol: str
    host: str
    token: str = attrs.field(repr=False)
    origin: str

    @property
    def who(self) -> str:
        """What to call it in errors."""
        return "the public token" if self.token == PUBLIC else f"the token of {self.origin}"


def find_login(path: CloudPath, options: "BossOptions") -> Login:
    """Return who asks for a layer.

    `secrets=` first, the option `token`, the files of precomp.credentials, intern's own file, its environment
    variables. A token is never sent to another host than the one that it was found with: where the option
    `host` names another, it is passed over. Raises CredentialsError, which lists every place, where none is
    left, and for a token or host that cannot be one.
    """
    if options.secrets is not None:
        secret = credentials.find("boss", path.bucket, options.secrets)
        assert secret is not None
        return _checked(_of_secret(secret, options), options)
    if options.token is not None:
        given = Login(options.protocol or "https", options.host or _HOST, options.token, "the option token")
        return _checked(given, options)
    passed = []
    for login in _found(path.bucket, options):
        if options.host is None or login.host == options.host:
            return _checked(login, options)
        passed.append(f"{login.origin} has a token for {login.host}, and not for {options.host}")
    raise CredentialsError(_nothing_found(path, passed))


def _found(collection: str, options: "BossOptions") -> Iterator[Login]:
    secret = credentials.find("boss", collection)
    if secret is not None:
        yield _of_secret(secret, options)
    login = _of_intern()
    if login is not None:
        yield login
    values = {field: os.environ.get(f"INTERN_{field.upper()}", "") for field in _FIELDS}
    if all(values.values()):  # as intern has it
        yield Login(**values, origin="the environment variable INTERN_TOKEN")


def _of_secret(secret: Secret, options: "BossOptions") -> Login:
    token = secret.required("token")
    host = secret.text("host", default=options.host) or secret.required("host")
    protocol = secret.text("protocol", default=options.protocol) or "https"
    return Login(protocol, host, token, secret.origin)


def _of_intern() -> Login | None:
    """What intern reads for its volume service; None where there is no such file."""
    path = os.path.expanduser(_INTERN_FILE)
    parser = configparser.ConfigParser()
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path}: the secret cannot be read: {error}") from error
    except configparser.Error:
        # Not chained: the cause may quote what is in it.
        raise CredentialsError(
            f"{path}: expected the INI file of intern, found something else; correct it"
        ) from None
    section = next((name for name in ("Volume Service", "Default") if parser.has_section(name)), None)
    missing = [field for field in _FIELDS if section is None or not parser.has_option(section, field)]
    if section is None or missing:
        raise CredentialsError(
            f"{path}: expected a section [Default] with {', '.join(_FIELDS)}, found none with "
            f"{', '.join(missing)}; add it"
        )
    try:
        values = {field: parser.get(section, field) for field in _FIELDS}
    except configparser.InterpolationError:  # a % that intern would fall over
        values = {field: parser.get(section, field, raw=True) for field in _FIELDS}
    return Login(**values, origin=path)


def _checked(login: Login, options: "BossOptions") -> Login:
    """Return a login that makes an address and a header. Raises CredentialsError, without the token."""
    if options.host is not None and login.host != options.host:
        raise CredentialsError(
            f"{login.origin}: has a token for {login.host!r}, and the option host is {options.host!r}; a "
            "token is sent to its own host only: leave one of the two out, or give the token of this host"
        )
    login = attrs.evolve(login, protocol=options.protocol or login.protocol)
    if login.protocol not in ("http", "https"):
        raise CredentialsError(f"{login.origin}: protocol: expected https or http, found {login.protocol!r}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?", login.host):
        shown = "a text with a user in it" if "@" in login.host else repr(login.host)
        raise CredentialsError(
            f"{login.origin}: host: expected a name such as {_HOST!r}, without https:// and without a path, "
            f"found {shown}"
        )
    if not re.fullmatch(r"[!-~]+", login.token):
        raise CredentialsError(
            f"{login.origin}: token: expected letters, digits and signs without a space; copy it anew"
        )
    return login


def _nothing_found(path: CloudPath, passed: list[str]) -> str:
    files = [f"the file {file}" for file in credentials.places("boss", path.bucket)]
    places = [
        "secrets=",
        "the option token",
        *(files or ["no file, as the user has no home"]),
        f"the file {os.path.expanduser(_INTERN_FILE)}",
        "the environment variables INTERN_PROTOCOL, _HOST and _TOKEN",
    ]
    told = f" ({'; '.join(passed)})" if passed else ""
    return (
        f"{path}: no token was found in any of: {'; '.join(places)}{told}; put protocol, "
        f"host and token into the first, or set the option token = {PUBLIC!r} for public channels of {_HOST}"
    )
