"""Rows of the association tables as values, and back."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.patient import Place
from asepsis.hub.registry.associations.book import Patient, PlacedDevice
from asepsis.hub.registry.associations.scene import DeviceUse, KnownPatient, Stay, Use


def stay_of(row: Row[*tuple[Any, ...]], known: Mapping[bytes, KnownPatient]) -> Stay:
    """Return a stay."""
    return Stay(
        id=row.id,
        patient=known[row.patient].id,
        place=Place.of_key(row.place),
        event_ns=row.event_ns,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        certain=row.certain,
        cancelled=row.cancelled,
    )


def association_of(row: Row[*tuple[Any, ...]], known: Mapping[bytes, KnownPatient]) -> Association:
    """Return an association."""
    return Association(
        id=row.id,
        device=row.device,
        patient=known[row.patient].id,
        place=Place.of_key(row.place) if row.place is not None else None,
        state=AssociationState(row.state),
        basis=Basis(row.basis),
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        proposed_by=row.proposed_by,
        confirmed_by=row.confirmed_by,
        end_reason=row.end_reason.decode() if row.end_reason is not None else None,
    )


def occupant_of(row: Row[*tuple[Any, ...]], one: KnownPatient) -> tuple[Place, Patient]:
    """Return the bed of a stay and its patient."""
    return Place.of_key(row.place), patient_of(one, admitted_ns=row.event_ns)


def patient_of(one: KnownPatient, *, admitted_ns: int = 0) -> Patient:
    """Return a patient as the book shows one."""
    return Patient(id=one.id, name=one.name, birth_date=one.birth_date, admitted_ns=admitted_ns)


def placed_of(row: Row[*tuple[Any, ...]]) -> PlacedDevice:
    """Return where a device stands."""
    return PlacedDevice(
        device=row.device,
        place=Place.of_key(row.place),
        fixed=row.fixed,
        since_ns=row.since_ns,
    )


def placed_values(one: PlacedDevice) -> dict[str, Any]:
    """Return the row of a placement."""
    return {
        "device": one.device,
        "place": one.place.key(),
        "fixed": one.fixed,
        "since_ns": one.since_ns,
    }


def use_values(one: DeviceUse) -> dict[str, Any]:
    """Return the row of a device's last known use."""
    return {
        "device": one.device,
        "epoch": one.epoch,
        "use": one.use.value,
        "since_ns": one.since_ns,
        "vacated_ns": one.vacated_ns,
        "unseen": one.unseen,
    }


def use_of(row: Row[*tuple[Any, ...]]) -> DeviceUse:
    """Return the last known use of a device."""
    return DeviceUse(
        device=row.device,
        epoch=row.epoch,
        use=Use(row.use),
        since_ns=row.since_ns,
        vacated_ns=row.vacated_ns,
        unseen=row.unseen,
    )
