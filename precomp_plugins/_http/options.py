"""What may be said about requests to web servers. Imports no SDK."""

from collections.abc import Mapping
from typing import Annotated, Any

import attrs

from precomp.hookspecs import instead_of

__all__ = ["HostOptions", "HttpOptions"]


def _positive(value: float) -> None:
    if not 0 < value < 1e9:
        raise ValueError("expected a number above 0")


def _count(value: int) -> None:
    if value < 1:
        raise ValueError("expected a whole number from 1 on")


@attrs.frozen
class HostOptions:
    """What one host is told with every request; it is never sent to another one.

    Attributes:
        token: a bearer token.
        user: of basic authentication, with `password`.
        password: of that user.
        headers: further headers, such as `X-Api-Key`.
    """

    token: str | None = attrs.field(default=None, repr=False)
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class HttpOptions:
    """The config's tables `[protocols.http]` and `[protocols.https]`.

    Attributes:
        hosts: how to log in, by host: `{"data.example.org": {"token": "..."}}`, with the port where the
            cloudpath has one.
        secrets: the same in a file, or as a dict; None means `http-secret.json` in the usual folders.
        headers: sent with every request, to every host; nothing secret.
        proxy: address of a proxy, '' for none; None takes HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
        ca_file: certificates to trust instead of the system's.
        verify: False takes any certificate.
        max_attempts: how often a request is sent at most, the first time included.
        timeout: seconds without a byte after which an attempt has failed.
        concurrency: how many requests are under way at a time.
    """

    hosts: Mapping[str, HostOptions] = attrs.field(factory=dict, repr=False)
    secrets: Any = attrs.field(default=None, repr=False, metadata=instead_of("hosts"))
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    proxy: str | None = attrs.field(default=None, repr=False)
    ca_file: str | None = None
    verify: bool = True
    max_attempts: Annotated[int, _count] = 6
    timeout: Annotated[float, _positive] = 30.0
    concurrency: Annotated[int, _count] = 16
