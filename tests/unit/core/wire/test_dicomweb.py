"""Multipart bodies of DICOMweb: any chunking gives the same parts, and everything has a limit."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import FramingError, InputError, LimitExceeded, UnsupportedMedia
from asepsis.core.wire.dicomweb import (
    MultipartLimits,
    MultipartReader,
    PartBegun,
    PartData,
    PartEnded,
    PartEvent,
    parse_media,
    related_boundary,
)

BOUNDARY = b"b0undary"
Parts = list[tuple[dict[str, str], bytes]]


def body_of(parts: list[bytes], *, padding: bytes = b"", preamble: bytes = b"") -> bytes:
    head = b"--" + BOUNDARY + padding + b"\r\nContent-Type: application/dicom\r\n\r\n"
    whole = b"\r\n".join(head + part for part in parts)
    return preamble + whole + b"\r\n--" + BOUNDARY + b"--\r\n"


def read(chunks: list[bytes], limits: MultipartLimits | None = None) -> Parts:
    reader = MultipartReader(BOUNDARY, limits=limits)
    events: list[PartEvent] = []
    for chunk in chunks:
        events += reader.feed(chunk)
    reader.finish()
    found: Parts = []
    for event in events:
        if isinstance(event, PartBegun):
            found.append((dict(event.headers), b""))
        elif isinstance(event, PartData):
            assert event.data
            found[-1] = (found[-1][0], found[-1][1] + event.data)
    assert sum(isinstance(event, PartEnded) for event in events) == len(found)
    return found


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


tricky = st.lists(
    st.sampled_from([b"\r", b"\n", b"--", b"b0undar", b"\r\n--b0", b"x", b"\x00" * 9])
)
contents = st.lists(
    st.one_of(st.binary(max_size=200), tricky.map(b"".join)), min_size=1, max_size=5
)


@given(parts=contents, places=st.lists(st.integers(0, 5_000), max_size=40))
def test_any_chunking_gives_the_same_parts(parts: list[bytes], places: list[int]) -> None:
    parts = [part for part in parts if b"\r\n--" + BOUNDARY not in b"\r\n" + part]
    if not parts:
        return
    data = body_of(parts)
    whole = read([data])
    assert [part for _, part in whole] == parts
    assert read(cut(data, places)) == whole
    assert read([data[i : i + 1] for i in range(len(data))]) == whole


@given(data=st.binary(max_size=400))
def test_no_bytes_raise_anything_but_an_input_error(data: bytes) -> None:
    reader = MultipartReader(BOUNDARY)
    try:
        list(reader.feed(b"--" + BOUNDARY + data))
        reader.finish()
    except InputError:
        return


@given(places=st.integers(0, 300))
def test_a_body_that_is_cut_is_never_complete(places: int) -> None:
    data = body_of([b"a" * 100, b"b" * 100])
    end = data.rindex(b"--")
    with pytest.raises(FramingError):
        read([data[: min(places, end)]])


def test_padding_preamble_and_epilogue_are_passed_over() -> None:
    data = body_of([b"x"], padding=b" \t", preamble=b"for old readers\r\n") + b"epilogue"
    assert [part for _, part in read([data])] == [b"x"]


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (body_of([b"x"] * 3), MultipartLimits(parts_max=2)),
        (body_of([b"x" * 50]), MultipartLimits(part_bytes_max=49)),
        (body_of([b"x"]), MultipartLimits(header_bytes_max=8)),
        (b"--b0undary\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\nx", MultipartLimits(headers_max=2)),
        (body_of([b"x"], preamble=b"y" * 99), MultipartLimits(around_bytes_max=50)),
        (body_of([b"x"]) + b"y" * 99, MultipartLimits(around_bytes_max=50)),
    ],
)
def test_every_limit_is_kept(data: bytes, limits: MultipartLimits) -> None:
    with pytest.raises(LimitExceeded):
        read([data], limits)


@pytest.mark.parametrize(
    "data",
    [
        b"--b0undaryX\r\n\r\nx",
        b"--b0undary\r\nno header\r\n\r\nx",
        b"--b0undary\r\n folded: x\r\n\r\nx",
        b"",
    ],
)
def test_what_is_no_multipart_body_is_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        read([data])


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        ('multipart/related; type="application/dicom"; boundary=abc', b"abc"),
        ("Multipart/Related;boundary=a.b-c;type=application/dicom", b"a.b-c"),
        ('multipart/related; boundary="a b"; type="application/dicom"', b"a b"),
    ],
)
def test_a_boundary_is_found(value: str, boundary: bytes) -> None:
    assert related_boundary(value) == boundary


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("multipart/mixed; boundary=a", UnsupportedMedia),
        ('multipart/related; type="application/dicom+json"; boundary=a', UnsupportedMedia),
        ('multipart/related; type="application/dicom"', FramingError),
        (f"multipart/related; boundary={'a' * 71}", FramingError),
        ('multipart/related; boundary="a "', FramingError),
        ("multipart/related; boundary", FramingError),
        ("multipart/related" + "; a=b" * 9, FramingError),
    ],
)
def test_a_boundary_that_is_none_is_refused(value: str, error: type[InputError]) -> None:
    with pytest.raises(error):
        related_boundary(value)


def test_a_media_type_is_split() -> None:
    assert parse_media('A/B; C="d\\"e"') == ("a/b", {"c": 'd"e'})
