"""FHIR R4 resources of the point-of-care device profiles, as frozen structs.

Observation carries NumericObservation, SampleArrayObservation, CompoundNumericObservation and
EnumerationObservation; Device carries MDS, VMD and channel; DeviceMetric carries the metrics.

Source: HL7 FHIR R4 (4.0.1); HL7 PoCD 1.0.0-ballot3.
"""

from typing import Final, Literal

import msgspec

from asepsis.core.wire.fhir_types import (
    Annotation,
    CodeableConcept,
    Count,
    DateTime,
    Extension,
    FhirDecimal,
    FhirStruct,
    Id,
    Identifier,
    Instant,
    Meta,
    Narrative,
    Period,
    Quantity,
    Ratio,
    Reference,
    SampledData,
)

POCD: Final = "http://hl7.org/fhir/uv/pocd/StructureDefinition/"
MDC_SYSTEM: Final = "urn:iso:std:iso:11073:10101"
UCUM_SYSTEM: Final = "http://unitsofmeasure.org"
EUI64_SYSTEM: Final = "urn:oid:1.2.840.10004.1.1.1.0.0.1.0.0.1.2680"

ObservationStatus = Literal[
    "registered",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "cancelled",
    "entered-in-error",
    "unknown",
]


class Resource(FhirStruct, frozen=True, kw_only=True, tag_field="resourceType"):
    """What every resource has (resource, Resource and DomainResource)."""

    id: Id | None = None
    meta: Meta | None = None
    language: str | None = None
    text: Narrative | None = None
    extension: tuple[Extension, ...] = ()
    identifier: tuple[Identifier, ...] = ()


class ReferenceRange(FhirStruct, frozen=True, kw_only=True):
    """Limits for comparison (Observation.referenceRange)."""

    low: Quantity | None = None
    high: Quantity | None = None
    type: CodeableConcept | None = None
    applies_to: tuple[CodeableConcept, ...] = ()
    text: str | None = None


class Component(FhirStruct, frozen=True, kw_only=True):
    """One value of a compound observation (Observation.component)."""

    extension: tuple[Extension, ...] = ()
    code: CodeableConcept
    value_quantity: Quantity | None = None
    value_codeable_concept: CodeableConcept | None = None
    value_string: str | None = None
    value_integer: int | None = None
    value_ratio: Ratio | None = None
    value_sampled_data: SampledData | None = None
    data_absent_reason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()
    reference_range: tuple[ReferenceRange, ...] = ()


class Observation(Resource, frozen=True, kw_only=True, tag="Observation"):
    """A measurement (FHIR R4 Observation; PoCD Numeric-, SampleArray-, Compound-, Enumeration-)."""

    part_of: tuple[Reference, ...] = ()
    status: ObservationStatus
    category: tuple[CodeableConcept, ...] = ()
    code: CodeableConcept
    subject: Reference | None = None
    encounter: Reference | None = None
    effective_date_time: DateTime | None = None
    effective_period: Period | None = None
    effective_instant: Instant | None = None
    issued: Instant | None = None
    performer: tuple[Reference, ...] = ()
    value_quantity: Quantity | None = None
    value_codeable_concept: CodeableConcept | None = None
    value_string: str | None = None
    value_integer: int | None = None
    value_ratio: Ratio | None = None
    value_sampled_data: SampledData | None = None
    data_absent_reason: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()
    note: tuple[Annotation, ...] = ()
    body_site: CodeableConcept | None = None
    method: CodeableConcept | None = None
    device: Reference | None = None
    reference_range: tuple[ReferenceRange, ...] = ()
    derived_from: tuple[Reference, ...] = ()
    component: tuple[Component, ...] = ()


class UdiCarrier(FhirStruct, frozen=True, kw_only=True):
    """Unique device identifier (Device.udiCarrier)."""

    device_identifier: str | None = None
    issuer: str | None = None
    jurisdiction: str | None = None
    carrier_aidc: str | None = msgspec.field(name="carrierAIDC", default=None)
    carrier_hrf: str | None = msgspec.field(name="carrierHRF", default=None)
    entry_type: str | None = None


class DeviceName(FhirStruct, frozen=True, kw_only=True):
    """A name of the device (Device.deviceName)."""

    name: str
    type: Literal[
        "udi-label-name",
        "user-friendly-name",
        "patient-reported-name",
        "manufacturer-name",
        "model-name",
        "other",
    ]


class DeviceVersion(FhirStruct, frozen=True, kw_only=True):
    """Design or firmware version (Device.version)."""

    type: CodeableConcept | None = None
    component: Identifier | None = None
    value: str


class DeviceProperty(FhirStruct, frozen=True, kw_only=True):
    """Configuration setting (Device.property)."""

    type: CodeableConcept
    value_quantity: tuple[Quantity, ...] = ()
    value_code: tuple[CodeableConcept, ...] = ()


class Device(Resource, frozen=True, kw_only=True, tag="Device"):
    """MDS, VMD or channel (FHIR R4 Device; PoCD MdsDevice, VmdDevice, ChannelDevice)."""

    udi_carrier: tuple[UdiCarrier, ...] = ()
    status: Literal["active", "inactive", "entered-in-error", "unknown"] | None = None
    status_reason: tuple[CodeableConcept, ...] = ()
    manufacturer: str | None = None
    manufacture_date: DateTime | None = None
    expiration_date: DateTime | None = None
    lot_number: str | None = None
    serial_number: str | None = None
    device_name: tuple[DeviceName, ...] = ()
    model_number: str | None = None
    part_number: str | None = None
    type: CodeableConcept | None = None
    version: tuple[DeviceVersion, ...] = ()
    property: tuple[DeviceProperty, ...] = ()
    patient: Reference | None = None
    owner: Reference | None = None
    location: Reference | None = None
    url: str | None = None
    note: tuple[Annotation, ...] = ()
    safety: tuple[CodeableConcept, ...] = ()
    parent: Reference | None = None


class Calibration(FhirStruct, frozen=True, kw_only=True):
    """Calibration of a metric (DeviceMetric.calibration)."""

    type: Literal["unspecified", "offset", "gain", "two-point"] | None = None
    state: Literal["not-calibrated", "calibration-required", "calibrated", "unspecified"] | None = (
        None
    )
    time: Instant | None = None


class TimingRepeat(FhirStruct, frozen=True, kw_only=True):
    """How often something happens (Timing.repeat)."""

    frequency: Count | None = None
    period: FhirDecimal | None = None
    period_unit: Literal["s", "min", "h", "d", "wk", "mo", "a"] | None = None


class Timing(FhirStruct, frozen=True, kw_only=True):
    """When something happens (datatypes, Timing); what a device says of its own rhythm."""

    repeat: TimingRepeat | None = None
    code: CodeableConcept | None = None


class DeviceMetric(Resource, frozen=True, kw_only=True, tag="DeviceMetric"):
    """What a device can measure, set or compute (FHIR R4 DeviceMetric; PoCD metrics)."""

    type: CodeableConcept
    unit: CodeableConcept | None = None
    source: Reference | None = None
    parent: Reference | None = None
    operational_status: Literal["on", "off", "standby", "entered-in-error"] | None = None
    color: Literal["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"] | None = (
        None
    )
    category: Literal["measurement", "setting", "calculation", "unspecified"]
    measurement_period: Timing | None = None
    calibration: tuple[Calibration, ...] = ()


class Issue(FhirStruct, frozen=True, kw_only=True):
    """One finding (OperationOutcome.issue)."""

    severity: Literal["fatal", "error", "warning", "information"]
    code: str
    details: CodeableConcept | None = None
    diagnostics: str | None = None
    location: tuple[str, ...] = ()
    expression: tuple[str, ...] = ()


class OperationOutcome(Resource, frozen=True, kw_only=True, tag="OperationOutcome"):
    """Outcome of a request (FHIR R4 OperationOutcome)."""

    issue: tuple[Issue, ...]


class BundleRequest(FhirStruct, frozen=True, kw_only=True):
    """How to process an entry of a transaction (Bundle.entry.request)."""

    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]
    url: str
    if_none_match: str | None = None
    if_modified_since: Instant | None = None
    if_match: str | None = None
    if_none_exist: str | None = None


class BundleResponse(FhirStruct, frozen=True, kw_only=True):
    """What became of an entry (Bundle.entry.response)."""

    status: str
    location: str | None = None
    etag: str | None = None
    last_modified: Instant | None = None
    outcome: OperationOutcome | None = None


class BundleLink(FhirStruct, frozen=True, kw_only=True):
    """Where a page, or the page after it, is found (Bundle.link)."""

    relation: str
    url: str


class BundleSearch(FhirStruct, frozen=True, kw_only=True):
    """Why an entry is in the result of a search (Bundle.entry.search)."""

    mode: Literal["match", "include", "outcome"] | None = None
    score: FhirDecimal | None = None


BundledResource = Observation | Device | DeviceMetric | OperationOutcome


class BundleEntry(FhirStruct, frozen=True, kw_only=True):
    """One resource of a bundle (Bundle.entry)."""

    full_url: str | None = None
    resource: BundledResource | None = None
    search: BundleSearch | None = None
    request: BundleRequest | None = None
    response: BundleResponse | None = None


class Bundle(FhirStruct, frozen=True, kw_only=True, tag_field="resourceType", tag="Bundle"):
    """A collection of resources sent at once (FHIR R4 Bundle)."""

    id: Id | None = None
    meta: Meta | None = None
    language: str | None = None
    identifier: Identifier | None = None
    type: Literal[
        "document",
        "message",
        "transaction",
        "transaction-response",
        "batch",
        "batch-response",
        "history",
        "searchset",
        "collection",
    ]
    timestamp: Instant | None = None
    total: Count | None = None
    link: tuple[BundleLink, ...] = ()
    entry: tuple[BundleEntry, ...] = ()


class Software(FhirStruct, frozen=True, kw_only=True):
    """Software that the statement is about (CapabilityStatement.software)."""

    name: str
    version: str | None = None


class Implementation(FhirStruct, frozen=True, kw_only=True):
    """The instance that the statement is about (CapabilityStatement.implementation)."""

    description: str
    url: str | None = None


class Interaction(FhirStruct, frozen=True, kw_only=True):
    """An operation that is supported (CapabilityStatement.rest.interaction)."""

    code: str
    documentation: str | None = None


class SearchParam(FhirStruct, frozen=True, kw_only=True):
    """A search parameter (CapabilityStatement.rest.resource.searchParam)."""

    name: str
    type: Literal["number", "date", "string", "token", "reference", "uri", "special"]
    documentation: str | None = None


class ResourceOperation(FhirStruct, frozen=True, kw_only=True):
    """An extended operation (CapabilityStatement.rest.resource.operation)."""

    name: str
    definition: str
    documentation: str | None = None


class RestResource(FhirStruct, frozen=True, kw_only=True):
    """A resource type that is served (CapabilityStatement.rest.resource)."""

    type: str
    profile: str | None = None
    supported_profile: tuple[str, ...] = ()
    documentation: str | None = None
    interaction: tuple[Interaction, ...] = ()
    search_param: tuple[SearchParam, ...] = ()
    operation: tuple[ResourceOperation, ...] = ()


class RestSecurity(FhirStruct, frozen=True, kw_only=True):
    """How requests are secured (CapabilityStatement.rest.security)."""

    cors: bool | None = None
    service: tuple[CodeableConcept, ...] = ()
    description: str | None = None


class Rest(FhirStruct, frozen=True, kw_only=True):
    """The RESTful side (CapabilityStatement.rest)."""

    mode: Literal["client", "server"]
    documentation: str | None = None
    security: RestSecurity | None = None
    resource: tuple[RestResource, ...] = ()
    interaction: tuple[Interaction, ...] = ()


class CapabilityStatement(
    FhirStruct, frozen=True, kw_only=True, tag_field="resourceType", tag="CapabilityStatement"
):
    """What a server can do (FHIR R4 CapabilityStatement)."""

    id: Id | None = None
    meta: Meta | None = None
    text: Narrative | None = None
    url: str | None = None
    version: str | None = None
    name: str | None = None
    title: str | None = None
    status: Literal["draft", "active", "retired", "unknown"]
    experimental: bool | None = None
    date: DateTime
    publisher: str | None = None
    description: str | None = None
    kind: Literal["instance", "capability", "requirements"]
    software: Software | None = None
    implementation: Implementation | None = None
    fhir_version: str
    format: tuple[str, ...]
    implementation_guide: tuple[str, ...] = ()
    rest: tuple[Rest, ...] = ()


AnyResource = Observation | Device | DeviceMetric | OperationOutcome | Bundle | CapabilityStatement
