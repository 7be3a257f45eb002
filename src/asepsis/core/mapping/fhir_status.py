"""Measurement status and special values to and from the three places where FHIR keeps them.

Source: HL7 PoCD 1.0.0-ballot3, mapping of ISO/IEEE 11073-10201 MeasurementStatus: invalid and
not-available are reasons for an absent value, questionable and calibration-ongoing are
interpretations, test data is marked in the security metadata. REQ-OBS-003.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from asepsis.core.model.observation import MeasurementStatus
from asepsis.core.wire.fhir_types import CodeableConcept, Coding
from asepsis.core.wire.float_type import FloatSpecial

STATUS_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/measurement-status"
ABSENT_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
REASON_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

_INTERPRETED: Final = {
    MeasurementStatus.QUESTIONABLE: "questionable",
    MeasurementStatus.CALIBRATING: "calibration-ongoing",
}
_WITHHELD: Final = {
    MeasurementStatus.INVALID: "error",
    MeasurementStatus.NOT_AVAILABLE: "not-performed",
    MeasurementStatus.CALIBRATING: "temp-unknown",
}
_SPECIALS: Final = {
    FloatSpecial.NAN: "not-a-number",
    FloatSpecial.NRES: "unsupported",
    FloatSpecial.POSITIVE_INFINITY: "positive-infinity",
    FloatSpecial.NEGATIVE_INFINITY: "negative-infinity",
}
_STATUS_OF: Final = {
    "questionable": MeasurementStatus.QUESTIONABLE,
    "calibration-ongoing": MeasurementStatus.CALIBRATING,
}
_ABSENT: Final = {
    **{code: (special, MeasurementStatus.VALID) for special, code in _SPECIALS.items()},
    **{code: (FloatSpecial.NAN, status) for status, code in _WITHHELD.items()},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusMarks:
    """The FHIR side of one measurement status.

    Attributes:
        security: For `meta.security`.
        absent: For `dataAbsentReason`; if present, no number is sent.
        interpretation: For `interpretation`.
    """

    security: tuple[Coding, ...] = ()
    absent: CodeableConcept | None = None
    interpretation: tuple[CodeableConcept, ...] = ()


def _concept(system: str, code: str) -> CodeableConcept:
    return CodeableConcept(coding=(Coding(system=system, code=code),))


def reason_of(status: MeasurementStatus, special: FloatSpecial | None) -> str | None:
    """Return the code of the reason why no number is sent, or None if one is.

    Source: HL7 PoCD mapping of MeasurementStatus; FHIR R4 data-absent-reason; REQ-OBS-003.
    """
    return _WITHHELD.get(status) or (_SPECIALS[special] if special is not None else None)


def marks_of(status: MeasurementStatus, special: FloatSpecial | None) -> StatusMarks:
    """Return how FHIR says a status and, if the value is none, why.

    Args:
        status: Of the numeric.
        special: What stands in the place of a number, or None for a number.

    Source: HL7 PoCD mapping of MeasurementStatus; FHIR R4 data-absent-reason.
    """
    absent = reason_of(status, special)
    word = _INTERPRETED.get(status)
    test = status is MeasurementStatus.TEST
    return StatusMarks(
        security=(Coding(system=REASON_SYSTEM, code="HTEST"),) if test else (),
        absent=_concept(ABSENT_SYSTEM, absent) if absent else None,
        interpretation=(_concept(STATUS_SYSTEM, word),) if word else (),
    )


def _codes(concepts: Iterable[CodeableConcept], system: str) -> list[str]:
    return [c.code for concept in concepts for c in concept.coding if c.system == system and c.code]


def status_of(
    marks: StatusMarks, losses: list[str]
) -> tuple[FloatSpecial | None, MeasurementStatus]:
    """Return what FHIR's marks say: the special in the place of a number, and the status.

    Args:
        marks: As found in the resource.
        losses: Gets one sentence for each mark that our status cannot say.

    Source: HL7 PoCD mapping of MeasurementStatus; FHIR R4 data-absent-reason.
    """
    special, status = None, MeasurementStatus.VALID
    if not marks.security and not marks.interpretation and marks.absent is None:
        return special, status  # Nearly every value: nothing to look up.
    if any(c.system == REASON_SYSTEM and c.code == "HTEST" for c in marks.security):
        status = MeasurementStatus.TEST
    for code in _codes(marks.interpretation, STATUS_SYSTEM):
        if code in _STATUS_OF:
            status = _STATUS_OF[code]
        else:
            losses.append(f"interpretation: {code!r} has no place in a measurement status")
    if marks.absent is not None:
        special, reason = _absent(marks.absent, losses)
        status = reason if reason is not MeasurementStatus.VALID else status
    return special, status


def _absent(reason: CodeableConcept, losses: list[str]) -> tuple[FloatSpecial, MeasurementStatus]:
    for code in _codes((reason,), ABSENT_SYSTEM):
        if code in _ABSENT:
            return _ABSENT[code]
    losses.append("dataAbsentReason: kept as not available, its own reason has no place")
    return FloatSpecial.NAN, MeasurementStatus.NOT_AVAILABLE
