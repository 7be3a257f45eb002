"""Times as a sender of PCD-01 wrote them."""

from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from asepsis.core.mapping.sender_time import Certainty, Moment, moment
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.message_record import MessageFindings

_NS_PER_S: Final = 10**9
_EPOCH: Final = datetime.fromtimestamp(0, timezone(timedelta()))


class TimeOf(NamedTuple):
    """When a value was measured, by its sender's clock.

    Attributes:
        at_ns: Nanoseconds since 1970; of two possible instants the earlier.
        later_by_ns: How much later it may have been, where the hour is repeated.
        certainty: How surely; without a readable time `at_ns` is the time of arrival.
    """

    at_ns: int
    later_by_ns: int
    certainty: Certainty


class SenderClock:
    """Turns written times of one message into instants.

    Args:
        message: The message; its MSH-7 stands in for absent times.
        findings: Name the zone, and the time of arrival for what cannot be read.
    """

    def __init__(self, message: Message, findings: MessageFindings) -> None:
        self._component = message.delimiters.component
        self._zone = _zone(findings.peer.zone, findings.offset_min)
        self._sent = message.header.raw(7)
        self._arrived_at_ns = findings.arrived_at_ns
        self._known: dict[bytes, TimeOf] = {}

    def time(self, written: bytes) -> TimeOf:
        """Return when a row with this time was measured; MSH-7 stands in for an absent one."""
        known = self._known.get(written)
        if known is None:
            known = self._known[written] = self._time(written)
        return known

    def _time(self, written: bytes) -> TimeOf:
        raw = (written or self._sent).split(self._component, 1)[0]
        found = moment(raw, self._zone) if raw else Moment(Certainty.UNREADABLE)
        earliest, latest = found.earliest, found.latest
        if earliest is None or latest is None or earliest < _EPOCH:
            certainty = found.certainty if earliest is None else Certainty.UNREADABLE
            return TimeOf(self._arrived_at_ns, 0, certainty)
        return TimeOf(_ns(earliest), _ns(latest) - _ns(earliest), found.certainty)


def _ns(instant: datetime) -> int:
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * _NS_PER_S + since.microseconds * 1_000


@lru_cache(maxsize=256)
def _zone(name: str, offset_min: int) -> tzinfo:
    """Return a zone, or the offset that it had, where this computer does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone(timedelta(minutes=offset_min))
