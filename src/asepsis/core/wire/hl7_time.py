"""How we write times in HL7 v2: UTC with offset. What others wrote is read in `sender_time`."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from asepsis.core.errors import InputError

DIGITS_MAX: Final = 4
"""Digits of a second that a DTM can have."""
_NS_DIGITS: Final = 9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def written_dtm(at_ns: int, *, digits: int) -> str:
    """Write a DTM; finer parts are cut.

    Args:
        at_ns: Nanoseconds since 1970, up to the year 9999.
        digits: Of the second, 1 to `DIGITS_MAX`.

    Raises:
        InputError: Not a time of these years.

    Source: HL7 v2.8.2 chapter 2A.2.22 (DTM).
    """
    if at_ns < 0:
        raise InputError("a time outside of 1970 to 9999")
    second, rest_ns = divmod(at_ns, 10**_NS_DIGITS)
    return f"{_written_second(second)}.{rest_ns // 10 ** (_NS_DIGITS - digits):0{digits}d}+0000"


@lru_cache(maxsize=16)  # Acknowledgements of one second are many.
def _written_second(second: int) -> str:
    try:
        return f"{_EPOCH + timedelta(seconds=second):%Y%m%d%H%M%S}"
    except OverflowError as error:
        raise InputError("a time outside of 1970 to 9999") from error
