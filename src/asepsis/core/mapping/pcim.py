"""IHE PCIM association messages (DEV-51 in, DEV-52 out; both ORU^R01), losses counted. Pure.

A message says that a device was put to a patient, or taken off, and how sure its sender is: OBX-11
`R` is asserted, `F` is validated by a person, `C`, `D` and `W` correct, delete and disown what was
said before. What each is worth here is not decided in this file.

Source: IHE DEV Supplement Point-of-Care Identity Management, revision 2.3 (Trial Implementation,
February 2026), sections 3.51 and 3.52 and appendix A.1 - the published supplement, not yet final
text.
"""

from dataclasses import dataclass
from datetime import tzinfo
from enum import Enum
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping.adt import claimed_patients
from asepsis.core.mapping.hl7_envelope import (
    MDC,
    OWN_NAMESPACE,
    Envelope,
    MessageWriter,
    Subject,
    device_word,
    time_is_cut,
    written_time,
)
from asepsis.core.mapping.loss import Mapped
from asepsis.core.mapping.sender_time import TimeSpan, time_span
from asepsis.core.model.association import Association, AssociationState
from asepsis.core.model.patient import PatientId
from asepsis.core.wire.hl7 import Message, Segment
from asepsis.core.wire.hl7_build import Component

ASSOCIATION_TYPE: Final = "PCIM^DEV-51"
"""Stands for an ORU^R01 that is an association message; its own type says only that it reports."""
PROFILE: Final = ("IHE_DEV_052", "IHE PCD", "1.3.6.1.4.1.19376.1.6.1.52.1", "ISO")
_OBSERVATION: Final = ("69136", "MDC_OBS_ASSOCIATION_PATIENT_DEVICE", MDC)
_CONDITION: Final = ("68487", "MDC_ATTR_EVT_COND", MDC)
_ASSOCIATED: Final = ("198332", "MDC_EVT_ASSOCIATION_PATIENT_DEVICE", MDC)
_DISASSOCIATED: Final = ("198334", "MDC_EVT_DISASSOCIATION_PATIENT_DEVICE", MDC)
_EQUIPMENT: Final = "EQUIP"
_ROLE_TABLE: Final = "HL70912"


class Standing(Enum):
    """How sure the sender is. Source: PCIM table A.1.2.5-3 (OBX-11)."""

    ASSERTED = "R"
    VALIDATED = "F"
    CORRECTED = "C"
    DELETED = "D"
    WRONG = "W"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationReport:
    """One association message.

    Attributes:
        patients: Identifiers of the patient, PID-3.
        word: The device as PRT-10 of its EQUIP participation has it.
        associated: True for an association, False for a disassociation.
        standing: How sure the sender is.
        time: When it was put to the patient, or taken off; None if it cannot be read.
        made: MSH-7; None if it cannot be read.
    """

    patients: tuple[PatientId, ...]
    word: bytes
    associated: bool
    standing: Standing
    time: TimeSpan | None
    made: TimeSpan | None


def is_association(message: Message) -> bool:
    """Whether a message is a report of device and patient: by OBR-4, whatever MSH-21 says."""
    header = message.header
    if header.raw(9).split(header.delimiters.component)[:2] != [b"ORU", b"R01"]:
        return False
    (service,) = message.first("OBR", 4)
    return service.split(header.delimiters.component, 1)[0] == _OBSERVATION[0].encode()


def read_association(message: Message, *, zone: tzinfo | None = None) -> AssociationReport:
    """Read one association message.

    Args:
        message: `is_association` holds.
        zone: The sender's zone, for times without offset.

    Raises:
        InputError: Not one patient, not one device, an event or status that is none of the
            profile's, or text that is not valid in the message's character set.

    Source: PCIM appendix A.1.2.2 to A.1.2.6.
    """
    patients = claimed_patients(message)
    if len(patients) != 1 or not patients[0]:
        raise InputError("an association names one patient, in PID-3")
    event, status = message.get("OBX-5"), message.get("OBX-11")
    if event not in (_ASSOCIATED[0], _DISASSOCIATED[0]):
        raise InputError("OBX-5 is neither an association nor a disassociation")
    try:
        standing = Standing(status)
    except ValueError as error:
        raise InputError("OBX-11 is none of the states of an association") from error
    equipment = _equipment(message)
    associated = event == _ASSOCIATED[0]
    written = equipment.text(11 if associated else 12) or message.get("OBR-7")
    return AssociationReport(
        patients=patients[0],
        word=equipment.raw(10, repetition=1),
        associated=associated,
        standing=standing,
        time=time_span(written, zone),
        made=time_span(message.get("MSH-7"), zone),
    )


def _equipment(message: Message) -> Segment:
    """Return the participation of the device.

    Raises:
        InputError: There is none, or more than one device.
    """
    found = [
        segment
        for segment in message.segments()
        if segment.name == "PRT" and segment.text(4) == _EQUIPMENT and segment.raw(10)
    ]
    words = {segment.raw(10, repetition=1) for segment in found}
    if len(words) != 1:
        raise InputError("an association names one device, in the PRT-10 of an EQUIP")
    return found[0]


def association_to_message(
    association: Association, envelope: Envelope, *, person: str = ""
) -> Mapped[bytes]:
    """Write what stands of an association, for who has to know which device is whose (DEV-52).

    Args:
        association: Proposed is written as asserted, confirmed and ended as validated, one that
            never held as wrong.
        envelope: Sender, receiver and name of the message.
        person: Who confirmed, as people read it; "" names the hub alone.

    Returns:
        The message. Lost is what is finer than a tenth of a millisecond.

    Raises:
        InputError: No device name, or text that cannot be written.

    Source: PCIM sections 3.52 and A.1.2; appendix B.7 (OBR-3 and OBR-29).
    """
    ended = association.state is AssociationState.ENDED
    at_ns = association.end_ns if ended and association.end_ns else association.start_ns
    at = written_time(at_ns)
    writer = MessageWriter(envelope, kind=("ORU", "R01", "ORU_R01"), profile=PROFILE)
    writer.about(Subject(patient=association.patient, place=association.place))
    order: dict[int, str | tuple[Component, ...]] = {
        3: (association.id, OWN_NAMESPACE),
        4: _OBSERVATION,
        7: at,
        8: at,
    }
    if association.state is not AssociationState.PROPOSED:
        moment = f"{association.id}-{association.state.value}"
        order |= {3: (moment, OWN_NAMESPACE), 29: ("", (association.id, OWN_NAMESPACE))}
    writer.add("OBR", order)
    writer.add(
        "OBX",
        {
            1: "1",
            2: "CWE",
            3: _CONDITION,
            4: "0.0.0.0",  # noqa: S104 - a place in a containment tree, no address
            5: _DISASSOCIATED if ended else _ASSOCIATED,
            11: _STANDINGS[association.state].value,
        },
    )
    place = association.place
    where = (place.point_of_care, place.room, place.bed, place.facility) if place else ""
    role = (_EQUIPMENT, _EQUIPMENT, _ROLE_TABLE)
    times: dict[int, str | tuple[Component, ...]] = {12 if ended else 11: at}
    writer.add(
        "PRT", {1: "1", 2: "UC", 4: role, 9: where, 10: device_word(association.device)} | times
    )
    author = ("AUT", "AUT", _ROLE_TABLE)
    writer.add("PRT", {1: "2", 2: "UC", 4: author, 5: ("", person or OWN_NAMESPACE)} | times)
    losses = ("time: finer than a tenth of a millisecond",) if time_is_cut(at_ns) else ()
    return Mapped(writer.whole(), losses)


_STANDINGS: Final = {
    AssociationState.PROPOSED: Standing.ASSERTED,
    AssociationState.CONFIRMED: Standing.VALIDATED,
    AssociationState.ENDED: Standing.VALIDATED,
    AssociationState.REJECTED: Standing.WRONG,
}
