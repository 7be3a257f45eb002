"""Who plays in the demonstration: beds, patients and devices of one small intensive care ward."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.core.model.identity import DeviceId
from asepsis.core.model.patient import PatientId, Place

WARD: Final = "ICU"
AUTHORITY: Final = "DEMO"
EUI64_FIRST: Final = 0x0012_2100_0000_0001


class Kind(StrEnum):
    """What a device is; for new ones also the profile that it measures with."""

    MONITOR = "monitor"
    VENTILATOR = "ventilator"
    PUMP = "pump"


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """One device.

    Attributes:
        key: Short name, for folders and for people.
        kind: What it is.
        number: Last part of its EUI-64, from 1.
        bed: Number of the bed it stands at.
        legacy: Whether it speaks HL7 v2 over MLLP to the gateway, instead of the standard.
    """

    key: str
    kind: Kind
    number: int
    bed: str
    legacy: bool = False

    @property
    def name(self) -> str:
        """Its name at the hub."""
        return DeviceId.from_eui64(EUI64_FIRST + self.number - 1).uri

    @property
    def eui64(self) -> str:
        """Its EUI-64 as HL7 v2 writes it, 16 hexadecimal digits."""
        return f"{EUI64_FIRST + self.number - 1:016X}"

    @property
    def seed(self) -> int:
        """Seed of the simulated patient; the devices of a bed share it."""
        return int(self.bed)

    @property
    def fixed(self) -> bool:
        """Whether it stays at its bed: a pump is carried about."""
        return self.kind is not Kind.PUMP

    @property
    def address(self) -> str:
        """Where a legacy device comes from, on loopback."""
        return f"127.0.0.{20 + self.number}"

    @property
    def model(self) -> str:
        """What people read of it."""
        return f"{'legacy ' if self.legacy else ''}{self.kind.value} (simulated)"

    @property
    def place(self) -> Place:
        """The bed it stands at."""
        return place(self.bed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One patient; nobody real.

    Attributes:
        number: Identifier that the hospital gave.
        family: Family name.
        given: Given name.
        born: Date of birth as HL7 v2 writes it.
        sex: PID-8.
        bed: Number of the bed at admission.
    """

    number: str
    family: str
    given: str
    born: str
    sex: str
    bed: str

    @property
    def id(self) -> PatientId:
        """Its identifier."""
        return PatientId(self.number, AUTHORITY)


def place(bed: str) -> Place:
    """Return the place of a bed of the ward."""
    return Place(WARD, "1", bed)


PLAYERS: Final = (
    Player(key="monitor-1", kind=Kind.MONITOR, number=1, bed="1"),
    Player(key="ventilator-1", kind=Kind.VENTILATOR, number=2, bed="1"),
    Player(key="pump-1", kind=Kind.PUMP, number=3, bed="1"),
    Player(key="monitor-2", kind=Kind.MONITOR, number=4, bed="2"),
    Player(key="pump-2", kind=Kind.PUMP, number=5, bed="2"),
    Player(key="monitor-3", kind=Kind.MONITOR, number=6, bed="3", legacy=True),
    Player(key="monitor-4", kind=Kind.MONITOR, number=7, bed="4", legacy=True),
    Player(key="monitor-5", kind=Kind.MONITOR, number=8, bed="5", legacy=True),
)
"""Eight devices at five beds: five speak the standard, three the language of the last century."""

PATIENTS: Final = (
    Person(number="4711", family="Example", given="Ada", born="19520314", sex="F", bed="1"),
    Person(number="4712", family="Sample", given="Bert", born="19670801", sex="M", bed="2"),
    Person(number="4713", family="Placeholder", given="Cleo", born="19801224", sex="F", bed="3"),
    Person(number="4714", family="Specimen", given="Dan", born="19440229", sex="M", bed="4"),
)
"""Four patients; bed 5 is free until one of them moves there."""

VISITING: Final = Player(key="intellivue-1", kind=Kind.MONITOR, number=9, bed="5", legacy=True)
"""A monitor of one maker's own protocol."""
BREATHING: Final = Player(key="sdc-1", kind=Kind.VENTILATOR, number=11, bed="5", legacy=True)
"""A ventilator that speaks SDC (ISO/IEEE 11073)."""
SCANNER: Final = DeviceId.from_eui64(EUI64_FIRST + 9).uri
"""A computed tomograph; it stands in no ward."""
SCANNER_ADDRESS: Final = "127.0.0.30"
ALARMING: Final = PLAYERS[0]
ATTACKED: Final = PLAYERS[3]
MOVING: Final = PATIENTS[3]
FREE_BED: Final = "5"
NEW: Final = tuple(player for player in PLAYERS if not player.legacy)
LEGACY: Final = tuple(player for player in PLAYERS if player.legacy)
