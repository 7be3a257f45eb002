"""What the hub would write about a device's own bundle or alarm document, for routes tried offline.

Source: docs/reference/routes.md, "What the hub writes".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping.alarm_document import document_to_alarms
from asepsis.core.mapping.fhir_numeric import effective_ns, observation_to_numerics
from asepsis.core.mapping.hl7_envelope import Envelope, Subject
from asepsis.core.mapping.pcd01_out import observations_to_message
from asepsis.core.mapping.pcd04_out import alarm_to_message
from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.observation import Observation as Measured
from asepsis.core.wire.fhir import Observation
from asepsis.core.wire.fhir_alarm import decode_alarms
from asepsis.core.wire.fhir_codec import decode_bundle

_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """One message to try routes with.

    Attributes:
        origin: What the routes that may take it are `from`.
        body: The message.
    """

    origin: str
    body: bytes


def is_document(data: bytes) -> bool:
    """Say whether a file is JSON, so a bundle or an alarm document."""
    return data.lstrip()[:1] == b"{"


def written_of(data: bytes, *, device: str, subject: Subject) -> list[Candidate]:
    """Return the messages about a bundle (PCD-01) or an alarm document (PCD-04).

    Args:
        data: FHIR Bundle or alarm document, JSON.
        device: Name of the device that sent the bundle; a document names its own.
        subject: As if the device were confirmed for this patient.

    Raises:
        InputError: Neither of the two, a bundle without numbers, or no device.
    """
    if b'"resourceType"' in data[:200]:
        if not device:
            raise InputError("a bundle is of a device", hint="--device urn:dev:mac:...")
        return [_of_bundle(data, DeviceId.parse(device), subject)]
    return list(_of_document(data, subject))


def _of_bundle(data: bytes, device: DeviceId, subject: Subject) -> Candidate:
    found: list[Measured] = []
    for entry in decode_bundle(data).resource.entry:
        one = entry.resource
        if isinstance(one, Observation) and (one.value_quantity or one.component):
            found += _measured(one, device)
    if not found:
        raise InputError("the bundle holds no number")
    envelope = Envelope(control_id="1", made_ns=max(one.device_time_ns for one in found))
    body = observations_to_message(found, envelope, subject=subject).value
    return Candidate("observations", body)


def _measured(observation: Observation, device: DeviceId) -> Iterator[Measured]:
    start_ns = effective_ns(observation)
    mapped = observation_to_numerics(observation, device=device, start_ns=start_ns)
    for numeric in mapped.value:
        at_ns = start_ns + numeric.offset_ms * _NS_PER_MS
        yield Measured(
            device=device,
            assurance=Assurance.SOURCE_CLAIMED,
            numeric=numeric,
            epoch=1,
            sequence=1,
            device_time_ns=at_ns,
            received_at_ns=at_ns,
            late=False,
        )


def _of_document(data: bytes, subject: Subject) -> Iterator[Candidate]:
    document = decode_alarms(data)
    timed = document_to_alarms(document).value
    for number, event in enumerate(timed.events, 1):
        at_ns = timed.start_ns + event.offset_ms * _NS_PER_MS
        notice = AlarmNotice(
            device=document.device,
            assurance=None,
            device_time_ns=at_ns,
            received_at_ns=at_ns,
            event=event,
        )
        envelope = Envelope(control_id=str(number), made_ns=at_ns)
        yield Candidate("alerts", alarm_to_message(notice, envelope, subject=subject).value)
