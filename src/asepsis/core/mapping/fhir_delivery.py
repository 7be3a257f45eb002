"""A PCD-01 message as a FHIR transaction for somebody else's server.

Every observation gets an id made of what it is, and is put under it: a transaction that is sent
twice stores nothing twice. Patient and device are named by identifier, because the other server
need not have our resources. What is in doubt (time, patient) is not sent as if it were not.

Source: HL7 FHIR R4 http (update as create, transaction), references (logical references).
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from asepsis.core.errors import ContentMismatch, InputError, UnsupportedMedia
from asepsis.core.mapping.fhir_numeric import Origin, numeric_to_observation
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.mapping.pcd01 import DeviceNumerics, numerics_of_entry
from asepsis.core.mapping.sender_time import Certainty
from asepsis.core.wire.fhir import Bundle, BundleEntry, BundleRequest
from asepsis.core.wire.fhir_codec import encode
from asepsis.core.wire.fhir_types import Identifier, Reference
from asepsis.core.wire.hl7 import Message
from asepsis.core.wire.hl7_parts import part_span
from asepsis.core.wire.message_record import MessageEntry

URI_SYSTEM: Final = "urn:ietf:rfc:3986"
_ID_CHARS: Final = 32
_SURE: Final = frozenset({Certainty.OFFSET, Certainty.ZONE})


def transaction_of(entry: MessageEntry, message: Message, *, key: str) -> bytes:
    """Return the transaction of one message, as FHIR JSON.

    Args:
        entry: The message and its gateway's findings.
        message: The same, parsed.
        key: Names the message for ever; part of every observation's id.

    Raises:
        UnsupportedMedia: The message holds no number of a device that is known.
        ContentMismatch: It names another patient than the device is confirmed for, or a time that
            is two instants, or none.

    Source: HL7 FHIR R4 Bundle (transaction).
    """
    found = numerics_of_entry(entry, message).value
    if not found:
        raise UnsupportedMedia("the message holds no number of a known device")
    for device in found:
        if device.other_patient:
            raise ContentMismatch("the message names another patient than its device has")
        if device.certainty not in _SURE:
            raise ContentMismatch(f"its time is {device.certainty.value}")
    subject = patient_reference(message)
    entries = [one for device in found for one in _entries(device, subject, key)]
    bundle = Bundle(
        type="transaction", timestamp=to_instant(found[0].start_ns), entry=tuple(entries)
    )
    return encode(bundle)


def patient_reference(message: Message) -> Reference | None:
    """Return the patient of a message as a logical reference; None where it names none.

    Source: HL7 FHIR R4 references, Reference.identifier; HL7 v2.8.2 section 2A.14 (CX).
    """
    (field,) = message.first("PID", 3)
    if not field:
        return None

    def part(component: int, subcomponent: int) -> str:
        start, end = part_span(
            field,
            message.delimiters,
            repetition=1,
            component=component,
            subcomponent=subcomponent,
        )
        return message.decode(field[start:end])

    value, namespace, universal, kind = part(1, 1), part(4, 1), part(4, 2), part(4, 3)
    if not value:
        return None
    system = {"ISO": f"urn:oid:{universal}", "URI": universal}.get(kind) if universal else None
    shown = namespace or None
    return Reference(
        type="Patient", identifier=Identifier(system=system, value=value), display=shown
    )


def _entries(device: DeviceNumerics, subject: Reference | None, key: str) -> Sequence[BundleEntry]:
    made: list[BundleEntry] = []
    origin = Origin(device=device.device, start_ns=device.start_ns)
    named = Reference(
        type="Device", identifier=Identifier(system=URI_SYSTEM, value=device.device.uri)
    )
    for index, numeric in enumerate(device.numerics):
        text = f"{device.device.uri}#{key}#{device.start_ns}#{index}"
        name = hashlib.sha256(text.encode()).hexdigest()[:_ID_CHARS]
        observation = msgspec.structs.replace(
            numeric_to_observation(numeric, origin).value,
            id=name,
            subject=subject or named,
            device=named,
        )
        made.append(
            BundleEntry(
                full_url=f"urn:uuid:{name[:8]}-{name[8:12]}-4{name[13:16]}-8{name[17:20]}-{name[20:]}",
                resource=observation,
                request=BundleRequest(method="PUT", url=f"Observation/{name}"),
            )
        )
    if not made:
        raise InputError("a device without numbers")
    return made
