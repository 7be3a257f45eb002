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
from asepsis.core.wire.fhir_alarm import decode_alarms
from asepsis.core.wire.origin import decode_batch
from asepsis.hub.exchange import alarms, notices, revealed, signed, technical
from asepsis.hub.exchange.ports import Directory

log = structlog.get_logger("exchange.projection")


@dataclass(frozen=True, slots=True)
class AlarmProjection:
    """Reads the alarm events of a record of the alert lane or the late lane.

    A list of active conditions is no event and tells none; what it reveals has records of its own.

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
        received_at_ns = record.append.received_at_ns
        own = record.append.producer == technical.PRODUCER
        match record.append.kind:
            case signed.KIND:
                batch = decode_batch(record.append.body)
                lists = batch.header.lists_active
                return () if lists else notices.of_batch(batch, received_at_ns=received_at_ns)
            case alarms.KIND:
                return self._of_document(record)
            case technical.EVENT_KIND if own:
                event = technical.decode_event(record.append.body)
                return (event.notice(received_at_ns=received_at_ns),)
            case revealed.KIND if own:
                return (revealed.decode(record.append.body, received_at_ns=received_at_ns),)
            case _:
                return ()

    def _of_document(self, record: Record) -> Sequence[AlarmNotice]:
        append = record.append
        document = decode_alarms(append.body)
        if document.lists_active:
            return ()
        if document.device == append.producer:
            assurance = Assurance.DEVICE_CERTIFICATE
        elif self.directory.observed(append.producer, document.device):
            assurance = Assurance.GATEWAY_OBSERVED
        else:
            assurance = Assurance.SOURCE_CLAIMED
        return notices.of_document(
            document, assurance=assurance, received_at_ns=append.received_at_ns
        )
