"""Alarm events as JSON, for sources without an origin key, until FHIR R6 brings DeviceAlert.

The words are those of IEC 60601-1-8; the shape follows the elements of the draft DeviceAlert
(condition, type, priority, presence, signal), flattened to what one event says. It is our own
format: unknown fields are refused.

Source: IEC 60601-1-8:2006+A2:2020 clauses 3 and 6; HL7 FHIR R6 ballot, DeviceAlert; REQ-ALM.
"""

from typing import Annotated, Final, Literal

import msgspec

from asepsis.core.errors import InputError, LimitExceeded
from asepsis.core.model.alarm import TEXT_BYTES_MAX
from asepsis.core.model.identity import NAME_CHARS_MAX
from asepsis.core.wire.fhir_types import Instant

MEDIA_TYPE: Final = "application/vnd.asepsis.alarm+json"
BYTES_MAX: Final = 65_536
EVENTS_MAX: Final = 64

PhaseWord = Literal["onset", "change", "end"]
KindWord = Literal["physiological", "technical"]
PriorityWord = Literal["high", "medium", "low"]
InactivationWord = Literal[
    "none", "audio-paused", "audio-off", "alarm-paused", "alarm-off", "acknowledged"
]
ConditionId = Annotated[
    str, msgspec.Meta(pattern="^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]
Text = Annotated[str, msgspec.Meta(pattern="^[^\x00-\x1f\x7f-\x9f]*$", max_length=TEXT_BYTES_MAX)]


class AlarmEntry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """One event in the life of an alarm condition.

    Attributes:
        condition_id: UUID in lower case, the same from onset to end.
        phase: Onset, change or end of the condition.
        kind: Physiological or technical.
        priority: High, medium or low.
        latching: Whether the signals go on after the condition ended.
        inactivation: State of the alarm signals at the device.
        mdc_code: 32-bit MDC code of the condition.
        source_handle: Metric the condition refers to, 0 for the whole device.
        at: When, by the device's clock.
        text: What the device shows; at most `TEXT_BYTES_MAX` bytes of UTF-8.
    """

    condition_id: ConditionId
    phase: PhaseWord
    kind: KindWord
    priority: PriorityWord
    latching: bool
    inactivation: InactivationWord
    mdc_code: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]
    source_handle: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    at: Instant
    text: Text = ""


class AlarmDocument(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """Alarm events that a source sends at once.

    Attributes:
        device: Whose conditions they are: the sender itself, or one it is declared to speak for.
        events: 1 to `EVENTS_MAX`, in the order in which they happened.
        lists_active: The events are no events but the list of every active alarm condition, each
            once and as a change; it may be empty (REQ-ALM-014).
        made_at: When the document was made, by the device's clock; a list must say it, events are
            else of the time of the latest (REQ-ALM-021).
    """

    device: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    events: tuple[AlarmEntry, ...]
    lists_active: bool = False
    made_at: Instant | msgspec.UnsetType = msgspec.UNSET


_DECODER: Final = msgspec.json.Decoder(AlarmDocument)
_ENCODER: Final = msgspec.json.Encoder()


def encode_alarms(document: AlarmDocument) -> bytes:
    """Write alarm events as JSON.

    Source: IEC 60601-1-8; REQ-ALM.
    """
    return _ENCODER.encode(document)


def decode_alarms(data: bytes) -> AlarmDocument:
    """Read alarm events.

    Raises:
        LimitExceeded: Over `BYTES_MAX` bytes, `EVENTS_MAX` events or `TEXT_BYTES_MAX` of text.
        InputError: Not UTF-8, not JSON, a missing or unknown field, a word that is not one of
            IEC 60601-1-8, or a list that holds an onset, an end or a condition twice, or does not
            say when it was made.

    Source: IEC 60601-1-8; REQ-ALM-001 to 005.
    """
    if len(data) > BYTES_MAX:
        raise LimitExceeded(f"alarm document is over {BYTES_MAX} bytes")
    try:
        document = _DECODER.decode(data)
        texts = [len(event.text.encode()) for event in document.events]
    except msgspec.ValidationError as error:
        # Only the path: the library's text can quote what was sent.
        path = str(error).rpartition(" - at ")[2] if " - at " in str(error) else "`$`"
        raise InputError(f"not an alarm document, see {path}") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InputError("alarm document is not UTF-8 JSON") from error
    if document.lists_active:
        _require_list(document)
    elif not texts:
        raise LimitExceeded(f"an alarm document has 1 to {EVENTS_MAX} events")
    if len(texts) > EVENTS_MAX:
        raise LimitExceeded(f"an alarm document has 1 to {EVENTS_MAX} events")
    if max(texts, default=0) > TEXT_BYTES_MAX:
        raise LimitExceeded(f"alarm text is over {TEXT_BYTES_MAX} bytes")
    return document


def _require_list(document: AlarmDocument) -> None:
    entries = document.events
    if document.made_at is msgspec.UNSET:
        raise InputError("a list of active conditions says when it was made, see `$.madeAt`")
    if any(entry.phase != "change" for entry in entries):
        raise InputError("a list of active alarm conditions holds the onset or end of one")
    if len({entry.condition_id for entry in entries}) != len(entries):
        raise InputError("a list of active alarm conditions names one twice")
