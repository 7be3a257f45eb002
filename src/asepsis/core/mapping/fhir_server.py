"""What the hub says of itself in FHIR: its capabilities and the outcome of a refused request.

Source: HL7 FHIR R4 (4.0.1) CapabilityStatement, OperationOutcome, http.
"""

from typing import Final, Literal

from asepsis.core.errors import (
    AsepsisError,
    BackPressure,
    Conflict,
    ContentMismatch,
    InputError,
    LimitExceeded,
    NotFound,
    RateLimited,
    SafetyRefusal,
    TransientError,
    TrustError,
    UnsupportedMedia,
)
from asepsis.core.mapping.fhir_time import to_instant
from asepsis.core.wire.fhir import (
    POCD,
    CapabilityStatement,
    Implementation,
    Interaction,
    Issue,
    OperationOutcome,
    Rest,
    RestResource,
    RestSecurity,
    Software,
)

FHIR_VERSION: Final = "4.0.1"

_PROFILES: Final = (
    ("Observation", ("NumericObservation", "CompoundNumericObservation", "SampleArrayObservation")),
    ("Device", ("MdsDevice", "VmdDevice", "ChannelDevice")),
    ("DeviceMetric", ("NumericDeviceMetric", "SampleArrayDeviceMetric")),
)

# Most derived class first: the first that fits names the issue type.
_ISSUE_TYPES: Final[tuple[tuple[type[AsepsisError], str], ...]] = (
    (LimitExceeded, "too-long"),
    (UnsupportedMedia, "not-supported"),
    (ContentMismatch, "business-rule"),
    (NotFound, "not-found"),
    (Conflict, "conflict"),
    (InputError, "structure"),
    (TrustError, "forbidden"),
    (SafetyRefusal, "business-rule"),
    (RateLimited, "throttled"),
    (BackPressure, "throttled"),
    (TransientError, "transient"),
)


def capability_statement(*, software_version: str, date_ns: int) -> CapabilityStatement:
    """Return what `GET /metadata` answers: transactions of point-of-care device resources.

    Args:
        software_version: Of the hub.
        date_ns: When the statement last changed, nanoseconds since 1970.

    Raises:
        InputError: The date is outside of the years 1970 to 9999.

    Source: HL7 FHIR R4 CapabilityStatement; http, capabilities interaction.
    """
    security = RestSecurity(
        cors=False,
        description="Mutual TLS 1.3 (floor 1.2, RFC 9325); a device speaks only for itself.",
    )
    resources = tuple(
        RestResource(
            type=kind,
            supported_profile=tuple(f"{POCD}{name}" for name in profiles),
            interaction=(Interaction(code="create"),),
        )
        for kind, profiles in _PROFILES
    )
    return CapabilityStatement(
        name="AsepsisHub",
        title="Asepsis hub, device side",
        status="active",
        date=to_instant(date_ns),
        kind="instance",
        software=Software(name="Asepsis", version=software_version),
        implementation=Implementation(description="The listener for devices of one hospital."),
        fhir_version=FHIR_VERSION,
        format=("json",),
        implementation_guide=("http://hl7.org/fhir/uv/pocd/ImplementationGuide/hl7.fhir.uv.pocd",),
        rest=(
            Rest(
                mode="server",
                security=security,
                resource=resources,
                interaction=(Interaction(code="transaction"),),
            ),
        ),
    )


def outcome_of(error: AsepsisError) -> OperationOutcome:
    """Return an error as FHIR clients expect it; texts of ours carry no patient data.

    Source: HL7 FHIR R4 OperationOutcome, value set issue-type.
    """
    code = next((word for kind, word in _ISSUE_TYPES if isinstance(error, kind)), "exception")
    severity: Literal["error", "fatal"] = "error" if code != "exception" else "fatal"
    hint = f" ({error.hint})" if error.hint else ""
    text = f"{error.code}: {error}{hint}"
    return OperationOutcome(issue=(Issue(severity=severity, code=code, diagnostics=text),))
