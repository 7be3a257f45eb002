"""What the vitals compartment publishes in its ring. Pure.

    kind u8 | clinical state u8 | items u16 | monotonic u64 | items

Source: our own, never leaves the device; numbers are big-endian as in the standard's frames.
"""

import struct
from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.errors import FramingError, InputError
from asepsis.core.model.alarm import AlarmEvent
from asepsis.core.model.clinical import ClinicalState
from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire import alarm_event
from asepsis.edge.sandbox.ring_layout import Geometry

VITALS_RING: Final = Geometry(slot_bytes=2_048, slots=4_096)
"""8 MiB; over a minute of records, so that an origin compartment can be restarted."""
SIGNED_RING: Final = Geometry(slot_bytes=32_768, slots=512)
"""16 MiB; over three minutes of batches and packets."""
_HEAD: Final = struct.Struct(">BBHQ")
_WAVE: Final = struct.Struct(">HH")
_VALUE: Final = struct.Struct(">HIIIB")
_STATES: Final = {int(state): state for state in ClinicalState}
_STATUSES: Final = {int(status): status for status in MeasurementStatus}


class Kind(IntEnum):
    """What a record carries."""

    SAMPLES = 1
    VALUES = 2
    ALARM = 3
    STATE = 4
    ACTIVE = 5


@dataclass(frozen=True, slots=True)
class Samples:
    """Consecutive samples of one waveform.

    Attributes:
        handle: Which waveform.
        values: 16-bit samples.
    """

    handle: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One numeric.

    Attributes:
        handle: Metric, 1 to 65 535.
        mdc_code: MDC code of the metric.
        unit_code: MDC code of the unit.
        value: FLOAT-Type.
        status: Quality.
    """

    handle: int
    mdc_code: int
    unit_code: int
    value: int
    status: MeasurementStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of the vitals ring.

    Attributes:
        state: Clinical state at this moment.
        monotonic_ns: When, nanoseconds since boot.
        samples: Waveforms, for kind SAMPLES.
        values: Numerics, for kind VALUES.
        alarms: Alarm events, for kind ALARM.
        active: Every active alarm condition, for kind ACTIVE; empty if there is none.
    """

    state: ClinicalState
    monotonic_ns: int
    samples: tuple[Samples, ...] = ()
    values: tuple[Value, ...] = ()
    alarms: tuple[AlarmEvent, ...] = ()
    active: tuple[AlarmEvent, ...] | None = None


def encode(record: Record) -> bytes:
    """Write a record; one kind of content at most.

    Raises:
        InputError: A field outside its range, or two kinds of content.
    """
    kinds = {
        Kind.SAMPLES: [_samples(part) for part in record.samples],
        Kind.VALUES: [_value(value) for value in record.values],
        Kind.ALARM: [alarm_event.encode(event) for event in record.alarms],
    }
    filled = [(kind, parts) for kind, parts in kinds.items() if parts]
    if record.active is not None:
        filled.append((Kind.ACTIVE, [alarm_event.encode(event) for event in record.active]))
    if len(filled) > 1:
        raise InputError("a record has one kind of content")
    kind, parts = filled[0] if filled else (Kind.STATE, [])
    try:
        head = _HEAD.pack(kind, record.state, len(parts), record.monotonic_ns)
    except struct.error as error:
        raise InputError("a field of the record is outside its range") from error
    return head + b"".join(parts)


def decode(data: bytes) -> Record:
    """Read a record.

    Raises:
        FramingError: Malformed.
    """
    try:
        kind, state, count, monotonic_ns = _HEAD.unpack_from(data)
        moment = Record(state=_STATES[state], monotonic_ns=monotonic_ns)
        body = data[_HEAD.size :]
        if kind == Kind.SAMPLES:
            return _replace(moment, samples=_read_samples(body, count))
        if kind == Kind.VALUES:
            return _replace(moment, values=_read_values(body, count))
        if kind == Kind.ALARM:
            return _replace(moment, alarms=alarm_event.decode_all(body, count=count))
        if kind == Kind.ACTIVE:
            return _replace(moment, active=alarm_event.decode_all(body, count=count))
        if kind == Kind.STATE and not body and not count:
            return moment
    except (struct.error, KeyError, ValueError) as error:
        raise FramingError("not a record of the vitals ring") from error
    raise FramingError("unknown kind of record")


def _replace(
    moment: Record,
    *,
    samples: tuple[Samples, ...] = (),
    values: tuple[Value, ...] = (),
    alarms: tuple[AlarmEvent, ...] = (),
    active: tuple[AlarmEvent, ...] | None = None,
) -> Record:
    return Record(
        state=moment.state,
        monotonic_ns=moment.monotonic_ns,
        samples=samples,
        values=values,
        alarms=alarms,
        active=active,
    )


def _samples(part: Samples) -> bytes:
    try:
        words = array("h", part.values)
        words.byteswap()
        return _WAVE.pack(part.handle, len(words)) + words.tobytes()
    except (OverflowError, TypeError, struct.error) as error:
        raise InputError("a sample is outside 16 bits") from error


def _value(value: Value) -> bytes:
    try:
        return _VALUE.pack(value.handle, value.mdc_code, value.unit_code, value.value, value.status)
    except struct.error as error:
        raise InputError("a field of a numeric is outside its range") from error


def _read_samples(body: bytes, count: int) -> tuple[Samples, ...]:
    found: list[Samples] = []
    at = 0
    for _ in range(count):
        handle, size = _WAVE.unpack_from(body, at)
        at += _WAVE.size + 2 * size
        words = array("h", body[at - 2 * size : at])
        if len(words) != size:
            raise FramingError("record ends inside its samples")
        words.byteswap()
        found.append(Samples(handle, tuple(words)))
    if at != len(body):
        raise FramingError("bytes after the samples")
    return tuple(found)


def _read_values(body: bytes, count: int) -> tuple[Value, ...]:
    if len(body) != count * _VALUE.size:
        raise FramingError("numerics and their number disagree")
    return tuple(
        Value(handle=handle, mdc_code=mdc, unit_code=unit, value=value, status=_STATUSES[status])
        for handle, mdc, unit, value, status in _VALUE.iter_unpack(body)
    )
