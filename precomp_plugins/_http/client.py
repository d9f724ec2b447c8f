"""Requests with logins, by proxies, and to wherever servers redirect them."""

import os
import ssl
import urllib.request
import warnings
from urllib.parse import urljoin, urlsplit

import urllib3

from precomp.errors import CredentialsError, PrecompWarning, StoreError
from precomp.retry import RETRIED_STATUS, Limits, TransientError, retry_after
from precomp_plugins._http.login import Logins, host_of
from precomp_plugins._http.options import HttpOptions
from precomp_plugins._wire.ahead import Sent
from precomp_plugins._wire.answers import Answer
from precomp_plugins._wire.connections import Connections
from precomp_plugins._wire.proxies import proxy_address

__all__ = ["Client"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_DISTRUSTED = "give the option ca_file, or verify=False if nobody can be in between"


class Client:
    """Sends requests. Safe to share between threads; a forked child has connections of its own."""

    def __init__(self, options: HttpOptions, logins: Logins) -> None:
        self._options, self._logins = options, logins
        self._proxies = _proxies(options.proxy)
        self._connections = self._opened()

    def send(self, what: str, method: str, url: str, headers: dict[str, str], limits: Limits) -> Answer:
        """Send one request, follow redirects, and return the answer. Errors call the object `what`.

        Raises TransientError for what another try may mend, CredentialsError where access is refused,
        StoreError for all other failures of the way there.
        """
        for _ in range(_MOST_REDIRECTS):
            answer = self._once(what, method, url, headers, limits)
            target = answer.header("location") if answer.status in _REDIRECTS else None
            if target is None:
                return self._checked(what, answer)
            with answer:
                answer.drain()
            url = _redirected(what, url, target)
        raise StoreError(f"{what}: more than {_MOST_REDIRECTS} redirects, the last one to {_shown(url)}")

    def ask(self, url: str, headers: dict[str, str], limits: Limits) -> Sent | None:
        """Send a GET now, of which `send` returns the answer; see Connections.ask."""
        return self._connected().ask(url, {**self._logins.headers(url), **headers}, limits)

    def is_near(self, url: str) -> bool:
        """Whether `ask` sends something."""
        return self._connected().is_near(url)

    def _once(self, what: str, method: str, url: str, headers: dict[str, str], limits: Limits) -> Answer:
        return self._connected().send(what, method, url, {**self._logins.headers(url), **headers}, limits)

    def _checked(self, what: str, answer: Answer) -> Answer:
        status = answer.status
        if status in RETRIED_STATUS:
            with answer:
                wait = retry_after(answer.header("retry-after"))
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

    def _connected(self) -> Connections:
        # A forked child must not share sockets; what its parent had it keeps untouched.
        process, connections = self._connections
        if process != os.getpid():
            self._connections = _, connections = self._opened()
        return connections

    def _opened(self) -> tuple[int, Connections]:
        return os.getpid(), Connections(self._proxy, lambda: _context(self._options), _DISTRUSTED)

    def _proxy(self, url: str) -> str | None:
        proxy = self._proxies.get(url.partition(":")[0])
        if proxy and self._options.proxy is None and urllib.request.proxy_bypass(host_of(url)):
            return None
        return proxy


def _redirected(what: str, url: str, target: str) -> str:
    try:
        to = urljoin(url, target)
        parts = urlsplit(to)
        _ = parts.port  # raises for one that is none
    except ValueError as error:
        raise StoreError(f"{what}: redirected to what is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise StoreError(f"{what}: redirected to {_shown(to)}, which is no http address")
    if parts.scheme == "http" and url.startswith("https:"):
        raise StoreError(
            f"{what}: redirected from https to {_shown(to)}, where nobody knows who answers; "
            "open that address itself if this is meant"
        )
    try:
        return urllib3.util.parse_url(parts._replace(fragment="").geturl()).url  # quoted where it has to be
    except urllib3.exceptions.LocationParseError:
        # Not chained: it quotes the whole address, signature and all.
        raise StoreError(f"{what}: redirected to {_shown(to)}, which is no address") from None


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
        text = "verify=False: whoever answers is believed, logins included; name certificates in ca_file"
        warnings.warn(text, PrecompWarning, stacklevel=2)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _shown(url: str) -> str:
    """A URL for errors: without its query, which may be a signature, and without a user."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
