"""Alarm events as they stand in an origin batch: length, 30 fixed bytes, text.

Source: standard/frames.md section 3.3; IEC 60601-1-8 for the words.
"""

import re
import struct
from typing import Final

from asepsis.core.errors import FramingError, InputError, LimitExceeded
from asepsis.core.model.alarm import (
    TEXT_BYTES_MAX,
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.wire.binary import sized

_FIXED: Final = struct.Struct(">16sBBBBBxIHH")
_LENGTH: Final = struct.Struct(">H")
_RESERVED_AT: Final = 21
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_PHASES: Final = {int(member): member for member in AlarmPhase}
_KINDS: Final = {int(member): member for member in AlarmKind}
_PRIORITIES: Final = {int(member): member for member in AlarmPriority}
_INACTIVATIONS: Final = {int(member): member for member in Inactivation}
_LATCHING: Final = {0: False, 1: True}


def encode(event: AlarmEvent) -> bytes:
    """Write one alarm event with its length in front.

    Raises:
        InputError: A field outside its range, or text with control characters.
        LimitExceeded: Text over `TEXT_BYTES_MAX` bytes of UTF-8.

    Source: standard/frames.md section 3.3.
    """
    try:
        text = event.text.encode("utf-8")
        fixed = _FIXED.pack(
            sized(event.condition_id, 16, "condition id"),
            event.phase,
            event.kind,
            event.priority,
            event.latching,
            event.inactivation,
            event.mdc_code,
            event.source_handle,
            event.offset_ms,
        )
    except (struct.error, UnicodeEncodeError) as error:
        raise InputError(f"a field of the alarm event is outside its range: {error}") from error
    body = fixed + text
    decode(body)
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> AlarmEvent:
    """Read one alarm event without its length.

    Raises:
        FramingError: Too short, unknown numbers, reserved byte set, text not clean UTF-8.
        LimitExceeded: Text over `TEXT_BYTES_MAX` bytes.

    Source: standard/frames.md section 3.3; IEC 60601-1-8.
    """
    if len(body) < _FIXED.size:
        raise FramingError("alarm event ends inside its fixed part")
    if len(body) - _FIXED.size > TEXT_BYTES_MAX:
        raise LimitExceeded(f"alarm text over {TEXT_BYTES_MAX} bytes")
    (condition_id, phase, kind, priority, latching, inactivation, mdc_code, handle, offset_ms) = (
        _FIXED.unpack_from(body)
    )
    if body[_RESERVED_AT]:
        raise FramingError("reserved byte of an alarm event is not zero")
    try:
        return AlarmEvent(
            condition_id=condition_id,
            phase=_PHASES[phase],
            kind=_KINDS[kind],
            priority=_PRIORITIES[priority],
            latching=_LATCHING[latching],
            inactivation=_INACTIVATIONS[inactivation],
            mdc_code=mdc_code,
            source_handle=handle,
            offset_ms=offset_ms,
            text=_clean(body[_FIXED.size :]),
        )
    except KeyError as error:
        raise FramingError(f"unknown number {error} in an alarm event") from error


def decode_all(block: bytes, *, count: int) -> tuple[AlarmEvent, ...]:
    """Read exactly `count` length-prefixed alarm events that fill `block`.

    Raises:
        FramingError: Too few or too many bytes, or as `decode`.
        LimitExceeded: As `decode`.

    Source: standard/frames.md section 3.3.
    """
    events: list[AlarmEvent] = []
    at = 0
    for _ in range(count):
        if at + _LENGTH.size > len(block):
            raise FramingError("batch ends inside its alarm events")
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(block, at)[0]
        if at > len(block):
            raise FramingError("alarm event is longer than its batch")
        events.append(decode(block[start:at]))
    if at != len(block):
        raise FramingError("bytes between alarm events and waveform digests")
    return tuple(events)


def _clean(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FramingError("alarm text is not UTF-8") from error
    if _CONTROLS.search(text):
        raise FramingError("alarm text carries control characters")
    return text
