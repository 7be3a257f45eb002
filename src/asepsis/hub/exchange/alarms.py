"""Alarm documents of sources without an origin key, as JSON.

Source: REQ-ALM; standard/schemas (alarm document).
"""

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

import msgspec

from asepsis.core.errors import FramingError, LimitExceeded
from asepsis.core.journal.ports import Append, Receipt
from asepsis.core.model.alarm import (
    TEXT_BYTES_MAX,
    AlarmEvent,
    AlarmKind,
    AlarmPhase,
    AlarmPriority,
    Inactivation,
)
from asepsis.core.model.lanes import Account, Lane
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action
from asepsis.hub.exchange import rules
from asepsis.hub.exchange.intake import Intake

KIND: Final = "alarm-document"
EVENTS_MAX: Final = 64


class AlarmEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One alarm event; words instead of the numbers of the binary frame.

    Attributes:
        condition_id: UUID, the same from onset to end.
        phase: onset, change or end.
        kind: physiological or technical.
        priority: high, medium or low.
        latching: Whether signals go on after the condition ended.
        inactivation: none, audio-paused, audio-off, alarm-paused, alarm-off or acknowledged.
        mdc_code: 32-bit MDC code of the condition.
        source_handle: Metric it refers to, 0 for the whole device.
        at_ns: Device wall time, nanoseconds since 1970.
        text: What the device shows; untrusted.
    """

    condition_id: UUID
    phase: str
    kind: str
    priority: str
    latching: bool
    mdc_code: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    at_ns: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    inactivation: str = "none"
    source_handle: Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)] = 0
    text: Annotated[str, msgspec.Meta(max_length=TEXT_BYTES_MAX)] = ""


class AlarmDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alarm events of one device.

    Attributes:
        device: Whose alarms they are.
        events: One to `EVENTS_MAX` events, oldest first.
    """

    device: Annotated[str, msgspec.Meta(max_length=120)]
    events: Annotated[tuple[AlarmEntry, ...], msgspec.Meta(min_length=1, max_length=EVENTS_MAX)]


_DECODER: Final = msgspec.json.Decoder(AlarmDocument)


def decode_document(body: bytes) -> tuple[str, tuple[tuple[int, AlarmEvent], ...]]:
    """Read an alarm document; returns the device, and device wall time and event of each entry.

    Raises:
        FramingError: Malformed, an unknown word, or a field outside its range.
        LimitExceeded: A text over `TEXT_BYTES_MAX` bytes of UTF-8.
    """
    try:
        document = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The library's text can quote the document, which may hold a patient's name.
        raise FramingError("not an alarm document", hint="see the schema of ADP/1") from error
    return document.device, tuple((e.at_ns, _event(e)) for e in document.events)


def _event(entry: AlarmEntry) -> AlarmEvent:
    if len(entry.text.encode()) > TEXT_BYTES_MAX:
        raise LimitExceeded(f"an alarm text has at most {TEXT_BYTES_MAX} bytes")
    try:
        return AlarmEvent(
            condition_id=entry.condition_id.bytes,
            phase=AlarmPhase[_word(entry.phase)],
            kind=AlarmKind[_word(entry.kind)],
            priority=AlarmPriority[_word(entry.priority)],
            latching=entry.latching,
            inactivation=Inactivation[_word(entry.inactivation)],
            mdc_code=entry.mdc_code,
            source_handle=entry.source_handle,
            offset_ms=0,
            text=entry.text,
        )
    except KeyError as error:
        raise FramingError("an alarm event uses a word that the standard does not have") from error


def _word(text: str) -> str:
    """Return the name of an enum member; only lower case with hyphens is the standard's."""
    return text.upper().replace("-", "_") if text == text.lower() and "_" not in text else ""


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
            ),
            late=False,
        )
        return accepted.receipt
