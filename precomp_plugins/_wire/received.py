"""What comes back over a connection: the head of an answer, and its body byte by byte.

Nearly all answers are plain ones of a known length, and are read here: a socket's bytes go straight into the
memory that is returned, which takes a third of the time of `http.client`. Whatever is any other way, in
chunks, up to the end of the connection, of an older HTTP, `http.client` reads.
"""

import io
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from typing import Any

import numpy as np

from precomp.retry import Limits, TransientError

__all__ = ["FAILURES", "Received", "receive"]

FAILURES = (OSError, HTTPException)
"""What reading from a connection raises."""

_FIRST = 2**11  # bytes; few heads are longer, and what follows goes straight to its place
_HEAD = 2**14  # bytes; of a longer one http.client is asked, which has a limit too
_ROOM = 2**26  # bytes; what is announced may never come, so that more room is made only once this is full
_PIECE = 2**17  # bytes; at most so much is taken from http.client at a time
_NOTHING = memoryview(b"")
_BODILESS = frozenset({204, 304})


class _BadAnswer(HTTPException):
    """An answer that contradicts itself."""


class Received:
    """One answer, whose body is read once, by one thread.

    Attributes:
        status: the code.
        reason: the words behind it.
        headers: by names in lower case; those that come several times are joined by commas.
        length: of the body, as announced; None where it is not, or is of no use.
    """

    def __init__(
        self, status: int, reason: str, headers: Mapping[str, str], sock: Any, limits: Limits
    ) -> None:
        self.status, self.reason, self.headers = status, reason, headers
        self.length: int | None = None
        self._sock, self._limits = sock, limits
        self._keeps = "close" not in headers.get("connection", "").lower()
        self._odd: HTTPResponse | None = None  # which has the body
        self._start, self._left = b"", 0  # or so many bytes of it follow, the first of which are here

    @property
    def is_over(self) -> bool:
        """Whether the body was read to its end, so that the connection can be used for another request."""
        odd = self._odd
        if odd is None:
            return self._keeps and not self._left
        return self._keeps and (odd.isclosed() or odd.length == 0)

    def read(self, most: int | None = None) -> memoryview:
        """Return the rest of the body, or of its first `most` bytes, as it was sent.

        That is less where the connection ends too soon. Raises TransientError where the time is over, and
        FAILURES.
        """
        if self._odd is None:
            wanted = self._left if most is None or most > self._left else most
            if not wanted:
                return _NOTHING
            if wanted <= _ROOM:
                return self._filled(wanted)
        pieces = list(self._pieces(most))
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def _pieces(self, most: int | None) -> Iterator[memoryview]:
        odd, left = self._odd, most
        while left is None or left > 0:
            if odd is None:
                room = min(_ROOM, self._left if left is None else min(self._left, left))
                piece = self._filled(room)
            else:
                piece = memoryview(odd.read1(_PIECE if left is None else min(_PIECE, left)))
            if not piece:
                return
            yield piece
            left = None if left is None else left - len(piece)

    def _filled(self, size: int) -> memoryview:
        """Return the next `size` bytes, less at the end of the connection."""
        room = np.empty(size, np.uint8).data  # which is not cleared first, as a bytearray is
        have = min(len(self._start), size)
        if have:
            room[:have], self._start = self._start[:have], self._start[have:]
        while have < size:
            count = self._sock.recv_into(room[have:])
            if not count:
                break
            have += count
            if have < size:
                _keep_to(self._sock, self._limits)
        self._left -= have
        return room[:have].toreadonly()


def receive(sock: Any, method: str, limits: Limits) -> Received:
    """Return the answer to a request that was sent, as soon as its head is there.

    Raises TransientError where the time is over, and FAILURES.
    """
    text, end = bytearray(), -1
    while True:
        while end < 0:
            piece = sock.recv(_FIRST)
            seen = max(0, len(text) - 3)
            text += piece
            end = text.find(b"\r\n\r\n", seen)
            if end < 0 and (not piece or len(text) > _HEAD):
                return _odd(bytes(text), sock, method, limits)
            if end < 0:
                _keep_to(sock, limits)
        first, _, more = text[:end].decode("latin-1").partition("\r\n")
        status, headers = _status(first), _headers(more)
        if status is None or headers is None:
            return _odd(bytes(text), sock, method, limits)
        if status >= 200:
            break
        _keep_to(sock, limits)
        del text[: end + 4]  # of what is to follow
        end = text.find(b"\r\n\r\n")
    if "transfer-encoding" in headers or "content-length" not in headers:
        return _odd(bytes(text), sock, method, limits)
    length = _length(headers["content-length"])
    received = Received(status, first[13:], headers, sock, limits)
    received.length = length
    received._left = 0 if method == "HEAD" or status in _BODILESS else length
    received._start = bytes(text[end + 4 :])
    if len(received._start) > received._left:
        received._keeps = False
    return received


def _odd(start: bytes, sock: Any, method: str, limits: Limits) -> Received:
    """Leave it to http.client to understand an answer of which `start` has come."""
    resumed = _Resumed(start, sock, limits)
    response = HTTPResponse(resumed, method=method)  # type: ignore[arg-type]
    response.begin()
    lines = [f"{name}: {' '.join(value.split())}" for name, value in response.getheaders()]
    headers = _headers("\r\n".join(lines))
    if headers is None or resumed.is_at_end:  # which http.client takes for the end of the head
        raise _BadAnswer("its head is incomplete, or makes no sense")
    received = Received(response.status, response.reason, headers, sock, limits)
    if "transfer-encoding" not in headers and "content-length" in headers:
        received.length = _length(headers["content-length"])
    received._keeps = not response.will_close
    if method != "HEAD" and response.status not in _BODILESS:
        received._odd = response
    return received


class _Resumed(io.RawIOBase):
    """What a socket sends, with those bytes first that were taken from it already.

    Attributes:
        is_at_end: whether the connection has ended.
    """

    def __init__(self, start: bytes, sock: Any, limits: Limits) -> None:
        self.is_at_end = False
        self._start, self._sock, self._limits = start, sock, limits

    def makefile(self, _: str) -> io.BufferedReader:
        """Return the file that http.client asks a socket for."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, memory: Any) -> int:
        """Fill some of the memory."""
        count = min(len(self._start), len(memory))
        if not count:
            _keep_to(self._sock, self._limits)
            count = int(self._sock.recv_into(memory))
            self.is_at_end = not count
            return count
        memory[:count], self._start = self._start[:count], self._start[count:]
        return count


@lru_cache(maxsize=64)
def _status(line: str) -> int | None:
    digits = line[9:12]
    plain = (
        line.startswith("HTTP/1.1 ") and digits.isascii() and digits.isdigit() and line[12:13] in ("", " ")
    )
    plain = plain and "\n" not in line  # of other ends of lines http.client knows
    return int(digits) if plain else None


def _headers(text: str) -> dict[str, str] | None:
    """Return what the lines say, by names in lower case; None where there is a line that says nothing."""
    headers: dict[str, str] = {}
    if not text:
        return headers
    for line in text.split("\r\n"):
        header = _header(line)
        if header is None:
            return None
        name, value = header
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@lru_cache(maxsize=256)  # from one answer to the next most lines are the same
def _header(line: str) -> tuple[str, str] | None:
    name, colon, value = line.partition(":")
    if not colon or not name or " " in name or "\t" in name or "\n" in line or "\r" in line:
        return None
    return name.lower(), value.strip(" \t")


def _length(text: str) -> int:
    first, *others = text.split(", ") if "," in text else (text,)
    usable = first.isascii() and first.isdigit() and len(first) < 20
    if not usable or any(other != first for other in others):
        raise _BadAnswer(f"Content-Length: expected a number of bytes, found {text[:60]!r}")
    return int(first)


def _keep_to(sock: Any, limits: Limits) -> None:
    """Wait no longer for the next bytes than there is time for all of them."""
    left = limits.until - time.monotonic()
    if left <= 0:
        raise TransientError("the answer was not all there when the time was over")
    if left < limits.timeout:
        sock.settimeout(left)
