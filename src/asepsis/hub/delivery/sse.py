"""Server-Sent Events: what a live view is told, as bytes.

Event types: `alarm` (with an id: its position in the alert lane), `numerics`, `waveform`, `stale`
(blank these), `cut` (the last event before the hub ends the stream) and comments as heartbeat.

Source: WHATWG HTML section 9.2; REQ-SUB-002, REQ-SUB-004, REQ-OBS-002.
"""

import base64
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import Assurance
from asepsis.core.model.observation import MeasurementStatus, Observation
from asepsis.core.wire import float_type
from asepsis.core.wire.frames import WaveformFrame

HEARTBEAT: Final = b": alive\n\n"
_encode: Final = msgspec.json.Encoder().encode


def event(name: str, data: object, *, position: int | None = None) -> bytes:
    """Write one event; JSON holds no raw line break, so one `data:` line is enough."""
    head = f"id: {position}\nevent: {name}\n" if position is not None else f"event: {name}\n"
    return head.encode() + b"data: " + _encode(data) + b"\n\n"


def retry(milliseconds: int) -> bytes:
    """Tell the client how long to wait before it reconnects."""
    return b"retry: %d\n\n" % milliseconds


def alarm(
    notice: AlarmNotice, *, position: int | None, unknown_since_ns: int | None = None
) -> bytes:
    """Write an alarm event.

    Args:
        notice: What happened.
        position: Its place in the alert lane; None for one that is repeated as still active, which
            must not move the client's `Last-Event-ID` backwards.
        unknown_since_ns: Wall time since which it is not known whether the condition is still
            active, nanoseconds since 1970; None if it is known.
    """
    what = notice.event
    data = {
        "device": notice.device,
        "found_by": "hub" if notice.assurance is None else "device",
        "cause": notice.cause,
        "assurance": notice.assurance.value if notice.assurance else None,
        "condition_id": what.condition_id.hex(),
        "phase": what.phase.name.lower(),
        "kind": what.kind.name.lower(),
        "priority": what.priority.name.lower(),
        "latching": what.latching,
        "inactivation": what.inactivation.name.lower().replace("_", "-"),
        "mdc_code": what.mdc_code,
        "source_handle": what.source_handle,
        "text": what.text,
        "device_time_ns": notice.device_time_ns,
        "received_at_ns": notice.received_at_ns,
        "unknown_since_ns": unknown_since_ns,
    }
    return event("alarm", data, position=position)


def numerics(observations: Sequence[Observation]) -> bytes:
    """Write the current values of one device; at least one observation."""
    first = observations[0]
    data = {
        "device": first.device.uri,
        "assurance": first.assurance.value,
        "epoch": first.epoch,
        "sequence": first.sequence,
        "received_at_ns": first.received_at_ns,
        "numerics": [
            {
                "handle": o.numeric.handle,
                "mdc_code": o.numeric.mdc_code,
                "unit_code": o.numeric.unit_code,
                "value": _value(o),
                "status": o.numeric.status.name.lower().replace("_", "-"),
                "device_time_ns": o.device_time_ns,
                "unverified": o.unverified or None,
            }
            for o in observations
        ],
    }
    return event("numerics", data)


def waveform(device: str, frame: WaveformFrame, assurance: Assurance) -> bytes:
    """Write one proven frame; samples are Base64 of big-endian int16."""
    data = {
        "device": device,
        "assurance": assurance.value,
        "handle": frame.handle,
        "frame_sequence": frame.frame_sequence,
        "mdc_code": frame.metric.mdc_code,
        "unit_code": frame.metric.unit_code,
        "wall_ns": frame.wall_ns,
        "period_ns": frame.metric.period_ns,
        "scale": _text(frame.metric.scale),
        "offset": _text(frame.metric.offset),
        "samples": base64.b64encode(frame.sample_bytes).decode(),
    }
    return event("waveform", data)


def stale(device: str, handles: Sequence[int]) -> bytes:
    """Tell the view to blank values: a stale value is never left standing."""
    return event("stale", {"device": device, "handles": list(handles)})


def cut(reason: str) -> bytes:
    """Write the last event of a stream that the hub ends."""
    return event("cut", {"reason": reason})


def _value(observation: Observation) -> str | None:
    numeric = observation.numeric
    # What is not valid is never a number that could be taken for one (REQ-OBS-003).
    if numeric.status in {MeasurementStatus.INVALID, MeasurementStatus.NOT_AVAILABLE}:
        return None
    return _text(numeric.value)


def _text(raw: int) -> str | None:
    value = float_type.to_decimal(raw)
    return f"{value:f}" if isinstance(value, Decimal) else None
