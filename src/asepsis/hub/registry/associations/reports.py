"""Association messages of a named source (IHE PCIM) applied to a scene. Pure.

A validated report is a person's word at the bedside: it confirms, from now, where nothing speaks
against it. An asserted one only proposes, and so does one that is late or whose time is in doubt.
Taking off ends, however late it comes. What was said before is known by its time and stays said.

Source: IHE DEV Supplement PCIM revision 2.3, section 3.51 (DEV-51) and tables A.1.2.5-2 and -3.
"""

from asepsis.core.mapping.pcim import AssociationReport, Standing
from asepsis.core.model.association import Association, AssociationState, Basis
from asepsis.core.model.patient import PatientId
from asepsis.hub.registry.associations import acts
from asepsis.hub.registry.associations.rules import FUTURE_NS_MAX, PROMPT_NS_MAX, Reason
from asepsis.hub.registry.associations.scene import Scene

_DISOWNS = frozenset({Standing.DELETED, Standing.WRONG})


def apply(
    scene: Scene,
    report: AssociationReport,
    device: str,
    patient: PatientId,
    *,
    actor: str,
    arrived_ns: int,
) -> None:
    """Apply one report; applied again it changes nothing.

    Args:
        scene: Changed.
        report: What the message says.
        device: The device that its gateway knows by the message's word.
        patient: The identifier to go by.
        actor: The source, as it is noted.
        arrived_ns: When the hub or its gateway got the message.

    Raises:
        NotFound: The hub knows no such patient from ADT.
        Conflict: Too much is proposed for the device.
    """
    at_ns = min(report.time.earliest_ns, arrived_ns) if report.time else arrived_ns
    if report.standing in _DISOWNS:
        _disown(scene, device, patient, actor=actor)
    elif not report.associated:
        _take_off(scene, device, patient, at_ns)
    elif not _said_before(scene, device, patient, at_ns):
        _put_on(scene, report, device, patient, actor=actor, arrived_ns=arrived_ns)


def _put_on(
    scene: Scene,
    report: AssociationReport,
    device: str,
    patient: PatientId,
    *,
    actor: str,
    arrived_ns: int,
) -> None:
    made = acts.propose(scene, device, patient, actor=actor, basis=Basis.PERSON)
    if report.standing is not Standing.VALIDATED or not _is_prompt(report, arrived_ns):
        return
    confirmed = scene.confirmed(device)
    if confirmed is None or scene.same(confirmed.patient, patient):
        acts.confirm(scene, made.id, actor=actor, basis=Basis.PERSON)


def _is_prompt(report: AssociationReport, arrived_ns: int) -> bool:
    """Whether a report is fresh, and its times beyond doubt."""
    made, time = report.made, report.time
    if made is None or time is None or made.ambiguous or time.ambiguous:
        return False
    ahead = max(made.latest_ns, time.latest_ns) > arrived_ns + FUTURE_NS_MAX
    return not ahead and arrived_ns - made.latest_ns <= PROMPT_NS_MAX


def _said_before(scene: Scene, device: str, patient: PatientId, at_ns: int) -> bool:
    """Whether the device is confirmed for the patient, or what began then was ended or declined."""
    for one in scene.associations.values():
        if one.device != device or not scene.same(one.patient, patient):
            continue
        if one.state is AssociationState.CONFIRMED:
            return True
        if one.state is not AssociationState.PROPOSED and (one.end_ns or one.start_ns) >= at_ns:
            return True
    return False


def _take_off(scene: Scene, device: str, patient: PatientId, at_ns: int) -> None:
    for one in scene.held(device=device, patient=patient):
        if one.basis is not Basis.LATE and one.covers(at_ns):
            scene.end(one, at_ns, Reason.TOLD_OFF)
    waiting = [one for one in _waiting(scene, device, patient) if one.start_ns <= at_ns]
    scene.reject(waiting, Reason.TOLD_OFF)


def _disown(scene: Scene, device: str, patient: PatientId, *, actor: str) -> None:
    """End what goes on; what this source alone confirmed never held."""
    for one in scene.held(device=device, patient=patient):
        if one.state is AssociationState.CONFIRMED:
            own = one.confirmed_by == actor
            scene.end(one, one.start_ns if own else scene.now_ns, Reason.DISOWNED)
    scene.reject(_waiting(scene, device, patient), Reason.DISOWNED)


def _waiting(scene: Scene, device: str, patient: PatientId) -> list[Association]:
    return [one for one in scene.proposals(device) if scene.same(one.patient, patient)]
