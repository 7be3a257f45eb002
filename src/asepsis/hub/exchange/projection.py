"""What a stored record says: its alarm events, whatever kind of record brought them.

Everything here was checked before it was stored, so a record that cannot be read is our own bug;
it is reported and skipped, because one bad record must not end a live view.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from asepsis.core.errors import InputError
from asepsis.core.journal.ports import Record
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import Assurance
from asepsis.core.wire.origin import decode_batch
from asepsis.hub.exchange import alarms, signed, technical
from asepsis.hub.exchange.ports import Directory

log = structlog.get_logger("exchange.projection")


@dataclass(frozen=True, slots=True)
class AlarmProjection:
    """Reads the alarm events of a record of the alert lane.

    Attributes:
        directory: Says which gateways have network evidence.
    """

    directory: Directory

    def __call__(self, record: Record) -> Sequence[AlarmNotice]:
        """Return the alarm events of a record, perhaps none."""
        try:
            return self._read(record)
        except InputError:
            log.exception("unreadable record", kind=record.append.kind, position=record.position)
            return ()

    def _read(self, record: Record) -> Sequence[AlarmNotice]:
        match record.append.kind:
            case signed.KIND:
                return _of_batch(record)
            case alarms.KIND:
                return self._of_document(record)
            case technical.EVENT_KIND if record.append.producer == technical.PRODUCER:
                return _of_hub(record)
            case _:
                return ()

    def _of_document(self, record: Record) -> Sequence[AlarmNotice]:
        append = record.append
        device, entries = alarms.decode_document(append.body)
        if device == append.producer:
            assurance = Assurance.DEVICE_CERTIFICATE
        elif self.directory.observed(append.producer, device):
            assurance = Assurance.GATEWAY_OBSERVED
        else:
            assurance = Assurance.SOURCE_CLAIMED
        return tuple(
            AlarmNotice(
                device=device,
                assurance=assurance,
                device_time_ns=at_ns,
                received_at_ns=append.received_at_ns,
                event=event,
            )
            for at_ns, event in entries
        )


def _of_batch(record: Record) -> Sequence[AlarmNotice]:
    batch = decode_batch(record.append.body)
    start_ns = batch.instant.wall_ns
    return tuple(
        AlarmNotice(
            device=batch.device.uri,
            assurance=Assurance.DEVICE_ORIGIN,
            device_time_ns=start_ns + event.offset_ms * 1_000_000,
            received_at_ns=record.append.received_at_ns,
            event=event,
        )
        for event in batch.alarm_events
    )


def _of_hub(record: Record) -> Sequence[AlarmNotice]:
    event = technical.decode_event(record.append.body)
    return (
        AlarmNotice(
            device=event.device,
            assurance=None,
            device_time_ns=event.at_ns,
            received_at_ns=record.append.received_at_ns,
            event=event.alarm(),
        ),
    )
