"""Parts of a request whose objects are asked for some parts ahead of the one in hand."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias, TypeVar

__all__ = ["Ask", "asked_ahead"]

T = TypeVar("T")

Ask: TypeAlias = Callable[[T], AbstractContextManager[object] | None]
"""Sends the request for a part, see precomp.interfaces.AsksAhead."""

_NOT_ASKED = nullcontext()


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
