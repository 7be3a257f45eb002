"""What people do about associations and places. Pure; each act raises or changes the scene."""

from dataclasses import replace
from typing import Final

from asepsis.core.errors import Conflict, InputError, NotFound
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations.book import PlacedDevice
from asepsis.hub.registry.associations.rules import (
    PROPOSALS_MAX,
    Reason,
    require_confirming,
    require_past,
    require_reason,
    require_transition,
)
from asepsis.hub.registry.associations.scene import Scene
from asepsis.hub.registry.associations.settle import settle

FOREVER_NS: Final = (1 << 63) - 1


def propose(
    scene: Scene, device: str, patient: PatientId, *, actor: str, basis: Basis
) -> Association:
    """Propose a device for a patient, from now.

    Raises:
        NotFound: The hub knows no such patient from ADT: perhaps the number is mistyped.
        Conflict: The device is confirmed for this patient already, or too much is proposed.
    """
    _require_known(scene, patient)
    confirmed = scene.confirmed(device)
    if confirmed is not None and scene.same(confirmed.patient, patient):
        raise Conflict("the device is confirmed for this patient")
    waiting = scene.proposals(device)
    for one in waiting:
        if scene.same(one.patient, patient):
            return one
    if len(waiting) >= PROPOSALS_MAX:
        raise Conflict(f"{PROPOSALS_MAX} proposals wait for this device: decide them first")
    placed = scene.placed.get(device)
    made = Association(
        id=scene.fresh_id(),
        device=device,
        patient=patient,
        place=placed.place if placed else None,
        state=AssociationState.PROPOSED,
        basis=basis,
        start_ns=scene.now_ns,
        end_ns=None,
        proposed_by=actor,
        confirmed_by=None,
        end_reason=None,
    )
    scene.put(made)
    return made


def confirm(scene: Scene, association: str, *, actor: str, basis: Basis) -> Association:
    """Confirm a proposal: it holds from now, because that is what is seen at the bedside.

    What was before can be assigned later (`assign_late`), as an act of its own.

    Raises:
        NotFound: No such association.
        NotPermitted: The basis only proposes.
        Conflict: It is not proposed, or the device is confirmed for another patient.
    """
    require_confirming(basis)
    found = _find(scene, association)
    require_transition(found.state, AssociationState.CONFIRMED)
    if found.state is not AssociationState.PROPOSED:
        raise Conflict("only a proposal can be confirmed")
    other = scene.confirmed(found.device)
    if other is not None:
        raise Conflict(
            "the device is confirmed for another patient",
            hint="end that association first; both patients need somebody to look",
        )
    ended = [one.end_ns for one in scene.held(device=found.device) if one.end_ns is not None]
    made = replace(
        found,
        state=AssociationState.CONFIRMED,
        basis=basis,
        start_ns=max(scene.now_ns, *ended) if ended else scene.now_ns,
        confirmed_by=actor,
    )
    scene.put(made)
    scene.reject(scene.proposals(found.device), Reason.OVERTAKEN)
    return made


def reject(scene: Scene, association: str, *, reason: str) -> Association:
    """Decline a proposal; ADT does not propose it again for the same stay.

    Raises:
        NotFound: No such association.
        Conflict: It is not proposed.
        InputError: No reason.
    """
    require_reason(reason)
    found = _find(scene, association)
    if found.state is not AssociationState.PROPOSED:
        raise Conflict(f"the association is {found.state.value}, not proposed")
    scene.reject([found], by_person(reason))
    return scene.associations[association]


def end(scene: Scene, association: str, *, reason: str) -> Association:
    """End a confirmed association now.

    Raises:
        NotFound: No such association.
        Conflict: It is not going on.
        InputError: No reason.
    """
    require_reason(reason)
    found = _find(scene, association)
    if found.state is not AssociationState.CONFIRMED:
        raise Conflict(f"the association is {found.state.value}, not confirmed")
    scene.end(found, scene.now_ns, by_person(reason))
    _settle(scene, found.device)
    return scene.associations[association]


def assign_late(
    scene: Scene, device: str, patient: PatientId, *, start_ns: int, end_ns: int, actor: str
) -> Association:
    """Assign what a device recorded in a time that is over.

    Raises:
        NotFound: The hub knows no such patient.
        InputError: Not over, no length, or longer than `LATE_NS_MAX`.
        Conflict: It overlaps an interval that is or was confirmed for the device.
    """
    require_past(start_ns, end_ns, now_ns=scene.now_ns)
    _require_known(scene, patient)
    for one in scene.held(device=device):
        if one.start_ns < end_ns and start_ns < (one.end_ns or FOREVER_NS):
            raise Conflict(
                "in that time the device is confirmed for a patient",
                hint="assign the time before or after it; a wrong one is ended first",
            )
    made = Association(
        id=scene.fresh_id(),
        device=device,
        patient=patient,
        place=None,
        state=AssociationState.ENDED,
        basis=Basis.LATE,
        start_ns=start_ns,
        end_ns=end_ns,
        proposed_by=actor,
        confirmed_by=actor,
        end_reason=Reason.ASSIGNED_LATE,
    )
    scene.put(made)
    return made


def place_device(scene: Scene, device: str, place: Place | None, *, fixed: bool) -> None:
    """Say where a device stands; one that moves loses its association and its proposals.

    Args:
        scene: The device, its old bed and its new one.
        device: Which.
        place: The bed; None if it stands at none.
        fixed: Whether it is fixed there.

    Raises:
        InputError: A ward without room and bed is no place for a device, or fixed to no place.
    """
    if (place is not None and not place.is_bed) or (place is None and fixed):
        raise InputError("a device stands at a bed or in a room")
    before = scene.placed.get(device)
    if before is not None and before.place == place:
        if before.fixed != fixed:
            scene.placed[device] = replace(before, fixed=fixed, since_ns=scene.now_ns)
            settle(scene, place)
        return
    unplace(scene, device, Reason.MOVED)
    if place is not None:
        scene.placed[device] = PlacedDevice(
            device=device, place=place, fixed=fixed, since_ns=scene.now_ns
        )
        settle(scene, place)


def unplace(scene: Scene, device: str, reason: Reason) -> None:
    """End what a device was used for and take it from its place: it moved, or was revoked."""
    confirmed = scene.confirmed(device)
    if confirmed is not None:
        scene.end(confirmed, scene.now_ns, reason)
    scene.reject(scene.proposals(device), reason)
    scene.placed.pop(device, None)


def by_person(reason: str) -> str:
    """Return the reason of an end that a person made, in their own words."""
    return f"{Reason.BY_PERSON}: {reason}"


def _require_known(scene: Scene, patient: PatientId) -> None:
    if patient not in scene.patients:
        raise NotFound(
            "no such patient", hint="the hub learns of patients by ADT; is the number right?"
        )


def _find(scene: Scene, association: str) -> Association:
    found = scene.associations.get(association)
    if found is None:
        raise NotFound("no such association")
    return found


def _settle(scene: Scene, device: str) -> None:
    placed = scene.placed.get(device)
    if placed is not None:
        settle(scene, placed.place)
