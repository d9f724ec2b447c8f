"""Threads for the chunks of one request.

Threads live for one call: nothing is shared between requests, so nothing has to be rebuilt after a
fork and a worker can never wait for its own pool. The caller's thread works too where they are few.
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Generic, Protocol, TypeVar

import attrs

from precomp.engine.ahead import Ask, asked_ahead
from precomp.retry import stop_retrying_at

__all__ = ["Listed", "Parts", "cores", "for_each", "threads_for"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# A future per chunk costs as much as pasting it; a batch is a run of neighbours in memory.
_BATCHES_PER_WORKER = 8
_LARGEST_BATCH = 1024  # chunks; the bar moves, and an error stops the others, before long
_PATIENCE = 1.0  # seconds
_CALLER_WORKS = (
    4  # threads; of more, those of stores with latency, the caller only waits, so that it hears Ctrl-C
)


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return os.cpu_count() or 1


def threads_for(requests: int) -> int:
    """Return how many threads keep so many requests under way.

    No more than there are cores for, and so few that each has a request ahead of the one it works on.
    """
    return min(requests, cores(), max(2, requests // 2))


class Parts(Protocol[T_co]):
    """What a request is made of, chunks (see precomp.grid.Plan) or boxes; any run can be walked alone."""

    def __len__(self) -> int:
        """How many parts there are."""
        ...

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[T_co]:
        """Yield the parts number `start` to `stop` (exclusive)."""
        ...


class Listed(list[T], Generic[T]):
    """Parts that are there as a list."""

    def refs(self, start: int = 0, stop: int | None = None) -> Iterator[T]:
        """Walk a part of the list."""
        return iter(self[start:stop])


def for_each(
    plan: Parts[T],
    make_task: Callable[[], Callable[[T], None]],
    workers: int,
    tick: Callable[[int], object] | None = None,
    *,
    reads: bool = False,
    ask: Ask[T] | None = None,
) -> None:
    """Call a task once for every chunk (or whatever it holds) of `plan`, on up to `workers` threads.

    Each thread makes a task of its own, which may keep memory from one chunk to the next. The first
    error stops all workers and is raised, once none of them runs any more; so does an interrupt of the
    caller's thread, and another one is not waited for. `tick(n)` is called, from any thread, when `n` more
    chunks are done. `reads`: who is late changes nothing but what nobody gets, so that after an interrupt a
    server that does not answer is waited for a second only. (A write must not come later than the next one.)
    `ask`: asks for a chunk before its task waits for it; then fewer threads share `workers` requests.
    """
    workers = min(workers, len(plan))
    if workers <= 1:  # one voxel is read in less time than the rest would take
        task = make_task()
        for ref in plan.refs():
            task(ref)
            if tick is not None:
                tick(1)
        return
    requests, workers = workers, workers if ask is None else threads_for(workers)
    job = _Job(plan, make_task, requests, workers if reads else 1, tick, reads)
    if ask is not None:
        job.ask_ahead(ask, -(-requests // workers))
    threads: list[threading.Thread] = []
    try:
        caller_works = workers <= _CALLER_WORKS
        job.start(threads, workers - 1 if caller_works else workers)
        if caller_works or not threads:
            job.work()
        job.wait()
    except BaseException as error:  # an interrupt stops the others too
        if job.interrupted:  # before, while the caller worked
            raise
        job.fail(error)
        job.wait()
    for thread in () if job.is_working else threads:
        with suppress(RuntimeError):  # interrupted in its start; should it run yet, it finds no work
            thread.join()
    if job.failure is None:
        return
    try:
        raise job.failure
    finally:
        job.failure = None  # the error's traceback holds this frame: no cycle


@attrs.define
class _Region:
    """Neighbouring parts, of which those before `start` are taken."""

    start: int
    stop: int


def _regions(count: int, batch: int, regions: int) -> list[_Region]:
    """Cut the parts into one region for each thread that reads, of whole batches.

    Neighbours lie in the same large pages of new memory. Where two threads come to such a page at once, the
    system clears it for both, and throws one away.
    """
    each = max(1, count // batch // regions) * batch
    starts = [number * each for number in range(regions) if number * each < count]
    return [_Region(*ends) for ends in itertools.pairwise([*starts, count])]


class _Job(Generic[T]):
    """The chunks of one request, which any number of threads take in batches."""

    def __init__(
        self,
        plan: Parts[T],
        make_task: Callable[[], Callable[[T], None]],
        requests: int,
        regions: int,
        tick: Callable[[int], object] | None,
        reads: bool,
    ) -> None:
        """`requests`: how many parts are in hand at once; `regions`: in how many of the plan to begin."""
        self._plan, self._make_task, self._tick = plan, make_task, tick
        self._patience = _PATIENCE if reads else None  # after an interrupt; None: until the others end
        self._count = len(plan)
        self._batch = max(1, min(self._count // (requests * _BATCHES_PER_WORKER), _LARGEST_BATCH))
        self._regions = _regions(self._count, self._batch, regions)
        self._entering = itertools.count()
        self._taking = threading.Lock()
        self._stop = threading.Event()
        self._ask: Ask[T] | None = None
        self._ahead = 1
        self._helpers = 0
        self._helping = threading.Condition()
        self.failure: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Stop all threads. The first error is kept, but an interrupt comes before any other."""
        self._stop.set()
        if self.failure is None or not isinstance(error, Exception):
            self.failure = error

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C, or the like, has stopped all."""
        return self.failure is not None and not isinstance(self.failure, Exception)

    def work(self) -> None:
        """Take batches until none is left or somebody failed."""
        before = stop_retrying_at(self._stop)  # of a request that this one is a part of
        try:
            task = self._make_task()
            region = self._regions[next(self._entering) % len(self._regions)]
            if self._ask is not None:
                self._work_ahead(task, self._ask, region)
                return
            while batch := self._next_batch(region):
                start, stop = batch
                for ref in self._plan.refs(start, stop):
                    if self._stop.is_set():
                        return
                    task(ref)
                if self._tick is not None:
                    self._tick(stop - start)
        except BaseException as error:  # noqa: BLE001  carried to the caller's thread
            self.fail(error)
        finally:
            stop_retrying_at(before)

    def ask_ahead(self, ask: Ask[T], count: int) -> None:
        """Let each thread ask for `count` parts before it works on the first of them."""
        self._ask, self._ahead = ask, count

    def _work_ahead(self, task: Callable[[T], None], ask: Ask[T], region: _Region) -> None:
        with closing(asked_ahead(self._refs(region), ask, self._ahead)) as parts:
            for ref, context in parts:
                if self._stop.is_set():
                    return
                with context:
                    task(ref)
                if self._tick is not None:
                    self._tick(1)

    def _refs(self, region: _Region) -> Iterator[T]:
        while batch := self._next_batch(region):
            yield from self._plan.refs(*batch)

    def _next_batch(self, region: _Region) -> tuple[int, int] | None:
        """Take a batch out of a region, where that is done out of the one with the most left."""
        if self._stop.is_set():
            return None
        with self._taking:
            if region.start >= region.stop:
                region = max(self._regions, key=lambda one: one.stop - one.start)
            start = region.start
            region.start = min(start + self._batch, region.stop)
            return (start, region.start) if start < region.stop else None

    def start(self, threads: list[threading.Thread], count: int) -> None:
        """Start up to `count` threads that do the same, known to `wait`."""
        for number in range(count):
            thread = threading.Thread(target=self._help, name=f"precomp-{number}", daemon=True)
            threads.append(thread)  # before it runs: an interrupt in between must not lose it
            self._count_helpers(1)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads; fewer do the same work
                threads.remove(thread)
                self._count_helpers(-1)
                break

    def _help(self) -> None:
        self.work()
        self._count_helpers(-1)

    def _count_helpers(self, more: int) -> None:
        with self._helping:
            self._helpers += more
            self._helping.notify()

    @property
    def is_working(self) -> bool:
        """Whether other threads work still, as nobody waits for them any more."""
        return self._helpers > 0

    def wait(self) -> None:
        """Wait until no other thread works; after `work` or `fail` none begins to.

        Not by joining them: before Python 3.13 a join that is interrupted takes its thread for ended.
        """
        with self._helping:
            patience = self._patience if self.interrupted else None
            self._helping.wait_for(lambda: not self._helpers, patience)
