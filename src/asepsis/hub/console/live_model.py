"""What the ward view knows of beds and devices, and the ports that tell it.

The composition root fills the ports; the view needs neither tables nor the exchange.
"""

from collections.abc import AsyncIterator, Callable, Container, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from asepsis.core.model.alarm import AlarmNotice
from asepsis.core.model.clinical import ClinicalState


class Link(StrEnum):
    """How surely a device is used for a patient, as the view shows it."""

    CONFIRMED = "confirmed"
    PROPOSED = "proposed"
    NONE = "none"


class Connection(StrEnum):
    """How a device stands to the hub."""

    LIVE = "live"
    SILENT = "silent"
    """It was here, and its lease ran out."""
    NEVER = "never"
    """It never sent anything, or nothing since it was listed anew."""
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A patient as far as a tile names one.

    Attributes:
        id: Identifier with its authority.
        name: Display name.
        birth_date: As the hospital's system sent it; may be empty.
    """

    id: str
    name: str
    birth_date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedDevice:
    """A device at a bed.

    Attributes:
        name: SAN URI.
        link: How surely it is used for a patient.
        patient: Whom it is confirmed for; None unless `link` is CONFIRMED.
        association: Id of the association or proposal; None without one.
    """

    name: str
    link: Link = Link.NONE
    patient: Occupant | None = None
    association: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WardBed:
    """A bed and what stands at it.

    Attributes:
        key: Stable name of the bed; a device without a bed has the key `device|<name>`.
        ward: Point of care; empty for a device without a bed.
        label: What people call the bed.
        devices: What stands there.
    """

    key: str
    ward: str
    label: str
    devices: tuple[PlacedDevice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a tile says of a device besides its values.

    Attributes:
        name: SAN URI.
        label: What people call it: model and the end of its name.
        connection: How it stands to the hub.
        state: Clinical state it last signed; None if it never did, or is away.
        signs: Whether an origin key is registered.
    """

    name: str
    label: str
    connection: Connection
    state: ClinicalState | None
    signs: bool


class Placement(Protocol):
    """Where devices stand and for whom, in memory, never blocking."""

    @property
    def version(self) -> object:
        """A value that is another one after every change; cheap, it is asked at every event."""
        ...

    def beds(self) -> Sequence[WardBed]:
        """Return every bed, and after them every device that is heard and stands at none."""
        ...


class Devices(Protocol):
    """What the hub knows of a device, in memory, never blocking."""

    def facts(self, name: str) -> DeviceFacts:
        """Return the facts of a device, admitted, revoked or unknown."""
        ...


class Alarms(Protocol):
    """The alarm events that were told so far; `delivery.live.LiveHub` is one."""

    @property
    def position(self) -> int:
        """Position of the last alert record that was told."""
        ...

    def active(self, devices: Container[str]) -> Sequence[AlarmNotice]:
        """Return the last event of every active alarm condition of some devices."""
        ...

    def unknown_since(self, device: str) -> int | None:
        """Return since when a device's active conditions may have changed unseen, None if not."""
        ...

    def history(
        self, devices: Container[str], after: int, *, through: int
    ) -> AsyncIterator[tuple[int, Sequence[AlarmNotice]]]:
        """Yield position and alarm events of some devices in (after, through]."""
        ...


@dataclass(frozen=True, slots=True)
class WardClocks:
    """The two clocks of the hub, as functions that return nanoseconds."""

    wall: Callable[[], int]
    monotonic: Callable[[], int]


def display_name(bed_devices: Sequence[PlacedDevice]) -> tuple[str, Occupant | None]:
    """Say whose tile this is: `confirmed` with the patient, or why no name is shown.

    A name stands over values only if every confirmed device of the bed is confirmed for that one
    patient; two patients at one bed are a `conflict`, and then no name is shown at all.

    Returns:
        State (`confirmed`, `conflict`, `proposed`, `none`) and the patient of a confirmed one.
    """
    confirmed = {d.patient for d in bed_devices if d.link is Link.CONFIRMED and d.patient}
    if len(confirmed) == 1:
        return "confirmed", confirmed.pop()
    if confirmed:
        return "conflict", None
    proposed = any(d.link is Link.PROPOSED for d in bed_devices)
    return ("proposed" if proposed else "none"), None
