"""One connection to a host, which serves one request after the other."""

import select
from collections.abc import Callable
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.util import wait_for_read

from precomp.retry import Limits

__all__ = ["Line"]


class Line:
    """A connection that is made. One thread at a time may use it.

    Attributes:
        sock: what bytes go through.
    """

    __slots__ = ("_connection", "_news", "sock")

    def __init__(self, connection: HTTPConnection) -> None:
        """`connection` is connected."""
        self._connection = connection
        self.sock: Any = connection.sock
        self._news = _news_of(self.sock)

    def hears(self, seconds: float) -> bool:
        """Whether something is there to read within so many seconds, be it the end."""
        return bool(wait_for_read(self.sock, seconds) if self._news is None else self._news(seconds * 1000))

    def keep_to(self, limits: Limits) -> None:
        """Wait as long for a byte as `limits` say."""
        if self.sock.gettimeout() != limits.timeout:
            self.sock.settimeout(limits.timeout)

    def close(self) -> None:
        """End it."""
        self._connection.close()


def _news_of(sock: Any) -> Callable[[float], object] | None:
    """Return what tells of anything to read, within so many milliseconds; None where the system cannot."""
    if not hasattr(select, "poll"):
        return None
    poll = select.poll()  # kept, as making one for each request takes several calls
    poll.register(sock, select.POLLIN)
    return poll.poll
