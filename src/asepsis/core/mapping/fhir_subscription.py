"""FHIR R4 Subscription with a rest-hook: what is accepted, and what a notification says.

A notification carries ids and nothing else: who is told reads what it may over the authorised
interfaces. A resource that asks for full content is answered with ids all the same.

Source: HL7 FHIR R4 Subscription; Subscriptions R5 Backport IG 1.1 (R4 notification, id-only).
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from asepsis.core.errors import FramingError, InputError, UnsupportedMedia
from asepsis.core.mapping.fhir_numeric import device_key
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.model.identity import DeviceId

CRITERIA: Final = "Observation"
"""The one criterion: which messages count is said by the route that names the destination."""
PROFILE: Final = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
    "backport-subscription-status-r4"
)
_PAYLOADS: Final = frozenset({"", "application/fhir+json"})
Short = Annotated[str, msgspec.Meta(max_length=1_000)]


class Channel(msgspec.Struct, frozen=True):
    """Subscription.channel; what else FHIR allows here is refused or not used."""

    type: Short
    endpoint: Short = ""
    payload: Short = ""
    header: tuple[Short, ...] = ()


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a Subscription that count; others are ignored, as FHIR demands."""

    resource_type: Literal["Subscription"] = msgspec.field(name="resourceType")
    status: Literal["requested", "active", "off", "error"]
    criteria: Short
    channel: Channel
    reason: Short = ""


def read_subscription(data: bytes) -> Subscription:
    """Read a Subscription that a consumer sends.

    Raises:
        FramingError: No Subscription in JSON.
        UnsupportedMedia: Another channel than rest-hook, another payload or criterion, or headers.

    Source: HL7 FHIR R4 Subscription.
    """
    try:
        found = msgspec.json.decode(data, type=Subscription)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FramingError(f"no Subscription: {error}") from error
    if found.channel.type != "rest-hook" or found.channel.header:
        raise UnsupportedMedia("a channel is rest-hook, without headers")
    if found.channel.payload not in _PAYLOADS:
        raise UnsupportedMedia("the payload is empty or application/fhir+json, ids only")
    if found.criteria != CRITERIA:
        raise UnsupportedMedia(
            f"the criterion is {CRITERIA}", hint="routes say which messages count"
        )
    return found


def resource_of(name: str, found: Subscription) -> bytes:
    """Return the Subscription as the hub keeps it: active, under its own id."""
    document: dict[str, Any] = {
        "resourceType": "Subscription",
        "id": name,
        "status": "active",
        "reason": found.reason or "not given",
        "criteria": found.criteria,
        "channel": {"type": "rest-hook", "endpoint": found.channel.endpoint},
    }
    return msgspec.json.encode(document)


def notification(name: str, devices: Sequence[DeviceId], *, key: str, at_ns: int) -> bytes:
    """Return a notification: new observations exist of these devices.

    Args:
        name: Id of the Subscription.
        devices: Whose observations; at least one.
        key: Names the event for ever; a repetition has the same.
        at_ns: When the message came, nanoseconds since 1970.

    Raises:
        InputError: No device.

    Source: Subscriptions R5 Backport IG 1.1, R4 topic-based notification, id-only.
    """
    if not devices:
        raise InputError("a notification is about a device")
    focus = [
        {"name": "focus", "valueReference": {"reference": f"Device/{device_key(device)}"}}
        for device in devices
    ]
    status: dict[str, Any] = {
        "resourceType": "Parameters",
        "meta": {"profile": [PROFILE]},
        "parameter": [
            {"name": "subscription", "valueReference": {"reference": f"Subscription/{name}"}},
            {"name": "status", "valueCode": "active"},
            {"name": "type", "valueCode": "event-notification"},
            {
                "name": "notification-event",
                "part": [{"name": "event-number", "valueString": key}, *focus],
            },
        ],
    }
    bundle = {
        "resourceType": "Bundle",
        "type": "history",
        "timestamp": to_instant(at_ns),
        "entry": [
            {
                "resource": status,
                "request": {"method": "GET", "url": f"Subscription/{name}/$status"},
                "response": {"status": "200"},
            }
        ],
    }
    return msgspec.json.encode(bundle)
