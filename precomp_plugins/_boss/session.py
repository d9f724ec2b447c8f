"""Requests to the BOSS: intern makes them, this sends them, with timeouts, and reads all of the answer."""

import io
import os
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import requests
import urllib3
from intern.remote.boss import BossRemote
from requests.adapters import HTTPAdapter

from precomp.errors import CredentialsError, PrecompError, StoreError
from precomp.jsonio import loads
from precomp.retry import RETRIED_STATUS, Limits, TransientError, retry_after
from precomp_plugins._boss.login import PUBLIC, Login
from precomp_plugins._wire.pieces import LARGE, pieces

__all__ = ["Answer", "Session"]

_PIECE = 2**16  # bytes
_MOST_TOLD = 500  # characters of what the service says
_LONGEST_TEXT = 2**20  # bytes of an answer that holds no voxels
_SYSTEM_CODES = range(5000, 6000)  # of the service, for what went wrong inside; some come with status 404


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> int | None:
        """The service's own error code; None where it is no error of the service's."""
        code = self._error.get("code")
        return code if isinstance(code, int) else None

    @property
    def told(self) -> str:
        """Status, code and message, for errors."""
        message = self._error.get("message", self._error.get("detail"))
        text = message if isinstance(message, str) else self.body[:_MOST_TOLD].decode("utf-8", "replace")
        code = "" if self.code is None else f", code {self.code}"
        return f"{self.status}{code}: {' '.join(text.split())[:_MOST_TOLD].rstrip('.')}"

    @property
    def absent(self) -> bool:
        """Whether the service says that what was asked for is not there."""
        return self.status == 404 and self.code is not None and self.code not in _SYSTEM_CODES

    @property
    def _error(self) -> dict[str, Any]:
        try:
            found = loads(self.body, "the answer", StoreError)
        except StoreError:
            return {}
        return found if isinstance(found, dict) and self.status >= 400 else {}


class Session:
    """One login. Safe to share between threads; a forked child has connections of its own."""

    def __init__(self, login: Login, connections: int) -> None:
        self.login = login
        self._connections = connections
        self._remotes: dict[int, BossRemote] = {}

    @property
    def remote(self) -> BossRemote:
        """What knows how requests look."""
        found = self._remotes.get(os.getpid())
        # What a forked child inherits it keeps untouched: sockets, and locks that may be held for ever.
        return self._remotes.setdefault(os.getpid(), self._made()) if found is None else found

    def _made(self) -> BossRemote:
        login = self.login
        # intern writes this into an INI file and reads it with a parser that interpolates.
        token = login.token.replace("%", "%%")
        remote = BossRemote({"protocol": login.protocol, "host": login.host, "token": token})
        session = remote.volume_service.session
        session.auth = _as_it_is
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=self._connections, max_retries=0))
        return remote

    def send(self, request: requests.Request, limits: Limits, most: int = _LONGEST_TEXT) -> Answer:
        """Send one request and return the answer, whatever its status.

        `most`: bytes of a body that are not too many; of a longer one of an error the start is kept.
        Raises TransientError for what another try may mend, StoreError for all other failures of the way
        there.
        """
        session: requests.Session = self.remote.volume_service.session
        try:
            prepared = session.prepare_request(request)
            if isinstance(prepared.body, bytes) and len(prepared.body) > LARGE:
                prepared.body = pieces(prepared.body, limits)  # type: ignore[assignment]  # iterables are taken
            settings = session.merge_environment_settings(prepared.url or "", {}, True, None, None)
            wait = max(0.001, min(limits.timeout, limits.until - time.monotonic()))
            # Not by session.send: it follows redirects, which change the method and take the token along or
            # not, and where it is told not to it reads their bodies all the same.
            send = session.get_adapter(prepared.url or "").send
            with send(prepared, timeout=(wait, wait), **settings) as response:
                return Answer(response.status_code, response.headers, self._body(response, limits, most))
        except PrecompError:  # which some of the following are the bases of
            raise
        except requests.exceptions.SSLError as error:
            told = str(error).lower()
            if "certificate" in told:
                raise StoreError(
                    f"{self.login.host}: its certificate is not accepted ({error}); correct the host, or "
                    "name the right certificates in REQUESTS_CA_BUNDLE"
                ) from error
            if "wrong version number" in told or "record layer failure" in told:  # as OpenSSL 3.2 has it
                raise StoreError(
                    f"{self.login.host}: does not speak https ({error}); correct host and protocol"
                ) from error
            raise TransientError(f"the connection failed: {error}") from error
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise TransientError(f"the connection failed: {error}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if isinstance(error, requests.exceptions.RequestException):  # an OSError, too: a wrong address
                raise StoreError(f"{self.login.host}: cannot be asked: {error}") from error
            raise TransientError(f"the answer broke off: {error}") from error

    def failure(self, doing: str, place: str, resource: str, answer: Answer) -> Exception:
        """Return the error that an answer stands for: a TransientError where another try may mend it.

        Args:
            doing: what was tried, `read`.
            place: the layer's cloudpath, with the box where there is one.
            resource: of the service, `channel COLLECTION/EXPERIMENT/CHANNEL`.
            answer: of a status that was not expected.
        """
        status, login = answer.status, self.login
        if status in RETRIED_STATUS:
            return TransientError(
                f"the BOSS answered {answer.told}", retry_after(answer.headers.get("retry-after"))
            )
        start = f"{place}: the {resource} cannot be {doing}, the BOSS at {login.host} answered {answer.told}"
        if status == 401:
            return CredentialsError(
                f"{start}; it was asked with {login.who}; get a new token from the web page of the BOSS"
            )
        if status == 403:
            hint = f"ask the owner of the {resource} for the right"
            if login.token == PUBLIC:
                hint = "it reads public channels only, and writes none: give a token of your own"
            return CredentialsError(f"{start}; it was asked with {login.who}; {hint}")
        if 300 <= status < 400:
            to = answer.headers.get("location", "nowhere").partition("?")[0]
            return StoreError(f"{start}, which leads to {to}; correct protocol and host")
        return StoreError(f"{start}; {_hint(answer)}")

    def _body(self, response: requests.Response, limits: Limits, most: int) -> bytes:
        failed = response.status_code >= 400
        body = _read(response, limits, _LONGEST_TEXT if failed else most, cut=failed)
        if failed and self.login.token != PUBLIC:
            return body.replace(self.login.token.encode(), b"***")  # as some servers echo what was sent
        return body


def _hint(answer: Answer) -> str:
    """What to do next."""
    if answer.code in _SYSTEM_CODES:
        return "try again later, or ask those who run it"
    if answer.status in (400, 404) and answer.code is None:
        return "this is no answer of the BOSS's own: correct protocol and host"
    hints = {
        400: "what was sent does not suit the resource: open the volume anew, as it may have changed",
        404: "it was deleted or renamed, or is another one: check the names, and protocol and host",
        413: "the request is too large for this BOSS: work on smaller boxes",
    }
    return hints.get(answer.status, "try again later, or ask those who run it")


def _read(response: requests.Response, limits: Limits, most: int, *, cut: bool) -> bytes:
    """Return a body; of one with more than `most` bytes the start, where `cut`."""
    body, size = io.BytesIO(), 0  # whose bytes are not copied in the end
    for piece in response.raw.stream(_PIECE, decode_content=True):
        size += body.write(piece)
        if size > most and cut:
            return body.getvalue()
        if size > most:
            raise StoreError(f"the BOSS sent more than {most} bytes, which is more than there can be")
        if time.monotonic() > limits.until:
            raise TransientError(f"the answer was too slow: {size} bytes came in time")
    expected = response.headers.get("content-length")
    if expected is not None and "content-encoding" not in response.headers and expected != str(size):
        raise TransientError(f"the answer broke off: {size} of {expected} bytes came")
    return body.getvalue()


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep the token: without any `auth`, requests puts the user of a ~/.netrc in its place."""
    return request
