"""How Google Storage and its token services are reached: proxies of the environment, certificates."""

import functools
import threading
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import urllib3
from urllib3.util.ssl_ import create_urllib3_context

from precomp_plugins._wire.connections import Connections
from precomp_plugins._wire.proxies import proxy_address, proxy_login

__all__ = ["Network"]

_METADATA = frozenset({"169.254.169.254", "metadata.google.internal", "metadata"})  # never behind a proxy
_DISTRUSTED = "if it is right, name its authority's file in the environment variable SSL_CERT_FILE"


class Network:
    """Connections of one process, to any host. Safe to share between threads.

    Attributes:
        connections: to the service.
    """

    def __init__(self, timeout: float) -> None:
        self.connections = Connections(_proxy, _certificates, _DISTRUSTED)
        self._options = {
            "timeout": urllib3.Timeout(connect=timeout, read=timeout),
            "retries": False,  # what is tried again is for precomp.retry to say
            "ssl_context": _certificates(),
        }
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def request(self, method: str, url: str, **arguments: Any) -> urllib3.BaseHTTPResponse:
        """Send a request, as google-auth does for a token."""
        return self._manager(url).request(method, url, **arguments)

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = _proxy(url)
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = (
                    urllib3.PoolManager(**self._options)
                    if proxy is None
                    else urllib3.ProxyManager(
                        _address(proxy), proxy_headers=proxy_login(proxy), **self._options
                    )
                )
            return self._managers[proxy]


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy is None or host in _METADATA or proxy_bypass(parts.netloc):
        return None
    return proxy_address(proxy, "the environment variable HTTPS_PROXY, HTTP_PROXY or ALL_PROXY")


def _address(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@functools.cache  # as it takes longer than a request
def _certificates() -> Any:
    """Trust what this machine trusts (SSL_CERT_FILE too), and what browsers do."""
    context = create_urllib3_context()
    context.load_default_certs()
    context.load_verify_locations(certifi.where())
    return context
