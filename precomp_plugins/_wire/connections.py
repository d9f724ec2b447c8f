"""Connections that are kept for the next request: urllib3 makes them, through proxies and TLS."""

import ssl
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util import Url

from precomp.errors import PrecompError
from precomp.retry import Limits
from precomp_plugins._wire.answers import Answer
from precomp_plugins._wire.errors import transport_failure
from precomp_plugins._wire.pieces import LARGE, pieces
from precomp_plugins._wire.proxies import proxy_login
from precomp_plugins._wire.received import FAILURES, Received, receive

__all__ = ["Connections"]

_KEPT = 256  # for each host; of more threads some take new ones again and again
_SMALL = 2**16  # bytes; rather copied than sent by a call of its own
_PORTS = {"http": 80, "https": 443}
_AGENT = "User-Agent: precomp\r\n"  # without one some servers refuse
_Body: TypeAlias = bytes | memoryview | None


class Connections:
    """Connections of one process, to any host. Safe to share between threads, not with a forked child."""

    def __init__(
        self, proxy: Callable[[str], str | None], trusted: Callable[[], ssl.SSLContext], distrusted: str
    ) -> None:
        """
        Args:
            proxy: returns the address of the proxy to a URL, None where there is none.
            trusted: returns what says which certificates are taken.
            distrusted: what to do about one that is not, for errors.
        """
        self._proxy, self._trusted, self._distrusted = proxy, trusted, distrusted
        self._context: ssl.SSLContext | None = None
        self._hosts: dict[str, _Host] = {}

    def send(
        self, what: str, method: str, url: str, headers: Mapping[str, str], limits: Limits, body: _Body = None
    ) -> Answer:
        """Send a request and return the answer, whatever its status, as soon as its head is there.

        `url` is in ASCII, with nothing in it that has to be quoted. Errors call what is wanted `what`.
        Raises TransientError where another try may go well, StoreError and CredentialsError for all other
        failures of the way there and back.
        """
        start = url.index("://") + 3
        slash = url.find("/", start)
        origin = url if slash < 0 else url[:slash]

        def failed(error: Exception) -> Exception:
            return transport_failure(url, error, what, self._distrusted)

        try:
            host = self._hosts.get(origin) or self._found(origin)
            connection = host.take(limits)
            try:
                head = host.head(method, "/" if slash < 0 else url[slash:], headers, body)
                received = _exchanged(connection.sock, method, head, body, limits)
            except BaseException:
                connection.close()
                raise
        except PrecompError:  # of the proxy or the certificates; it is an OSError, too
            raise
        except (HTTPError, *FAILURES) as error:
            raise failed(error) from error

        def done() -> None:
            host.give_back(connection, whole=received.is_over)

        return Answer(url, received, failed, done)

    def find(self, url: str) -> None:
        """Look for the way to the host of `url`. Raises what proxy and trusted raise; sends nothing."""
        self._found(f"{url}/"[: f"{url}/".index("/", url.index("://") + 3)])

    def _found(self, origin: str) -> "_Host":
        proxy = self._proxy(origin)
        if self._context is None and "https:" in (origin[:6], (proxy or "")[:6]):
            self._context = self._trusted()
        return self._hosts.setdefault(origin, _Host(origin, proxy, self._context))


class _Host:
    """The connections to one host, all by the same way."""

    def __init__(self, origin: str, proxy: str | None, context: ssl.SSLContext | None) -> None:
        address = urllib3.util.parse_url(origin)
        self._context, self._address = context, address
        port = "" if address.port in (None, _PORTS.get(address.scheme or "")) else f":{address.port}"
        lines = {"Host": f"{address.host}{port}"}
        self._proxy = urllib3.ProxyManager(proxy, proxy_headers=proxy_login(proxy)) if proxy else None
        self._forwards = self._proxy is not None and address.scheme == "http"
        if self._proxy is not None and self._forwards:
            lines.update(self._proxy.proxy_headers)
        whole = f"{address.scheme}://{address.host}{port}"
        self._front = whole if self._forwards else ""  # such a proxy wants to see the whole address
        self._lines = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._idle: list[HTTPConnection] = []  # no thread comes in between in its pop and its append
        weakref.finalize(self, _close, self._idle)

    def head(self, method: str, target: str, headers: Mapping[str, str], body: _Body) -> bytes:
        """Return the head of a request."""
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if "user-agent" not in map(str.lower, headers):
            lines.append(_AGENT)
        if body is not None:
            lines.append(f"Content-Length: {len(body)}\r\n")
        text = f"{method} {self._front}{target} HTTP/1.1\r\n{self._lines}{''.join(lines)}\r\n"
        if not text.isascii() or text.count("\n") != self._lines.count("\n") + len(lines) + 2:
            raise LocationValueError("a header or the address has characters that it may not have")
        return text.encode()

    def take(self, limits: Limits) -> HTTPConnection:
        """Return a connection that nobody else uses, and that waits as long for a byte as `limits` say."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if connection.is_connected:  # as far as is known here
                if connection.sock.gettimeout() != limits.timeout:
                    connection.sock.settimeout(limits.timeout)
                return connection
            connection.close()
        connection = self._made(limits)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def give_back(self, connection: HTTPConnection, *, whole: bool) -> None:
        """Keep a connection for the next request where the `whole` answer was read, else close it."""
        if whole and len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def _made(self, limits: Limits) -> HTTPConnection:
        if self._proxy is None:
            return self._to(self._address, limits)
        proxy = urllib3.util.parse_url(str(self._proxy.proxy))
        if self._forwards:
            return self._to(proxy, limits)
        tunnel = HTTPSConnection(
            _bare(proxy),
            proxy.port,
            timeout=limits.timeout,
            ssl_context=self._context,
            proxy=proxy,
            proxy_config=self._proxy.proxy_config,
        )
        port = self._address.port or _PORTS["https"]
        tunnel.set_tunnel(self._address.host or "", port, self._proxy.proxy_headers, proxy.scheme or "http")
        return tunnel

    def _to(self, address: Url, limits: Limits) -> HTTPConnection:
        host, port, timeout = _bare(address), address.port, limits.timeout
        if address.scheme == "https":
            return HTTPSConnection(host, port, timeout=timeout, ssl_context=self._context)
        return HTTPConnection(host, port, timeout=timeout)


def _bare(address: Url) -> str:
    """The host, without the brackets around an address of IPv6."""
    return (address.host or "").strip("[]")


def _close(idle: list[HTTPConnection]) -> None:
    while idle:
        idle.pop().close()


def _exchanged(sock: Any, method: str, head: bytes, body: _Body, limits: Limits) -> Received:
    """Send a request, and return the answer once its head is there."""
    if body is None or len(body) <= _SMALL:
        sock.sendall(head if body is None else b"".join((head, body)))
        return receive(sock, method, limits)
    try:
        sock.sendall(head)
        for piece in pieces(body, limits) if len(body) > LARGE else (body,):
            sock.sendall(piece)
    except ConnectionError as error:
        # It may have answered before it had all of the body, and closed the connection then.
        try:
            return receive(sock, method, limits)
        except FAILURES:
            raise error from None
    return receive(sock, method, limits)
