"""FHIR dateTime and instant to and from nanoseconds, without losing one.

Source: HL7 FHIR R4 datatypes, dateTime and instant; RFC 3339.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from asepsis.core.errors import InputError

NS_PER_S: Final = 1_000_000_000
WALL_NS_MAX: Final = 253_402_300_799 * NS_PER_S
"""9999-12-31T23:59:59Z, the last second that a FHIR dateTime can name."""

_STAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def to_instant(wall_ns: int) -> str:
    """Write nanoseconds since 1970 as UTC, with 3, 6 or 9 decimals as needed.

    Args:
        wall_ns: 0 to `WALL_NS_MAX`.

    Raises:
        InputError: Outside that range.

    Source: HL7 FHIR R4 datatypes, instant.
    """
    if not 0 <= wall_ns <= WALL_NS_MAX:
        raise InputError("time is outside the years 1970 to 9999")
    seconds, fraction = divmod(wall_ns, NS_PER_S)
    stamp = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()[:19]
    digits = f"{fraction:09d}"
    while digits.endswith("000") and len(digits) > 3:
        digits = digits[:-3]
    return f"{stamp}.{digits}Z"


@lru_cache(maxsize=1024)  # The values of one interval mostly share one time.
def from_date_time(text: str) -> int:
    """Read a FHIR dateTime or instant as nanoseconds since 1970.

    A leap second counts as the second before it, as POSIX time does.

    Raises:
        InputError: A date without time and zone, no such day, or before 1970.

    Source: HL7 FHIR R4 datatypes, dateTime.
    """
    found = _STAMP.fullmatch(text)
    if found is None:
        raise InputError("a measurement needs a time with seconds and time zone")
    year, month, day, hour, minute, second = (int(found[i]) for i in range(1, 7))
    offset = timedelta(hours=int(found[9] or 0), minutes=int(found[10] or 0))
    try:
        zone = timezone(-offset if found[8] == "-" else offset)
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
    except ValueError as error:
        raise InputError("no such time") from error
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    if since < timedelta(0):
        raise InputError("time is before 1970")
    return (since.days * 86_400 + since.seconds) * NS_PER_S + int((found[7] or "").ljust(9, "0"))
