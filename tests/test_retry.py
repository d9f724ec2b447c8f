"""What is tried again, how often, and for how long. The clock is a fake one: no test waits."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from precomp.errors import CredentialsError, StoreError
from precomp.retry import Limits, RetryPolicy, TransientError, retry_after, stop_retrying_at


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def failing(times: int, error: Callable[[], BaseException]) -> Callable[[Limits], int]:
    """An attempt that goes well after so many failures, and returns which attempt that was."""
    done = 0

    def attempt(limits: Limits) -> int:
        nonlocal done
        done += 1
        if done <= times:
            raise error()
        return done

    return attempt


def transient(after: float | None = None) -> TransientError:
    error = TransientError("503 Service Unavailable", after)
    error.__cause__ = ConnectionResetError("reset by peer")
    return error


def test_what_goes_well_is_done_once(clock: Clock) -> None:
    assert RetryPolicy().call("s3://b/k", failing(0, transient)) == 1
    assert clock.pauses == []


def test_max_attempts_counts_all_of_them(clock: Clock) -> None:
    assert RetryPolicy(max_attempts=6).call("s3://b/k", failing(5, transient)) == 6
    assert len(clock.pauses) == 5
    with pytest.raises(StoreError) as raised:
        RetryPolicy(max_attempts=6).call("s3://b/k", failing(6, transient))
    text = str(raised.value)
    assert "s3://b/k" in text
    assert "6 times" in text
    assert "503 Service Unavailable" in text
    assert "max_attempts=6" in text
    assert isinstance(raised.value.__cause__, ConnectionResetError)


def test_one_attempt_is_one(clock: Clock) -> None:
    with pytest.raises(StoreError, match=r"tried once in 0\.0 s"):
        RetryPolicy(max_attempts=1).call("s3://b/k", failing(1, transient))
    assert clock.pauses == []


def test_a_failure_without_a_cause_is_the_cause(clock: Clock) -> None:
    with pytest.raises(StoreError) as raised:
        RetryPolicy(max_attempts=1).call("k", failing(1, lambda: TransientError("short by 3 bytes")))
    assert isinstance(raised.value.__cause__, TransientError)


@pytest.mark.parametrize(
    "error", [CredentialsError("refused"), KeyboardInterrupt(), MemoryError(), KeyError("a")]
)
def test_everything_else_passes_at_once(clock: Clock, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised:
        RetryPolicy().call("k", failing(1, lambda: error))
    assert raised.value is error
    assert clock.pauses == []


def test_an_interrupt_of_a_pause_passes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RetryPolicy().call("k", failing(9, transient))


def test_pauses_grow_and_differ(clock: Clock) -> None:
    random.seed(1)
    RetryPolicy(max_attempts=11, deadline=1e6).call("k", failing(10, transient))
    longest = [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0, 20.0, 20.0]
    for pause, most in zip(clock.pauses, longest, strict=True):
        assert most / 2 <= pause <= most
    first, clock.pauses = clock.pauses, []
    RetryPolicy(max_attempts=11, deadline=1e6).call("k", failing(10, transient))
    assert all(pause != before for pause, before in zip(clock.pauses, first, strict=True))


def test_the_services_word_on_the_pause_counts(clock: Clock) -> None:
    RetryPolicy().call("k", failing(1, lambda: transient(7.0)))
    assert 7.0 <= clock.pauses[0] <= 7.1
    RetryPolicy().call("k", failing(1, lambda: transient(-5.0)))
    assert 0.0 <= clock.pauses[1] <= 0.1


def test_a_pause_beyond_the_deadline_is_not_begun(clock: Clock) -> None:
    with pytest.raises(StoreError, match="tried once"):
        RetryPolicy(deadline=90).call("k", failing(1, lambda: transient(3600.0)))
    assert clock.pauses == []


def test_the_deadline_holds_for_attempts_and_pauses_together(clock: Clock) -> None:
    given: list[Limits] = []
    start = clock.now

    def stalled(limits: Limits) -> None:
        given.append(limits)
        clock.now += limits.timeout
        raise transient()

    with pytest.raises(StoreError, match=r"tried 4 times in 90\.0 s"):
        RetryPolicy(max_attempts=100, timeout=25, deadline=90).call("k", stalled)
    assert [limits.timeout for limits in given[:3]] == [25, 25, 25]
    assert given[3].timeout < 25, "what is left of the deadline"
    assert {limits.until for limits in given} == {start + 90}
    assert clock.now <= start + 90


def test_retry_after_in_seconds_or_as_a_date() -> None:
    assert retry_after("0") == 0.0
    assert retry_after(" 17 ") == 17.0
    soon = datetime.now(UTC) + timedelta(seconds=100)
    for text in (format_datetime(soon, usegmt=True), soon.strftime("%a %b %d %H:%M:%S %Y")):
        found = retry_after(text)
        assert found is not None
        assert 90 < found <= 100
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert retry_after("Wed, 21 Oct 2015 07:28:00 -0000") == 0.0


@pytest.mark.parametrize(
    "header",
    [None, "", "soon", "-1", "1.5", "\N{SUPERSCRIPT TWO}", "99 Abc 9999", f"1 Oct 2015 07:28:00 +{10**20}"],
)
def test_retry_after_without_sense_says_nothing(header: str | None) -> None:
    assert retry_after(header) is None


def test_what_was_given_up_is_not_tried_again() -> None:
    stop, tries = threading.Event(), []

    def failing(limits: Limits) -> None:
        tries.append(limits)
        stop.set()  # somebody else failed meanwhile, or pressed Ctrl-C
        raise TransientError("busy", retry_after=60)

    stop_retrying_at(stop)
    try:
        with pytest.raises(StoreError, match=r"s3://b/k: tried once .*busy"):
            RetryPolicy().call("s3://b/k", failing)
    finally:
        stop_retrying_at(None)
    assert len(tries) == 1
