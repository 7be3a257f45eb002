"""Which clinical state follows which, decided here and nowhere else. Pure.

A patient at the device always wins: whatever the device was doing, it is in use from that moment.
Keys that would take it out of use are ignored while a patient is there and an alarm is active.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from asepsis.core.model.clinical import ClinicalState


class Event(Enum):
    """What happened at the bedside."""

    PATIENT_ATTACHED = "attached"
    PATIENT_REMOVED = "removed"
    ALARM_BEGAN = "alarm-began"
    ALARMS_ENDED = "alarms-ended"
    STANDBY = "standby"
    RESUME = "resume"
    CLEANING = "cleaning"
    MAINTENANCE = "maintenance"
    DONE = "done"


_S = ClinicalState
TRANSITIONS: Final[Mapping[tuple[ClinicalState, Event], ClinicalState]] = {
    (_S.IDLE, Event.PATIENT_ATTACHED): _S.IN_USE,
    (_S.STANDBY, Event.PATIENT_ATTACHED): _S.IN_USE,
    (_S.CLEANING, Event.PATIENT_ATTACHED): _S.IN_USE,
    (_S.MAINTENANCE, Event.PATIENT_ATTACHED): _S.IN_USE,
    (_S.IN_USE, Event.PATIENT_REMOVED): _S.IDLE,
    (_S.STANDBY, Event.PATIENT_REMOVED): _S.IDLE,
    # An alarm of a patient who has just been taken off goes on until somebody sees it.
    (_S.IN_USE, Event.ALARM_BEGAN): _S.ALARMING,
    (_S.STANDBY, Event.ALARM_BEGAN): _S.ALARMING,
    (_S.ALARMING, Event.ALARMS_ENDED): _S.IN_USE,
    (_S.IN_USE, Event.STANDBY): _S.STANDBY,
    (_S.STANDBY, Event.RESUME): _S.IN_USE,
    (_S.IDLE, Event.CLEANING): _S.CLEANING,
    (_S.IDLE, Event.MAINTENANCE): _S.MAINTENANCE,
    (_S.CLEANING, Event.DONE): _S.IDLE,
    (_S.MAINTENANCE, Event.DONE): _S.IDLE,
}
KEYS: Final = frozenset(
    {Event.STANDBY, Event.RESUME, Event.CLEANING, Event.MAINTENANCE, Event.DONE}
)
"""Events that a person at the bedside makes; the others come from the sensors."""


def step(state: ClinicalState, event: Event) -> ClinicalState:
    """Return the next state; an event that the table does not name leaves it as it is."""
    return TRANSITIONS.get((state, event), state)
