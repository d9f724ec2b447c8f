"""Parts of objects: what an answer holds, and whether it is what was asked for."""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from precomp.interfaces import Blob, ByteRange
from precomp.retry import TransientError
from precomp_plugins._http.client import Answer

__all__ = [
    "Parts",
    "check_same",
    "cut",
    "encoding_of",
    "folder_of",
    "is_strong",
    "joined",
    "part_blob",
    "whole_blob",
]

Parts: TypeAlias = list[tuple[int, Blob]]
"""Pieces of one object, each with the offset of its first byte, in rising order."""

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)", re.ASCII)
_GAP = 2**19  # bytes; rather fetched and dropped than paid for with another request
_NO_CODING = frozenset({"", "identity", "aws-chunked"})  # the last one only tells how it was once uploaded


class _Span(NamedTuple):
    """What Content-Range says: bytes start to stop (exclusive) of an object of `size`."""

    start: int
    stop: int
    size: int


def folder_of(key: str) -> str:
    """Return the folder of a key; the chunks of a scale share it."""
    return key.rpartition("/")[0]


def encoding_of(header: str | None) -> str | None:
    """Return Content-Encoding as a Blob has it.

    >>> encoding_of("X-GZIP"), encoding_of("identity"), encoding_of(None)
    ('gzip', None, None)
    """
    names = [name.strip().lower() for name in (header or "").split(",")]
    names = [name.removeprefix("x-") for name in names if name not in _NO_CODING]
    return ", ".join(names) or None


def is_strong(version: str | None) -> bool:
    """Whether two answers with this ETag are of the same bytes."""
    return version is not None and not version.startswith("W/")


def whole_blob(answer: Answer, part: ByteRange | None) -> Blob:
    """Return a part, or all, of an object that the answer holds whole. Raises TransientError."""
    length, most = answer.length, None if part is None else part.stop
    data = answer.read(most)
    expected = len(data) if length is None else length if most is None else min(length, most)
    if len(data) != expected:
        raise TransientError(f"the body ended after {len(data)} of {expected} bytes")
    if part is None:
        return _blob(answer, data, len(data))
    size = length
    if size is None:  # only to its end can be seen how long it is
        size = len(data) + (answer.count() if len(data) == most else 0)
    return _blob(answer, memoryview(data)[part.start :] if part.start else data, size)


def part_blob(answer: Answer, part: ByteRange) -> Blob | None:
    """Return the part of an object that the answer to a ranged request holds.

    None where it is another part than asked for, or a part of a compressed object: servers do not agree on
    whether its offsets count compressed bytes. Raises TransientError.
    """
    span = _content_span(answer.header("Content-Range"))
    if span is None:
        return None
    if answer.status == 416:
        answer.drain()
        return _blob(answer, b"", span.size) if span.size <= part.start else None
    if (span.start, span.stop) != (part.start, min(part.stop, span.size)):
        return None
    complete = span.stop - span.start == span.size
    if encoding_of(answer.header("Content-Encoding")) is not None and not complete:
        return None
    wanted = span.stop - span.start
    if answer.length is not None and answer.length != wanted:
        return None
    data = answer.read(wanted)
    if len(data) != wanted:
        raise TransientError(f"the body ended after {len(data)} of {wanted} bytes")
    return _blob(answer, data, span.size)


def joined(ranges: Sequence[ByteRange]) -> list[ByteRange]:
    """Return ranges that cover the given ones, in rising order, near ones made one.

    >>> joined([ByteRange(90, 99), ByteRange(0, 10), ByteRange(10**7, 10**7 + 1)])
    [ByteRange(start=0, stop=99), ByteRange(start=10000000, stop=10000001)]
    """
    spans: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if spans and start - spans[-1].stop <= _GAP:
            spans[-1] = ByteRange(spans[-1].start, max(stop, spans[-1].stop))
        else:
            spans.append(ByteRange(start, stop))
    return spans


def cut(parts: Parts, wanted: ByteRange) -> Blob:
    """Return the bytes of one range out of parts that cover it."""
    offset, blob = next(one for one in reversed(parts) if one[0] <= wanted.start or one is parts[0])
    start, stop = (max(0, end - offset) for end in wanted)
    return blob._replace(data=memoryview(blob.data)[start : max(start, stop)])


def check_same(parts: Parts) -> None:
    """Raise TransientError where the parts are of several versions of the object."""
    sizes = {blob.size for _, blob in parts}
    versions = {blob.version for _, blob in parts if blob.data}  # 416 mostly comes without one
    if len(sizes) > 1 or len(versions) > 1:
        raise TransientError("the object changed while it was read")


def _blob(answer: Answer, data: bytes | memoryview, size: int) -> Blob:
    return Blob(
        data,
        encoding_of(answer.header("Content-Encoding")),
        answer.header("Content-Type"),
        answer.header("Cache-Control"),
        answer.header("ETag"),
        size,
    )


def _content_span(header: str | None) -> _Span | None:
    match = _CONTENT_RANGE.fullmatch((header or "").strip())
    if match is None:
        return None
    first, last, size = match.groups()
    return _Span(0, 0, int(size)) if first is None else _Span(int(first), int(last) + 1, int(size))
