"""What a consumer may ask and how much it gets. Pure."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from asepsis.core.errors import InputError
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.core.model.lanes import Lane

RECORDS_DEFAULT: Final = 100
RECORDS_MAX: Final = 1_000
WAIT_S_MAX: Final = 15.0
"""Below the request deadline of the listener."""
DEVICES_MAX: Final = 1_000
QUERY_FIELDS_MAX: Final = DEVICES_MAX + 8
NUMERIC_FRESH_NS: Final = 6_000_000_000
"""A numeric that is older is blanked: its period, 1 s, plus 5 s (REQ-SUB-004)."""
ALARMS_UNKNOWN: Final = "alarms-unknown"
"""Cause of the hub's own condition while a device's active conditions may have changed unseen."""
_DIGITS_MAX: Final = 18


@dataclass(frozen=True, slots=True)
class BatchQuery:
    """What `GET /consumers/{id}/batch` asks for.

    Attributes:
        lane: Stream to read.
        records_max: Most records of the answer, 1 to `RECORDS_MAX`.
        wait_s: How long to wait for the first record, 0 to `WAIT_S_MAX` seconds.
    """

    lane: Lane
    records_max: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class LiveQuery:
    """What `GET /views/live` asks for.

    Attributes:
        devices: Names to watch, at least one.
        waveforms: Whether waveform frames are wanted too.
        after: Position after which alarm events are replayed; None starts with what is active.
    """

    devices: frozenset[str]
    waveforms: bool
    after: int | None


def parse_batch_query(query: bytes) -> BatchQuery:
    """Read the query string of a batch request.

    Raises:
        InputError: Unknown or repeated field, unknown lane, or a number out of range.
    """
    fields = _fields(query)
    if len(dict(fields)) != len(fields) or not dict(fields).keys() <= {"lane", "max", "wait_s"}:
        raise InputError("the query has an unknown or repeated field", hint="lane, max, wait_s")
    given = dict(fields)
    return BatchQuery(
        lane=parse_lane(given.get("lane", "")),
        records_max=_integer(given.get("max", str(RECORDS_DEFAULT)), "max", 1, RECORDS_MAX),
        wait_s=_integer(given.get("wait_s", "0"), "wait_s", 0, int(WAIT_S_MAX)),
    )


def parse_lane(text: str) -> Lane:
    """Return a lane by its name.

    Raises:
        InputError: No such lane.
    """
    try:
        return Lane(text)
    except ValueError as error:
        raise InputError("no such lane", hint=", ".join(Lane)) from error


def parse_live_query(query: bytes, last_event_id: bytes | None) -> LiveQuery:
    """Read the query string and `Last-Event-ID` of a live view.

    Raises:
        InputError: No device, too many, an unknown field, or an id that is not ours.

    Source: WHATWG HTML section 9.2 (Last-Event-ID).
    """
    fields = _fields(query)
    if not {name for name, _ in fields} <= {"device", "waveforms"}:
        raise InputError("the query has an unknown field", hint="device, waveforms")
    devices = frozenset(value for name, value in fields if name == "device")
    if not 0 < len(devices) <= DEVICES_MAX or any(len(d) > NAME_CHARS_MAX for d in devices):
        raise InputError(f"name 1 to {DEVICES_MAX} devices", hint="?device=<name>&device=<name>")
    after = None
    if last_event_id:
        after = _integer(last_event_id.decode("latin-1"), "Last-Event-ID", 0, 10**_DIGITS_MAX)
    return LiveQuery(devices, ("waveforms", "1") in fields, after)


def _fields(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError as error:
        raise InputError("malformed query") from error


def _integer(text: str, name: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise InputError(f"{name} is not a decimal number")
    if not least <= int(text) <= most:
        raise InputError(f"{name} is outside {least} to {most}")
    return int(text)
