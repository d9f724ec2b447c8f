"""Threads for the chunks of one request.

Threads live for one call: nothing is shared between requests, so nothing has to be rebuilt after a
fork and a worker can never wait for its own pool. The caller's thread works too.
"""

import itertools
import threading
from collections.abc import Callable

from precomp.grid import ChunkRef, Plan

__all__ = ["for_each"]

# A future per chunk costs as much as pasting it; a batch is a run of neighbours in memory.
_BATCHES_PER_WORKER = 8


def for_each(
    plan: Plan,
    task: Callable[[ChunkRef], None],
    workers: int,
    tick: Callable[[int], object] | None = None,
) -> None:
    """Call `task` once for every chunk of `plan` on up to `workers` threads.

    The first error stops all workers and is raised, once none of them runs any more. `tick(n)` is
    called, from any thread, when `n` more chunks are done.
    """
    count = len(plan)
    workers = max(1, min(workers, count))
    batch = max(1, count // (workers * _BATCHES_PER_WORKER))
    starts = itertools.count(0, batch)
    taking = threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while not failures:
                with taking:
                    start = next(starts)
                if start >= count:
                    return
                stop = min(start + batch, count)
                for ref in plan.refs(start, stop):
                    if failures:
                        return
                    task(ref)
                if tick is not None:
                    tick(stop - start)
        except BaseException as error:  # noqa: BLE001  carried to the caller's thread
            failures.append(error)

    threads = _start(work, workers - 1)
    work()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:  # noqa: BLE001  an interrupt stops the others too
        failures.insert(0, error)
    if failures:
        for thread in threads:
            thread.join()
        try:
            raise failures[0]
        finally:
            failures.clear()  # the error's traceback holds this frame: no cycle


def _start(work: Callable[[], None], count: int) -> list[threading.Thread]:
    threads = []
    for number in range(count):
        thread = threading.Thread(target=work, name=f"precomp-{number}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads; fewer do the same work
            break
        threads.append(thread)
    return threads
