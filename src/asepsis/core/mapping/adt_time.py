"""The span of time that an HL7 v2 time can mean. Pure.

A written time is a stretch, not an instant: `202611221205` is a whole minute, and without an offset
in the hour that clocks repeat it is two. Rules that bind values to a patient use the end of the
stretch for what begins and its start for what ends, so that doubt leaves a gap and no overlap.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from asepsis.core.errors import InputError

TIME_CHARS_MAX: Final = 24
AMBIGUOUS_NS: Final = 120 * 1_000_000_000
"""A stretch longer than 2 min places no movement: dates, bare hours, the repeated hour."""
_TIME: Final = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,4}))?)?)?)?([+-]\d{4})?",
    re.ASCII,
)
_OFFSET_MINUTES_MAX: Final = 14 * 60
_SECOND_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class TimeSpan:
    """Every moment that a written time can mean, nanoseconds since 1970.

    Attributes:
        earliest_ns: The first one.
        latest_ns: The last one, at least `earliest_ns`.
    """

    earliest_ns: int
    latest_ns: int

    @property
    def ambiguous(self) -> bool:
        """Whether it is too long to order movements by."""
        return self.latest_ns - self.earliest_ns > AMBIGUOUS_NS


@lru_cache(maxsize=512)
def zone_of(name: str) -> tzinfo:
    """Return the zone of a sender.

    Raises:
        InputError: No such zone on this machine.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError("the sender's time zone is not known here") from error


def time_span(written: str, zone: tzinfo | None) -> TimeSpan | None:
    """Return what a DTM value can mean; None if it means no moment at all.

    Args:
        written: One leaf such as `20261122120530.25+0100`.
        zone: The sender's zone, for values without offset; None if nobody declared it: then they
            mean none.

    Source: HL7 v2.8.2 chapter 2A.2.22 (DTM); PEP 495 (the repeated hour).
    """
    match = _TIME.fullmatch(written) if len(written) <= TIME_CHARS_MAX else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    try:
        wall = datetime(  # noqa: DTZ001 - the zone is what is being found out
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
        meant = _instants(wall, offset, zone)
    except (ValueError, OverflowError):
        return None
    if not meant:
        return None
    part_ns = int((fraction or "").ljust(9, "0"))
    return TimeSpan(min(meant) + part_ns, max(meant) + part_ns + _width_ns(match) - 1)


def _width_ns(match: re.Match[str]) -> int:
    """Return how long the unit of the last digit is."""
    _, _, _, hour, minute, second, fraction, _ = match.groups()
    if fraction is not None:
        return _SECOND_NS // int(10 ** len(fraction))
    if second is not None:
        return _SECOND_NS
    if minute is not None:
        return 60 * _SECOND_NS
    return (3_600 if hour is not None else 86_400) * _SECOND_NS


def _instants(wall: datetime, offset: str | None, zone: tzinfo | None) -> list[int]:
    if offset is not None:
        return [_ns(wall.replace(tzinfo=_offset(offset)))]
    if zone is None:
        return []
    first, second = (_ns(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    # Before the clocks jump the offset is smaller, so the order tells a skipped hour from a
    # repeated one; a skipped one never was.
    return [] if first > second else [first, second]


def _offset(text: str) -> timezone:
    hours, minutes = int(text[1:3]), int(text[3:5])
    if minutes > 59 or hours * 60 + minutes > _OFFSET_MINUTES_MAX:
        raise ValueError("not an offset of this world")
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if text[0] == "-" else span)


def _ns(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * _SECOND_NS
