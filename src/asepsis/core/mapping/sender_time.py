"""Times of a sender: what an HL7 time means, without offset in the sender's own zone. Pure.

The one place for such times. The bytes of a message are never changed: a time that has two
meanings, or none, is a finding. A written time can be taken as an instant (`moment`), or as the
stretch that it is (`time_span`): `202611221205` is a whole minute, and without an offset in the
hour that clocks repeat it is two. Rules that bind values to a patient use the end of the stretch
for what begins and its start for what ends, so that doubt leaves a gap and no overlap.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from asepsis.core.errors import InputError

_DTM: Final = re.compile(
    rb"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,4}))?)?)?)?)?)?"
    rb"([+-]\d{4})?"
)
DTM_BYTES_MAX: Final = 24
AMBIGUOUS_NS: Final = 120 * 1_000_000_000
"""A stretch longer than 2 min places no movement: dates, bare hours, the repeated hour."""
_SECOND_NS: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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
    match = _match(written)
    if match is None:
        return Moment(Certainty.UNREADABLE)
    year, month, day, hour = match.groups()[:4]
    if hour is None:
        return _day(year, month, day)
    return _meaning(match, zone)


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


def time_span(written: str, zone: tzinfo | None) -> TimeSpan | None:
    """Return what a DTM value can mean; None if it means no moment at all.

    Args:
        written: One leaf such as `20261122120530.25+0100`.
        zone: The sender's zone, for values without offset; None if nobody declared it: then they
            mean none.

    Source: HL7 v2.8.2 chapter 2A.2.22 (DTM); PEP 495 (the repeated hour).
    """
    match = _match(written.encode("ascii", "replace"))
    if match is None or match[3] is None or (zone is None and match[8] is None):
        return None
    found = _meaning(match, zone or UTC)
    if found.earliest is None or found.latest is None:
        return None
    return TimeSpan(_ns(found.earliest), _ns(found.latest) + _width_ns(match) - 1)


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


def _match(written: bytes) -> re.Match[bytes] | None:
    return _DTM.fullmatch(written) if len(written) <= DTM_BYTES_MAX else None


def _meaning(match: re.Match[bytes], zone: tzinfo) -> Moment:
    """Return what the beginning of a written stretch means, a day or shorter."""
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    microsecond = int((fraction or b"0").ljust(6, b"0"))
    try:
        wall = datetime(  # noqa: DTZ001 - the zone is what is being found out
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
            microsecond,
        )  # fmt: skip
        if offset is not None:
            instant = wall.replace(tzinfo=_offset(offset)).astimezone(UTC)
            return Moment(Certainty.OFFSET, instant, instant)
        return _in_zone(wall, zone)
    except (ValueError, OverflowError):
        return Moment(Certainty.UNREADABLE)


def _width_ns(match: re.Match[bytes]) -> int:
    """Return how long the unit of the last digit is."""
    _, _, _, hour, minute, second, fraction, _ = match.groups()
    if fraction is not None:
        return _SECOND_NS // int(10 ** len(fraction))
    if second is not None:
        return _SECOND_NS
    if minute is not None:
        return 60 * _SECOND_NS
    return (3_600 if hour is not None else 86_400) * _SECOND_NS


def _ns(instant: datetime) -> int:
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * _SECOND_NS + since.microseconds * 1_000


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
