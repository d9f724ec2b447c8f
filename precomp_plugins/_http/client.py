"""Requests over urllib3: pools, proxies, redirects, and bodies of which no byte is missing."""

import os
import ssl
import time
import urllib.request
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import urllib3

from precomp.errors import CredentialsError, StoreError
from precomp.retry import RETRIED_STATUS, Limits, TransientError, retry_after
from precomp_plugins._http.login import Logins, host_of
from precomp_plugins._http.options import HttpOptions
from precomp_plugins._wire.errors import transport_failure
from precomp_plugins._wire.proxies import proxy_address, proxy_login

__all__ = ["Answer", "Client"]

_PIECE = 2**17  # bytes; at most so much is asked for at a time
_SMALL = 2**16  # bytes; rather read and forgotten than paid for with a new connection
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_POOLS = 16  # hosts; more than one only where there are redirects


class Answer:
    """The answer to one request; to be closed.

    Attributes:
        status: the code.
        url: where it came from in the end.
    """

    def __init__(self, what: str, response: urllib3.BaseHTTPResponse, url: str, limits: Limits) -> None:
        """`what` is the object's name for errors."""
        self._what, self._response, self._limits = what, response, limits
        self.status, self.url = response.status, url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()  # of the connection only what is not yet in its pool again

    def header(self, name: str) -> str | None:
        """Return a header of the answer."""
        return self._response.headers.get(name)

    @property
    def length(self) -> int | None:
        """The body's length as the server announced it."""
        text = self.header("Content-Length")
        plain = (
            text is not None and text.isascii() and text.isdigit() and not self.header("Transfer-Encoding")
        )
        return int(text) if plain and text is not None else None

    @property
    def told(self) -> str:
        """The status for errors, `404 Not Found`."""
        return f"{self.status} {self._response.reason or ''}".strip()

    def read(self, most: int | None = None) -> bytes:
        """Return the rest of the body, or of its first `most` bytes, as it was sent.

        Raises TransientError where it ends too soon or comes too slowly.
        """
        pieces: list[bytes] = []
        left = most
        while left is None or left > 0:
            piece = self._piece(_PIECE if left is None else min(_PIECE, left))
            if not piece:
                break
            pieces.append(piece)
            left = None if left is None else left - len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def count(self) -> int:
        """Return how long the rest of the body is, by reading it."""
        size = 0
        while piece := self._piece(_PIECE):
            size += len(piece)
        return size

    def drain(self) -> None:
        """Read what is left if it is little, so that the connection can be used again."""
        if (self.length or 0) <= _SMALL:
            with suppress(TransientError):  # the status has said all that matters
                self.read(_SMALL)

    def _piece(self, most: int) -> bytes:
        left = self._limits.until - time.monotonic()
        if left <= 0:
            raise TransientError("the body was not all there when the time was over")
        try:
            if left < self._limits.timeout and self._response.connection is not None:
                sock = getattr(self._response.connection, "sock", None)
                if sock is not None:
                    sock.settimeout(left)
            return self._response.read1(most, False) or b""
        except urllib3.exceptions.HTTPError as error:
            raise transport_failure(self.url, error, self._what) from error


class Client:
    """Sends requests. Safe to share between threads; a forked child has connections of its own."""

    def __init__(self, options: HttpOptions, logins: Logins) -> None:
        self._options, self._logins = options, logins
        self._proxies = _proxies(options.proxy)
        self._managers: dict[tuple[int, bool, str | None], urllib3.PoolManager] = {}

    def send(self, what: str, method: str, url: str, headers: dict[str, str], limits: Limits) -> Answer:
        """Send one request, follow redirects, and return the answer. Errors call the object `what`.

        Raises TransientError for what another try may mend, CredentialsError where access is refused,
        StoreError for all other failures of the way there.
        """
        for _ in range(_MOST_REDIRECTS):
            answer = self._once(what, method, url, headers, limits)
            target = answer.header("Location") if answer.status in _REDIRECTS else None
            if target is None:
                return self._checked(what, answer)
            with answer:
                answer.drain()
            url = _redirected(what, url, target)
        raise StoreError(f"{what}: more than {_MOST_REDIRECTS} redirects, the last one to {_shown(url)}")

    def _once(self, what: str, method: str, url: str, headers: dict[str, str], limits: Limits) -> Answer:
        try:
            response = self._manager(url).urlopen(
                method,
                url,
                headers={**self._logins.headers(url), **headers},
                timeout=urllib3.Timeout(connect=limits.timeout, read=limits.timeout),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise transport_failure(url, error, what) from error
        return Answer(what, response, url, limits)

    def _checked(self, what: str, answer: Answer) -> Answer:
        status = answer.status
        if status in RETRIED_STATUS:
            with answer:
                wait = retry_after(answer.header("Retry-After"))
                answer.drain()
            raise TransientError(f"the server answered {answer.told}", wait)
        if status in (401, 403, 407):
            with answer:
                answer.drain()
            raise self._refused(what, answer)
        return answer

    def _refused(self, what: str, answer: Answer) -> CredentialsError:
        if answer.status == 407:
            return CredentialsError(
                f"{what}: the proxy answered {answer.told}; write user and password into its address"
            )
        told = self._logins.told(answer.url)
        reason = ""
        if answer.status == 403:
            reason = (
                ". Whether the object is there is not known, so it is not taken for a missing one; a server "
                "of buckets answers 403 for missing objects to those who may not list them: ask its owner "
                "for the right to list (s3:ListBucket), or read the bucket by its own protocol"
            )
        return CredentialsError(f"{what}: the server answered {answer.told}, {told}{reason}")

    def _manager(self, url: str) -> urllib3.PoolManager:
        secure = url.startswith("https:")
        # A forked child must not share sockets; what its parent had it keeps untouched, locks included.
        key = (os.getpid(), secure, self._proxy(url, secure))
        found = self._managers.get(key)
        return self._managers.setdefault(key, self._made(secure, key[2])) if found is None else found

    def _proxy(self, url: str, secure: bool) -> str | None:
        proxy = self._proxies.get("https" if secure else "http") if self._proxies else None
        if proxy and self._options.proxy is None and urllib.request.proxy_bypass(host_of(url)):
            return None
        return proxy

    def _made(self, secure: bool, proxy: str | None) -> urllib3.PoolManager:
        # Connections are made as they are needed; a pool that is too small would close and reopen them.
        given: dict[str, Any] = {"num_pools": _POOLS, "maxsize": max(self._options.concurrency, 256)}
        if secure:
            given["ssl_context"] = _context(self._options)
        if proxy is None:
            return urllib3.PoolManager(**given)
        return urllib3.ProxyManager(proxy, proxy_headers=proxy_login(proxy), **given)


def _redirected(what: str, url: str, target: str) -> str:
    try:
        to = urljoin(url, target)
        parts = urlsplit(to)
        _ = (
            parts.port
        )  # raises for one that is none; urllib3 would quote the whole address, signature and all
    except ValueError as error:
        raise StoreError(f"{what}: redirected to what is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise StoreError(f"{what}: redirected to {_shown(to)}, which is no http address")
    if parts.scheme == "http" and url.startswith("https:"):
        raise StoreError(
            f"{what}: redirected from https to {_shown(to)}, where nobody knows who answers; "
            "open that address itself if this is meant"
        )
    return parts._replace(fragment="").geturl()


def _proxies(option: str | None) -> dict[str, str]:
    found = urllib.request.getproxies() if option is None else {"http": option, "https": option}
    source = "the option proxy, or the environment variable HTTP_PROXY or HTTPS_PROXY"
    return {scheme: proxy_address(found[scheme], source) for scheme in ("http", "https") if found.get(scheme)}


def _context(options: HttpOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as error:
        raise StoreError(f"ca_file: {options.ca_file}: cannot be read as certificates: {error}") from error
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _shown(url: str) -> str:
    """A URL for errors: without its query, which may be a signature, and without a user."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
