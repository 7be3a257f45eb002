"""What searches of the record answer: measurements with where they come from, and pages of them.

Source: HL7 FHIR R4 search, Bundle (searchset), Resource.meta, references 2.3.0.2 (logical
references); HL7 PoCD 1.0.0-ballot3; REQ-ORG-012.
"""

import hashlib
import re
import uuid
from collections.abc import Sequence
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from asepsis.core.mapping.fhir_device import device_identity
from asepsis.core.mapping.fhir_numeric import device_key, mdc_concept, metric_reference
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.mapping.nomenclature import UNITS_BY_CODE
from asepsis.core.model.identity import Assurance, DeviceId
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.fhir import (
    MDC_SYSTEM,
    POCD,
    Bundle,
    BundledResource,
    BundleEntry,
    BundleLink,
    BundleSearch,
    Device,
    DeviceMetric,
    DeviceName,
    Observation,
)
from asepsis.core.wire.fhir_types import CodeableConcept, Coding, Identifier, Meta, Reference

ASSURANCE_SYSTEM: Final = "urn:asepsis:assurance"
"""Tag: how far the origin of a value is proven (REQ-ORG-012)."""
RECORD_SYSTEM: Final = "urn:asepsis:record"
"""Tags `late`, `held-back`, `clock` and `ambiguous-hour`: what a reader must know of a value."""
AUTHORITY_SYSTEM: Final = "urn:asepsis:authority:"
"""In front of an assigning authority that is no URI itself."""
_URI: Final = re.compile(r"(?:urn|https?|oid):[!-~]{1,60}")
_MATCH: Final = BundleSearch(mode="match")
R = TypeVar("R", Observation, Device, DeviceMetric)


def patient_reference(patient: PatientId) -> Reference:
    """Return a logical reference: who it is, without a Patient resource that we do not keep.

    Source: HL7 FHIR R4 references 2.3.0.2; HL7 v2 CX.1 and CX.4.
    """
    return Reference(type="Patient", identifier=patient_identifier(patient))


def patient_identifier(patient: PatientId) -> Identifier:
    """Return the identifier of a patient; the authority becomes a URI if it is none."""
    return Identifier(system=authority_uri(patient.authority) or None, value=patient.value)


def authority_uri(authority: str) -> str:
    """Return an assigning authority as the URI that FHIR asks for; "" stays ""."""
    if not authority or _URI.fullmatch(authority):
        return authority
    return AUTHORITY_SYSTEM + quote(authority, safe="")


def recorded(
    observation: Observation,
    *,
    identity: str,
    received_at_ns: int,
    assurance: Assurance,
    notes: Sequence[str],
    patient: PatientId | None,
) -> Observation:
    """Return a mapped observation as the record gives it.

    Args:
        observation: What a mapping made, about the device itself.
        identity: What is unlike for any two measurements and like for one, for ever.
        received_at_ns: When the hub got it, nanoseconds since 1970.
        assurance: How far its origin is proven.
        notes: Codes of `RECORD_SYSTEM`.
        patient: Whose it certainly is; None leaves it under the device.

    Raises:
        InputError: A time outside of 1970 to 9999.

    Source: HL7 FHIR R4 Observation.issued, Resource.meta (lastUpdated, tag).
    """
    issued = to_instant(received_at_ns)
    meta = observation.meta or Meta()
    tags = [Coding(system=ASSURANCE_SYSTEM, code=assurance.value)]
    tags += [Coding(system=RECORD_SYSTEM, code=note) for note in notes]
    subject = observation.subject if patient is None else patient_reference(patient)
    return msgspec.structs.replace(
        observation,
        id=stable_id(identity),
        meta=msgspec.structs.replace(meta, last_updated=issued, tag=tuple(tags)),
        issued=issued,
        subject=subject,
    )


def stable_id(identity: str) -> str:
    """Return a UUID that is the same for the same identity (RFC 9562 version 8, SHA-256)."""
    digest = hashlib.sha256(identity.encode()).digest()[:16]
    return str(uuid.UUID(bytes=digest[:6] + bytes([0x80 | digest[6] & 0x0F, digest[7],
        0x80 | digest[8] & 0x3F]) + digest[9:]))  # fmt: skip


def searchset(
    resources: Sequence[BundledResource], *, self_url: str, next_url: str | None
) -> Bundle:
    """Return a page of results; how many there are in all is not counted.

    Args:
        resources: In order; observations have UUIDs, others live under `self_url`.
        self_url: Address of this page.
        next_url: Address of the next page, None on the last.

    Source: HL7 FHIR R4 search 3.1.1.6 (paging), Bundle.link.
    """
    links = [BundleLink(relation="self", url=self_url)]
    if next_url is not None:
        links.append(BundleLink(relation="next", url=next_url))
    base = self_url.partition("?")[0].rpartition("/fhir/")[0]
    entries = tuple(
        BundleEntry(full_url=_full_url(resource, base), resource=resource, search=_MATCH)
        for resource in resources
    )
    return Bundle(type="searchset", link=tuple(links), entry=entries)


def _full_url(resource: BundledResource, base: str) -> str:
    if isinstance(resource, Device | DeviceMetric):
        return f"{base}/fhir/{type(resource).__name__}/{resource.id}"
    return f"urn:uuid:{resource.id}"


def device_resource(device: DeviceId, *, model: str, active: bool) -> Device:
    """Return an enrolled device as far as the registry knows it.

    Source: HL7 PoCD MdsDevice.
    """
    identifier, carrier = device_identity(device)
    return Device(
        id=device_key(device),
        meta=Meta(profile=(f"{POCD}MdsDevice",)),
        identifier=(identifier,),
        udi_carrier=(carrier,) if carrier else (),
        status="active" if active else "inactive",
        device_name=(DeviceName(name=model, type="model-name"),) if model else (),
    )


def metric_resource(
    device: DeviceId, *, handle: int, mdc_code: int, unit_code: int, is_waveform: bool
) -> DeviceMetric:
    """Return a metric as it was seen in the data of a device.

    Source: HL7 PoCD NumericDeviceMetric, SampleArrayDeviceMetric.
    """
    kind = "SampleArray" if is_waveform else "Numeric"
    unit = UNITS_BY_CODE.get(unit_code)
    coding = Coding(system=MDC_SYSTEM, code=str(unit_code), display=unit.refid if unit else None)
    return DeviceMetric(
        id=metric_reference(device, handle).removeprefix("DeviceMetric/"),
        meta=Meta(profile=(f"{POCD}{kind}DeviceMetric",)),
        type=mdc_concept(mdc_code),
        unit=CodeableConcept(coding=(coding,), text=unit.ucum if unit else None),
        source=Reference(reference=f"Device/{device_key(device)}"),
        category="measurement",
    )
