"""Alarm events to and from their JSON document.

Source: IEC 60601-1-8:2006+A2:2020; REQ-ALM-001 to 005; `core/wire/fhir_alarm.py`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from asepsis.core.errors import ContentMismatch, InputError
from asepsis.core.mapping.fhir_time import from_date_time, to_instant
from asepsis.core.mapping.nomenclature import EVENTS_BY_CODE
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.wire.fhir_alarm import AlarmDocument, AlarmEntry

_NS_PER_MS: Final = 1_000_000
_OFFSET_MS_MAX: Final = 65_535
_CONDITION_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedAlarms:
    """Alarm events on one time scale.

    Attributes:
        start_ns: Earliest time, nanoseconds since 1970; offsets count from it.
        events: In the order of the document.
    """

    start_ns: int
    events: tuple[AlarmEvent, ...]


def _word(member: AlarmPhase | AlarmKind | AlarmPriority | Inactivation) -> str:
    return member.name.lower().replace("_", "-")


def alarms_to_document(events: Sequence[AlarmEvent], *, start_ns: int) -> AlarmDocument:
    """Write alarm events in the words of IEC 60601-1-8; nothing is lost.

    Args:
        events: Of one interval.
        start_ns: Start of the interval, nanoseconds since 1970.

    Raises:
        InputError: A condition id that is not 16 bytes, or a time outside of 1970 to 9999.

    Source: IEC 60601-1-8 clauses 3.31, 3.36, 6.1.2, 6.7, 6.8.
    """
    return AlarmDocument(events=tuple(_entry(event, start_ns) for event in events))


def _entry(event: AlarmEvent, start_ns: int) -> AlarmEntry:
    if len(event.condition_id) != _CONDITION_BYTES:
        raise InputError("a condition id has 16 bytes")
    return AlarmEntry(
        condition_id=str(uuid.UUID(bytes=event.condition_id)),
        phase=cast("Literal['onset', 'change', 'end']", _word(event.phase)),
        kind=cast("Literal['physiological', 'technical']", _word(event.kind)),
        priority=cast("Literal['high', 'medium', 'low']", _word(event.priority)),
        latching=event.latching,
        inactivation=cast("Literal['none']", _word(event.inactivation)),
        mdc_code=event.mdc_code,
        source_handle=event.source_handle,
        at=to_instant(start_ns + event.offset_ms * _NS_PER_MS),
        text=event.text,
    )


def document_to_alarms(document: AlarmDocument) -> TimedAlarms:
    """Read the alarm events of a document; times finer than a millisecond are cut.

    Raises:
        InputError: No such time, or events more than 65 seconds apart in one document.
        ContentMismatch: A condition that is physiological by nature called technical, or the
            other way round; the two are shown and escalated differently.

    Source: IEC 60601-1-8 clauses 3.31, 3.36, 6.1.2, 6.7, 6.8; REQ-ALM-001 to 005.
    """
    times = [from_date_time(entry.at) for entry in document.events]
    start_ns = min(times, default=0)
    events = tuple(
        _event(entry, (time - start_ns) // _NS_PER_MS)
        for entry, time in zip(document.events, times, strict=True)
    )
    return TimedAlarms(start_ns=start_ns, events=events)


def _event(entry: AlarmEntry, offset_ms: int) -> AlarmEvent:
    if offset_ms > _OFFSET_MS_MAX:
        raise InputError("alarm events of one document are over 65 s apart")
    event = AlarmEvent(
        condition_id=uuid.UUID(entry.condition_id).bytes,
        phase=AlarmPhase[_name(entry.phase)],
        kind=AlarmKind[_name(entry.kind)],
        priority=AlarmPriority[_name(entry.priority)],
        latching=entry.latching,
        inactivation=Inactivation[_name(entry.inactivation)],
        mdc_code=entry.mdc_code,
        source_handle=entry.source_handle,
        offset_ms=offset_ms,
        text=entry.text,
    )
    check_kind(event)
    return event


def _name(word: str) -> str:
    return word.upper().replace("-", "_")


def check_kind(event: AlarmEvent) -> None:
    """Refuse an event that calls a condition what it is not by nature; unknown codes pass.

    Raises:
        ContentMismatch: For example an apnoea that is called technical.

    Source: IEC 60601-1-8 clauses 3.31 and 3.36; REQ-ALM-001.
    """
    known = EVENTS_BY_CODE.get(event.mdc_code)
    if known is not None and known.kind is not None and known.kind is not event.kind:
        raise ContentMismatch(f"{known.refid} is a {_word(known.kind)} condition")
