"""The ways to hosts: addresses of proxies, for urllib3."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from precomp.errors import StoreError

__all__ = ["environment_proxy", "proxy_address", "proxy_login", "stays_here"]

_METADATA = frozenset({"169.254.169.254", "metadata.google.internal", "metadata"})  # never behind a proxy


def environment_proxy(url: str) -> str | None:
    """Return the proxy to a URL that the environment names, None where there is none. Raises StoreError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or host in _METADATA or proxy_bypass(parts.netloc):
        return None
    return proxy_address(proxy, "the environment variable HTTPS_PROXY, HTTP_PROXY or ALL_PROXY")


def stays_here(url: str) -> bool:
    """Whether a request to a URL does not leave this machine. Raises StoreError for a wrong proxy.

    >>> stays_here("http://127.0.0.1:8333/a"), stays_here("http://[::1]"), stays_here("http://10.0.0.1:8333")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another name, of which nobody knows where it leads
        here = False
    return here and environment_proxy(url) is None


def proxy_address(text: str, source: str) -> str:
    """Return the address of a proxy, with a scheme. Raises StoreError, naming `source`, for any other."""
    address = text if "://" in text else f"http://{text}"
    try:
        parts = urllib3.util.parse_url(address)
    except urllib3.exceptions.LocationParseError:
        parts = urllib3.util.Url()
    if parts.scheme not in ("http", "https") or not parts.host:
        # Neither quoted nor chained: there may be a password in it.
        raise StoreError(
            "proxy: expected http://HOST:PORT, or with user and password before the host, found no such "
            f"address; correct {source}"
        )
    return address


def proxy_login(address: str) -> Any:
    """Return the headers that log in to a proxy, None where its address has no user."""
    user = urlsplit(address).netloc.rpartition("@")[0]
    return urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
