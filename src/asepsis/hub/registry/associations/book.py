"""The association book: whose device this is now, answered from memory.

The book holds what is going on: patients in beds, devices at beds, proposals, and confirmed
associations. It belongs to one event loop, never blocks, and is changed only after the change was
committed. What *was* is asked of `AssociationService.history`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from asepsis.core.model.association import Association, AssociationState
from asepsis.core.model.patient import PatientId, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A patient as ADT tells of them.

    Attributes:
        id: Their identifier.
        name: PID-5 as people read it; untrusted text, "" if unknown.
        birth_date: PID-7, `YYYY-MM-DD` or shorter; "" if unknown.
        admitted_ns: Since when they are in this bed, nanoseconds since 1970; 0 if in none.
    """

    id: PatientId
    name: str
    birth_date: str
    admitted_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """One bed as the ward sees it.

    Attributes:
        place: Where.
        patient: Whom ADT puts there; None for nobody, and for two at once: then nobody knows.
        devices: Names of the devices that were placed there, sorted.
        associations: Confirmed and proposed associations of those devices or at that bed.
    """

    place: Place
    patient: Patient | None
    devices: tuple[str, ...]
    associations: tuple[Association, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDevice:
    """Where a device stands.

    Attributes:
        device: Its name.
        place: The bed.
        fixed: Whether it is fixed there, as a wall monitor is; else it is mobile.
        since_ns: Since when, nanoseconds since 1970.
    """

    device: str
    place: Place
    fixed: bool
    since_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """What goes on now, as read in one transaction.

    Attributes:
        version: Number of the last change.
        occupants: Bed and patient, one pair for each stay that goes on.
        placed: Where devices stand.
        associations: Confirmed and proposed ones that have no end.
        patients: Those in beds or in associations, in no bed as far as this says.
        rules: Wards whose fixed monitors follow ADT.
    """

    version: int = 0
    occupants: Sequence[tuple[Place, Patient]] = ()
    placed: Sequence[PlacedDevice] = ()
    associations: Sequence[Association] = ()
    patients: Mapping[PatientId, Patient] = field(default_factory=dict[PatientId, Patient])
    rules: frozenset[str] = frozenset()


class AssociationBook:
    """Answers who is where now, in a dictionary look-up."""

    def __init__(self) -> None:
        self._present = Present()
        self._now: dict[str, Association] = {}
        self._placed: dict[str, PlacedDevice] = {}
        self._beds: tuple[Bed, ...] | None = None

    @property
    def version(self) -> int:
        """Number of the last change that the book knows."""
        return self._present.version

    @property
    def rules(self) -> frozenset[str]:
        """Wards whose fixed monitors follow ADT."""
        return self._present.rules

    def load(self, present: Present) -> frozenset[str]:
        """Replace everything; return the devices whose confirmed association is another now."""
        before, self._present, self._beds = self._now, present, None
        confirmed = (a for a in present.associations if a.state is AssociationState.CONFIRMED)
        self._now = {association.device: association for association in confirmed}
        self._placed = {one.device: one for one in present.placed}
        return frozenset(
            device
            for device in before.keys() | self._now
            if before.get(device) != self._now.get(device)
        )

    def now(self, device: str) -> Association | None:
        """Return the confirmed association of a device; None while it has none."""
        return self._now.get(device)

    def proposals(self) -> Sequence[Association]:
        """Return what waits for a person, oldest first."""
        waiting = (a for a in self._present.associations if a.state is AssociationState.PROPOSED)
        return sorted(waiting, key=lambda a: (a.start_ns, a.id))

    def patient(self, patient: PatientId) -> Patient:
        """Return what ADT says of a patient; only the number where it says no more."""
        bare = Patient(id=patient, name="", birth_date="", admitted_ns=0)
        return self._present.patients.get(patient, bare)

    def placed(self, device: str) -> PlacedDevice | None:
        """Return where a device stands; None if nobody said."""
        return self._placed.get(device)

    def beds(self) -> Sequence[Bed]:
        """Return every bed that has a patient or a device, by place."""
        if self._beds is None:
            self._beds = self._make_beds()
        return self._beds

    def _make_beds(self) -> tuple[Bed, ...]:
        there: dict[Place, _There] = defaultdict(_There)
        for place, patient in self._present.occupants:
            there[place].patients[patient.id] = patient
        for one in self._present.placed:
            there[one.place].devices.append(one.device)
        for association in self._present.associations:
            stands = self._placed.get(association.device)
            # One that was asserted at another bed than where its device stands shows at both.
            places = {association.place, stands.place if stands else None}
            for place in places:
                if place is not None:
                    there[place].associations.append(association)
        return tuple(_bed(place, there[place]) for place in sorted(there))


@dataclass(slots=True)
class _There:
    """What is found at one bed."""

    patients: dict[PatientId, Patient] = field(default_factory=dict[PatientId, Patient])
    devices: list[str] = field(default_factory=list[str])
    associations: list[Association] = field(default_factory=list[Association])


def _bed(place: Place, there: _There) -> Bed:
    only = next(iter(there.patients.values())) if len(there.patients) == 1 else None
    return Bed(
        place=place,
        patient=only,
        devices=tuple(sorted(there.devices)),
        associations=tuple(sorted(there.associations, key=lambda a: (a.device, a.start_ns))),
    )
