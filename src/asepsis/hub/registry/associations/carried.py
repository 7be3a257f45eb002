"""A device that carries the patient's identifier: its word confirms what ADT or its place proposed.

Staff of some wards enters or scans the identifier at the device, which then stands in every message
(PID-3). Two words that do not know of each other must agree: the device names the one patient that
is proposed for it. What it still says of the patient before confirms nobody, for ADT proposes the
next; and what it says alone, without a proposal, is for people. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from asepsis.core.errors import AsepsisError
from asepsis.core.mapping.adt import choose_id, claimed_patients
from asepsis.core.mapping.hl7_device import device_words
from asepsis.core.model.association import Basis
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.hl7 import Message
from asepsis.hub.registry.associations import acts
from asepsis.hub.registry.associations.book import AssociationBook
from asepsis.hub.registry.associations.rules import MINUTE_NS
from asepsis.hub.registry.associations.scene import Scene

FRESH_NS_MAX: Final = MINUTE_NS
"""An older message says whose the device was, not whose it is."""


def awaited(book: AssociationBook, wards: frozenset[str]) -> dict[str, PatientId]:
    """Return the devices whose word is waited for, and the one patient each must name.

    Args:
        book: What goes on now.
        wards: PV1-3.1 of wards whose staff enters the identifier at the device.
    """
    if not wards:
        return {}
    found: dict[str, PatientId] = {}
    unclear: set[str] = set()
    for one in book.proposals():
        placed = book.placed(one.device)
        if placed is None or placed.place.point_of_care not in wards:
            continue
        if book.now(one.device) is not None or found.get(one.device, one.patient) != one.patient:
            unclear.add(one.device)
        found[one.device] = one.patient
    return {device: patient for device, patient in found.items() if device not in unclear}


def speaker(message: Message, devices: Mapping[bytes, str]) -> str | None:
    """Return the one device that a message is from; None for none or several.

    Args:
        message: Of a peer.
        devices: The devices that its gateway may speak for, by the words of the message.
    """
    try:
        named = {devices.get(word) for word in device_words(message)}
    except AsepsisError:
        return None  # More names than a message may have.
    return named.pop() if len(named) == 1 else None


def names(message: Message, patient: PatientId, *, authorities: Sequence[str]) -> bool:
    """Say whether a message names this patient, and nobody else.

    Args:
        message: Any.
        patient: By the identifier that this hub goes by.
        authorities: Assigning authorities that this hub goes by, in order.
    """
    claimed = claimed_patients(message)
    if len(claimed) != 1 or not claimed[0]:
        return False
    try:
        return choose_id(claimed[0], authorities) == patient
    except AsepsisError:
        return False  # No identifier that this hub goes by, or two of one authority.


def apply(scene: Scene, device: str, patient: PatientId, *, arrived_ns: int) -> bool:
    """Confirm a device for the patient it names, if that is still what is proposed alone.

    Args:
        scene: Changed.
        device: Its name.
        patient: Whom it names.
        arrived_ns: When its message came, nanoseconds since 1970.

    Returns:
        Whether it was confirmed.
    """
    waiting = scene.proposals(device)
    if scene.confirmed(device) is not None or not waiting:
        return False
    stale = scene.now_ns - arrived_ns > FRESH_NS_MAX
    # What came before the proposal was said of whoever had the device then.
    early = arrived_ns < max(one.start_ns for one in waiting)
    if stale or early or not all(scene.same(one.patient, patient) for one in waiting):
        return False
    acts.confirm(scene, waiting[0].id, actor=f"device:{device}", basis=Basis.DEVICE)
    return True
