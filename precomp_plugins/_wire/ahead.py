"""Requests that are sent before anybody waits for their answers."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

from urllib3.connection import HTTPConnection

from precomp_plugins._wire.hosts import Host

__all__ = ["Sent", "claim"]

_of_thread = threading.local()


class _Request(NamedTuple):
    owner: object
    method: str
    url: str
    headers: Mapping[str, str]


class Sent:
    """A request that was sent. As a context it serves the first one of this thread that is the same.

    Where none is the same, or nobody enters the context, the connection is closed.
    """

    __slots__ = ("_before", "_connection", "_host", "_request")

    def __init__(
        self,
        owner: object,
        method: str,
        url: str,
        headers: Mapping[str, str],
        host: Host,
        connection: HTTPConnection,
    ) -> None:
        """`owner` is who sent it."""
        self._request = _Request(owner, method, url, headers)
        self._host = host
        self._connection: HTTPConnection | None = connection
        self._before: Sent | None = None

    def __enter__(self) -> Self:
        self._before = getattr(_of_thread, "sent", None)
        _of_thread.sent = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _of_thread.sent = self._before
        self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def claimed(self, request: _Request) -> tuple[Host, HTTPConnection] | None:
        """Return host and connection that the answer comes by, if the request is this one; only once."""
        connection = self._connection
        if connection is None or request != self._request:
            return None
        self._connection = None
        return self._host, connection


def claim(
    owner: object, method: str, url: str, headers: Mapping[str, str]
) -> tuple[Host, HTTPConnection] | None:
    """Return host and connection that the answer to this request comes by, where it was sent before."""
    sent: Sent | None = getattr(_of_thread, "sent", None)
    return None if sent is None else sent.claimed(_Request(owner, method, url, headers))
