"""Ranges of an object asked for together, and cut out again; headers that stores are answered with."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp.interfaces import Blob, ByteRange
from precomp.ranges import cut, merged
from precomp_plugins._wire.headers import Span, content_span, encoding_of

RANGES = st.lists(st.builds(ByteRange, st.integers(0, 120), st.integers(0, 120)), max_size=8)
DATA = bytes(range(100))


@given(RANGES, st.integers(0, 30))
def test_merged_ranges_cover_what_is_wanted_and_lie_apart(ranges: list[ByteRange], gap: int) -> None:
    spans = merged(ranges, gap)
    assert all(before.stop + gap < after.start for before, after in itertools.pairwise(spans))
    wanted = {place for start, stop in ranges for place in range(start, stop)}
    fetched = {place for start, stop in spans for place in range(start, stop)}
    assert wanted <= fetched
    assert {end for span in spans for end in (span.start, span.stop - 1)} <= wanted


@given(RANGES, st.integers(0, 30))
def test_what_is_cut_out_is_what_is_there(ranges: list[ByteRange], gap: int) -> None:
    spans = merged(ranges, gap) or [ByteRange(0, 0)]
    parts = [(span.start, Blob(DATA[slice(*span)], "gzip", version="7", size=100)) for span in spans]
    for one in ranges:
        assert cut(parts, one) == Blob(DATA[slice(*one)], "gzip", version="7", size=100)


@pytest.mark.parametrize(
    "header",
    [
        *("", None, "bytes", "bytes ", "bytes 1-2", "bytes 1-2/", "bytes 1-2/*", "bytes 1/3", "pages 1-2/3"),
        *("bytes -2/3", "bytes 1-/3", "bytes a-b/c", "bytes 1-2/3 x", "bytes ²-3/4", "1-2/3"),
        f"bytes 1-2/{'9' * 5000}",
    ],
)
def test_what_is_no_range_is_none(header: str | None) -> None:
    assert content_span(header) is None


def test_a_range_in_a_header() -> None:
    assert content_span(" bytes 0-0/1 ") == Span(0, 1, 1)
    assert content_span("bytes */0") == Span(0, 0, 0)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [("", None), ("gzip", "gzip"), (" GZip ", "gzip"), ("br, x-gzip", "br, gzip"), ("aws-chunked", None)],
)
def test_an_encoding_in_a_header(header: str, encoding: str | None) -> None:
    assert encoding_of(header) == encoding
