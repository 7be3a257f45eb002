"""The entries of alarm events: MessagePack, for they are few. Pure."""

from dataclasses import dataclass
from typing import Final

import msgspec

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import AlarmEvent, AlarmKind, AlarmPhase, AlarmPriority, Inactivation
from asepsis.core.model.identity import Assurance
from asepsis.hub.records.entries import ASSURANCES

_NO_ASSURANCE: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlarm:
    """An alarm event of the record.

    Attributes:
        t_ns: When, nanoseconds since 1970: device wall time, or the time of arrival if that of the
            device cannot be true.
        device_time_ns: What the device itself said.
        received_at_ns: Wall time of the hub at arrival.
        assurance: How far its origin is proven; None for the hub's own findings.
        late: Whether it came on the late lane.
        event: What happened; its offset is 0.
    """

    t_ns: int
    device_time_ns: int
    received_at_ns: int
    assurance: Assurance | None
    late: bool
    event: AlarmEvent


class _AlarmRow(msgspec.Struct, frozen=True, array_like=True):
    t_ns: int
    device_time_ns: int
    received_at_ns: int
    assurance: int
    late: bool
    condition_id: bytes
    phase: int
    kind: int
    priority: int
    latching: bool
    inactivation: int
    mdc_code: int
    source_handle: int
    text: str


_ALARM_ENCODER: Final = msgspec.msgpack.Encoder()
_ALARM_DECODER: Final = msgspec.msgpack.Decoder(_AlarmRow)


def encode_alarm(alarm: StoredAlarm) -> bytes:
    """Write an alarm event."""
    event, assurance = alarm.event, alarm.assurance
    return _ALARM_ENCODER.encode(
        _AlarmRow(
            alarm.t_ns,
            alarm.device_time_ns,
            alarm.received_at_ns,
            _NO_ASSURANCE if assurance is None else ASSURANCES.index(assurance),
            alarm.late,
            event.condition_id,
            event.phase,
            event.kind,
            event.priority,
            event.latching,
            event.inactivation,
            event.mdc_code,
            event.source_handle,
            event.text,
        )
    )


def alarm_of(entry: bytes) -> StoredAlarm:
    """Read an alarm event.

    Raises:
        FramingError: Not one that was stored by us.
    """
    try:
        row = _ALARM_DECODER.decode(entry)
        known = row.assurance != _NO_ASSURANCE
        return StoredAlarm(
            t_ns=row.t_ns,
            device_time_ns=row.device_time_ns,
            received_at_ns=row.received_at_ns,
            assurance=ASSURANCES[row.assurance] if known else None,
            late=row.late,
            event=AlarmEvent(
                condition_id=row.condition_id,
                phase=AlarmPhase(row.phase),
                kind=AlarmKind(row.kind),
                priority=AlarmPriority(row.priority),
                latching=row.latching,
                inactivation=Inactivation(row.inactivation),
                mdc_code=row.mdc_code,
                source_handle=row.source_handle,
                offset_ms=0,
                text=row.text,
            ),
        )
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise FramingError("an entry that is no alarm event") from error
