"""Alarm documents of sources without an origin key, as JSON.

Source: REQ-ALM; standard/schemas/alarm.json.
"""

from dataclasses import dataclass
from typing import Final

from asepsis.core.journal.ports import Append, Link, Receipt
from asepsis.core.mapping.alarm_document import document_to_alarms
from asepsis.core.model.alarm import AlarmEvent
from asepsis.core.model.lanes import Account, Lane
from asepsis.core.wire.fhir_alarm import decode_alarms
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.intake import Intake

KIND: Final = "alarm-document"
NS_PER_MS: Final = 1_000_000


def decode_document(body: bytes) -> tuple[str, tuple[tuple[int, AlarmEvent], ...]]:
    """Read an alarm document; returns the device, and device wall time and event of each entry.

    Raises:
        InputError: Malformed, an unknown word, or a field outside its range.
        LimitExceeded: Too many events or too long a text.
    """
    document = decode_alarms(body)
    timed = document_to_alarms(document).value
    return document.device, tuple(
        (timed.start_ns + event.offset_ms * NS_PER_MS, event) for event in timed.events
    )


@dataclass(slots=True)
class AlarmLane:
    """Takes alarm documents on `/alerts`.

    Attributes:
        intake: What the lanes share.
    """

    intake: Intake

    async def receive(
        self, principal: Principal, body: bytes, *, epoch: int, sequence: int
    ) -> Receipt:
        """Take one document.

        Raises:
            InputError: Malformed, or not live.
            TrustError: Not the sender's to send, or the device signs its alarms.
            TransientError: The journal is full or busy; nothing was stored.

        Source: REQ-ALM-008.
        """
        device, _ = decode_document(body)
        self.intake.may_speak(principal, Action.SUBMIT_ALERT, device)
        rules.require_unsigned_allowed(signs=self.intake.facts(device).signs, what="alarm")
        accepted = await self.intake.store(
            Append(
                lane=Lane.ALERT,
                account=Account.FHIR,
                producer=principal.name,
                epoch=epoch,
                sequence=sequence,
                kind=KIND,
                body=body,
                received_at_ns=self.intake.clocks.wall(),
                link=Link.of(body),
            ),
            late=False,
        )
        return accepted.receipt
