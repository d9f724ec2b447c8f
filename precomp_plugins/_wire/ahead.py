"""Requests that are sent before anybody waits for their answers."""

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self

from precomp_plugins._wire.hosts import Host
from precomp_plugins._wire.line import Line

__all__ = ["Sent", "claim"]

_of_thread = threading.local()


class _Request(NamedTuple):
    owner: object
    method: str
    url: str
    headers: Mapping[str, str]


class Sent:
    """A request that was sent. As a context it serves the first one of this thread that is the same.

    Where none is the same, or nobody enters the context, the line is closed.
    """

    __slots__ = ("_before", "_host", "_line", "_request")

    def __init__(
        self,
        owner: object,
        method: str,
        url: str,
        headers: Mapping[str, str],
        host: Host,
        line: Line,
    ) -> None:
        """`owner` is who sent it."""
        self._request = _Request(owner, method, url, headers)
        self._host = host
        self._line: Line | None = line
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
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def is_here(self, seconds: float) -> bool:
        """Whether the answer begins to come within so many seconds; True, too, where it was taken."""
        line = self._line
        return line is None or line.hears(seconds)

    def claimed(self, request: _Request) -> tuple[Host, Line] | None:
        """Return host and line that the answer comes by, if the request is this one; only once."""
        line = self._line
        if line is None or request != self._request:
            return None
        self._line = None
        return self._host, line


def claim(owner: object, method: str, url: str, headers: Mapping[str, str]) -> tuple[Host, Line] | None:
    """Return host and line that the answer to this request comes by, where it was sent before."""
    sent: Sent | None = getattr(_of_thread, "sent", None)
    return None if sent is None else sent.claimed(_Request(owner, method, url, headers))
