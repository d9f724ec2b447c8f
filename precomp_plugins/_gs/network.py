"""How Google Storage and its token services are reached: proxies of the environment, certificates."""

import threading
from typing import Any
from urllib.parse import urlsplit

import urllib3

from precomp_plugins._wire.certificates import trusted
from precomp_plugins._wire.connections import Connections
from precomp_plugins._wire.proxies import environment_proxy, proxy_login

__all__ = ["Network"]

_DISTRUSTED = "if it is right, name its authority's file in the environment variable SSL_CERT_FILE"


class Network:
    """Connections of one process, to any host. Safe to share between threads.

    Attributes:
        connections: to the service.
    """

    def __init__(self, timeout: float) -> None:
        self.connections = Connections(environment_proxy, trusted, _DISTRUSTED)
        self._options: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=timeout, read=timeout),
            "retries": False,  # what is tried again is for precomp.retry to say
            "ssl_context": trusted(),
        }
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def request(self, method: str, url: str, **arguments: Any) -> urllib3.BaseHTTPResponse:
        """Send a request, as google-auth does for a token."""
        return self._manager(url).request(method, url, **arguments)

    def _manager(self, url: str) -> urllib3.PoolManager:
        proxy = environment_proxy(url)
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


def _address(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
