"""The CapabilityStatement of `GET /metadata`.

Source: HL7 FHIR R4 CapabilityStatement; HL7 PoCD 1.0.0-ballot3.
"""

from typing import Final

from asepsis.core.wire.fhir import (
    POCD,
    CapabilityStatement,
    Interaction,
    Rest,
    RestResource,
    RestSecurity,
    Software,
)
from asepsis.core.wire.fhir_codec import encode

FHIR_VERSION: Final = "4.0.1"
DATE: Final = "2026-11-22"
_PROFILES: Final = ("NumericObservation", "CompoundNumericObservation", "MdsDevice")


def capability_statement() -> bytes:
    """Return the statement as FHIR JSON: what a device may send here, and how."""
    statement = CapabilityStatement(
        status="active",
        date=DATE,
        kind="capability",
        software=Software(name="Asepsis hub"),
        fhir_version=FHIR_VERSION,
        format=("json",),
        implementation_guide=(f"{POCD}ImplementationGuide/hl7.fhir.uv.pocd",),
        rest=(
            Rest(
                mode="server",
                documentation="Bundles by POST /fhir; the other lanes are those of ADP/1.",
                security=RestSecurity(cors=False, description="Mutual TLS, certificate of ADP/1"),
                resource=(
                    RestResource(
                        type="Observation",
                        supported_profile=tuple(f"{POCD}{name}" for name in _PROFILES[:2]),
                    ),
                    RestResource(type="Device", supported_profile=(f"{POCD}{_PROFILES[2]}",)),
                ),
                interaction=(Interaction(code="transaction"), Interaction(code="batch")),
            ),
        ),
    )
    return encode(statement)
