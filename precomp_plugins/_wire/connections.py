"""Requests over connections that are kept for the next one."""

import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from urllib3.exceptions import HTTPError

from precomp.errors import PrecompError
from precomp.retry import Limits, TransientError
from precomp_plugins._wire.ahead import Sent, claim
from precomp_plugins._wire.answers import Answer
from precomp_plugins._wire.errors import transport_failure
from precomp_plugins._wire.hosts import Body, Host
from precomp_plugins._wire.pieces import LARGE, pieces
from precomp_plugins._wire.received import FAILURES, Received, receive

__all__ = ["Connections"]

Seal: TypeAlias = Callable[[Mapping[str, str]], Mapping[str, str]]
"""Makes of headers those that are sent, where that is work that can be spared for what was sent already."""

_HOSTS = 64
_NEAR_TIMEOUT = 1.0  # seconds
_SMALL = 2**16  # bytes; rather copied than sent by a call of its own


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
        self._hosts: dict[str, Host] = {}
        self._finding = threading.Lock()

    def send(
        self,
        what: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        limits: Limits,
        body: Body = None,
        seal: Seal | None = None,
    ) -> Answer:
        """Send a request and return the answer, whatever its status, as soon as its head is there.

        `url` is in ASCII, with nothing in it that has to be quoted. Errors call what is wanted `what`.
        Where `ask` has sent the same already (see Sent), its answer is returned.
        Raises TransientError where another try may go well, StoreError and CredentialsError for all other
        failures of the way there and back.
        """

        def failed(error: Exception) -> Exception:
            known = self._hosts.get(_split(url)[0])
            proxy = None if known is None else known.proxy
            return transport_failure(url, error, what, self._distrusted, proxy)

        try:
            sent = claim(self, method, url, headers)
            if sent is None:
                origin, target = _split(url)
                host = self._hosts.get(origin) or self._found(origin)
                line = host.take(limits)
            else:
                host, line = sent
                line.keep_to(limits)
            try:
                if sent is None:
                    head = host.head(method, target, headers if seal is None else seal(headers), body)
                    received = _exchanged(line.sock, method, head, body, limits)
                else:
                    received = receive(line.sock, method, limits)
            except BaseException:
                line.close()
                raise
        except PrecompError:  # of the proxy or the certificates; it is an OSError, too
            raise
        except (HTTPError, *FAILURES) as error:
            raise failed(error) from error

        def done() -> None:
            host.give_back(line, whole=received.is_over)

        return Answer(url, received, failed, done)

    def ask(
        self, url: str, headers: Mapping[str, str], limits: Limits, seal: Seal | None = None
    ) -> Sent | None:
        """Send a GET now; `send` takes its answer within the context of what is returned.

        None where nothing was sent: to a host that is far, or unknown yet, or by a way that failed, of which
        `send` will tell when it tries.
        """
        origin, target = _split(url)
        host = self._hosts.get(origin)
        if host is None or not host.is_near:
            return None
        try:
            # One that is near answers at once, and for one that does not any more `send` has all its time.
            line = host.take(limits, _NEAR_TIMEOUT)
        except (PrecompError, HTTPError, *FAILURES):
            host.doubt()
            return None
        try:
            head = host.head("GET", target, headers if seal is None else seal(headers), None)
            line.sock.sendall(head)
        except (PrecompError, TransientError, HTTPError, *FAILURES):
            line.close()
            return None
        except BaseException:
            line.close()
            raise
        return Sent(self, "GET", url, headers, host, line)

    def is_near(self, url: str) -> bool:
        """Whether the host of `url` is known, and so near that `ask` sends something."""
        host = self._hosts.get(_split(url)[0])
        return host is not None and host.is_near

    def find(self, url: str) -> None:
        """Look for the way to the host of `url`. Raises what proxy and trusted raise; sends nothing."""
        self._found(_split(url)[0])

    def _found(self, origin: str) -> Host:
        proxy = self._proxy(origin)
        if self._context is None and "https:" in (origin[:6], (proxy or "")[:6]):
            self._context = self._trusted()
        with self._finding:
            if len(self._hosts) >= _HOSTS:  # there may be no end of those that are redirected to
                del self._hosts[next(iter(self._hosts))]
            return self._hosts.setdefault(origin, Host(origin, proxy, self._context))


def _split(url: str) -> tuple[str, str]:
    """Return the address of the host, and what it is asked for."""
    slash = url.find("/", url.index("://") + 3)
    return (url, "/") if slash < 0 else (url[:slash], url[slash:])


def _exchanged(sock: Any, method: str, head: bytes, body: Body, limits: Limits) -> Received:
    """Send a request, and return the answer once its head is there."""
    size = 0 if body is None else sum(map(len, body))
    if body is None or size <= _SMALL:
        sock.sendall(b"".join((head, *(body or ()))))
        return receive(sock, method, limits)
    try:
        sock.sendall(head)
        for part in body:
            for piece in pieces(part, limits) if size > LARGE else (part,):
                sock.sendall(piece)
    except ConnectionError as error:
        # It may have answered before it had all of the body, and closed the connection then.
        try:
            return receive(sock, method, limits)
        except FAILURES:
            raise error from None
    return receive(sock, method, limits)
