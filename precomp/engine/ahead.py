"""Parts of a request whose objects are asked for some parts ahead of the one in hand."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias, TypeVar

__all__ = ["Ask", "asked_ahead", "threads_for"]

T = TypeVar("T")

Ask: TypeAlias = Callable[[T], AbstractContextManager[object] | None]
"""Sends the request for a part, see precomp.interfaces.AsksAhead."""

_NOT_ASKED = nullcontext()


def threads_for(requests: int) -> int:
    """Return how many threads keep so many requests under way.

    No more than there are processors for, and so few that each has a request ahead of the one it works on.
    """
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        processors = os.cpu_count() or 1
    return min(requests, processors, max(2, requests // 2))


def asked_ahead(
    parts: Iterator[T], ask: Ask[T], count: int
) -> Generator[tuple[T, AbstractContextManager[object]]]:
    """Yield each part with the context to read it in, once `count` were asked for, itself included.

    To be closed, so that answers nobody takes are given up.
    """
    asked: deque[tuple[T, AbstractContextManager[object]]] = deque()
    try:
        for part in parts:
            asked.append((part, ask(part) or _NOT_ASKED))
            if len(asked) >= count:
                yield asked.popleft()
        while asked:
            yield asked.popleft()
    finally:
        for _, context in asked:
            with context:
                pass
