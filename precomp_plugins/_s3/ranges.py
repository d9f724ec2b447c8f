"""Several parts of one object by few requests."""

from collections.abc import Iterable, Sequence

from precomp.interfaces import Blob, ByteRange

__all__ = ["merged", "part_of"]

_GAP = 2**18  # bytes; to read so many in vain takes less time than another request


def merged(ranges: Iterable[ByteRange]) -> list[ByteRange]:
    """Return the ranges to fetch, in order, such that each of `ranges` that has bytes lies in one of them."""
    spans: list[ByteRange] = []
    for start, stop in sorted(part for part in ranges if part.start < part.stop):
        if spans and start - spans[-1].stop <= _GAP:
            spans[-1] = ByteRange(spans[-1].start, max(stop, spans[-1].stop))
        else:
            spans.append(ByteRange(start, stop))
    return spans


def part_of(fetched: Sequence[tuple[ByteRange, Blob]], wanted: ByteRange) -> Blob:
    """Return one part out of what was fetched."""
    start, stop = wanted
    for span, blob in fetched:
        if span.start <= start < stop <= span.stop:
            return blob._replace(data=blob.data[start - span.start : stop - span.start])
    return fetched[0][1]._replace(data=b"")
