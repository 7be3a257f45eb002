"""Who may say whose device it is, what each ADT event means, and why associations end. Tables.

Source: IHE Devices PCIM (point-of-care identity management); HL7 v2.8.2 chapter 3.3.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from asepsis.core.errors import Conflict, InputError, NotPermitted
from asepsis.core.model.association import AssociationState, Basis
from asepsis.core.model.clinical import ClinicalState
from asepsis.hub.registry.associations.scene import Use

SECOND_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60 * SECOND_NS
LATE_NS_MAX: Final = 31 * 86_400 * SECOND_NS
"""Longest interval that one late assignment covers: 31 days."""
FUTURE_NS_MAX: Final = 5 * MINUTE_NS
"""An event further ahead of the hub's clock than 5 min is a plan, or a wrong clock."""
PROMPT_NS_MAX: Final = 10 * MINUTE_NS
"""News that came over 10 min after it was entered only proposes: more may be under way."""
COARSE_NS_MAX: Final = 120 * MINUTE_NS
"""The start of a stretch of up to 2 h still says when a patient left; that of a day does not."""
SHORT_VACANCY_NS: Final = 30 * SECOND_NS
"""A fixed monitor that is free for less than 30 s was not moved to another patient in between."""
PUT_ON_BEFORE_NS: Final = 5 * MINUTE_NS
"""A patient may be put on a monitor up to 5 min before ADT says that they came to the bed."""
PROPOSALS_MAX: Final = 8
"""Proposals that wait for one device."""
REASON_CHARS_MAX: Final = 200


class Reason(StrEnum):
    """Why an association ended or never held; a person may give words of their own instead."""

    TRANSFER = "patient transferred"
    DISCHARGE = "patient discharged"
    AWAY = "patient on leave"
    CANCELLED = "admission or transfer cancelled"
    CONTRADICTED = "ADT puts another patient in this bed"
    OVERTAKEN = "overtaken"
    MOVED = "device moved"
    REVOKED = "device revoked"
    MERGED = "goes on under the identifier that it was merged into"
    TOLD_OFF = "taken off, as its source says"
    DISOWNED = "wrong, as its source says"
    MOVED_VISIT = "the visit was another patient's"
    PATIENT_OFF = "patient taken off the device"
    CLEANING = "device cleaned"
    MAINTENANCE = "device in maintenance"
    POWERED_OFF = "device switched off"
    UNSEEN = "device out of sight"
    ASSIGNED_LATE = "assigned late"
    BY_PERSON = "by a person"


class Effect(StrEnum):
    """What an ADT event does here."""

    ARRIVE = "arrive"
    LEAVE = "leave"
    CANCEL_ARRIVE = "cancel-arrive"
    CANCEL_MOVE = "cancel-move"
    CANCEL_LEAVE = "cancel-leave"
    UPDATE = "update"
    MERGE = "merge"
    MOVE_VISIT = "move-visit"


EFFECTS: Final[Mapping[str, Effect]] = {
    "A01": Effect.ARRIVE,  # admit
    "A02": Effect.ARRIVE,  # transfer
    "A03": Effect.LEAVE,  # discharge
    "A04": Effect.ARRIVE,  # register, with a bed or without
    "A06": Effect.ARRIVE,  # outpatient becomes inpatient
    "A07": Effect.ARRIVE,  # inpatient becomes outpatient
    "A08": Effect.UPDATE,
    "A09": Effect.LEAVE,  # departs, tracking
    "A10": Effect.ARRIVE,  # arrives, tracking
    "A11": Effect.CANCEL_ARRIVE,
    "A12": Effect.CANCEL_MOVE,
    "A13": Effect.CANCEL_LEAVE,
    "A17": Effect.ARRIVE,  # swap: two patients, each with a new place
    "A21": Effect.LEAVE,  # goes on leave of absence
    "A22": Effect.ARRIVE,  # returns from leave
    "A28": Effect.UPDATE,
    "A31": Effect.UPDATE,
    "A40": Effect.MERGE,
    "A45": Effect.MOVE_VISIT,  # the visit was booked on the wrong patient
    "A47": Effect.MERGE,  # another identifier for the same patient
}
"""What is not named here is counted as not handled and changes nothing."""

LEAVING: Final[Mapping[str, Reason]] = {"A21": Reason.AWAY, "A09": Reason.AWAY}
"""Why an association ends with an event that takes the patient away; others discharge."""

PROPOSES: Final = frozenset({Basis.ADT, Basis.LOCATION, Basis.PERSON})
CONFIRMS: Final = frozenset({Basis.PERSON, Basis.DEVICE, Basis.WARD_RULE})
"""Who confirms: a person at the bedside, a device that carries the patient id, or a ward rule."""

_S = AssociationState
TRANSITIONS: Final[Mapping[AssociationState, frozenset[AssociationState]]] = {
    _S.PROPOSED: frozenset({_S.CONFIRMED, _S.REJECTED}),
    _S.CONFIRMED: frozenset({_S.ENDED, _S.REJECTED}),
    # Out of sight and then seen without a break: it never ended. Cancelled: it never was.
    _S.ENDED: frozenset({_S.CONFIRMED, _S.REJECTED}),
    _S.REJECTED: frozenset(),
}

USES: Final[Mapping[ClinicalState, Use]] = {
    ClinicalState.IN_USE: Use.ATTACHED,
    ClinicalState.ALARMING: Use.ATTACHED,
    ClinicalState.STANDBY: Use.PAUSED,
    ClinicalState.IDLE: Use.VACANT,
    ClinicalState.CLEANING: Use.VACANT,
    ClinicalState.MAINTENANCE: Use.VACANT,
}
VACATES: Final[Mapping[ClinicalState, Reason]] = {
    ClinicalState.IDLE: Reason.PATIENT_OFF,
    ClinicalState.CLEANING: Reason.CLEANING,
    ClinicalState.MAINTENANCE: Reason.MAINTENANCE,
}
"""Clinical states that end an association, and why."""


def require_transition(before: AssociationState, after: AssociationState) -> None:
    """Refuse a change that the table does not name.

    Raises:
        Conflict: The association is not in a state for it.
    """
    if after not in TRANSITIONS[before]:
        raise Conflict(f"the association is {before.value}")


def require_confirming(basis: Basis) -> None:
    """Refuse to confirm on a basis that only proposes.

    Raises:
        NotPermitted: ADT and location propose; they never confirm.
    """
    if basis not in CONFIRMS:
        raise NotPermitted(f"{basis.value} proposes, it does not confirm")


def require_reason(reason: str) -> None:
    """Refuse an act without a reason.

    Raises:
        InputError: Empty, or longer than `REASON_CHARS_MAX`.
    """
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise InputError(f"a reason has 1 to {REASON_CHARS_MAX} characters")


def require_past(start_ns: int, end_ns: int, *, now_ns: int) -> None:
    """Refuse a late assignment that is not over, or has no length.

    Raises:
        InputError: It ends in the future, before it starts, or is longer than `LATE_NS_MAX`.
    """
    if not 0 <= start_ns < end_ns <= now_ns or end_ns - start_ns > LATE_NS_MAX:
        raise InputError("a late assignment covers up to 31 days that are over")
