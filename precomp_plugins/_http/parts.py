"""Parts of objects: what an answer holds, and whether it is what was asked for."""

from precomp.interfaces import Blob, Buffer, ByteRange
from precomp.ranges import Parts
from precomp.retry import TransientError
from precomp_plugins._wire.answers import Answer
from precomp_plugins._wire.headers import content_span, encoding_of

__all__ = ["check_same", "folder_of", "is_strong", "part_blob", "whole_blob"]


def folder_of(key: str) -> str:
    """Return the folder of a key; the chunks of a scale share it."""
    return key.rpartition("/")[0]


def is_strong(version: str | None) -> bool:
    """Whether two answers with this ETag are of the same bytes."""
    return version is not None and not version.startswith("W/")


def whole_blob(answer: Answer, part: ByteRange | None) -> Blob:
    """Return a part, or all, of an object that the answer holds whole. Raises TransientError."""
    data, size = answer.whole(part)
    return _blob(answer, data, size)


def part_blob(answer: Answer, part: ByteRange) -> Blob | None:
    """Return the part of an object that the answer to a ranged request holds.

    None where it is another part than asked for, or a part of a compressed object: servers do not agree on
    whether its offsets count compressed bytes. Raises TransientError.
    """
    span = content_span(answer.header("content-range"))
    if span is None:
        return None
    if answer.status == 416:
        answer.drain()
        return _blob(answer, b"", span.size) if span.size <= part.start else None
    if (span.start, span.stop) != (part.start, min(part.stop, span.size)):
        return None
    complete = span.stop - span.start == span.size
    if encoding_of(answer.header("content-encoding")) is not None and not complete:
        return None
    wanted = span.stop - span.start
    if answer.length is not None and answer.length != wanted:
        return None
    data = answer.read(wanted)
    if len(data) != wanted:
        raise TransientError(f"the body ended after {len(data)} of {wanted} bytes")
    return _blob(answer, data, span.size)


def check_same(parts: Parts) -> None:
    """Raise TransientError where the parts are of several versions of the object."""
    sizes = {blob.size for _, blob in parts}
    versions = {blob.version for _, blob in parts if blob.data}  # 416 mostly comes without one
    if len(sizes) > 1 or len(versions) > 1:
        raise TransientError("the object changed while it was read")


def _blob(answer: Answer, data: Buffer, size: int) -> Blob:
    return Blob(
        data,
        encoding_of(answer.header("content-encoding")),
        answer.header("content-type"),
        answer.header("cache-control"),
        answer.header("etag"),
        size,
    )
