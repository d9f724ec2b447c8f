"""Requests to Google Storage: one process's connections, its token, and what may go wrong on the way."""

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import google.auth.exceptions
import urllib3
from google.cloud import storage

from precomp.errors import ConfigError, CredentialsError, PrecompError
from precomp.retry import Limits, TransientError
from precomp_plugins._gs.identity import EMULATOR, Identity
from precomp_plugins._gs.network import Network
from precomp_plugins._gs.tokens import TokenRequests
from precomp_plugins._wire.ahead import Sent
from precomp_plugins._wire.endpoint import USER_IN_IT
from precomp_plugins._wire.hosts import Body

if TYPE_CHECKING:
    from precomp_plugins.gs import GsOptions

__all__ = ["Answer", "Session", "endpoint_of", "given_endpoint"]

_LONGEST_TEXT = 2**16  # bytes; of an error whoever sends more has said what matters
_NO_LOGIN: dict[str, str] = {}
_inherited: list["Session"] = []


class Answer(NamedTuple):
    """What the service answered; header names are in lower case, the body is as it was sent, not decoded."""

    status: int
    headers: Mapping[str, str]
    data: memoryview

    @property
    def text(self) -> bytes:
        """The body as bytes, for those that are short."""
        return bytes(self.data)


class Session:
    """What one process has open. Safe to share between threads; a child made by fork needs its own."""

    def __init__(self, identity: Identity, endpoint: str, timeout: float, place: str) -> None:
        """`endpoint`: as `endpoint_of` tells it; `place`: the layer, for errors."""
        self._pid = os.getpid()
        self._identity = identity
        self._place = place
        self._endpoint = endpoint
        self._network = Network(timeout)
        self._tokens = TokenRequests(self._network)
        self._lock = threading.Lock()
        self._service = "{0.scheme}://{0.netloc}".format(urlsplit(endpoint))
        self._network.connections.find(self._service)

    def is_ours(self) -> bool:
        """Whether this process opened it. One of the parent's is kept as it is: to close it would disturb."""
        if self._pid == os.getpid():
            return True
        _inherited.append(self)
        return False

    def send(
        self,
        limits: Limits,
        method: str,
        target: str,
        headers: dict[str, str],
        body: Body = None,
    ) -> Answer:
        """Send one request and return the whole answer, whatever its status.

        Raises TransientError where the way there or back failed, CredentialsError where there is no token
        to be had or it is refused.
        """
        login = self._login(limits)
        answer = self._exchange(limits, method, target, {**headers, **login}, body)
        if answer.status == 401 and login:
            # The token may have been revoked before its time.
            login = self._login(limits, refused=login)
            answer = self._exchange(limits, method, target, {**headers, **login}, body)
        if answer.status >= 400 and login:
            token = login.get("authorization", "").rpartition(" ")[2].encode()
            if token:
                return answer._replace(data=memoryview(answer.text.replace(token, b"***")))
        return answer

    def ask(self, limits: Limits, target: str, headers: dict[str, str]) -> Sent | None:
        """Send a GET now, of which `send` returns the answer; see Connections.ask."""
        identity = self._identity
        if not identity.anonymous and not identity.credentials.valid:  # which `send` will see to
            return None
        try:
            login = self._login(limits)
        except (PrecompError, TransientError):  # it has just ended
            return None
        return self._network.connections.ask(self._service + target, {**headers, **login}, limits)

    @property
    def is_near(self) -> bool:
        """Whether `ask` sends something."""
        return self._network.connections.is_near(self._service)

    def _exchange(
        self, limits: Limits, method: str, target: str, headers: dict[str, str], body: Body
    ) -> Answer:
        url = self._service + target
        with self._network.connections.send(self._place, method, url, headers, limits, body) as answer:
            most = _LONGEST_TEXT if answer.status >= 300 else None
            data, expected = answer.read(most), answer.length
            if expected is not None and most is not None:
                expected = min(expected, most)
            if expected not in (None, len(data)) and answer.status != 204:
                raise TransientError(f"the answer was cut short: expected {expected} bytes, got {len(data)}")
            return Answer(answer.status, answer.headers, data)

    def _login(self, limits: Limits, refused: dict[str, str] | None = None) -> dict[str, str]:
        """Return the headers that log in; get a token where there is none, or only the `refused` one."""
        if self._identity.anonymous:
            return _NO_LOGIN
        credentials = self._identity.credentials
        headers: dict[str, str] = {}
        if credentials.valid and refused is None:
            credentials.apply(headers)
            return headers
        with self._lock:  # one thread gets a token, the others wait for it
            if credentials.valid:
                credentials.apply(headers)
                if headers != refused:
                    return headers
                headers = {}
            self._refresh(limits, credentials)
            credentials.apply(headers)
        return headers

    def _refresh(self, limits: Limits, credentials: Any) -> None:
        try:
            credentials.refresh(self._tokens.within(limits))
        except google.auth.exceptions.GoogleAuthError as error:
            if error.retryable:
                raise TransientError(f"no token could be fetched: {error}") from error
            said = str(error.args[0] if error.args else error)[:300]
            raise CredentialsError(
                f"{self._place}: no token was given to {self._identity.who}: {said}; check that its key is "
                "still valid and that this machine's clock is right, or use other credentials"
            ) from error


def given_endpoint(options: "GsOptions", place: str) -> str:
    """Return the address that the options or the environment give; empty where it is Google's own.

    Raises ConfigError where there is a user in it, or no host.
    """
    given = options.endpoint_url or os.environ.get(EMULATOR) or ""
    if "@" in given:
        raise ConfigError(f"{place}: {EMULATOR}: {USER_IN_IT}")
    if given and "://" not in given:
        given = f"http://{given}"
    try:
        usable = not given or (urllib3.util.parse_url(given).host and urlsplit(given).hostname)
    except (urllib3.exceptions.LocationParseError, ValueError):
        usable = None
    if not usable:
        raise ConfigError(
            f"{place}: endpoint_url or {EMULATOR}: expected http://HOST:PORT, found {given!r}; correct it"
        )
    return given.rstrip("/")


def endpoint_of(identity: Identity, options: "GsOptions", place: str) -> str:
    """Return where the service is, as google-cloud-storage makes it of options, environment and universe."""
    wanted = {
        "api_endpoint": given_endpoint(options, place),
        "universe_domain": getattr(identity.credentials, "universe_domain", None),
    }
    try:
        client = storage.Client(  # which opens nothing yet
            project=identity.project,
            credentials=identity.credentials,
            client_options={name: value for name, value in wanted.items() if value},
        )
    except (ValueError, google.auth.exceptions.GoogleAuthError) as error:
        raise CredentialsError(f"{place}: {identity.who} cannot be used there: {error}") from error
    return str(client.api_endpoint)
