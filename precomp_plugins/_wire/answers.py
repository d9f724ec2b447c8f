"""The answer to one request, and the connection that it came by."""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from precomp.interfaces import ByteRange
from precomp.retry import TransientError
from precomp_plugins._wire.received import FAILURES, Received

__all__ = ["Answer"]

_PIECE = 2**20  # bytes
_SMALL = 2**16  # bytes; rather read and forgotten than paid for with a new connection


class Answer:
    """The answer to one request; to be closed, which keeps the connection where all of it was read.

    Attributes:
        status: the code.
        headers: by names in lower case.
        length: of the body as announced, None where it was not.
        url: that was asked for.
    """

    def __init__(
        self,
        url: str,
        received: Received,
        failed: Callable[[Exception], Exception],
        done: Callable[[], None],
    ) -> None:
        """`failed` makes errors of those of sockets; `done` is called in the end."""
        self.url, self.status, self.headers = url, received.status, received.headers
        self.length = received.length
        self._received, self._failed, self._done = received, failed, done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done()

    def header(self, name: str) -> str | None:
        """Return a header, whose name is in lower case."""
        return self.headers.get(name)

    @property
    def told(self) -> str:
        """The status for errors, `404 Not Found`."""
        return f"{self.status} {self._received.reason}".strip()

    def read(self, most: int | None = None) -> memoryview:
        """Return the rest of the body, or of its first `most` bytes, as it was sent.

        That is less where the connection ended too soon. Raises TransientError where it comes too slowly.
        """
        try:
            return self._received.read(most)
        except FAILURES as error:
            raise self._failed(error) from error

    def whole(self, part: ByteRange | None) -> tuple[memoryview, int]:
        """Return a part, or all, of a body that is all of an object, and how long the object is.

        No more is read than it takes. Raises TransientError where less came than was announced.
        """
        most = None if part is None else part.stop
        data = self.read(most)
        expected = self.length
        if expected is not None:
            wanted = expected if most is None else min(expected, most)
            if len(data) != wanted:
                raise TransientError(f"the body ended after {len(data)} of {wanted} bytes")
        elif len(data) == most:  # only at its end can be seen how long it is
            expected = most + self._count()
        else:
            expected = len(data)
        return data if part is None else data[part.start :], expected

    def _count(self) -> int:
        """Return how long the rest of the body is, by reading it."""
        size = 0
        while piece := self.read(_PIECE):
            size += len(piece)
        return size

    def drain(self) -> None:
        """Read what is left if it is little, so that the connection can be used again."""
        if self.length == 0:  # as of most that need draining
            return
        if (self.length or 0) <= _SMALL:
            with suppress(TransientError):  # the status has said all that matters
                self.read(_SMALL)
