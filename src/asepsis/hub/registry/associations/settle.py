"""What follows for a bed from who is in it and what stands at it. Pure.

ADT and location propose. Where the ward says that its fixed monitors follow ADT, the stay of the
only patient in a bed confirms them - unless anything speaks against it, and then a person decides.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations.book import PlacedDevice
from asepsis.hub.registry.associations.rules import PROPOSALS_MAX, PUT_ON_BEFORE_NS, Reason
from asepsis.hub.registry.associations.scene import HELD, Scene, Stay, Use

ADT: Final = "adt"
WARD_RULE: Final = "ward-rule"
FROM_PLACES: Final = frozenset({Basis.ADT, Basis.LOCATION})


def settle(scene: Scene, place: Place | None) -> None:
    """Bring the associations at a bed in line with what is known of it."""
    if place is None or not place.is_bed:
        return
    for association in scene.held():
        if association.place == place and association.basis is not Basis.LATE:
            _cut_contradicted(scene, association)
            _wait_for_leaving(scene, association)
    newest = {scene.root(stay.patient): stay for stay in scene.stays_at(place) if stay.open}
    for placed in scene.devices_at(place):
        _drop_overtaken(scene, placed, newest.keys())
        if scene.confirmed(placed.device) is None:
            _assert(scene, placed, list(newest.values()))


def _assert(scene: Scene, placed: PlacedDevice, there: Sequence[Stay]) -> None:
    if len(there) == 1 and _follow_adt(scene, placed, there[0]):
        return
    for stay in there:
        propose(scene, placed, stay)


def propose(scene: Scene, placed: PlacedDevice, stay: Stay) -> None:
    """Propose a device at a bed for the patient in it, once."""
    waiting = scene.proposals(placed.device)
    known = any(scene.same(one.patient, stay.patient) for one in waiting)
    if known or len(waiting) >= PROPOSALS_MAX or _declined(scene, placed.device, stay):
        return
    by_place = placed.since_ns > stay.start_ns
    scene.put(
        Association(
            id=scene.fresh_id(),
            device=placed.device,
            patient=stay.patient,
            place=placed.place,
            state=AssociationState.PROPOSED,
            basis=Basis.LOCATION if by_place else Basis.ADT,
            start_ns=max(stay.start_ns, placed.since_ns),
            end_ns=None,
            proposed_by=ADT,
            confirmed_by=None,
            end_reason=None,
        )
    )


def _cut_contradicted(scene: Scene, association: Association) -> None:
    """End an interval where ADT brings another patient into its bed."""
    for stay in scene.stays_at(association.place) if association.place else ():
        later = association.start_ns < stay.event_ns
        if later and not scene.same(stay.patient, association.patient):
            scene.end(association, stay.event_ns, Reason.CONTRADICTED)
            return


def _wait_for_leaving(scene: Scene, association: Association) -> None:
    """Begin an interval of the ward's rule only when whoever was in the bed before had left."""
    association = scene.associations[association.id]  # As the cut left it.
    if association.basis is not Basis.WARD_RULE or association.state not in HELD:
        return
    left_ns = [
        stay.end_ns
        for stay in (scene.stays_at(association.place) if association.place else ())
        if stay.event_ns <= association.start_ns
        and stay.end_ns is not None
        and not scene.same(stay.patient, association.patient)
    ]
    start_ns = max(left_ns, default=0)
    if start_ns <= association.start_ns:
        return
    if association.end_ns is not None and association.end_ns <= start_ns:
        scene.end(association, association.start_ns, Reason.CONTRADICTED)
    else:
        scene.put(replace(association, start_ns=start_ns))


def _drop_overtaken(scene: Scene, placed: PlacedDevice, there: Collection[PatientId]) -> None:
    """Drop proposals of ADT for patients who are no longer in the bed, or for another bed."""
    scene.reject(
        [
            one
            for one in scene.proposals(placed.device)
            if one.basis in FROM_PLACES
            and (one.place != placed.place or scene.root(one.patient) not in there)
        ],
        Reason.OVERTAKEN,
    )


def _declined(scene: Scene, device: str, stay: Stay) -> bool:
    """Whether a person said during this stay that the device is not used for the patient."""
    return any(
        (one.end_reason or "").startswith(Reason.BY_PERSON)
        and (one.end_ns or one.start_ns) >= stay.start_ns
        for one in scene.associations.values()
        if one.device == device and scene.same(one.patient, stay.patient)
    )


def _follow_adt(scene: Scene, placed: PlacedDevice, stay: Stay) -> bool:
    """Confirm by the ward's rule, or return False where a person has to decide."""
    since_ns = scene.rules.get(placed.place.point_of_care)
    if since_ns is None or not placed.fixed or not stay.certain:
        return False
    if stay.start_ns < placed.since_ns or _declined(scene, placed.device, stay):
        return False
    others = [s for s in scene.stays_at(placed.place) if not scene.same(s.patient, stay.patient)]
    if any(other.event_ns >= stay.event_ns for other in others):
        return False  # Somebody came to the bed since; did this patient ever come back to it?
    before = scene.held(device=placed.device)
    if _speaks_against(scene, placed.device, stay, before):
        return False
    left_ns = [other.end_ns for other in others if other.end_ns is not None]
    ended_ns = [one.end_ns for one in before if one.end_ns is not None]
    start_ns = max(stay.start_ns, since_ns, *left_ns, *ended_ns)
    confirm_by_rule(scene, placed, stay, start_ns=start_ns)
    return True


def _speaks_against(scene: Scene, device: str, stay: Stay, before: Sequence[Association]) -> bool:
    """Whether the device itself denies that this patient came to it with this stay."""
    use = scene.uses.get(device)
    if use is None:
        return False  # It signs no states: the ward trusts ADT alone for it.
    if use.unseen or use.vacated_ns >= stay.start_ns:
        return True  # Somebody was taken off since; who was put on is not in ADT.
    if use.use is not Use.ATTACHED:
        return False
    this_use = [one for one in before if one.end_ns is None or one.end_ns > use.since_ns]
    if any(not scene.same(one.patient, stay.patient) for one in this_use):
        return True  # Another patient was on it, and it never came free.
    # Somebody was on it long before ADT says that this patient came.
    return not this_use and use.since_ns < stay.event_ns - PUT_ON_BEFORE_NS


def confirm_by_rule(scene: Scene, placed: PlacedDevice, stay: Stay, *, start_ns: int) -> None:
    """Confirm a fixed device for the patient of a stay; other proposals for it are overtaken."""
    scene.reject(scene.proposals(placed.device), Reason.OVERTAKEN)
    scene.put(
        Association(
            id=scene.fresh_id(),
            device=placed.device,
            patient=stay.patient,
            place=placed.place,
            state=AssociationState.CONFIRMED,
            basis=Basis.WARD_RULE,
            start_ns=start_ns,
            end_ns=None,
            proposed_by=ADT,
            confirmed_by=WARD_RULE,
            end_reason=None,
        )
    )
