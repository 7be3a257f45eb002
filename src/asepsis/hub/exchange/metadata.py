"""The CapabilityStatement of `GET /metadata`.

Source: HL7 FHIR R4 CapabilityStatement; HL7 PoCD 1.0.0-ballot3.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

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
_PROFILES: Final[Mapping[str, tuple[str, ...]]] = {
    "Observation": (f"{POCD}NumericObservation", f"{POCD}CompoundNumericObservation"),
    "Device": (f"{POCD}MdsDevice",),
}
"""Of what is taken in a bundle."""


def capability_statement(readable: Iterable[RestResource]) -> bytes:
    """Return the statement as FHIR JSON: what a device may send here, and what can be read.

    Args:
        readable: What the record serves, by resource type.
    """
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
                resource=tuple(
                    msgspec.structs.replace(one, supported_profile=_PROFILES.get(one.type, ()))
                    for one in readable
                ),
                interaction=(Interaction(code="transaction"), Interaction(code="batch")),
            ),
        ),
    )
    return encode(statement)
