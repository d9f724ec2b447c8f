"""Bodies of HTTP requests, sent piece by piece. Imports no SDK."""

import time
from collections.abc import Iterator

from precomp.retry import Limits, TransientError

__all__ = ["LARGE", "pieces"]

LARGE = 2**20  # bytes; less is sent in time by any line
_PIECE = 2**16  # bytes


def pieces(body: bytes | memoryview, limits: Limits) -> Iterator[memoryview]:
    """Cut what is to be sent: the timeout of a socket is for all that one call sends, however slow the line.

    Raises TransientError where the time for all attempts is over.
    """
    view = memoryview(body)
    for start in range(0, len(view), _PIECE):
        if time.monotonic() > limits.until:
            raise TransientError(f"it was too slow to send: {start} of {len(view)} bytes went in time")
        yield view[start : start + _PIECE]
