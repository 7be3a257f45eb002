"""IHE ACM alert messages (PCD-04, ORU^R40) to alarm events, losses counted. Pure.

One OBR is one alert; its OBX rows are the facets of it: what happened, about what, and its phase,
state, inactivation, priority and type. Facets are known by their codes, not by their places.

What is doubtful about an alert is a loss and never loses the alert: a priority that is not stated
counts as high, an event that is in no table as an alarm of any sort. Only a device that is not
known without doubt has none, and a message about a moment (`tpoint`), which is no condition.

Source: IHE PCD TF-2 revision 10.0 section 3.4 (PCD-04 Report Alert) and appendix B.8; codes of
ISO/IEEE 11073-10101.
"""

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping.hl7_envelope import OWN_NAMESPACE
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.nomenclature import EVENTS_BY_CODE, PARTITION_METRICS
from asepsis.core.mapping.pcd01 import handle_of
from asepsis.core.mapping.pcd01_clock import SenderClock, TimeOf
from asepsis.core.mapping.pcd01_rows import SURE
from asepsis.core.model.alarm import (
    TEXT_BYTES_MAX,
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.identity import DeviceId
from asepsis.core.wire.hl7 import Message, Segment
from asepsis.core.wire.message_record import MessageEntry, MessageFindings

ALERTS_MAX: Final = 64
"""Alerts of one message, as many as an alarm document has events."""
EVENT_ALARM: Final = 196616
"""MDC_EVT_ALARM: an alarm of any sort."""
FACETS: Final[Mapping[str, str]] = {
    "68480": "MDC_ATTR_ALERT_SOURCE",
    "68481": "MDC_ATTR_EVENT_PHASE",
    "68482": "MDC_ATTR_ALARM_STATE",
    "68483": "MDC_ATTR_ALARM_INACTIVATION_STATE",
    "68484": "MDC_ATTR_ALARM_PRIORITY",
    "68485": "MDC_ATTR_ALERT_TYPE",
}
PHASES: Final = {
    "start": AlarmPhase.ONSET,
    "continue": AlarmPhase.CHANGE,
    "update": AlarmPhase.CHANGE,
    "escalate": AlarmPhase.CHANGE,
    "de-escalate": AlarmPhase.CHANGE,
    "reset": AlarmPhase.CHANGE,
    "end": AlarmPhase.END,
}
ENDED: Final = frozenset({"off", "inactive"})
LATCHED: Final = "latched"
INACTIVATIONS: Final = {
    "": Inactivation.NONE,
    "enabled": Inactivation.NONE,
    "audio-paused": Inactivation.AUDIO_PAUSED,
    "audio-off": Inactivation.AUDIO_OFF,
    "alarm-paused": Inactivation.ALARM_PAUSED,
    "alarm-off": Inactivation.ALARM_OFF,
    "alert-acknowledged": Inactivation.ACKNOWLEDGED,
}
PRIORITIES: Final = {
    "PH": AlarmPriority.HIGH,
    "PM": AlarmPriority.MEDIUM,
    "PL": AlarmPriority.LOW,
    "PN": AlarmPriority.LOW,
}
KINDS: Final = {"SP": AlarmKind.PHYSIOLOGICAL, "ST": AlarmKind.TECHNICAL}
_FACET_NAMES: Final = {
    **{name: name for name in FACETS.values()},
    "MDC_ATTR_EVT_PHASE": FACETS["68481"],
    "MDC_ATTR_ALERT_STATE": FACETS["68482"],
}
_CODE: Final = re.compile(r"[0-9]{1,10}")
_CODE_MAX: Final = 0xFFFFFFFF
_ATTRIBUTES: Final = "MDC_ATTR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAlarm:
    """One event in the life of an alert, as a message told it.

    Attributes:
        device: Whose alert it is.
        time: When it happened, by the sender's clock.
        event: What happened; its offset is 0.
    """

    device: DeviceId
    time: TimeOf
    event: AlarmEvent


@dataclass(slots=True)
class _Alert:
    """One OBR with what followed it."""

    order: Segment
    rows: list[Segment] = field(default_factory=list[Segment])
    words: list[bytes] = field(default_factory=list[bytes])


class _Loss(Exception):  # noqa: N818 - it is one, and never leaves this module
    """Why an alert has no place in the result."""


def is_alert(message: Message) -> bool:
    """Whether MSH-9 says that this is an alert message."""
    header = message.header
    return header.raw(9).split(header.delimiters.component)[:2] == [b"ORU", b"R40"]


def alarms_of_entry(entry: MessageEntry, message: Message) -> Mapped[Sequence[DeviceAlarm]]:
    """Return the alarm events of an alert message.

    Args:
        entry: The message and its findings.
        message: The same, parsed.
    """
    if not is_alert(message):
        return Mapped(())
    if entry.findings is None:
        return Mapped((), ("device: unverified, the message came without findings",))
    clock = SenderClock(message, entry.findings)
    losses: list[str] = []
    found: list[DeviceAlarm] = []
    for count, alert in enumerate(_alerts(message)):
        if count == ALERTS_MAX:
            losses.append(f"alert: more than {ALERTS_MAX} in one message")
            break
        try:
            found.append(_alarm(alert, message, entry.findings, clock, losses))
        except _Loss as loss:
            losses.append(str(loss))
    return Mapped(tuple(found), tuple(losses))


def _alerts(message: Message) -> Iterator[_Alert]:
    alert: _Alert | None = None
    for segment in message.segments():
        if segment.name == "OBR":
            if alert is not None:
                yield alert
            alert = _Alert(segment)
        elif alert is None:
            continue
        elif segment.name == "OBX":
            alert.rows.append(segment)
            alert.words.append(segment.raw(18))
        elif segment.name == "PRT":
            alert.words.append(segment.raw(10))
    if alert is not None:
        yield alert


def _alarm(
    alert: _Alert,
    message: Message,
    findings: MessageFindings,
    clock: SenderClock,
    losses: list[str],
) -> DeviceAlarm:
    device = _device(alert, message, findings)
    facets, event_row, source = _facets(alert)
    if event_row is None:
        raise _Loss("event: no row names one")
    told = _values(facets)
    phase = _phase(told)
    code = _event_code(event_row, losses)
    time = clock.time(event_row.raw(14) or alert.order.raw(7))
    if time.certainty not in SURE:
        losses.append(f"time: {time.certainty.value}, time of arrival taken")
    event = AlarmEvent(
        condition_id=_condition(alert.order, message, device),
        phase=phase,
        kind=_kind(told, event_row, code, losses),
        priority=_priority(told, event_row, losses),
        latching=told.get(FACETS["68482"]) == LATCHED,
        inactivation=_inactivation(told, losses),
        mdc_code=code,
        source_handle=source,
        offset_ms=0,
        text=_text(event_row, losses),
    )
    return DeviceAlarm(device=DeviceId(device), time=time, event=event)


def _device(alert: _Alert, message: Message, findings: MessageFindings) -> str:
    devices = dict(findings.peer.devices)
    delimiters = message.delimiters
    named = {
        devices.get(word, "")
        for whole in alert.words
        for word in whole.split(delimiters.repetition)
        if word.strip(delimiters.component)
    }
    if len(named) != 1 or "" in named:
        raise _Loss("device: unverified")
    return named.pop()


def _facets(alert: _Alert) -> tuple[dict[str, Segment], Segment | None, int]:
    """Return the attribute rows by name, the row of the event, and the handle of its source."""
    facets: dict[str, Segment] = {}
    event: Segment | None = None
    source = 0
    for row in alert.rows:
        name = _facet(row)
        if name:
            facets.setdefault(name, row)
            if name == FACETS["68480"]:
                source = source or _source(row, _word(row, 5))
        elif event is None:
            event = row
        else:
            source = source or _source(row, _word(row, 3))
    return facets, event, source


def _facet(row: Segment) -> str:
    """Return which attribute a row is, "" for an event or a source."""
    number, name = _word(row, 3), _word(row, 3, component=2)
    if name in FACETS:  # Some senders write the name first and the number behind it.
        number, name = name, number
    known = _FACET_NAMES.get(name) or FACETS.get(number, "")
    return known or (name if name.startswith(_ATTRIBUTES) else "")


def _source(row: Segment, code: str) -> int:
    """Return the handle that the source has in the values of its device, 0 if it is no metric."""
    if not _CODE.fullmatch(code) or int(code) >> 16 != PARTITION_METRICS:
        return 0
    path, _, _ = row.raw(4).rpartition(b".")  # The last number is that of the facet.
    return handle_of(path, int(code))


def _values(facets: Mapping[str, Segment]) -> dict[str, str]:
    return {name: _word(row, 5).strip() for name, row in facets.items()}


def _phase(told: Mapping[str, str]) -> AlarmPhase:
    word = told.get(FACETS["68481"], "").lower()
    if word == "tpoint":
        raise _Loss("phase: a moment, which is no condition")
    phase = PHASES.get(word, AlarmPhase.CHANGE)
    return AlarmPhase.END if told.get(FACETS["68482"], "").lower() in ENDED else phase


def _event_code(row: Segment, losses: list[str]) -> int:
    """Return the code of the event; what is no code of MDC is an alarm of any sort."""
    number, name = _word(row, 3), _word(row, 3, component=2)
    if not (_word(row, 3, component=3) == "MDC" and _CODE.fullmatch(number)):
        losses.append("event: no MDC code, taken as an alarm of any sort")
        return EVENT_ALARM
    code = int(number)
    known = EVENTS_BY_CODE.get(code)
    if not 0 < code <= _CODE_MAX or (known is not None and name and name != known.refid):
        losses.append("event: number and name of its code contradict each other")
        return EVENT_ALARM
    return code


def _kind(told: Mapping[str, str], row: Segment, code: int, losses: list[str]) -> AlarmKind:
    for word in (told.get(FACETS["68485"], ""), *_flags(row)):
        if word in KINDS:
            return KINDS[word]
    known = EVENTS_BY_CODE.get(code)
    losses.append("type: not stated as physiological or technical")
    return (known.kind if known else None) or AlarmKind.PHYSIOLOGICAL


def _priority(told: Mapping[str, str], row: Segment, losses: list[str]) -> AlarmPriority:
    for word in (told.get(FACETS["68484"], ""), *_flags(row)):
        if word in PRIORITIES:
            if word == "PN":
                losses.append("priority: none stated by the device, taken as low")
            return PRIORITIES[word]
    losses.append("priority: not stated, taken as high")
    return AlarmPriority.HIGH


def _flags(row: Segment) -> Iterator[str]:
    return (_word(row, 8, repetition=number) for number in range(1, 6))


def _inactivation(told: Mapping[str, str], losses: list[str]) -> Inactivation:
    word = told.get(FACETS["68483"], "").lower()
    if word not in INACTIVATIONS:
        losses.append("inactivation: not a word of the profile, taken as none")
    return INACTIVATIONS.get(word, Inactivation.NONE)


def _text(row: Segment, losses: list[str]) -> str:
    try:
        shown = row.text(5).strip() or row.text(3, component=2).strip()
    except InputError:
        losses.append("text: not valid in the message's character set, left out")
        return ""
    plain = "".join(c for c in shown if c.isprintable())
    return plain.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")


def _condition(order: Segment, message: Message, device: str) -> bytes:
    """Return the id of the alert: OBR-29.2 of its first message, else OBR-3 of this one.

    Raises:
        _Loss: Neither names it, so nobody could say when it ended.
    """
    delimiters = message.delimiters
    parent = order.raw(29, component=2).split(delimiters.subcomponent or b"&")
    own = order.raw(3, repetition=1).split(delimiters.component)
    named = parent if any(parent) else own
    if not any(named):
        raise _Loss("alert: neither OBR-3 nor OBR-29 names it")
    if named[1:2] == [OWN_NAMESPACE.encode()]:
        try:
            return uuid.UUID(named[0].decode("ascii", "replace")).bytes
        except ValueError:
            pass  # Somebody else's word for theirs.
    while named and not named[-1]:
        named.pop()
    whole = b"\x00".join((device.encode(), *named))
    return hashlib.blake2b(whole, digest_size=16).digest()


def _word(row: Segment, field: int, *, repetition: int = 1, component: int = 1) -> str:
    """Return a code, which is ASCII whatever the message's character set is."""
    raw = row.raw(field, repetition=repetition, component=component)
    return raw.decode("ascii", "replace").strip()
