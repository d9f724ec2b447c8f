"""Several parts of one object by few requests: what to ask for, and the parts out of what came."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from precomp.interfaces import Blob, ByteRange

__all__ = ["Parts", "cut", "merged"]

Parts: TypeAlias = Sequence[tuple[int, Blob]]
"""Pieces of one object, each with the offset of its first byte, in rising order."""


def merged(ranges: Iterable[ByteRange], gap: int) -> list[ByteRange]:
    """Return ranges, in rising order, such that each of the given ones that has bytes lies in one of them.

    Those at most `gap` bytes apart become one: so many bytes are rather read in vain than left out.

    >>> merged([ByteRange(90, 99), ByteRange(0, 10), ByteRange(5, 5), ByteRange(10**7, 10**7 + 1)], 1000)
    [ByteRange(start=0, stop=99), ByteRange(start=10000000, stop=10000001)]
    """
    spans: list[ByteRange] = []
    for start, stop in sorted(part for part in ranges if part.start < part.stop):
        if spans and start - spans[-1].stop <= gap:
            spans[-1] = ByteRange(spans[-1].start, max(stop, spans[-1].stop))
        else:
            spans.append(ByteRange(start, stop))
    return spans


def cut(parts: Parts, wanted: ByteRange) -> Blob:
    """Return the bytes of one range, as far as the object has them, out of parts that cover it.

    >>> parts = [(0, Blob(b"0123", size=9)), (6, Blob(b"678", size=9))]
    >>> [bytes(cut(parts, ByteRange(*part)).data) for part in [(1, 3), (6, 20), (9, 10), (2, 2)]]
    [b'12', b'678', b'', b'']
    """
    offset, blob = next(one for one in reversed(parts) if one[0] <= wanted.start or one is parts[0])
    start, stop = (max(0, end - offset) for end in wanted)
    return blob._replace(data=memoryview(blob.data)[start : max(start, stop)])
