"""One policy for requests over a network: what is tried again, how often, for how long.

An attempt is the whole of one request, its body included. It raises `TransientError` for what another try may
mend; everything else it raises passes through at once.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import attrs

from precomp.errors import StoreError

__all__ = [
    "RETRIED_STATUS",
    "Limits",
    "RetryPolicy",
    "TransientError",
    "retry_after",
    "stop_retrying_at",
    "stopped_within",
]

T = TypeVar("T")

RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
"""The HTTP status codes of a service that is busy or broken for the moment."""

_FIRST_PAUSE = 0.2  # seconds; doubled with each try
_LONGEST_PAUSE = 20.0  # seconds
_of_thread = threading.local()


def stop_retrying_at(event: threading.Event | None) -> threading.Event | None:
    """Let this thread begin no other attempt, and end its pauses, once the event is set; None: never mind.

    What has been given up, by an error elsewhere or by Ctrl-C, is not to be insisted on. Returns the event
    that counted before.
    """
    before: threading.Event | None = getattr(_of_thread, "stop", None)
    _of_thread.stop = event
    return before


class TransientError(Exception):
    """What went wrong with one attempt and may go well with the next.

    Raise it `from` its cause. `retry_after` is the service's own word (Retry-After), in seconds.
    """

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a header Retry-After asks for, from now; None where there is no sense in it.

    It holds seconds or a date (RFC 9110, 10.2.3); a date that has passed means at once.

    >>> retry_after("120")
    120.0
    """
    from datetime import UTC, datetime  # here, as they take longer to import than most of precomp
    from email.utils import parsedate_to_datetime

    text = "" if header is None else header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for an offset of more digits than a number has
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000" and the old form of C's asctime
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


class Limits(NamedTuple):
    """How long one attempt may take.

    Attributes:
        timeout: seconds to wait for a byte.
        until: the time, as `time.monotonic` counts, when all is over, whatever has come by then.
    """

    timeout: float
    until: float


@attrs.frozen
class RetryPolicy:
    """How long to insist.

    Attributes:
        max_attempts: how often a request is sent at most, the first time included.
        timeout: seconds without a byte after which an attempt has failed; the store's client keeps it.
        deadline: seconds for all attempts and the pauses between them.
    """

    max_attempts: int = 6
    timeout: float = 30.0
    deadline: float = 90.0

    def limits(self) -> Limits:
        """Return those of a first attempt that begins now."""
        return Limits(self.timeout, time.monotonic() + self.deadline)

    def call(self, what: str, attempt: Callable[[Limits], T]) -> T:
        """Return what an attempt returns; it keeps to the limits that it is given.

        Raises StoreError, which names `what` (the object's cloudpath), the attempts and the time and
        chains the last failure's cause, where no attempt went well.
        """
        start, tries = time.monotonic(), 0
        until = start + self.deadline
        while True:
            tries += 1
            try:
                return attempt(Limits(max(0.001, min(self.timeout, until - time.monotonic())), until))
            except TransientError as error:
                failure = error
            pause = self._pause(tries, failure.retry_after)
            over = tries >= self.max_attempts or time.monotonic() + pause >= until
            if over or stopped_within(pause):
                spent = time.monotonic() - start
                raise self._given_up(what, tries, spent, failure) from (failure.__cause__ or failure)

    def _pause(self, tries: int, retry_after: float | None) -> float:
        """Exponential, with jitter: clients that failed together shall not come back together."""
        from random import uniform

        longest = min(_FIRST_PAUSE * 2 ** min(tries - 1, 30), _LONGEST_PAUSE)
        pause = uniform(longest / 2, longest)
        return pause if retry_after is None else max(retry_after, 0.0) + pause / 4

    def _given_up(self, what: str, tries: int, spent: float, failure: TransientError) -> StoreError:
        times = "once" if tries == 1 else f"{tries} times"
        return StoreError(
            f"{what}: tried {times} in {spent:.1f} s, the last time: {failure}; nothing is known of the "
            f"object. Try again later, or give it more than max_attempts={self.max_attempts}, "
            f"timeout={self.timeout:g} s and {self.deadline:g} s in all"
        )


def stopped_within(seconds: float) -> bool:
    """Wait so long; True, and at once, where this thread is not to try again (see `stop_retrying_at`)."""
    stop: threading.Event | None = getattr(_of_thread, "stop", None)
    if stop is not None:
        return stop.wait(seconds)
    time.sleep(seconds)
    return False
