"""What a decision about associations looks at, as values; loaded before it and saved after it.

A *scene* holds the patients, beds and devices that one event touches. Rules change the scene;
`records.py` writes what changed. So every rule runs in a test without a database.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations.book import PlacedDevice

HELD: Final = frozenset({AssociationState.CONFIRMED, AssociationState.ENDED})
"""States of associations that hold, or held, for an interval."""


class Use(StrEnum):
    """What a device's signed clinical state says about the patient at it."""

    ATTACHED = "attached"
    PAUSED = "paused"
    """Standby: perhaps the same patient, perhaps not."""
    VACANT = "vacant"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """The last change of a device's use.

    Attributes:
        device: Its name.
        epoch: Boot epoch that it was seen in.
        use: What it said.
        since_ns: Device time at which that began, nanoseconds since 1970.
        vacated_ns: When a patient was last taken off, or the device was switched off; 0 for never.
        unseen: Whether states are missing that the device may still send.
    """

    device: str
    epoch: int
    use: Use
    since_ns: int
    vacated_ns: int = 0
    unseen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPatient:
    """A patient that ADT told of.

    Attributes:
        id: Identifier.
        name: As people read it, "" if unknown.
        birth_date: `YYYY-MM-DD` or shorter, "" if unknown.
        alias_of: The identifier that this one was merged into, None if it was not.
        recorded_ns: Newest entry (EVN-2) about this patient's whereabouts, 0 for none.
    """

    id: PatientId
    name: str = ""
    birth_date: str = ""
    alias_of: PatientId | None = None
    recorded_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A patient in a bed, by ADT.

    Attributes:
        id: UUID version 4.
        patient: Who.
        place: Where.
        event_ns: Earliest moment that ADT's time can mean; names the event too.
        start_ns: First moment after everything that ADT's time can mean.
        end_ns: Earliest moment of leaving; None while it goes on.
        certain: Whether order and time were beyond doubt; else it only proposes.
        cancelled: Whether ADT took it back: then it never was.
    """

    id: str
    patient: PatientId
    place: Place
    event_ns: int
    start_ns: int
    end_ns: int | None
    certain: bool
    cancelled: bool

    def contains(self, at_ns: int) -> bool:
        """Whether the patient was there then."""
        return (
            not self.cancelled
            and self.event_ns <= at_ns
            and (self.end_ns is None or at_ns < self.end_ns)
        )

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.end_ns is None and not self.cancelled


@dataclass(slots=True, kw_only=True)
class Scene:
    """Everything a decision sees.

    Attributes:
        now_ns: Wall time of the hub.
        fresh_id: Makes UUIDs.
        patients: By identifier.
        stays: By id.
        associations: By id.
        placed: By device.
        uses: By device; a device that signs no states is absent.
        rules: Ward -> since when its fixed monitors follow ADT.
    """

    now_ns: int
    fresh_id: Callable[[], str]
    patients: dict[PatientId, KnownPatient] = field(default_factory=dict[PatientId, KnownPatient])
    stays: dict[str, Stay] = field(default_factory=dict[str, Stay])
    associations: dict[str, Association] = field(default_factory=dict[str, Association])
    placed: dict[str, PlacedDevice] = field(default_factory=dict[str, PlacedDevice])
    uses: dict[str, DeviceUse] = field(default_factory=dict[str, DeviceUse])
    rules: dict[str, int] = field(default_factory=dict[str, int])

    def root(self, patient: PatientId) -> PatientId:
        """Return the identifier that this one was merged into, or itself."""
        seen = {patient}
        while (known := self.patients.get(patient)) and known.alias_of is not None:
            if known.alias_of in seen:
                return patient
            patient = known.alias_of
            seen.add(patient)
        return patient

    def same(self, one: PatientId, other: PatientId) -> bool:
        """Whether two identifiers name one patient."""
        return self.root(one) == self.root(other)

    def stays_of(self, patient: PatientId) -> list[Stay]:
        """Return the stays of a patient under every identifier, that were not cancelled."""
        return [s for s in self.stays.values() if not s.cancelled and self.same(s.patient, patient)]

    def stays_at(self, place: Place) -> list[Stay]:
        """Return the stays at a bed that were not cancelled, by beginning."""
        found = (s for s in self.stays.values() if s.place == place and not s.cancelled)
        return sorted(found, key=lambda s: (s.event_ns, s.id))

    def devices_at(self, place: Place) -> list[PlacedDevice]:
        """Return the devices at a bed, by name."""
        return sorted((p for p in self.placed.values() if p.place == place), key=lambda p: p.device)

    def held(self, *, device: str = "", patient: PatientId | None = None) -> list[Association]:
        """Return the confirmed intervals of a device or patient, by beginning."""
        found = (
            a
            for a in self.associations.values()
            if a.state in HELD
            and (not device or a.device == device)
            and (patient is None or self.same(a.patient, patient))
        )
        return sorted(found, key=lambda a: (a.start_ns, a.id))

    def confirmed(self, device: str) -> Association | None:
        """Return the association of a device that goes on."""
        return next(
            (a for a in self.held(device=device) if a.state is AssociationState.CONFIRMED), None
        )

    def proposals(self, device: str) -> list[Association]:
        """Return what is proposed for a device, by beginning."""
        found = (
            a
            for a in self.associations.values()
            if a.device == device and a.state is AssociationState.PROPOSED
        )
        return sorted(found, key=lambda a: (a.start_ns, a.id))

    def waiting_for(self, patient: PatientId) -> list[Association]:
        """Return what is proposed for a patient under every identifier."""
        return [
            a
            for a in self.associations.values()
            if a.state is AssociationState.PROPOSED and self.same(a.patient, patient)
        ]

    def put(self, association: Association) -> None:
        """Add or replace an association."""
        self.associations[association.id] = association

    def end(self, association: Association, at_ns: int, reason: str) -> None:
        """End an interval at a moment, or earlier if it ended earlier; at none if it never held.

        An interval is only ever made shorter: what comes later than the news goes unassigned.
        """
        if association.end_ns is not None and association.end_ns <= at_ns:
            return
        if at_ns <= association.start_ns:
            self.put(
                replace(
                    association,
                    state=AssociationState.REJECTED,
                    end_ns=association.start_ns,
                    end_reason=reason,
                )
            )
            return
        self.put(
            replace(association, state=AssociationState.ENDED, end_ns=at_ns, end_reason=reason)
        )

    def reject(self, associations: Iterable[Association], reason: str) -> None:
        """Drop proposals."""
        for one in list(associations):
            self.put(
                replace(
                    one, state=AssociationState.REJECTED, end_ns=one.start_ns, end_reason=reason
                )
            )

    def cut(
        self, associations: Iterable[Association], at_ns: int, reason: str
    ) -> Iterator[Association]:
        """End those that hold at a moment, but for late assignments; yield what was cut."""
        for one in associations:
            if one.basis is not Basis.LATE and one.covers(at_ns):
                self.end(one, at_ns, reason)
                yield one
