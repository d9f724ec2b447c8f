"""Byte ranges of one object: few requests for many of them."""

from collections.abc import Sequence

from precomp.interfaces import Blob, ByteRange

__all__ = ["cut", "spans"]

# Bytes that are fetched in vain take less time than another request does.
_GAP = 256 * 1024


def spans(ranges: Sequence[ByteRange]) -> list[ByteRange]:
    """Return ranges, in order, that hold all of `ranges`, neighbours joined; one at least."""
    found: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if found and start - found[-1].stop <= _GAP:
            found[-1] = ByteRange(found[-1].start, max(found[-1].stop, stop))
        else:
            found.append(ByteRange(start, stop))
    return found or [ByteRange(0, 0)]


def cut(ranges: Sequence[ByteRange], spans: Sequence[ByteRange], blobs: Sequence[Blob]) -> list[Blob]:
    """Return the parts `ranges` of the `spans` that were read."""
    return [_part(wanted, spans, blobs) for wanted in ranges]


def _part(wanted: ByteRange, spans: Sequence[ByteRange], blobs: Sequence[Blob]) -> Blob:
    start, stop = wanted
    for span, blob in zip(spans, blobs, strict=True):
        if span.start <= start < span.stop:
            low = start - span.start
            return blob._replace(data=memoryview(blob.data)[low : low + max(0, stop - start)])
    return blobs[0]._replace(data=b"")  # an empty one that lies in no span
