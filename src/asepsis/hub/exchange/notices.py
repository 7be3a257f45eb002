"""The alarm events of a record, in the one form that receivers get."""

from collections.abc import Sequence
from typing import Final

from asepsis.core.mapping.alarm_document import document_to_alarms
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import Assurance
from asepsis.core.wire.fhir_alarm import AlarmDocument
from asepsis.core.wire.origin import OriginBatch

NS_PER_MS: Final = 1_000_000


def of_batch(batch: OriginBatch, *, received_at_ns: int) -> Sequence[AlarmNotice]:
    """Return the alarm events of a verified batch, or what its list names."""
    start_ns = batch.instant.wall_ns
    return tuple(
        AlarmNotice(
            device=batch.device.uri,
            assurance=Assurance.DEVICE_ORIGIN,
            device_time_ns=start_ns + event.offset_ms * NS_PER_MS,
            received_at_ns=received_at_ns,
            event=event,
        )
        for event in batch.alarm_events
    )


def of_document(
    document: AlarmDocument, *, assurance: Assurance, received_at_ns: int
) -> Sequence[AlarmNotice]:
    """Return the alarm events of an alarm document, or what its list names.

    Raises:
        InputError: No such time, or events more than 65 seconds apart.
    """
    timed = document_to_alarms(document).value
    return tuple(
        AlarmNotice(
            device=document.device,
            assurance=assurance,
            device_time_ns=timed.start_ns + event.offset_ms * NS_PER_MS,
            received_at_ns=received_at_ns,
            event=event,
        )
        for event in timed.events
    )
