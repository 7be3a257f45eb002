"""When work on devices is allowed: windows of local time, exceptions, and how they overlap.

One definition carries everything: a moment lies in a window if and only if a clock on the wall of
that place shows so. Where clocks are put back the hour that comes twice is open or closed twice;
where they are put forward nothing is open in the hour that does not exist. What is not said to be
open is closed.

Source: IANA time zone database (RFC 6557); RFC 5545 section 3.3.5 for local time.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from asepsis.core.errors import InputError

WINDOWS_MAX: Final = 64
BLACKOUTS_MAX: Final = 400
NAME_CHARS_MAX: Final = 60
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SECOND_NS: Final = 1_000_000_000
_OFFSET_S_MAX: Final = 15 * 3_600
"""No zone is further from UTC, so a moment is looked for at most this far around."""
_SAMPLE_S: Final = 6 * 3_600
"""No zone changes its offset twice within this time."""

Stretch = tuple[int, int]
"""From, inclusive, and until, exclusive; whole seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of local time that comes back every week.

    Attributes:
        days: Days on which it begins; Monday is 0, Sunday 6. At least one.
        start: Local time at which it opens.
        end: Local time at which it closes; on the next day if it is not after `start`.
    """

    days: frozenset[int]
    start: time
    end: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackout:
    """Local time in which nothing is done, whatever the windows say.

    Attributes:
        start: Local date and time, without zone.
        end: The same, exclusive; after `start`.
        reason: For people.
    """

    start: datetime
    end: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """When something is allowed at one place.

    Attributes:
        name: How people call it, at most `NAME_CHARS_MAX` characters.
        zone: IANA zone of the place.
        windows: Open is what lies in any of them, at most `WINDOWS_MAX`.
        blackouts: Closed is what lies in any of them, at most `BLACKOUTS_MAX`.

    Raises:
        InputError: Too many, no day, or a blackout that ends before it begins.
    """

    name: str
    zone: ZoneInfo
    windows: tuple[Window, ...]
    blackouts: tuple[Blackout, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_CHARS_MAX:
            raise InputError(f"a calendar's name has 1 to {NAME_CHARS_MAX} characters")
        if len(self.windows) > WINDOWS_MAX or len(self.blackouts) > BLACKOUTS_MAX:
            raise InputError(
                f"a calendar has at most {WINDOWS_MAX} windows and {BLACKOUTS_MAX} blackouts"
            )
        if not all(w.days and w.days <= frozenset(range(7)) for w in self.windows):
            raise InputError("a window names the days on which it begins")
        if not all(b.start < b.end for b in self.blackouts):
            raise InputError("a blackout ends after it begins")


@dataclass(frozen=True, slots=True)
class Openings:
    """What is open, as stretches of real time that neither touch nor overlap, ascending.

    Attributes:
        stretches: In seconds since 1970.
    """

    stretches: tuple[Stretch, ...]

    def until_ns(self, at_ns: int) -> int:
        """Return until when it stays open, nanoseconds since 1970; 0 if it is closed then."""
        index = bisect_right(self.stretches, at_ns / SECOND_NS, key=lambda s: s[0]) - 1
        if index < 0 or at_ns >= self.stretches[index][1] * SECOND_NS:
            return 0
        return self.stretches[index][1] * SECOND_NS

    def fits(self, at_ns: int, *, needed_s: int) -> bool:
        """Whether work of that length, begun then, ends before it closes."""
        return at_ns + needed_s * SECOND_NS <= self.until_ns(at_ns)

    def next_ns(self, at_ns: int, *, needed_s: int) -> int | None:
        """Return the first moment from `at_ns` at which such work fits; None in this horizon."""
        for start_s, end_s in self.stretches:
            begin_ns = max(at_ns, start_s * SECOND_NS)
            if begin_ns + needed_s * SECOND_NS <= end_s * SECOND_NS:
                return begin_ns
        return None


def openings(calendars: Iterable[Calendar], *, from_ns: int, to_ns: int) -> Openings:
    """Return what is open in every one of these calendars, from one moment to another.

    Without any calendar everything is open: a caller that wants the contrary asks first.

    Args:
        calendars: Of device, ward, site and campaign; all of them must agree.
        from_ns: First moment that is asked for, nanoseconds since 1970.
        to_ns: The moment after the last one.
    """
    first_s, last_s = from_ns // SECOND_NS, -(-to_ns // SECOND_NS)
    found: list[Stretch] = [(first_s, last_s)]
    for calendar in calendars:
        found = _both(found, _open(calendar, first_s, last_s))
    return Openings(tuple(found))


def _open(calendar: Calendar, first_s: int, last_s: int) -> list[Stretch]:
    """Return what one calendar lets be open; it may reach over both ends."""
    zone = calendar.zone
    day = _wall(zone, first_s).date() - timedelta(days=2)
    last_day = _wall(zone, last_s).date() + timedelta(days=1)
    stretches: list[Stretch] = []
    while day <= last_day:
        for window in calendar.windows:
            if day.weekday() in window.days:
                stretches += _moments(zone, *_walls(window, day))
        day += timedelta(days=1)
    opened = _joined(stretches)
    closed = _joined(s for b in calendar.blackouts for s in _moments(zone, b.start, b.end))
    return _without(opened, closed)


def _walls(window: Window, day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, window.start)
    end = datetime.combine(day, window.end)
    return start, end if end > start else end + timedelta(days=1)


def _moments(zone: ZoneInfo, start: datetime, end: datetime) -> list[Stretch]:
    """Return the moments at which a wall clock shows `start` or later and is not yet at `end`."""
    start_s, end_s = (int(d.replace(tzinfo=UTC).timestamp()) for d in (start, end))
    found: list[Stretch] = []
    begin_s, last_s = start_s - _OFFSET_S_MAX, end_s + _OFFSET_S_MAX
    while begin_s < last_s:
        offset_s, until_s = _same_offset(zone, begin_s, last_s)
        piece = max(begin_s, start_s - offset_s), min(until_s, end_s - offset_s)
        if piece[0] < piece[1]:
            found.append(piece)
        begin_s = until_s
    return found


def _same_offset(zone: ZoneInfo, from_s: int, to_s: int) -> tuple[int, int]:
    """Return the offset from UTC at a moment, and until when it stays, at most `to_s`."""
    offset_s = _offset(zone, from_s)
    low = from_s
    while low < to_s:
        high = min(low + _SAMPLE_S, to_s)
        if _offset(zone, high) != offset_s:
            while high - low > 1:
                middle = (low + high) // 2
                same = _offset(zone, middle) == offset_s
                low, high = (middle, high) if same else (low, middle)
            return offset_s, high
        low = high
    return offset_s, to_s


def _offset(zone: ZoneInfo, at_s: int) -> int:
    return int((_wall(zone, at_s).utcoffset() or timedelta()).total_seconds())


def _wall(zone: ZoneInfo, at_s: int) -> datetime:
    return datetime.fromtimestamp(at_s, zone)


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return the same time as stretches that neither touch nor overlap."""
    found: list[Stretch] = []
    for start_s, end_s in sorted(stretches):
        if found and start_s <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end_s)
        else:
            found.append((start_s, end_s))
    return found


def _both(one: Sequence[Stretch], other: Sequence[Stretch]) -> list[Stretch]:
    """Return what lies in both; each is sorted and without overlap."""
    found: list[Stretch] = []
    i = j = 0
    while i < len(one) and j < len(other):
        start_s, end_s = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start_s < end_s:
            found.append((start_s, end_s))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return found


def _without(opened: Sequence[Stretch], closed: Sequence[Stretch]) -> list[Stretch]:
    """Return what is opened and not closed."""
    if not opened:
        return []
    edges = [opened[0][0], *(edge for stretch in closed for edge in stretch), opened[-1][1]]
    gaps = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
    return _both(opened, gaps)
