"""Which headers each host gets, and where a login that was refused came from."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from precomp import credentials
from precomp.errors import CredentialsError
from precomp.interfaces import CloudPath
from precomp.jsonio import attempt
from precomp.jsonio.secrets import is_secret, masked
from precomp_plugins._http.options import HostOptions, HttpOptions

__all__ = ["Logins", "host_of"]

_PORTS = {"http": ":80", "https": ":443"}
_FILE = "http-secret.json"


def host_of(url: str) -> str:
    """Return the host of a URL as logins are kept under it: lower case, with the port unless it is the usual.

    >>> host_of("https://user:word@Data.Example.org:443/a")
    'data.example.org'
    """
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower().removesuffix(_PORTS.get(parts.scheme, "\0"))


@attrs.frozen
class Logins:
    """The headers for each host.

    Attributes:
        common: headers for all of them.
        known: those of the hosts that are logged in to, with a word on where each login came from.
    """

    common: Mapping[str, str] = attrs.field(repr=False)
    known: Mapping[str, tuple[Mapping[str, str], str]] = attrs.field(repr=False)

    @classmethod
    def of(cls, path: CloudPath, options: HttpOptions) -> "Logins":
        """Return those of a layer. Raises CredentialsError where a login makes no sense."""
        common = _checked("headers", options.headers)
        for name in common:
            if is_secret(name):
                raise CredentialsError(
                    f"{path.scheme}: headers: {name} is a secret, and these headers go to every host; "
                    "give it for one host, hosts = {HOST = {headers = ...}}"
                )
        known: dict[str, tuple[Mapping[str, str], str]] = {}
        secret = credentials.find("http", given=options.secrets)
        if secret is not None:
            for host, fields in secret.values.items():
                known[_host(path, host)] = _of_secret(f"{secret.origin}: {host}", fields)
        for host, login in options.hosts.items():
            known[_host(path, host)] = _headers(f"hosts: {host}", login)
        return cls(common, known)

    def headers(self, url: str) -> dict[str, str]:
        """Return the headers for a request to `url`, in a new dict."""
        return {**self.common, **self.known.get(host_of(url), ({}, ""))[0]}

    def told(self, url: str) -> str:
        """Return what an error says of the login that was sent."""
        host = host_of(url)
        if host in self.known:
            return f"asked with the login of {self.known[host][1]}"
        files = " or ".join(str(place) for place in credentials.places("http")) or _FILE
        return (
            f"asked without a login, as none is known for the host {host}; give one as "
            f"options={{'hosts': {{'{host}': {{'token': ...}}}}}} (or 'user' and 'password'), or in {files}"
        )


def _host(path: CloudPath, host: str) -> str:
    if not host or "/" in host or "@" in host:
        raise CredentialsError(
            f"{path.scheme}: expected a login below the name of a host, as in "
            f"{{'data.example.org': {{'token': '...'}}}}, found {masked(host, ())!r}"
        )
    return host_of(f"{path.scheme}://{host}")


def _of_secret(origin: str, fields: Any) -> tuple[Mapping[str, str], str]:
    # What is wrong is not chained nor quoted: it may be a part of the secret.
    if not isinstance(fields, Mapping):
        raise CredentialsError(
            f"{origin}: expected the fields token, or user and password, or headers, below the name of a "
            "host, as in {'data.example.org': {'token': '...'}}"
        )
    login, wrong = attempt(dict(fields), HostOptions, "a login", CredentialsError)
    if wrong or login is None:
        found = ", ".join(path.removeprefix(".") for path, _ in wrong)
        raise CredentialsError(f"{origin}: expected texts token, user, password and headers; look at {found}")
    return _headers(origin, login)


def _headers(origin: str, login: HostOptions) -> tuple[Mapping[str, str], str]:
    headers = _checked(origin, login.headers)
    if login.token is not None and (login.user is not None or login.password is not None):
        raise CredentialsError(f"{origin}: expected a token, or user and password, found both")
    if (login.user is None) != (login.password is None):
        raise CredentialsError(f"{origin}: user and password belong together, found one of them")
    if login.token is not None:
        headers["Authorization"] = f"Bearer {login.token.strip()}"
    elif login.user is not None:
        if ":" in login.user:
            raise CredentialsError(f"{origin}: a user's name has no colon")
        pair = f"{login.user}:{login.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        origin = f"{origin} (user {login.user})"
    _checked(origin, headers)
    return headers, origin


def _checked(origin: str, headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        token = name.replace("-", "").replace("_", "")
        if not (token.isascii() and token.isalnum()):
            raise CredentialsError(f"{origin}: expected the name of a header, found {name!r}")
        if not value.isascii() or not value.isprintable():
            raise CredentialsError(
                f"{origin}: the value for the header {name} may hold printable ASCII characters only"
            )
    return dict(headers)
