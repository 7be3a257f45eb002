"""What a device's signed clinical state does to its association. Pure.

Only the device knows whether a patient is at it. Taken off, cleaned, in maintenance or switched off
and on again, it is nobody's; standby keeps it. Where states are missing - the link was cut - the
association ends at the last one seen and goes on, without a break, once the missing ones came and
none of them says that the device was free.
"""

from dataclasses import replace

from asepsis.core.model.association import AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.hub.registry.associations.rules import SHORT_VACANCY_NS, USES, VACATES, Reason
from asepsis.hub.registry.associations.scene import DeviceUse, Scene, Use
from asepsis.hub.registry.associations.settle import settle

_THOROUGH = frozenset({ClinicalState.CLEANING, ClinicalState.MAINTENANCE})


def sighted(scene: Scene, device: str, *, epoch: int, state: ClinicalState, at_ns: int) -> None:
    """Take a change of state in the order in which the device made it.

    Args:
        scene: The device with its associations, and its bed.
        device: Which.
        epoch: Its boot epoch.
        state: What it does from now on.
        at_ns: Device time of the change, nanoseconds since 1970.
    """
    before, use = scene.uses.get(device), USES[state]
    if before is not None and (epoch, at_ns) < (before.epoch, before.since_ns):
        seen_late(scene, device, state=state, at_ns=at_ns)
        return
    vacated_ns = before.vacated_ns if before else 0
    if before is not None and use is Use.VACANT:
        began = before.use is not Use.VACANT
        if began:
            vacated_ns = at_ns
        if began or state in _THOROUGH:
            _cut(scene, device, at_ns, VACATES[state])
    since_ns = before.since_ns if before and before.use is use else at_ns
    scene.uses[device] = DeviceUse(
        device=device,
        epoch=epoch,
        use=use,
        since_ns=since_ns,
        vacated_ns=vacated_ns,
        unseen=before.unseen if before else False,
    )
    if use is Use.ATTACHED and before is not None and before.use is Use.VACANT:
        _resume_short(scene, device, at_ns)
        _settle(scene, device)


def switched_on(scene: Scene, device: str, *, epoch: int, at_ns: int, last_ns: int | None) -> None:
    """Take the first sign of a new boot epoch: what held while the device ran before is over.

    Args:
        scene: The device with its associations, and its bed.
        device: Which.
        epoch: The new epoch.
        at_ns: Device time of its first batch.
        last_ns: Device time of the last batch before; None if nobody remembers. What was confirmed
            after it, while the device was off, stays.
    """
    before = scene.uses.get(device)
    if before is None or epoch <= before.epoch:
        return
    for one in scene.held(device=device):
        before_off = last_ns is None or one.start_ns <= last_ns
        if before_off and one.basis is not Basis.LATE and one.covers(at_ns):
            scene.end(one, at_ns, Reason.POWERED_OFF)
    off_ns = at_ns if last_ns is None else last_ns
    scene.uses[device] = DeviceUse(
        device=device, epoch=epoch, use=Use.VACANT, since_ns=at_ns, vacated_ns=off_ns
    )


def seen_late(scene: Scene, device: str, *, state: ClinicalState, at_ns: int) -> None:
    """Take a state from the time that is over: it can only cut, and make a use begin earlier."""
    before = scene.uses.get(device)
    if before is None:
        return
    if USES[state] is Use.VACANT:
        _cut(scene, device, at_ns, VACATES[state])
        scene.uses[device] = replace(before, vacated_ns=max(before.vacated_ns, at_ns))
    elif USES[state] is before.use is Use.ATTACHED and before.vacated_ns < at_ns < before.since_ns:
        scene.uses[device] = replace(before, since_ns=at_ns)


def out_of_sight(scene: Scene, device: str, *, at_ns: int) -> None:
    """Take that states are missing since a moment."""
    before = scene.uses.get(device)
    if before is None or before.unseen:
        return
    scene.uses[device] = replace(before, unseen=True)
    confirmed = scene.confirmed(device)
    if confirmed is not None and confirmed.start_ns <= at_ns:
        scene.end(confirmed, at_ns, Reason.UNSEEN)


def seen_whole(scene: Scene, device: str) -> None:
    """Take that nothing is missing any more: go on with what nothing speaks against."""
    before = scene.uses.get(device)
    if before is None or not before.unseen:
        return
    scene.uses[device] = replace(before, unseen=False)
    if scene.confirmed(device) is None:
        _resume(scene, device, Reason.UNSEEN)
    _settle(scene, device)


def seen_again(scene: Scene, device: str) -> None:
    """Take that a device is in sight and that nobody knows what it did in between.

    As if it had been free: a person decides.
    """
    before = scene.uses.get(device)
    if before is not None and before.unseen:
        vacated_ns = max(before.vacated_ns, scene.now_ns)
        scene.uses[device] = replace(before, unseen=False, vacated_ns=vacated_ns)
        _settle(scene, device)


def _cut(scene: Scene, device: str, at_ns: int, reason: Reason) -> None:
    for one in scene.held(device=device):
        if one.basis is not Basis.LATE and one.covers(at_ns):
            scene.end(one, at_ns, reason)


def _resume_short(scene: Scene, device: str, at_ns: int) -> None:
    """Go on where a fixed monitor was free for moments only, as when an electrode is changed.

    What goes on is what these moments ended: who was taken off before that is not back.
    """
    placed, use = scene.placed.get(device), scene.uses[device]
    if placed is None or not placed.fixed or scene.confirmed(device) is not None:
        return
    if not any(one.end_ns == use.vacated_ns for one in scene.held(device=device)):
        return
    if not use.unseen and at_ns - use.vacated_ns <= SHORT_VACANCY_NS:
        scene.uses[device] = replace(use, vacated_ns=0)
        _resume(scene, device, Reason.PATIENT_OFF)
        scene.uses[device] = use


def _resume(scene: Scene, device: str, reason: Reason) -> None:
    """Take back the last end if it was for this reason and nothing was learned since."""
    last = max(scene.held(device=device), key=lambda a: a.end_ns or 0, default=None)
    if last is None or last.end_ns is None or last.end_reason != reason:
        return
    if scene.uses[device].vacated_ns >= last.end_ns:
        return
    placed = scene.placed.get(device)
    if last.place is not None and (placed is None or placed.place != last.place):
        return
    stays = [] if last.place is None else [s for s in scene.stays_at(last.place) if s.open]
    if any(not scene.same(s.patient, last.patient) for s in stays):
        return
    moved = [s for s in scene.stays_of(last.patient) if (s.end_ns or 0) > last.start_ns]
    if moved and not any(s.open and s.place == last.place for s in scene.stays_of(last.patient)):
        return
    scene.put(replace(last, state=AssociationState.CONFIRMED, end_ns=None, end_reason=None))


def _settle(scene: Scene, device: str) -> None:
    placed = scene.placed.get(device)
    if placed is not None:
        settle(scene, placed.place)
