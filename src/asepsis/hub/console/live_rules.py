"""Rules of the ward view: what may be asked, and how long a value may stand. Pure.

Source: REQ-SUB-004; docs/explanation/ward-view.md.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from asepsis.core.errors import InputError

SECOND_NS: Final = 1_000_000_000
GRACE_NS: Final = 5 * SECOND_NS
"""A value that was not renewed is blanked its period plus this long after it came."""
PERIOD_NS_MIN: Final = SECOND_NS
PERIOD_NS_MAX: Final = 60 * SECOND_NS
"""Nothing slower counts as live, however regular it is."""
INTERVALS: Final = 3
WARD_CHARS_MAX: Final = 60
QUERY_FIELDS_MAX: Final = 4
_DIGITS_MAX: Final = 18


@dataclass(frozen=True, slots=True)
class WardQuery:
    """What `GET /views/ward` asks for.

    Attributes:
        ward: Point of care; None for every bed, and devices without one.
        waveforms: Whether samples are wanted too.
        after: Position after which alarm events are told again; None for none.
    """

    ward: str | None
    waveforms: bool
    after: int | None


def parse_ward_query(query: bytes, last_event_id: bytes | None) -> WardQuery:
    """Read the query string and `Last-Event-ID` of a ward view.

    Raises:
        InputError: An unknown or repeated field, a ward too long, or an id that is not ours.

    Source: WHATWG HTML section 9.2 (Last-Event-ID).
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError as error:
        raise InputError("malformed query") from error
    fields = dict(pairs)
    if len(fields) != len(pairs) or not fields.keys() <= {"ward", "waveforms"}:
        raise InputError("the query has an unknown or repeated field", hint="ward, waveforms")
    if fields.get("waveforms", "0") not in {"0", "1"}:
        raise InputError("waveforms is 0 or 1")
    ward = fields.get("ward")
    if ward is not None and not 0 < len(ward) <= WARD_CHARS_MAX:
        raise InputError(f"a ward has 1 to {WARD_CHARS_MAX} characters")
    return WardQuery(ward, fields.get("waveforms") == "1", _position(last_event_id))


def _position(last_event_id: bytes | None) -> int | None:
    if not last_event_id:
        return None
    if not last_event_id.isdigit() or len(last_event_id) > _DIGITS_MAX:
        raise InputError("Last-Event-ID is not one of ours")
    return int(last_event_id)


@dataclass(slots=True)
class Rhythm:
    """How often one metric is renewed, learnt from when its values came.

    The period is the *shortest* of the last intervals: a cable that was off for a minute does not
    make the next value stand for a minute. Until two intervals were seen, the period is 1 s.

    Attributes:
        last_ns: Monotonic time of the last value.
        intervals: The last intervals, nanoseconds.
    """

    last_ns: int
    intervals: deque[int] = field(default_factory=lambda: deque[int](maxlen=INTERVALS))

    def renewed(self, now_ns: int) -> None:
        """Note that a value came."""
        if now_ns > self.last_ns:
            self.intervals.append(now_ns - self.last_ns)
            self.last_ns = now_ns

    @property
    def period_ns(self) -> int:
        """The metric's period, `PERIOD_NS_MIN` to `PERIOD_NS_MAX`."""
        if len(self.intervals) < INTERVALS - 1:
            return PERIOD_NS_MIN
        return max(PERIOD_NS_MIN, min(PERIOD_NS_MAX, *self.intervals))

    @property
    def valid_until_ns(self) -> int:
        """Monotonic time at which the last value is blanked if no other comes."""
        return self.last_ns + self.period_ns + GRACE_NS
