"""That a device is used for a patient, from when to when, and who says so (IHE PCIM)."""

from dataclasses import dataclass
from enum import StrEnum

from asepsis.core.model.patient import PatientId, Place


class AssociationState(StrEnum):
    """How far an association is asserted; only *confirmed* ones ever carry a value to a patient."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    ENDED = "ended"
    """It was confirmed from `start_ns` to `end_ns`."""
    REJECTED = "rejected"
    """It never held: a proposal declined or overtaken, or an admission that was cancelled."""


class Basis(StrEnum):
    """Why an association is proposed or confirmed."""

    ADT = "adt"
    LOCATION = "location"
    PERSON = "person"
    DEVICE = "device"
    WARD_RULE = "ward-rule"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """One device, one patient, one interval.

    Attributes:
        id: UUID version 4, text.
        device: Name of the device, a SAN URI.
        patient: Whom it is used for.
        place: The bed it stood at; None if nobody said.
        state: How far it is asserted.
        basis: Why; of the confirmation, once it is confirmed.
        start_ns: First moment it holds for, nanoseconds since 1970.
        end_ns: First moment it no longer holds for; None while it goes on.
        proposed_by: Who asserted it first, such as "adt" or "person:jdoe".
        confirmed_by: Who confirmed it; None while nobody did.
        end_reason: Why it ended or was rejected; None before.
    """

    id: str
    device: str
    patient: PatientId
    place: Place | None
    state: AssociationState
    basis: Basis
    start_ns: int
    end_ns: int | None
    proposed_by: str
    confirmed_by: str | None
    end_reason: str | None

    def covers(self, at_ns: int) -> bool:
        """Whether a value of that moment belongs to the patient by this association."""
        return (
            self.state in (AssociationState.CONFIRMED, AssociationState.ENDED)
            and self.start_ns <= at_ns
            and (self.end_ns is None or at_ns < self.end_ns)
        )
