"""Ranges of bytes: what is asked for, what is there, and how several are framed."""

from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.wire.byte_ranges import (
    RANGES_MAX,
    Span,
    content_range,
    matches,
    multipart,
    read_ranges,
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=5-", [(5, 9)]),
        ("bytes=-3", [(7, 9)]),
        ("bytes=-99", [(0, 9)]),
        ("bytes=8-99", [(8, 9)]),
        ("Bytes = 0-1 , 4-5", [(0, 1), (4, 5)]),
        ("bytes=4-5,0-1", [(4, 5), (0, 1)]),
        ("bytes=10-", []),
        ("bytes=-0", []),
        ("bytes=0-1,20-30", [(0, 1)]),
    ],
)
def test_what_is_there_of_what_is_asked(value: str, found: list[tuple[int, int]]) -> None:
    assert read_ranges(value, length=10) == tuple(Span(*each) for each in found)


@pytest.mark.parametrize(
    "value",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=3-1", "items=0-1", "bytes=0"),
        *("bytes=0-9,0-9", "bytes=+1-2", "bytes=1-2-3", "bytes=٣-", "bytes=0-" + "9" * 19),
        "bytes=" + ",".join(["0-0"] * (RANGES_MAX + 1)),
    ],
)
def test_a_field_that_does_not_count_gives_the_whole(value: str) -> None:
    """Goal: a request for far more than there is costs no more than one whole file."""
    assert read_ranges(value, length=10) is None


@given(st.text(max_size=40), st.integers(0, 50))
def test_any_text_gives_spans_inside_or_nothing(value: str, length: int) -> None:
    for text in (value, "bytes=" + value):
        for span in read_ranges(text, length=length) or ():
            assert 0 <= span.first <= span.last < length


@given(st.binary(min_size=4, max_size=64), st.lists(st.integers(0, 3), min_size=2, max_size=4))
def test_a_framed_body_is_read_back_by_the_email_package(whole: bytes, starts: list[int]) -> None:
    """Goal: an independent reader of MIME finds each range again, at its length."""
    spans = [Span(start, start) for start in starts]
    parts = multipart(spans, length=len(whole), boundary="b0", media="application/octet-stream")
    body = b"".join(
        head + whole[span.first : span.last + 1]
        for head, span in zip(parts.heads, parts.spans, strict=True)
    )
    body += parts.tail
    assert len(body) == parts.length
    raw = b"Content-Type: multipart/byteranges; boundary=b0\r\n" + body
    read = BytesParser().parsebytes(raw)
    given_back = [part for part in read.walk() if not part.is_multipart()]
    for part, span in zip(given_back, spans, strict=True):
        assert part["content-range"] == content_range(span, length=len(whole))


@pytest.mark.parametrize(
    ("value", "strong", "weak"),
    [
        ('"a"', True, True),
        ('W/"a"', False, True),
        ('"b", "a"', True, True),
        ("*", True, True),
        ('"b"', False, False),
        ("a", False, False),
    ],
)
def test_entity_tags(value: str, strong: object, weak: object) -> None:
    assert matches(value, '"a"') is strong
    assert matches(value, '"a"', weak=True) is weak


def test_a_range_that_is_not_there_says_how_long_it_is() -> None:
    assert content_range(None, length=7) == "bytes */7"
