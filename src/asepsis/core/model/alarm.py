"""Alarm conditions in the words of IEC 60601-1-8. The numbers are those on the wire.

An alarm *condition* is a state that the alarm system has found; an alarm *signal* is what people
hear and see of it. Asepsis carries conditions; signals belong to the device.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from asepsis.core.model.identity import Assurance

TEXT_BYTES_MAX: Final = 120


class AlarmPhase(IntEnum):
    """Onset, change and end are separate events with one condition id."""

    ONSET = 1
    CHANGE = 2
    END = 3


class AlarmKind(IntEnum):
    """IEC 60601-1-8 clauses 3.31 (physiological) and 3.36 (technical)."""

    PHYSIOLOGICAL = 1
    TECHNICAL = 2


class AlarmPriority(IntEnum):
    """IEC 60601-1-8 clause 6.1.2."""

    HIGH = 1
    MEDIUM = 2
    LOW = 3


class Inactivation(IntEnum):
    """State of the alarm signals, IEC 60601-1-8 clause 6.8."""

    NONE = 0
    AUDIO_PAUSED = 1
    AUDIO_OFF = 2
    ALARM_PAUSED = 3
    ALARM_OFF = 4
    ACKNOWLEDGED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEvent:
    """One event in the life of an alarm condition.

    Attributes:
        condition_id: 16 bytes (UUID), the same from onset to end.
        phase: Onset, change or end.
        kind: Physiological or technical.
        priority: High, medium or low.
        latching: Whether signals go on after the condition ended (clause 6.10).
        inactivation: State of the alarm signals at the device.
        mdc_code: 32-bit MDC code of the condition (ISO/IEEE 11073-10101), partition in the high 16.
        source_handle: Metric the condition refers to, 0 for the whole device.
        offset_ms: Milliseconds after the start of the interval of its batch, 0 to 65 535.
        text: What the device shows, at most `TEXT_BYTES_MAX` bytes of UTF-8; untrusted.
    """

    condition_id: bytes
    phase: AlarmPhase
    kind: AlarmKind
    priority: AlarmPriority
    latching: bool
    inactivation: Inactivation
    mdc_code: int
    source_handle: int
    offset_ms: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmNotice:
    """An alarm event as a receiver gets it from the hub.

    Attributes:
        device: Name of the device (or gateway) it is about.
        assurance: How far its origin is proven; None for a condition that the hub itself found.
        device_time_ns: Wall time of the device (of the hub, for its own), nanoseconds since 1970.
        received_at_ns: Wall time of the hub at arrival, nanoseconds since 1970.
        event: What happened.
        cause: For a condition that the hub itself found, the stable word for what is wrong, such as
            `silence`; else None.
    """

    device: str
    assurance: Assurance | None
    device_time_ns: int
    received_at_ns: int
    event: AlarmEvent
    cause: str | None = None
