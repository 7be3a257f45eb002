"""What a lane takes and from whom. Pure: no socket, file, clock or randomness.

Source: ADP/1 REQ-OBS, REQ-WAV, REQ-ALM (lanes), REQ-ORG (origin signature), REQ-ERR (answers).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.errors import ContentMismatch, InputError, NotPermitted
from asepsis.core.model.identity import Assurance, PrincipalKind
from asepsis.core.model.lanes import Lane
from asepsis.core.wire import security_event, update_report
from asepsis.core.wire.message_record import BATCH_BYTES_MAX
from asepsis.hub.access.principal import Principal
from asepsis.hub.access.rules import Action

ORIGIN_BATCH: Final = "application/vnd.asepsis.origin-batch"
WAVEFORM: Final = "application/vnd.asepsis.waveform"
SECURITY: Final = security_event.MEDIA_TYPE
UPDATE: Final = update_report.MEDIA_TYPE
ALARM: Final = "application/vnd.asepsis.alarm+json"
FHIR_JSON: Final = "application/fhir+json"
HL7V2: Final = "application/hl7-v2"
HL7V2_BATCH: Final = "application/vnd.asepsis.hl7v2-batch"

EPOCH_MAX: Final = 2**63 - 1
COUNTER_DIGITS_MAX: Final = 19
"""Decimal digits of 2**63 - 1; a longer header is refused before it is converted."""


class Route(StrEnum):
    """The posting routes of the clinical listener."""

    ORIGIN = "/origin"
    ALERTS = "/alerts"
    WAVEFORMS = "/waveforms"
    LATE = "/late"
    FHIR = "/fhir"
    HL7V2 = "/hl7v2"


@dataclass(frozen=True, slots=True)
class RouteRule:
    """What one route takes.

    Attributes:
        action: What the access table calls it.
        media: Media types it takes, without parameters.
        body_bytes_max: Largest body in bytes.
        per_second: Requests a second that one device may send for long; gateways multiply it by
            the number of devices that they speak for.
        burst: Requests that may come at once after a pause.
    """

    action: Action
    media: frozenset[str]
    body_bytes_max: int
    per_second: float
    burst: int


ROUTE_RULES: Final[Mapping[Route, RouteRule]] = {
    Route.ORIGIN: RouteRule(Action.SUBMIT_ORIGIN, frozenset({ORIGIN_BATCH}), 65_536, 8, 32),
    # Alarms have a bucket of their own and a wide one: a storm of alarms is a reason to listen.
    Route.ALERTS: RouteRule(
        Action.SUBMIT_ALERT, frozenset({ORIGIN_BATCH, ALARM, SECURITY, UPDATE}), 65_536, 50, 200
    ),
    Route.WAVEFORMS: RouteRule(Action.SUBMIT_WAVEFORM, frozenset({WAVEFORM}), 262_144, 16, 64),
    # After an outage the spool is sent as fast as the hub takes it.
    Route.LATE: RouteRule(
        Action.SUBMIT_LATE,
        frozenset({ORIGIN_BATCH, WAVEFORM, FHIR_JSON, ALARM, SECURITY, UPDATE}),
        262_144,
        200,
        400,
    ),
    Route.FHIR: RouteRule(Action.SUBMIT_FHIR, frozenset({FHIR_JSON}), 262_144, 8, 32),
    # Of a batch each message counts.
    Route.HL7V2: RouteRule(
        Action.SUBMIT_HL7V2, frozenset({HL7V2, HL7V2_BATCH}), BATCH_BYTES_MAX, 50, 200
    ),
}


PATIENT: Final = frozenset(route.value for route in Route if route is not Route.ALERTS)
"""Lanes that wait their turn when the hub is busy: alarms never stand behind them (REQ-ALM-006)."""


def counter(header: bytes | None, *, name: str, least: int) -> int:
    """Read the decimal header `Asepsis-Epoch` or `Asepsis-Sequence`.

    Raises:
        InputError: Absent, not decimal digits, below `least` or above 2**63 - 1.
    """
    if not header:
        raise InputError(
            f"the header {name} is missing", hint="a source without origin key numbers its messages"
        )
    if len(header) > COUNTER_DIGITS_MAX or not header.isdigit():
        raise InputError(f"the header {name} is not a decimal number")
    value = int(header)
    if not least <= value <= EPOCH_MAX:
        raise InputError(f"the header {name} is out of range")
    return value


def assurance(principal: Principal, device: str, *, signed: bool, observed: bool) -> Assurance:
    """Say how far the origin of a message is proven.

    Args:
        principal: Who sent it; the access table let it speak for `device`.
        device: Whose values it brings.
        signed: Whether an origin signature over exactly these values verified.
        observed: Whether a gateway has network evidence of the device: it receives that device's
            own traffic, rather than a list that somebody else made.

    Source: REQ-ORG-012.
    """
    if signed:
        return Assurance.DEVICE_ORIGIN
    if principal.name == device:
        return Assurance.DEVICE_CERTIFICATE
    return Assurance.GATEWAY_OBSERVED if observed else Assurance.SOURCE_CLAIMED


def require_message_source(principal: Principal) -> None:
    """Refuse HL7 v2 from a device: only gateways and vendors' servers speak it for others.

    Raises:
        NotPermitted: The sender is no gateway.

    Source: REQ-MSG-003.
    """
    if principal.kind is not PrincipalKind.GATEWAY:
        raise NotPermitted("only a gateway sends HL7 v2", hint="a device sends its own data")


def require_unsigned_allowed(*, signs: bool, what: str) -> None:
    """Refuse an unsigned alarm or late bundle of a device that signs.

    Raises:
        NotPermitted: The device has an origin key: accepting the unsigned twin would let a taken
            network compartment forge what the key protects.
    """
    if signs:
        raise NotPermitted(
            f"this device signs its data; an unsigned {what} is not taken",
            hint="send it in an origin batch",
        )


def batch_named_by(identifier: str | None) -> tuple[int, int]:
    """Read `<epoch>/<sequence>`, the Bundle.identifier by which a bundle names its signed batch.

    Raises:
        ContentMismatch: Absent or malformed.
    """
    epoch, slash, sequence = (identifier or "").partition("/")
    if not slash or not (_is_counter(epoch) and _is_counter(sequence)):
        raise ContentMismatch(
            "the bundle does not name its signed batch",
            hint='Bundle.identifier.value is "<epoch>/<sequence>"',
        )
    return int(epoch), int(sequence)


def batch_lane(*, late: bool, has_alarms: bool) -> Lane:
    """Return the journal lane of a batch or alarm document: its content decides, not the route.

    Whatever carries an alarm event goes to the alert lane, so a receiver of alarms needs one lane.
    A list of active conditions is no event.
    """
    if late:
        return Lane.LATE
    return Lane.ALERT if has_alarms else Lane.VITALS


def _is_counter(text: str) -> bool:
    return (
        0 < len(text) < COUNTER_DIGITS_MAX and text.isascii() and text.isdigit() and int(text) > 0
    )
