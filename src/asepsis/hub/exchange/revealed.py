"""Revealed events as records of the alert lane: every receiver is told what a list showed."""

from typing import Final

import msgspec

from asepsis.core.errors import FramingError
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmNotice,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.identity import Assurance
from asepsis.hub.exchange.active import Reason, Revealed

KIND: Final = "alarm-revealed"


class RevealedAlarm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of an `alarm-revealed`: one event of a device's alarm condition that the hub deduced.

    Attributes:
        version: Of this layout, 1.
        device: Whose condition it is.
        reason: How the hub knows.
        assurance: How far the origin of what it was deduced from is proven; None after a removal.
        condition_id: 32 hexadecimal digits.
        phase: 1 onset, 2 change, 3 end.
        kind: 1 physiological, 2 technical.
        priority: 1 high, 2 medium, 3 low.
        latching: Whether signals go on after the condition ended.
        inactivation: State of the alarm signals at the device.
        mdc_code: 32-bit MDC code.
        source_handle: Metric it refers to, 0 for the whole device.
        text: What the device showed.
        device_time_ns: Device time of what it was deduced from, nanoseconds since 1970.
    """

    device: str
    reason: Reason
    assurance: Assurance | None
    condition_id: str
    phase: AlarmPhase
    kind: AlarmKind
    priority: AlarmPriority
    latching: bool
    inactivation: Inactivation
    mdc_code: int
    source_handle: int
    text: str
    device_time_ns: int
    version: int = 1


def encode(revealed: Revealed) -> bytes:
    """Write a record body."""
    notice, event = revealed.notice, revealed.notice.event
    return msgspec.json.encode(
        RevealedAlarm(
            device=notice.device,
            reason=revealed.reason,
            assurance=notice.assurance,
            condition_id=event.condition_id.hex(),
            phase=event.phase,
            kind=event.kind,
            priority=event.priority,
            latching=event.latching,
            inactivation=event.inactivation,
            mdc_code=event.mdc_code,
            source_handle=event.source_handle,
            text=event.text,
            device_time_ns=notice.device_time_ns,
        )
    )


def decode(body: bytes, *, received_at_ns: int) -> AlarmNotice:
    """Read a record body as the event it tells.

    Args:
        body: Of an `alarm-revealed`.
        received_at_ns: When the record was written, nanoseconds since 1970.

    Raises:
        FramingError: Not such a body.
    """
    try:
        told = msgspec.json.decode(body, type=RevealedAlarm)
        condition_id = bytes.fromhex(told.condition_id)
    except (msgspec.MsgspecError, ValueError) as error:
        raise FramingError("not a revealed alarm event") from error
    return AlarmNotice(
        device=told.device,
        assurance=told.assurance,
        device_time_ns=told.device_time_ns,
        received_at_ns=received_at_ns,
        event=AlarmEvent(
            condition_id=condition_id,
            phase=told.phase,
            kind=told.kind,
            priority=told.priority,
            latching=told.latching,
            inactivation=told.inactivation,
            mdc_code=told.mdc_code,
            source_handle=told.source_handle,
            offset_ms=0,
            text=told.text,
        ),
    )
