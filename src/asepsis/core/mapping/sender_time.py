"""Times of a sender: what instant an HL7 time without offset means in the sender's own zone. Pure.

The bytes of a message are never changed: a time that has two meanings, or none, is a finding.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final

_DTM: Final = re.compile(
    rb"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,4}))?)?)?)?)?)?"
    rb"([+-]\d{4})?"
)
DTM_BYTES_MAX: Final = 24
_OFFSET_MINUTES_MAX: Final = 14 * 60


class Certainty(StrEnum):
    """How surely a written time names one instant."""

    OFFSET = "offset"
    """It carries its own offset."""
    ZONE = "zone"
    """The sender's zone makes it one instant."""
    AMBIGUOUS = "ambiguous"
    """It lies in the hour that clocks repeat in autumn: two instants."""
    SKIPPED = "skipped"
    """It lies in the hour that clocks leave out in spring: no instant."""
    COARSE = "coarse"
    """A date without a time of day: a day, not an instant."""
    UNREADABLE = "unreadable"
    """Not a time of HL7."""


DOUBTFUL: Final = frozenset((Certainty.AMBIGUOUS, Certainty.SKIPPED, Certainty.UNREADABLE))
"""What is reported."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a written time means.

    Attributes:
        certainty: How surely.
        earliest: First instant it can mean, UTC; None if it means none.
        latest: Last one; differs from `earliest` only where the hour is repeated.
    """

    certainty: Certainty
    earliest: datetime | None = None
    latest: datetime | None = None


@lru_cache(maxsize=4096)
def moment(written: bytes, zone: tzinfo) -> Moment:
    """Read a DTM or TS value.

    Args:
        written: One leaf as it stands, not empty.
        zone: The sender's declared zone, for values without offset.

    Source: HL7 v2.8.2 chapter 2A.2.22 (DTM): the offset defaults to that of the sender; PEP 495
    (fold) for the repeated hour.
    """
    match = _DTM.fullmatch(written) if len(written) <= DTM_BYTES_MAX else None
    if match is None:
        return Moment(Certainty.UNREADABLE)
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if hour is None:
        return _day(year, month, day)
    microsecond = int((fraction or b"0").ljust(6, b"0"))
    try:
        wall = datetime(  # noqa: DTZ001 - the zone is what is being found out
            int(year), int(month), int(day), int(hour), int(minute or 0), int(second or 0),
            microsecond,
        )  # fmt: skip
        if offset is not None:
            instant = wall.replace(tzinfo=_offset(offset)).astimezone(UTC)
            return Moment(Certainty.OFFSET, instant, instant)
        return _in_zone(wall, zone)
    except (ValueError, OverflowError):
        return Moment(Certainty.UNREADABLE)


def _day(year: bytes, month: bytes | None, day: bytes | None) -> Moment:
    try:
        datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
    except ValueError:
        return Moment(Certainty.UNREADABLE)
    return Moment(Certainty.COARSE)


def _offset(text: bytes) -> tzinfo:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    if int(text[3:5]) > 59 or minutes > _OFFSET_MINUTES_MAX:
        raise ValueError("not an offset of this world")
    return timezone(timedelta(minutes=-minutes if text[:1] == b"-" else minutes))


def _in_zone(wall: datetime, zone: tzinfo) -> Moment:
    first = wall.replace(tzinfo=zone, fold=0)
    second = wall.replace(tzinfo=zone, fold=1)
    earliest, latest = first.astimezone(UTC), second.astimezone(UTC)
    if earliest == latest:
        return Moment(Certainty.ZONE, earliest, earliest)
    if earliest > latest:  # Before the jump the offset is smaller: the wall time never was.
        return Moment(Certainty.SKIPPED)
    return Moment(Certainty.AMBIGUOUS, earliest, latest)
