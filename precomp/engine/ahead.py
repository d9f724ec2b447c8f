"""Parts of a request whose objects are asked for some parts ahead of the one in hand."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, NamedTuple, TypeAlias, TypeVar

__all__ = ["Ask", "asked_ahead"]

T = TypeVar("T")

Ask: TypeAlias = Callable[[T], AbstractContextManager[object] | None]
"""Sends the request for a part, see precomp.interfaces.AsksAhead."""

_NOT_ASKED = nullcontext()
_PATIENCE = 1.0  # seconds


class _Asked(NamedTuple, Generic[T]):
    """A part, the context to read it in, and whether that is the second one."""

    part: T
    context: AbstractContextManager[object]
    again: bool


def asked_ahead(
    parts: Iterator[T], ask: Ask[T], count: int
) -> Generator[tuple[T, AbstractContextManager[object]]]:
    """Yield each part with the context to read it in, once `count` were asked for, itself included.

    To be closed, so that answers nobody takes are given up.
    """
    asked: deque[_Asked[T]] = deque()
    try:
        for part in parts:
            asked.append(_Asked(part, ask(part) or _NOT_ASKED, again=False))
            if len(asked) >= count:
                yield _next(asked, ask)
        while asked:
            yield _next(asked, ask)
    finally:
        for _, context, _ in asked:
            with context:
                pass


def _next(asked: deque[_Asked[T]], ask: Ask[T]) -> tuple[T, AbstractContextManager[object]]:
    """Take the oldest part. One that is late, while others are here, is asked for anew behind them.

    Else all that this thread has asked for would wait for a connection that hangs.
    """
    while True:
        part, context, again = asked.popleft()
        if again or _is_here(context, _PATIENCE, unknown=True):
            return part, context
        if not any(_is_here(other, 0, unknown=False) for _, other, _ in asked):
            return part, context  # all of them take their time
        with context:
            pass
        asked.append(_Asked(part, ask(part) or _NOT_ASKED, again=True))


def _is_here(context: AbstractContextManager[object], seconds: float, *, unknown: bool) -> bool:
    """Whether an answer comes within so many seconds; `unknown` where the context does not tell."""
    tells: Callable[[float], bool] | None = getattr(context, "is_here", None)
    return unknown if tells is None else tells(seconds)
