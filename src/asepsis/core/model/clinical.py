"""The clinical state of a device, decided on the device and nowhere else."""

from enum import IntEnum


class ClinicalState(IntEnum):
    """What the device is doing for a patient; the numbers are those on the wire (REQ-ORG-006)."""

    IN_USE = 1
    ALARMING = 2
    STANDBY = 3
    IDLE = 4
    CLEANING = 5
    MAINTENANCE = 6
