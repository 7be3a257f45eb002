"""Parameters: what is understood, and that nothing else is silently ignored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.errors import AsepsisError, InputError, LimitExceeded
from asepsis.core.model.patient import PatientId
from asepsis.hub.records import params
from asepsis.hub.records.kinds import Kind

S = 1_000_000_000


def test_a_whole_search() -> None:
    read = params.parse_search(
        b"device=Device/abc&patient=H%7C1&code=urn:iso:std:iso:11073:10101%7C147842,150456"
        b"&date=ge2026-01-01&date=lt2026-01-01T00:00:01Z&_lastUpdated=gt2026-01-01T00:00:00Z"
        b"&_count=7&_cursor=xyz"
    )
    assert read.device == "Device/abc"
    assert read.patient == PatientId("1", "H")
    assert read.codes == (147842, 150456)
    assert read.to_ns - read.from_ns == S
    assert read.received_from_ns == read.from_ns + 1
    assert (read.count, read.cursor, read.kind) == (7, "xyz", Kind.NUMERICS)
    assert "_cursor" not in read.query
    assert params.parse_search(read.query.encode() + b"&_cursor=xyz") == read


@pytest.mark.parametrize(
    ("text", "patient"),
    [
        ("H|1", PatientId("1", "H")),
        ("|1", PatientId("1", "")),
        ("1", PatientId("1", "")),
        ("urn:asepsis:authority:A%20B|1", PatientId("1", "A B")),
        ("urn:oid:1.2.3|1", PatientId("1", "urn:oid:1.2.3")),
    ],
)
def test_how_a_patient_is_named(text: str, patient: PatientId) -> None:
    from urllib.parse import quote  # noqa: PLC0415 - as a client would

    assert params.parse_search(b"patient=" + quote(text).encode()).patient == patient
    assert params.parse_search(b"patient:identifier=" + quote(text).encode()).patient == patient


@pytest.mark.parametrize(
    ("prefixed", "first", "end"),
    [
        ("ge", 0, None),
        ("gt", 1, None),
        ("lt", None, 0),
        ("le", None, 1),
    ],
)
def test_prefixes_are_exact_to_the_nanosecond(
    prefixed: str, first: int | None, end: int | None
) -> None:
    at_ns = 1_767_225_600 * S
    read = params.parse_search(f"device=x&date={prefixed}2026-01-01T00:00:00Z".encode())
    assert read.from_ns == (0 if first is None else at_ns + first)
    assert read.to_ns == (params.FOREVER_NS if end is None else at_ns + end)


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"device=",
        b"device=x&unknown=1",
        b"device=x&_sort=-date",
        b"device=x&device=y",
        b"device=x&code=",
        b"device=x&code=-1",
        b"device=x&date=2026-01-01",
        b"device=x&date=ge2026-01-01T00:00:00",
        b"device=x&date=lt1970-01-01T00:00:00Z",
        b"device=x&_count=ten",
        b"device=x&_count=-1",
        b"device=x&_profile=Other",
        b"device=x&_format=xml",
        b"patient=a%7Cb%7Cc",
        b"patient=%E2%80%AE%7C1",
        b"device=x&&&",
        b"\xff",
    ],
)
def test_what_is_not_understood_is_refused(query: bytes) -> None:
    with pytest.raises(InputError):
        params.parse_search(query)


@pytest.mark.parametrize(
    ("query", "parse"),
    [
        (b"device=" + b"x" * 121, params.parse_search),
        (b"device=x&_cursor=" + b"x" * 1_025, params.parse_search),
        (b"device=x&code=" + b",".join([b"1"] * 33), params.parse_lastn),
        (b"device=x&date=ge2026-01-01&date=lt2026-01-04&code=1", params.parse_trend),
        (
            b"device=x&_profile=SampleArrayObservation&date=ge2026-01-01&date=lt2026-01-02",
            params.parse_search,
        ),
        (b"device=" + b"x" * 5_000, params.parse_alarms),
    ],
)
def test_limits(query: bytes, parse: object) -> None:
    assert callable(parse)
    with pytest.raises(LimitExceeded):
        parse(query)


def test_counts_are_cut_to_what_is_given() -> None:
    assert params.parse_search(b"device=x&_count=99999").count == 1_000
    assert params.parse_lastn(b"device=x").count == 1
    assert params.parse_lastn(b"device=x&max=99").count == 10


@pytest.mark.parametrize(
    "query",
    [b"device=x&code=1", b"device=x&date=ge2026-01-01&date=lt2026-01-02", b"device=x&handle=0"],
)
def test_a_trend_names_metric_and_dates(query: bytes) -> None:
    with pytest.raises(InputError):
        params.parse_trend(query)


@given(query=st.binary(max_size=80))
def test_anything_is_read_or_refused(query: bytes) -> None:
    for parse in (params.parse_search, params.parse_lastn, params.parse_alarms, params.parse_trend):
        try:
            parse(query)
        except AsepsisError:
            continue
