"""The events of a ward view as bytes of Server-Sent Events, each made once for all viewers.

Source: WHATWG HTML section 9.2; docs/reference/ward-stream.md.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from asepsis.core.model.alarm import AlarmNotice, AlarmPhase
from asepsis.core.model.identity import Assurance
from asepsis.core.wire import float_type
from asepsis.core.wire.frames import WaveformFrame
from asepsis.hub.console.live_catalogue import Shown, event_label
from asepsis.hub.console.live_model import (
    DeviceFacts,
    Occupant,
    PlacedDevice,
    WardBed,
    display_name,
)
from asepsis.hub.console.text import visible

MS_NS: Final = 1_000_000
TEXT_CHARS_MAX: Final = 120
"""Longest foreign text on a tile."""
Value = tuple[int, str | None, str, int]
"""Handle, value as the device shows it (None for no number), status, milliseconds it may stand."""

_encode: Final = msgspec.json.Encoder().encode


def event(name: str, data: object, *, position: int | None = None) -> bytes:
    """Write one event; JSON holds no raw line break, so one `data:` line is enough."""
    head = f"id: {position}\nevent: {name}\n" if position is not None else f"event: {name}\n"
    return head.encode() + b"data: " + _encode(data) + b"\n\n"


def hello(*, stream: str, ward: str | None, wall_ns: int, stall_ms: int, retry_ms: int) -> bytes:
    """Begin a stream; what the viewer knew before is void.

    Args:
        stream: Name of this run of the hub.
        ward: The ward that is shown, None for all.
        wall_ns: Wall time of the hub.
        stall_ms: Silence of the stream after which the viewer blanks everything.
        retry_ms: Longest wait before it connects again.
    """
    data = {
        "stream": stream,
        "ward": ward,
        "wall_ms": wall_ns // MS_NS,
        "stall_ms": stall_ms,
        "retry_ms": retry_ms,
    }
    return b"retry: %d\n\n" % retry_ms + event("hello", data)


def beat(*, monotonic_ns: int, wall_ns: int) -> bytes:
    """Write the hub's time; the first event of every group, and at least one a second."""
    return b'event: beat\ndata: {"ms":%d,"wall_ms":%d}\n\n' % (
        monotonic_ns // MS_NS,
        wall_ns // MS_NS,
    )


def beds(shown: Iterable[WardBed], *, wards: Iterable[str], left_out: int) -> bytes:
    """Write every bed with its devices; it replaces what was told before.

    Args:
        shown: The beds.
        wards: Every ward there is.
        left_out: Beds that are too many for one view; then none is shown.
    """
    data = {
        "beds": [_bed(bed) for bed in shown],
        "wards": [_shown(ward) for ward in wards],
        "left_out": left_out,
    }
    return event("beds", data)


def _bed(bed: WardBed) -> dict[str, object]:
    state, patient = display_name(bed.devices)
    return {
        "key": bed.key,
        "ward": _shown(bed.ward),
        "label": _shown(bed.label),
        "patient": {"state": state} | _occupant(patient),
        "devices": [_placed(device) for device in bed.devices],
    }


def _placed(device: PlacedDevice) -> dict[str, object]:
    return {"name": device.name, "link": device.link, "association": device.association}


def _occupant(patient: Occupant | None) -> dict[str, str]:
    if patient is None:
        return {}
    return {
        "name": _shown(patient.name),
        "id": _shown(patient.id),
        "birth_date": _shown(patient.birth_date),
    }


def device(facts: DeviceFacts, *, assurance: Assurance | None, last_wall_ns: int | None) -> bytes:
    """Write what a tile says of a device; `last_wall_ns` is when its last data came."""
    data = {
        "name": facts.name,
        "label": _shown(facts.label),
        "connection": facts.connection,
        "state": facts.state.name.lower().replace("_", "-") if facts.state else None,
        "signs": facts.signs,
        "assurance": assurance.value if assurance else None,
        "last_wall_ms": last_wall_ns // MS_NS if last_wall_ns else None,
    }
    return event("device", data)


def metric(name: str, handle: int, mdc_code: int, *, shown: Shown, wave: bool) -> bytes:
    """Write how one metric of a device is shown."""
    data = {
        "device": name,
        "handle": handle,
        "wave": wave,
        "mdc_code": mdc_code,
        "label": shown.label,
        "name": shown.name,
        "group": shown.group,
        "part": shown.part,
        "rank": shown.rank,
        "unit": shown.unit,
    }
    return event("metric", data)


def numerics(
    name: str, values: Sequence[Value], *, received_at_ns: int, unverified: Mapping[int, str]
) -> bytes:
    """Write current values of one device, and why some of them are for no chart, by handle."""
    data: dict[str, object] = {
        "device": name,
        "wall_ms": received_at_ns // MS_NS,
        "values": values,
    }
    if unverified:
        data["unverified"] = {handle: _shown(reason) for handle, reason in unverified.items()}
    return event("numerics", data)


def stale(name: str, handles: Sequence[int]) -> bytes:
    """Tell the viewer to blank values; it does so by itself too."""
    return event("stale", {"device": name, "handles": handles})


def waveform(name: str, frame: WaveformFrame) -> bytes:
    """Write one frame; samples are Base64 of big-endian int16, -32768 for a missing one."""
    data = {
        "device": name,
        "handle": frame.handle,
        "sequence": frame.frame_sequence,
        # Microseconds are exact in a double until 2255; nanoseconds would not be.
        "at_ms": frame.wall_ns // 1_000 / 1_000,
        "period_ms": frame.metric.period_ns / MS_NS,
        "scale": _number(frame.metric.scale),
        "offset": _number(frame.metric.offset),
        "samples": base64.b64encode(frame.sample_bytes).decode(),
    }
    return event("waveform", data)


def alarm(notice: AlarmNotice, *, position: int | None, source: str, past: bool = False) -> bytes:
    """Write one alarm event.

    Args:
        notice: What happened.
        position: Its place in the alert lane, if it may move the viewer's `Last-Event-ID`.
        source: Label of the metric it refers to, empty if none or unknown.
        past: Whether it is told again after a reconnect and must not be shown as active.
    """
    return event(
        "alarm",
        {"device": notice.device, "past": past, **_alarm(notice, source)},
        position=position,
    )


def alarms(
    name: str, active: Sequence[tuple[AlarmNotice, str]], *, unknown_since_ns: int | None
) -> bytes:
    """Write every active condition of a device; it replaces what was told before.

    Args:
        name: The device.
        active: The last event of each condition, and the label of its metric.
        unknown_since_ns: Since when the conditions that the device told may have changed unseen,
            wall time in nanoseconds since 1970; None if they are known.

    Source: REQ-ALM-017.
    """
    since_ms = unknown_since_ns // MS_NS if unknown_since_ns is not None else None
    found = [_alarm(notice, source, unknown_since_ms=since_ms) for notice, source in active]
    return event("alarms", {"device": name, "active": found})


def _alarm(
    notice: AlarmNotice, source: str, *, unknown_since_ms: int | None = None
) -> dict[str, object]:
    what, own = notice.event, notice.assurance is None
    return {
        "id": what.condition_id.hex(),
        "phase": what.phase.name.lower(),
        "active": what.phase is not AlarmPhase.END,
        "kind": what.kind.name.lower(),
        "priority": what.priority.name.lower(),
        "latching": what.latching,
        "inactivation": what.inactivation.name.lower().replace("_", "-"),
        "label": event_label(what.mdc_code),
        "text": _shown(what.text),
        "source": source,
        "handle": what.source_handle,
        "found_by": "hub" if own else "device",
        # What the hub found it knows.
        "unknown_since_ms": None if own else unknown_since_ms,
        "assurance": notice.assurance.value if notice.assurance else None,
        "wall_ms": notice.received_at_ns // MS_NS,
    }


def cut(reason: str) -> bytes:
    """Write the last event of a stream that the hub ends."""
    return event("cut", {"reason": reason})


def decimal_text(raw: int) -> str | None:
    """Return a FLOAT-Type as the device shows it; None for what is no number."""
    value = float_type.to_decimal(raw)
    return f"{value:f}" if isinstance(value, Decimal) else None


def _shown(text: str) -> str:
    return visible(text, chars_max=TEXT_CHARS_MAX)


def _number(raw: int) -> float:
    return float_type.to_float(raw)
