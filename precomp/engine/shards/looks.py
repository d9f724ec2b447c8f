"""Looking at a file that others may replace meanwhile, and at several of its parts at once."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from precomp.errors import StoreError
from precomp.interfaces import ByteRange

__all__ = ["again_and_again", "cut", "runs"]

_LOOKS = 64  # at most

T = TypeVar("T")


def again_and_again(look: Callable[[], T | None], where: Callable[[], str]) -> T:
    """Return what `look` finds; None means that somebody replaced the shard meanwhile."""
    for turn in range(_LOOKS):
        found = look()
        if found is not None:
            return found
        if turn > 2:
            time.sleep(random.uniform(0, 0.01 * turn))
    raise StoreError(
        f"{where()}: others replaced the shard again and again while it was read; "
        "try again when they are done"
    )


def runs(
    spans: Sequence[tuple[int, int, T]], gap: int, largest: int
) -> Iterable[tuple[int, int, list[tuple[int, int, T]]]]:
    """Join ascending spans that lie close into runs of at most `largest` bytes, each with its spans."""
    group: list[tuple[int, int, T]] = []
    first = last = 0
    for span in spans:
        start, stop, _ = span
        if group and (start > last + gap or max(stop, last) - first > largest):
            yield first, last, group
            group = []
        if not group:
            first, last = start, stop
        group.append(span)
        last = max(last, stop)
    if group:
        yield first, last, group


def cut(part: ByteRange, start: int, stop: int) -> tuple[int, int]:
    """Return where a part of what lies from `start` to `stop` lies."""
    if part.start < 0:
        raise StoreError(f"a byte range starts at 0 or later, found {part.start}; correct the range")
    low = min(start + part.start, stop)
    return low, max(low, min(start + part.stop, stop))
