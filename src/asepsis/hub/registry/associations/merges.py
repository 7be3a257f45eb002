"""Patients that turn out to be one, and visits that were booked on the wrong one. Pure.

A merge (A40) or a changed identifier (A47) says that two identifiers name one person. What goes on
under the old one goes on under the other: its bed, its proposals, its devices. What is over keeps
the identifier that it was charted under; that both are one is remembered beside it, for ever.

One person is in one bed. Where both identifiers are in a bed, or at a device, and not in the same
one, the merge says something that cannot be: then nothing is carried, what was confirmed under the
old identifier ends, and a person decides.

A moved visit (A45) says that whoever is in the bed is another person than was said. What the ward's
rule charted by that visit never held.

Source: HL7 v2.8.2 chapters 3.3.40 (A40), 3.3.45 (A45), 3.3.47 (A47) and 3.6 (merges).
"""

from collections.abc import Sequence
from dataclasses import replace

from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.patient import PatientId, Place
from asepsis.hub.registry.associations.rules import COARSE_NS_MAX, Reason
from asepsis.hub.registry.associations.scene import KnownPatient, Scene, Stay


def merge(scene: Scene, old: PatientId, patient: PatientId) -> bool:
    """Take two identifiers for one person; return whether that was news.

    An identifier that the hub never heard of is remembered too: its own events may come later. One
    that became another person's before stays so; two merges of one identifier are for people.

    Args:
        scene: Changed.
        old: The identifier that is used no more.
        patient: The one that goes on.
    """
    known = scene.patients.get(old) or KnownPatient(id=old)
    if known.alias_of is not None or scene.same(old, patient):
        return False
    survivor = scene.root(patient)
    fits = _fit_together(scene, old, survivor)
    stays = [stay for stay in scene.stays_of(old) if stay.open]
    held = [one for one in scene.held(patient=old) if one.state is AssociationState.CONFIRMED]
    waiting = scene.waiting_for(old)
    scene.patients[old] = replace(known, alias_of=survivor)
    for stay in stays:
        scene.stays[stay.id] = replace(stay, patient=survivor, certain=stay.certain and fits)
    for one in held:
        _carry(scene, one, survivor, fits=fits)
    _carry_proposals(scene, waiting, survivor)
    return True


def move_visit(
    scene: Scene, old: PatientId, *, place: Place | None, at_ns: int, entered_ns: int
) -> None:
    """Take a visit from the patient that it was booked on.

    The hub knows no numbers of visits: it is the one that led to this place, without a discharge in
    between. Taking too much leaves values to nobody, taking too little leaves them to the wrong
    one, so a short discharge counts as none.

    Args:
        scene: Changed.
        old: The patient who was not there.
        place: Where the visit is; None if the message does not say.
        at_ns: When what people confirmed ends, nanoseconds since 1970.
        entered_ns: When it was entered: what was entered before about the patient is old.
    """
    known = scene.patients.get(old) or KnownPatient(id=old)
    newest = entered_ns >= known.recorded_ns
    visit = _visit(scene, old, place, entered_ns)
    for stay in visit:
        scene.stays[stay.id] = replace(stay, cancelled=True, end_ns=stay.event_ns)
    if newest:
        for stay in scene.stays_of(old):
            if stay.open:
                scene.stays[stay.id] = replace(stay, end_ns=max(at_ns, stay.event_ns))
        scene.reject(scene.waiting_for(old), Reason.MOVED_VISIT)
        scene.patients[old] = replace(known, recorded_ns=entered_ns)
    for one in scene.held(patient=old):
        if one.basis is not Basis.LATE:
            of_visit = any(_of(one, stay) for stay in visit)
            _take_back(scene, one, at_ns, of_visit=of_visit, newest=newest)


def _take_back(scene: Scene, one: Association, at_ns: int, *, of_visit: bool, newest: bool) -> None:
    if of_visit and one.basis is Basis.WARD_RULE:
        scene.end(one, one.start_ns, Reason.MOVED_VISIT)  # From its start: it never held.
    elif (newest and one.end_ns is None) or ((newest or of_visit) and one.covers(at_ns)):
        scene.end(one, at_ns, Reason.MOVED_VISIT)


def _visit(scene: Scene, old: PatientId, place: Place | None, entered_ns: int) -> list[Stay]:
    """Return the stays of a visit, the last one first."""
    stays = sorted(scene.stays_of(old), key=lambda stay: stay.event_ns, reverse=True)
    ends = [
        stay
        for stay in stays
        if stay.event_ns <= entered_ns and (stay.open if place is None else stay.place == place)
    ]
    if not ends:
        return []
    visit = [ends[0]]
    for stay in stays[stays.index(ends[0]) + 1 :]:
        if stay.end_ns is not None and stay.end_ns < visit[-1].event_ns - COARSE_NS_MAX:
            break
        visit.append(stay)
    return visit


def _of(one: Association, stay: Stay) -> bool:
    """Whether an association follows from a stay."""
    begun = one.place == stay.place and one.start_ns >= stay.event_ns
    return begun and (stay.end_ns is None or one.start_ns <= stay.end_ns)


def _fit_together(scene: Scene, old: PatientId, survivor: PatientId) -> bool:
    """Whether nothing says that the two are in two places."""
    return len(_places(scene, old) | _places(scene, survivor)) <= 1


def _places(scene: Scene, patient: PatientId) -> set[Place]:
    stays = {stay.place for stay in scene.stays_of(patient) if stay.open}
    held = {
        one.place
        for one in scene.held(patient=patient)
        if one.state is AssociationState.CONFIRMED and one.place is not None
    }
    return stays | held


def _carry(scene: Scene, one: Association, survivor: PatientId, *, fits: bool) -> None:
    """End an association under the old identifier, and go on under the other."""
    at_ns = max(scene.now_ns, one.start_ns)
    if at_ns == one.start_ns and fits:
        scene.put(replace(one, patient=survivor))  # It holds from now: nothing is charted yet.
        return
    scene.end(one, at_ns, Reason.MERGED)
    if fits:
        scene.put(replace(one, id=scene.fresh_id(), patient=survivor, start_ns=at_ns))


def _carry_proposals(scene: Scene, waiting: Sequence[Association], survivor: PatientId) -> None:
    for one in waiting:
        others = [p for p in scene.proposals(one.device) if p.id != one.id]
        if any(scene.same(other.patient, survivor) for other in others):
            scene.reject([one], Reason.MERGED)
        else:
            scene.put(replace(one, patient=survivor))
