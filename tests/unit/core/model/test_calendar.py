"""When work is allowed, judged by a clock on the wall."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asepsis.core.errors import InputError
from asepsis.core.model.calendar import SECOND_NS, Blackout, Calendar, Openings, Window, openings

BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "UTC",
         "Australia/Lord_Howe"]  # fmt: skip


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


def nights(start: str, end: str, **more: object) -> Calendar:
    window = Window(days=EVERY_DAY, start=time.fromisoformat(start), end=time.fromisoformat(end))
    return Calendar(name="nights", zone=BERLIN, windows=(window,), **more)  # type: ignore[arg-type]


def hours(found: Openings) -> list[tuple[str, str]]:
    return [
        (
            datetime.fromtimestamp(a, UTC).strftime("%dT%H:%M"),
            datetime.fromtimestamp(b, UTC).strftime("%dT%H:%M"),
        )
        for a, b in found.stretches
    ]


def over(*calendars: Calendar, day: str, until: str) -> Openings:
    return openings(calendars, from_ns=ns(f"{day}T12:00"), to_ns=ns(f"{until}T12:00"))


def test_a_night_goes_over_midnight() -> None:
    found = over(nights("22:00", "05:00"), day="2026-11-23", until="2026-11-24")
    assert hours(found) == [("23T21:00", "24T04:00")]


def test_the_night_in_which_clocks_go_forward_is_an_hour_shorter() -> None:
    found = over(nights("22:00", "05:00"), day="2026-03-28", until="2026-03-29")
    assert hours(found) == [("28T21:00", "29T03:00")]


def test_nothing_is_open_in_the_hour_that_does_not_exist() -> None:
    assert hours(over(nights("02:15", "02:45"), day="2026-03-28", until="2026-03-29")) == []
    found = over(nights("02:30", "04:00"), day="2026-03-28", until="2026-03-29")
    assert hours(found) == [("29T01:00", "29T02:00")]


def test_the_hour_that_comes_twice_is_judged_twice() -> None:
    found = over(nights("02:30", "04:00"), day="2026-10-24", until="2026-10-25")
    assert hours(found) == [("25T00:30", "25T01:00"), ("25T01:30", "25T03:00")]
    # A window that a shift of an hour would let go on: it does not fit over the break.
    assert not found.fits(ns("2026-10-25T00:45"), needed_s=20 * 60)
    assert found.next_ns(ns("2026-10-25T00:45"), needed_s=20 * 60) == ns("2026-10-25T01:30")


def test_a_blackout_takes_out_its_local_time() -> None:
    out = Blackout(start=datetime(2026, 12, 24), end=datetime(2026, 12, 27))  # noqa: DTZ001 - local by definition
    found = over(nights("22:00", "05:00", blackouts=(out,)), day="2026-12-23", until="2026-12-27")
    assert hours(found) == [("23T21:00", "23T23:00"), ("26T23:00", "27T04:00")]


def test_every_calendar_must_agree() -> None:
    late = nights("01:00", "09:00")
    found = over(nights("22:00", "05:00"), late, day="2026-11-23", until="2026-11-24")
    assert hours(found) == [("24T00:00", "24T04:00")]
    assert over(day="2026-11-23", until="2026-11-24").until_ns(ns("2026-11-23T13:00"))


def test_work_and_the_way_back_must_fit() -> None:
    found = over(nights("22:00", "05:00"), day="2026-11-23", until="2026-11-25")
    assert found.fits(ns("2026-11-24T03:00"), needed_s=3_600)
    assert not found.fits(ns("2026-11-24T03:00") + 1, needed_s=3_600)
    assert found.until_ns(ns("2026-11-24T04:00")) == 0
    assert found.next_ns(ns("2026-11-24T03:30"), needed_s=3_600) == ns("2026-11-24T21:00")
    assert found.next_ns(ns("2026-11-23T12:00"), needed_s=8 * 3_600) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"windows": (Window(days=frozenset(), start=time(1), end=time(2)),)},
        {"windows": (Window(days=frozenset({7}), start=time(1), end=time(2)),)},
        {"windows": (Window(days=EVERY_DAY, start=time(1), end=time(2)),) * 65},
        {"blackouts": (Blackout(start=datetime(2026, 1, 2), end=datetime(2026, 1, 1)),)},  # noqa: DTZ001 - local
    ],
)
def test_what_is_no_calendar_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Calendar(**({"name": "n", "zone": BERLIN, "windows": ()} | wrong))  # type: ignore[arg-type]


@settings(max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    start=st.times(),
    end=st.times(),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    day=st.dates(datetime(2011, 12, 20).date(), datetime(2027, 12, 31).date()),  # noqa: DTZ001 - a day
)
def test_open_is_what_a_clock_on_the_wall_shows(
    zone: str, start: time, end: time, days: frozenset[int], day: object
) -> None:
    """Goal: an independent reading of the wall agrees at every probe, in odd zones and years."""
    info = ZoneInfo(zone)
    start, end = start.replace(microsecond=0), end.replace(microsecond=0)
    calendar = Calendar(name="n", zone=info, windows=(Window(days=days, start=start, end=end),))
    from_ns = int(datetime.combine(day, time(), UTC).timestamp()) * SECOND_NS  # type: ignore[arg-type]
    found = openings([calendar], from_ns=from_ns, to_ns=from_ns + 4 * 86_400 * SECOND_NS)
    for step in range(0, 4 * 86_400, 1_777):
        wall = datetime.fromtimestamp(from_ns // SECOND_NS + step, info)
        before = (wall - timedelta(days=1)).weekday()
        clock = wall.time()
        if start < end:
            shows = wall.weekday() in days and start <= clock < end
        else:
            shows = (wall.weekday() in days and clock >= start) or (before in days and clock < end)
        assert bool(found.until_ns(from_ns + step * SECOND_NS)) == shows, wall
