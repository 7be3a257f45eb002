"""What a campaign is, as values; the document that people write is read in `document.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from asepsis.core.errors import InputError
from asepsis.core.model.update import Outcome, WaitsFor

ANY: Final = "*"
"""In a limit: every ward, or every class, each by itself."""


class Kind(IntEnum):
    """Kinds of waves, in the only order in which they may follow each other."""

    BENCH = 0
    CANARY = 1
    WARD = 2
    SITE = 3


class State(StrEnum):
    """How far a campaign is."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    FINISHED = "finished"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled-back"


class Order(StrEnum):
    """What people, or a gate, have a campaign do."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    HALT = "halt"
    ROLL_BACK = "roll-back"
    SUPERSEDE = "supersede"
    FINISH = "finish"


class Standing(StrEnum):
    """How a campaign stands with one device."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    """It holds a slot: the device may begin at any moment that is safe for its patient."""
    RECALLED = "recalled"
    """The slot is taken back, and free once the device said so or can act on it no more."""
    VERIFIED = "verified"
    AWAITING_ACCEPTANCE = "awaiting-acceptance"
    ACCEPTED = "accepted"
    FAILED = "failed"
    LEFT = "left"
    """Never begun, and the campaign is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a wave must show before the next one begins.

    Attributes:
        verified_percent: Share of the wave's devices that are verified, 1 to 100.
        failed_max: More devices that failed than this halt the campaign, at least 0.
        observe_s: How long verified devices are watched before the wave counts, at least 0.
    """

    verified_percent: int = 100
    failed_max: int = 0
    observe_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """A part of a campaign.

    Attributes:
        kind: Its place in the order.
        gate: What it must show.
        devices: Of a bench: which devices.
        wards: Where; empty for everywhere.
        each: Of canaries: how many of each model in each ward.
    """

    kind: Kind
    gate: Gate
    devices: frozenset[str] = frozenset()
    wards: frozenset[str] = frozenset()
    each: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many devices of one class in one ward may be in an update at once.

    Attributes:
        ward: Where; `ANY` for each ward by itself.
        device_class: Which; `ANY` for each class by itself.
        at_once_max: At least 0.
    """

    ward: str = ANY
    device_class: str = ANY
    at_once_max: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """How many devices of a class must stay ready for the next patient in an area.

    Attributes:
        area: How people call these wards together.
        wards: Which; the area is all of them together.
        device_class: Which class.
        ready_min: At least 0.
    """

    area: str
    wards: frozenset[str]
    device_class: str
    ready_min: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which devices a campaign is about; what is empty does not narrow.

    Attributes:
        models: Device models.
        classes: Classes of devices.
        wards: Wards.
        devices: Names.
        attributes: Values that a person gave to devices; all of them must be there.
    """

    models: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    wards: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """Two people who let a campaign skip windows and waves.

    Nothing in it reaches a device: a device in use is interrupted only by a person at that device.

    Attributes:
        reason: Why.
        first: Who proposed it.
        second: Who confirmed it; somebody else.

    Raises:
        InputError: One person twice, or no reason.
    """

    reason: str
    first: str
    second: str

    def __post_init__(self) -> None:
        if not (self.first and self.second) or self.first == self.second:
            raise InputError("an emergency needs two different people")
        if not self.reason.strip():
            raise InputError("an emergency needs a reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a campaign is to do.

    Attributes:
        name: How people call it.
        release: SHA-256 of the artefact, hexadecimal.
        change: Reference of the change board.
        waves: In the order of their kinds, at least one.
        select: Which devices.
        calendars: Names of calendars, all of which must be open; `always` says that none is meant.
        budgets: The tightest that fits a device counts.
        reserves: Every one must hold.
        acceptance: Whether biomedical engineering accepts each device before it is used again.
        dynamic: Whether devices that come to match later join.
        recall_s: After this long without a safe moment a device gives its slot back to others.
        unseen_s: A device not heard for longer gets no slot.
    """

    name: str
    release: str
    change: str
    waves: tuple[Wave, ...]
    select: Selector
    calendars: tuple[str, ...]
    budgets: tuple[Budget, ...]
    reserves: tuple[Reserve, ...] = ()
    acceptance: bool = False
    dynamic: bool = True
    recall_s: int = 14_400
    unseen_s: int = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A device as the fleet knows it.

    Attributes:
        device: Its name.
        model: Device model, as the vendor's releases say it; empty if not listed for updates.
        ward: Where it stands; empty if nobody said.
        device_class: Such as `ventilator`; empty if nobody said.
        attributes: What people noted besides.
        calendar: Name of its own calendar, empty for none.
        in_service: Whether it is in service; a device out of service is nobody's reserve.
        idle: Whether its last signed state said that it is free and ready.
        seen_ns: When it was heard last, nanoseconds since 1970; 0 for never.
    """

    device: str
    model: str = ""
    ward: str = ""
    device_class: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    calendar: str = ""
    in_service: bool = True
    idle: bool = False
    seen_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How one campaign stands with one device.

    Attributes:
        device: Its name.
        wave: Index of its wave.
        standing: How far, for the campaign.
        outcome: What the device said last; None before it said anything.
        waits_for: With `WAITING`, why.
        since_ns: When `standing` began, nanoseconds since 1970.
        epoch: Boot epoch of the last report; 0 before.
        sequence: Its number.
        reason: For people.
    """

    device: str
    wave: int
    standing: Standing = Standing.PENDING
    outcome: Outcome | None = None
    waits_for: WaitsFor | None = None
    since_ns: int = 0
    epoch: int = 0
    sequence: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many devices of a wave stand how; also what the gates look at.

    Attributes:
        counts: By standing; what is not in it is 0.
        newest_ns: When the newest one was verified, nanoseconds since 1970; 0 for none.
        forgiven: How many of the failed ones a person accepted by resuming.
    """

    counts: Mapping[Standing, int]
    newest_ns: int = 0
    forgiven: int = 0

    def of(self, *standings: Standing) -> int:
        """Return how many stand in any of these ways."""
        return sum(self.counts.get(one, 0) for one in standings)

    @property
    def total(self) -> int:
        """How many devices the wave has, without those that were left."""
        return sum(self.counts.values()) - self.of(Standing.LEFT)

    @property
    def verified(self) -> int:
        """How many were verified and have not fallen back since."""
        return self.of(*DONE)


DONE: Final = frozenset({Standing.VERIFIED, Standing.AWAITING_ACCEPTANCE, Standing.ACCEPTED})
"""The device runs the release and its self-tests passed."""
SLOTTED: Final = frozenset({Standing.ASSIGNED, Standing.RECALLED})
"""The device may be in an update at this moment, whatever was said last."""
AWAY: Final = SLOTTED | {Standing.AWAITING_ACCEPTANCE}
"""Not to be counted on for a patient."""
STARTED: Final = frozenset({Outcome.INSTALLING, Outcome.BOOTED, Outcome.SELF_TESTED})
"""Begun: there is no way but forward or back, so nobody takes such a slot away."""
