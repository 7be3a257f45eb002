"""HL7 v2 ADT messages as typed events: who, where, when. Pure; nothing is decided here.

Source: HL7 v2.8.2 chapter 3 (patient administration), IHE ITI TF-2 3.30 and 3.31 (PAM).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.mapping.sender_time import TimeSpan, time_span
from asepsis.core.model.patient import (
    AUTHORITY_CHARS_MAX,
    PATIENT_ID_CHARS_MAX,
    PLACE_CHARS_MAX,
    PatientId,
    Place,
)
from asepsis.core.wire.hl7 import Message, Segment

IDS_MAX: Final = 16
"""Identifiers of one patient that are looked at."""
PATIENTS_MAX: Final = 2
"""Patients of one movement: A17 swaps two."""
MERGES_MAX: Final = 16
"""Patients of one merge, and identifiers that were merged into each."""
NAME_CHARS_MAX: Final = 120
BIRTH_DATE_CHARS_MAX: Final = 8
_MSH_TYPE: Final = "ADT"
_FAMILY, _GIVEN, _MIDDLE, _SUFFIX = 1, 2, 3, 4
_NULL: Final = '""'


@dataclass(frozen=True, slots=True, kw_only=True)
class AdtPatient:
    """One patient of an event.

    Attributes:
        ids: PID-3 in order, at most `IDS_MAX`; ids that cannot be read are left out.
        name: PID-5, its first repetition, as people read it; "" if absent.
        birth_date: PID-7 as `YYYY-MM-DD` or shorter; "" if absent.
        place: PV1-3, where the patient is now; None if absent.
        prior: PV1-6, where the patient was; None if absent.
        merged: MRG-1, identifiers that became `ids` (A40, A47), or whose visit it was (A45); at
            most `MERGES_MAX`.
    """

    ids: tuple[PatientId, ...]
    name: str = ""
    birth_date: str = ""
    place: Place | None = None
    prior: Place | None = None
    merged: tuple[PatientId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdtEvent:
    """One ADT message.

    Attributes:
        trigger: MSH-9.2, such as "A01".
        control_id: MSH-10, at most 199 characters.
        recorded: EVN-2, when it was entered; None if it cannot be read.
        occurred: EVN-6, when it happened; for a cancellation, when what is cancelled happened;
            None if absent or unreadable.
        patients: One; two for a swap.
    """

    trigger: str
    control_id: str
    recorded: TimeSpan | None
    occurred: TimeSpan | None
    patients: tuple[AdtPatient, ...]


def is_adt(message: Message) -> bool:
    """Whether MSH-9.1 says that this is an ADT message."""
    return message.get("MSH-9.1") == _MSH_TYPE


def read_adt(message: Message, *, zone: tzinfo | None = None) -> AdtEvent:
    """Read one ADT message.

    Args:
        message: Parsed; `is_adt` holds.
        zone: The sender's zone, for times without offset.

    Raises:
        InputError: No trigger, no patient, no id of the patient that can be read, or text that is
            not valid in the message's character set.

    Source: HL7 v2.8.2 sections 3.3 (events), 3.4.1 (EVN), 3.4.2 (PID), 3.4.3 (PV1), 3.4.9 (MRG).
    """
    trigger = message.get("MSH-9.2") or message.get("EVN-1")
    if not (len(trigger) == 3 and trigger[0] == "A" and trigger[1:].isdigit()):
        raise InputError("MSH-9.2 names no event of chapter 3")
    patients = _patients(message)
    if not patients:
        raise InputError("the message names no patient")
    return AdtEvent(
        trigger=trigger,
        control_id=message.get("MSH-10")[:199],
        recorded=time_span(message.get("EVN-2"), zone),
        occurred=time_span(message.get("EVN-6"), zone),
        patients=patients,
    )


def choose_id(ids: Sequence[PatientId], authorities: Sequence[str]) -> PatientId:
    """Return the identifier to go by: of the first authority in the list that gave one.

    Args:
        ids: Of one patient, not empty.
        authorities: Assigning authorities in order of preference; empty takes the first id.

    Raises:
        InputError: None of the authorities gave one, or one of them gave two different ones.
    """
    if not authorities:
        return ids[0]
    for authority in authorities:
        found = {one for one in ids if one.authority == authority}
        if len(found) > 1:
            raise InputError("one authority gave the patient two identifiers")
        if found:
            return found.pop()
    raise InputError("the patient has no identifier of an authority that this hub goes by")


def claimed_patients(message: Message) -> tuple[tuple[PatientId, ...], ...]:
    """Return the identifiers of each patient that any message names, in order, without judging.

    A PID whose PID-3 is empty names nobody and is left out; one that cannot be read has no
    identifier, so that nobody takes it for a patient it may not be.

    Args:
        message: Any message, an ORU^R01 as well as an ADT.

    Source: HL7 v2.8.2 chapter 3.4.2.3 (PID-3).
    """
    found: list[tuple[PatientId, ...]] = []
    for segment in message.segments("PID"):
        if len(found) == PATIENTS_MAX:
            break
        if not segment.raw(3).strip(message.delimiters.encoding):
            continue
        try:
            found.append(_ids(segment, 3))
        except InputError:
            found.append(())
    return tuple(found)


@dataclass(slots=True)
class _Group:
    """PID with what follows it."""

    pid: Segment
    visits: list[Segment] = field(default_factory=list[Segment])
    merges: list[Segment] = field(default_factory=list[Segment])


def _patients(message: Message) -> tuple[AdtPatient, ...]:
    """Group PID, PV1 and MRG by the PID that they follow."""
    groups: list[_Group] = []
    for segment in message.segments():
        if segment.name == "PID":
            groups.append(_Group(segment))
        elif segment.name == "PV1" and groups:
            groups[-1].visits.append(segment)
        elif segment.name == "MRG" and groups:
            groups[-1].merges.append(segment)
    most = MERGES_MAX if any(group.merges for group in groups) else PATIENTS_MAX
    if len(groups) > most:
        raise InputError(f"more than {most} patients in one message")
    return tuple(_patient(group) for group in groups)


def _patient(group: _Group) -> AdtPatient:
    pid, visits = group.pid, group.visits
    ids = _ids(pid, 3)
    if not ids:
        raise InputError("PID-3 holds no identifier that can be read")
    birth = pid.text(7)[:BIRTH_DATE_CHARS_MAX]
    places = {_place(visit, 3) for visit in visits}
    merged = dict.fromkeys(old for merge in group.merges for old in _ids(merge, 1))
    if len(merged) > MERGES_MAX:
        raise InputError(f"more than {MERGES_MAX} identifiers were merged into one patient")
    return AdtPatient(
        ids=ids,
        name=_name(pid),
        birth_date=_dashed(birth) if birth.isdigit() else "",
        # Visits in several places, as A45 can name them, say of none that the patient is there.
        place=places.pop() if len(places) == 1 else None,
        prior=_place(visits[0], 6) if visits else None,
        merged=tuple(merged),
    )


def _ids(segment: Segment, field: int) -> tuple[PatientId, ...]:
    """Read repetitions of CX: CX.1 and the namespace of CX.4; what is no id is left out."""
    found: list[PatientId] = []
    for repetition in range(1, IDS_MAX + 1):
        value = _leaf(segment, field, repetition=repetition, component=1)
        authority = _leaf(segment, field, repetition=repetition, component=4)
        # A cut identifier would be another patient's: what is too long is left out whole.
        if 1 <= len(value) <= PATIENT_ID_CHARS_MAX and len(authority) <= AUTHORITY_CHARS_MAX:
            try:
                found.append(PatientId(value, authority))
            except InputError:
                continue
    return tuple(dict.fromkeys(found))


def _place(segment: Segment, field: int) -> Place | None:
    """Read a PL: point of care, room, bed, facility; None if it names no ward, or no plain one."""
    parts = [_leaf(segment, field, component=component) for component in (1, 2, 3, 4)]
    if not parts[0] or any(len(part) > PLACE_CHARS_MAX for part in parts):
        return None
    try:
        return Place(parts[0], parts[1], parts[2], parts[3])
    except InputError:
        return None


def _name(pid: Segment) -> str:
    """Return PID-5 as `Family, Given Middle Suffix`."""
    family = _leaf(pid, 5, component=_FAMILY)
    given = " ".join(
        part for c in (_GIVEN, _MIDDLE, _SUFFIX) if (part := _leaf(pid, 5, component=c))
    )
    whole = ", ".join(part for part in (family, given) if part)
    return "".join(c for c in whole if ord(c) >= 0x20 and c != "\x7f")[:NAME_CHARS_MAX]


def _leaf(segment: Segment, field: int, *, repetition: int = 1, component: int) -> str:
    text = segment.text(field, repetition=repetition, component=component).strip()
    return "" if text == _NULL else text


def _dashed(digits: str) -> str:
    return "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)
