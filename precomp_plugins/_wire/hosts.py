"""One host, and the connections to it: urllib3 makes them, through proxies and TLS."""

import math
import ssl
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import LocationValueError
from urllib3.util import Url

from precomp.retry import Limits
from precomp_plugins._wire.line import Line
from precomp_plugins._wire.proxies import proxy_login

__all__ = ["Body", "Host", "host_header"]

Body: TypeAlias = Sequence[bytes | memoryview] | None
"""What is sent with a request, in parts of bytes."""

_KEPT = 256  # connections; of more threads some take new ones again and again
_PORTS = {"http": 80, "https": 443}
_NEAR = 0.002  # seconds there and back, in a laboratory's own network
_TLS_TRIPS = 3  # which TCP and TLS together make to connect
_AGENT = "User-Agent: precomp\r\n"  # without one some servers refuse


class Host:
    """The connections to one host, all by the same way.

    Attributes:
        proxy: on that way, its host and port; None where there is none.
    """

    def __init__(self, origin: str, proxy: str | None, context: ssl.SSLContext | None) -> None:
        address = urllib3.util.parse_url(origin)
        self._context, self._address = context, address
        lines = {"Host": host_header(origin)}
        self._proxy: urllib3.ProxyManager | None = None  # for what it knows; it makes no connection
        self.proxy: str | None = None
        if proxy is not None:
            self.proxy = host_header(proxy)
            login = proxy_login(proxy)
            self._proxy = urllib3.ProxyManager(proxy, proxy_headers=login, proxy_ssl_context=context)
        self._forwards = self._proxy is not None and address.scheme == "http"
        if self._proxy is not None and self._forwards:
            lines.update(self._proxy.proxy_headers)
        whole = f"{address.scheme}://{lines['Host']}"
        self._front = whole if self._forwards else ""  # such a proxy wants to see the whole address
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        trips = _TLS_TRIPS if address.scheme == "https" else 1
        self._near, self._connecting = _NEAR * trips, math.inf  # seconds; the least that it has taken
        self._idle: list[Line] = []  # no thread comes in between in its pop and its append
        weakref.finalize(self, _close, self._idle)

    def head(self, method: str, target: str, headers: Mapping[str, str], body: Body) -> bytes:
        """Return the head of a request."""
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if not _has_agent(tuple(headers)):
            lines.append(_AGENT)
        if body is not None:
            lines.append(f"Content-Length: {sum(map(len, body))}\r\n")
        text = f"{method} {self._front}{target} HTTP/1.1\r\n{self._lines}{''.join(lines)}\r\n"
        if not text.isascii() or text.count("\n") != self._lines.count("\n") + len(lines) + 2:
            raise LocationValueError("a header or the address has characters that it may not have")
        return text.encode()

    def take(self, limits: Limits, connecting: float | None = None) -> Line:
        """Return a line that nobody else uses, and that waits as long for a byte as `limits` say.

        A new one is given `connecting` seconds to be made; None: as long as for a byte.
        """
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if not line.hears(0):  # what nobody asked for is its end, as a rule
                line.keep_to(limits)
                return line
            line.close()
        connection = self._made(limits.timeout if connecting is None else min(limits.timeout, connecting))
        start = time.monotonic()
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        self._connecting = min(self._connecting, time.monotonic() - start)
        line = Line(connection)
        line.keep_to(limits)
        return line

    @property
    def is_near(self) -> bool:
        """Whether a byte is there and back so soon that a connection may wait for its reader.

        Of an answer that nobody reads a host sends only the first 64 KiB or so. It sends the rest as soon as
        somebody does, which then takes the longer the farther away it is.
        """
        return self._connecting < self._near

    def doubt(self) -> None:
        """Take the host for far, until a connection shows how near it is."""
        self._connecting = math.inf

    def give_back(self, line: Line, *, whole: bool) -> None:
        """Keep a line for the next request where the `whole` answer was read, else close it."""
        if whole and len(self._idle) < _KEPT:
            self._idle.append(line)
        else:
            line.close()

    def _made(self, timeout: float) -> HTTPConnection:
        if self._proxy is None:
            return self._to(self._address, timeout)
        proxy = urllib3.util.parse_url(str(self._proxy.proxy))
        if self._forwards:
            return self._to(proxy, timeout)
        tunnel = HTTPSConnection(
            _bare(proxy),
            proxy.port,
            timeout=timeout,
            ssl_context=self._context,
            proxy=proxy,
            proxy_config=self._proxy.proxy_config,
        )
        port = self._address.port or _PORTS["https"]
        tunnel.set_tunnel(self._address.host or "", port, self._proxy.proxy_headers, proxy.scheme or "http")
        return tunnel

    def _to(self, address: Url, timeout: float) -> HTTPConnection:
        host, port = _bare(address), address.port
        if address.scheme == "https":
            return HTTPSConnection(host, port, timeout=timeout, ssl_context=self._context)
        return HTTPConnection(host, port, timeout=timeout)


@lru_cache(maxsize=64)  # nearly all requests have headers of the same names
def _has_agent(names: tuple[str, ...]) -> bool:
    return "user-agent" in map(str.lower, names)


def host_header(url: str) -> str:
    """Return what the header Host says for a URL: in lower case, with the port unless it is the usual one."""
    address = urllib3.util.parse_url(url)
    usual = address.port in (None, _PORTS.get(address.scheme or ""))
    return f"{address.host}" if usual else f"{address.host}:{address.port}"


def _bare(address: Url) -> str:
    """The host, without the brackets around an address of IPv6."""
    return (address.host or "").strip("[]")


def _close(idle: list[Line]) -> None:
    while idle:
        idle.pop().close()
