"""The three kinds of record: how each is cut in time and how long it is kept. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from asepsis.hub.records.blocks import Order

DAY_NS: Final = 86_400_000_000_000
HOUR_S: Final = 3_600


class Kind(StrEnum):
    """What is kept apart, in files and in time."""

    NUMERICS = "numerics"
    ALARMS = "alarms"
    WAVEFORMS = "waveforms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How one kind is cut.

    Attributes:
        slot_ns: Stretch of device time that one row holds; divides a day.
        order: How its blocks are written.
    """

    slot_ns: int
    order: Order


CUTS: Final[Mapping[Kind, Cut]] = {
    Kind.NUMERICS: Cut(slot_ns=60_000_000_000, order=Order.COLUMNS),
    Kind.ALARMS: Cut(slot_ns=60_000_000_000, order=Order.COLUMNS),
    # A minute of the waveforms of 1,000 beds is 220 MB until it is written; ten seconds are not.
    Kind.WAVEFORMS: Cut(slot_ns=10_000_000_000, order=Order.ROWS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long each kind is kept, in seconds of device time."""

    numerics_s: int
    alarms_s: int
    waveforms_s: int

    def of(self, kind: Kind) -> int:
        """Return the seconds for which a kind is kept."""
        match kind:
            case Kind.NUMERICS:
                return self.numerics_s
            case Kind.ALARMS:
                return self.alarms_s
            case Kind.WAVEFORMS:
                return self.waveforms_s

    def first_day(self, kind: Kind, now_ns: int) -> int:
        """Return the oldest UTC day, since 1970, of which something is still kept.

        A day goes as a whole, so that up to a day more than the retention is held.
        """
        return max(0, (now_ns - self.of(kind) * 1_000_000_000) // DAY_NS)


def slot_of(kind: Kind, t_ns: int) -> int:
    """Return the number of the slot of a moment, counted from 1970."""
    return t_ns // CUTS[kind].slot_ns


def day_of(kind: Kind, slot: int) -> int:
    """Return the UTC day of a slot."""
    return slot * CUTS[kind].slot_ns // DAY_NS


def slots_per_day(kind: Kind) -> int:
    """Return how many slots a day has."""
    return DAY_NS // CUTS[kind].slot_ns
