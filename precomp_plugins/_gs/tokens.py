"""Requests for tokens: google-auth makes them, one for each attempt.

By itself it would try each several times, with pauses of its own, in each of our attempts. It hands on what
its transport raises, unless that is its own TransportError. So what may be tried again is raised as a
TransientError.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import google.auth.exceptions
from google.auth.transport.urllib3 import Request

from precomp.retry import RETRIED_STATUS, Limits, TransientError, retry_after
from precomp_plugins._gs.network import Network

__all__ = ["TokenRequests"]

_RETRIED = RETRIED_STATUS | {408}
_BUSY = frozenset({"internal_failure", "server_error", "temporarily_unavailable"})  # with any status


class TokenRequests:
    """Makes transports for google-auth."""

    def __init__(self, network: Network) -> None:
        self._request = Request(network)

    def within(self, limits: Limits) -> Callable[..., Any]:
        """Return the transport for one attempt."""

        def ask(url: str, *arguments: Any, **more: Any) -> Any:
            wait = max(0.001, min(limits.timeout, limits.until - time.monotonic()))
            try:
                answer = self._request(url, *arguments, **{"timeout": wait, **more})
            except google.auth.exceptions.TransportError as error:
                raise TransientError(f"no token could be fetched: {error}") from error
            if answer.status in _RETRIED or (answer.status != 200 and _is_busy(answer.data)):
                raise TransientError(
                    f"no token could be fetched, the service answered {answer.status}",
                    retry_after(answer.headers.get("retry-after")),
                )
            return answer

        return ask


def _is_busy(body: bytes) -> bool:
    """Whether a token service says that it is its own fault (RFC 6749, 4.1.2.1)."""
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and not _BUSY.isdisjoint(
        str(said.get(field)) for field in ("error", "error_description")
    )
