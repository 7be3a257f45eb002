"""Alarm events to and from their JSON document.

Source: IEC 60601-1-8:2006+A2:2020; REQ-ALM-001 to 005; `core/wire/fhir_alarm.py`.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

from asepsis.core.errors import InputError
from asepsis.core.mapping.fhir_time import from_date_time, to_instant
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.nomenclature import EVENTS_BY_CODE
from asepsis.core.model.alarm import (
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.wire.fhir_alarm import (
    AlarmDocument,
    AlarmEntry,
    InactivationWord,
    KindWord,
    PhaseWord,
    PriorityWord,
)

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


def alarms_to_document(
    events: Sequence[AlarmEvent], *, device: str, start_ns: int
) -> AlarmDocument:
    """Write alarm events in the words of IEC 60601-1-8; nothing is lost.

    Args:
        events: Of one interval.
        device: Whose conditions they are.
        start_ns: Start of the interval, nanoseconds since 1970.

    Raises:
        InputError: A condition id that is not 16 bytes, or a time outside of 1970 to 9999.

    Source: IEC 60601-1-8 clauses 3.31, 3.36, 6.1.2, 6.7, 6.8.
    """
    entries = tuple(_entry(event, start_ns) for event in events)
    return AlarmDocument(device=device, events=entries)


def _entry(event: AlarmEvent, start_ns: int) -> AlarmEntry:
    if len(event.condition_id) != _CONDITION_BYTES:
        raise InputError("a condition id has 16 bytes")
    return AlarmEntry(
        condition_id=str(uuid.UUID(bytes=event.condition_id)),
        phase=cast("PhaseWord", _word(event.phase)),
        kind=cast("KindWord", _word(event.kind)),
        priority=cast("PriorityWord", _word(event.priority)),
        latching=event.latching,
        inactivation=cast("InactivationWord", _word(event.inactivation)),
        mdc_code=event.mdc_code,
        source_handle=event.source_handle,
        at=to_instant(start_ns + event.offset_ms * _NS_PER_MS),
        text=event.text,
    )


def document_to_alarms(document: AlarmDocument) -> Mapped[TimedAlarms]:
    """Read the alarm events of a document; times finer than a millisecond are cut and counted.

    An event that calls a condition physiological although it is technical by nature, or the other
    way round, is counted and never refused: a dispute about words must not lose an alarm.

    Raises:
        InputError: No such time, or events more than 65 seconds apart in one document.

    Source: IEC 60601-1-8 clauses 3.31, 3.36, 6.1.2, 6.7, 6.8; REQ-ALM-001 to 005.
    """
    losses: list[str] = []
    times = [from_date_time(entry.at) for entry in document.events]
    start_ns = min(times, default=0)
    events: list[AlarmEvent] = []
    for entry, time_ns in zip(document.events, times, strict=True):
        offset_ms, rest_ns = divmod(time_ns - start_ns, _NS_PER_MS)
        if rest_ns:
            losses.append("at: finer than a millisecond")
        events.append(_event(entry, offset_ms, losses))
    return Mapped(TimedAlarms(start_ns=start_ns, events=tuple(events)), tuple(losses))


def made_ns(document: AlarmDocument) -> int:
    """Return when a document was made, nanoseconds since 1970; else the time of its last event.

    Raises:
        InputError: No such time.

    Source: REQ-ALM-021.
    """
    if document.made_at:
        return from_date_time(document.made_at)
    return max(from_date_time(entry.at) for entry in document.events)


def _event(entry: AlarmEntry, offset_ms: int, losses: list[str]) -> AlarmEvent:
    if offset_ms > _OFFSET_MS_MAX:
        raise InputError("alarm events of one document are over 65 s apart")
    kind = AlarmKind[_name(entry.kind)]
    known = EVENTS_BY_CODE.get(entry.mdc_code)
    if known is not None and known.kind is not None and known.kind is not kind:
        losses.append(f"kind: {known.refid} is a {_word(known.kind)} condition by nature")
    return AlarmEvent(
        condition_id=uuid.UUID(entry.condition_id).bytes,
        phase=AlarmPhase[_name(entry.phase)],
        kind=kind,
        priority=AlarmPriority[_name(entry.priority)],
        latching=entry.latching,
        inactivation=Inactivation[_name(entry.inactivation)],
        mdc_code=entry.mdc_code,
        source_handle=entry.source_handle,
        offset_ms=offset_ms,
        text=entry.text,
    )


def _name(word: str) -> str:
    return word.upper().replace("-", "_")
