"""Goal: a written time names one instant, two, or none, and the rules say which."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asepsis.core.mapping.sender_time import Certainty, Moment, moment

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # Its clocks move by thirty minutes.


@pytest.mark.parametrize(
    ("written", "certainty", "earliest"),
    [
        (b"20261103120000+0100", Certainty.OFFSET, "2026-11-03T11:00:00"),
        (b"20261103120000.25-0330", Certainty.OFFSET, "2026-11-03T15:30:00.250"),
        (b"20261103120000", Certainty.ZONE, "2026-11-03T11:00:00"),
        (b"202607031200", Certainty.ZONE, "2026-07-03T10:00:00"),
        (b"2026070312", Certainty.ZONE, "2026-07-03T10:00:00"),
        (b"20261025023000", Certainty.AMBIGUOUS, "2026-10-25T00:30:00"),
        (b"20261025023000+0200", Certainty.OFFSET, "2026-10-25T00:30:00"),
        (b"20261025015959", Certainty.ZONE, "2026-10-24T23:59:59"),
        (b"20261025030000", Certainty.ZONE, "2026-10-25T02:00:00"),
    ],
)
def test_instants(written: bytes, certainty: Certainty, earliest: str) -> None:
    found = moment(written, BERLIN)
    assert found.certainty is certainty
    assert found.earliest == datetime.fromisoformat(earliest).replace(tzinfo=UTC)


def test_the_repeated_hour_has_two_instants() -> None:
    found = moment(b"20261025020000", BERLIN)
    assert found.earliest is not None
    assert found.latest is not None
    assert found.latest - found.earliest == timedelta(hours=1)
    half = moment(b"20260405014500", LORD_HOWE)
    assert half.certainty is Certainty.AMBIGUOUS
    assert half.earliest is not None
    assert half.latest is not None
    assert half.latest - half.earliest == timedelta(minutes=30)


@pytest.mark.parametrize(
    ("written", "certainty"),
    [
        (b"20260329023000", Certainty.SKIPPED),
        (b"20260329023000+0100", Certainty.OFFSET),
        (b"20261103", Certainty.COARSE),
        (b"2026", Certainty.COARSE),
        (b"20261341", Certainty.UNREADABLE),
        (b"20261103250000", Certainty.UNREADABLE),
        (b"20261103120000+2500", Certainty.UNREADABLE),
        (b"20261103120000+0175", Certainty.UNREADABLE),
        (b"00000101", Certainty.UNREADABLE),
        (b"yesterday", Certainty.UNREADABLE),
        (b"2" * 100, Certainty.UNREADABLE),
        (b"", Certainty.UNREADABLE),
    ],
)
def test_what_is_no_single_instant(written: bytes, certainty: Certainty) -> None:
    found = moment(written, BERLIN)
    assert found.certainty is certainty
    if certainty is not Certainty.OFFSET:
        assert found == Moment(certainty)


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - naive: the offset is drawn beside it
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001 - as above
    ),
    st.integers(-14 * 60, 14 * 60),
)
def test_an_offset_always_decides(wall: datetime, minutes: int) -> None:
    sign = "-" if minutes < 0 else "+"
    offset = f"{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
    found = moment(f"{wall:%Y%m%d%H%M%S}{offset}".encode(), BERLIN)
    expected = wall.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert found == Moment(Certainty.OFFSET, expected.astimezone(UTC), expected.astimezone(UTC))


@given(st.binary(max_size=30))
def test_nothing_raises(written: bytes) -> None:
    assert moment(written, BERLIN).certainty in Certainty
