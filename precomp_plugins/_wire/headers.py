"""Headers of HTTP answers, for all stores that get some. Imports no SDK."""

from typing import NamedTuple

__all__ = ["Span", "content_span", "encoding_of"]

_NO_CODING = frozenset({"", "identity", "aws-chunked"})  # the last one only tells how it was once uploaded
_LONGEST = 100  # characters


class Span(NamedTuple):
    """What Content-Range says: bytes start to stop (exclusive) of an object of `size`."""

    start: int
    stop: int
    size: int


def encoding_of(header: str | None) -> str | None:
    """Return Content-Encoding as a Blob has it.

    >>> encoding_of("X-GZIP"), encoding_of("aws-chunked,gzip"), encoding_of("identity"), encoding_of(None)
    ('gzip', 'gzip', None, None)
    """
    if header is None or header == "gzip":
        return header
    names = [name.strip().lower() for name in header.split(",")]
    names = [name.removeprefix("x-") for name in names if name not in _NO_CODING]
    return ", ".join(names) or None


def content_span(header: str | None) -> Span | None:
    """Return what Content-Range says; None where that is nothing, or not how long the object is.

    >>> content_span("bytes 10-19/200"), content_span("bytes */200")
    (Span(start=10, stop=20, size=200), Span(start=0, stop=0, size=200))
    >>> content_span("bytes 10-19/*"), content_span("pages 1-2/3"), content_span(None)
    (None, None, None)
    """
    text = (header or "").strip()
    part, _, size = text.removeprefix("bytes ").partition("/")
    if not text.startswith("bytes ") or not _is_number(size):
        return None
    if part == "*":
        return Span(0, 0, int(size))
    first, _, last = part.partition("-")
    return Span(int(first), int(last) + 1, int(size)) if _is_number(first) and _is_number(last) else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST
