"""Is this live? One window per producer and account says so, by sequence and never by wall clock.

A live lane takes what is newer than the last accepted batch, and for `REORDER_NS` what fills a gap
that two connections opened by overtaking each other. Everything else belongs on `/late`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from asepsis.core.errors import Conflict
from asepsis.core.journal.ports import AccountState

REORDER_NS: Final = 1_250_000_000
"""How long a record may have been overtaken: a withheld alarm event must show within 2 s."""
NEAR_RECORDS: Final = 8
"""A list waits for records that are missing so shortly before it; more of them were an outage."""
GAPS_TRACKED_MAX: Final = 64
LAG_NS_MAX: Final = 4_000_000_000
"""A batch that took this much longer than the quickest one was held back: it is late data."""
LAG_LEAK_PER_S: Final = 1_000_000
"""Nanoseconds a second by which the quickest delay is forgotten: worse than any crystal drifts.

TCP holds a request for about a quarter of an hour, in which 0.9 s are forgotten: with `LAG_NS_MAX`
no value is older than 5 s when it is shown."""
OLDER_EPOCH_LAG_NS: Final = 2 * LAG_NS_MAX
"""What is measured of a record of an older epoch, whose clock is gone."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks of the hub, as functions that return nanoseconds."""

    wall: Callable[[], int]
    monotonic: Callable[[], int]


class Place(Enum):
    """Where a record stands against what was accepted before."""

    NEWER = "newer"
    REORDERED = "reordered"
    REPEATED = "repeated"


@dataclass(slots=True)
class Window:
    """What one producer's account has accepted.

    Attributes:
        epoch: Highest epoch accepted; -1 before the first record.
        highest: Highest sequence accepted in that epoch.
        gaps: Open gap (first, last) -> monotonic ns at which it opened.
    """

    epoch: int = -1
    highest: int = 0
    gaps: dict[tuple[int, int], int] = field(default_factory=dict[tuple[int, int], int])

    def place(self, epoch: int, sequence: int, *, now_ns: int) -> Place:
        """Judge a record on a live lane.

        Args:
            epoch: Boot epoch it names.
            sequence: Sequence it names.
            now_ns: Monotonic nanoseconds.

        Raises:
            Conflict: Older than the last accepted and no short reordering.
        """
        if (epoch, sequence) > (self.epoch, self.highest):
            return Place.NEWER
        if epoch < self.epoch:
            raise send_late()
        for (first, last), opened_ns in self.gaps.items():
            if first <= sequence <= last:
                if now_ns - opened_ns < REORDER_NS:
                    return Place.REORDERED
                raise send_late()
        return Place.REPEATED

    def accepted(self, epoch: int, sequence: int) -> None:
        """Take note of a durable record; older ones change nothing."""
        if epoch > self.epoch:
            self.epoch, self.highest = epoch, sequence
            self.gaps.clear()
        elif epoch == self.epoch and sequence > self.highest:
            self.highest = sequence

    def load(self, epoch: int, state: AccountState, *, now_ns: int) -> None:
        """Start from what the journal holds of an epoch; its gaps count as just opened."""
        self.epoch, self.highest = epoch, state.highest
        self.gaps = dict.fromkeys(state.gaps[:GAPS_TRACKED_MAX], now_ns)

    def opened(self, gap: tuple[int, int], *, now_ns: int) -> None:
        """Take note of a gap in the current epoch; the oldest is forgotten at the limit."""
        if len(self.gaps) >= GAPS_TRACKED_MAX:
            del self.gaps[next(iter(self.gaps))]
        self.gaps[gap] = now_ns

    def filled(self, sequence: int) -> None:
        """Shrink the gap that a durable record fell into; what is left keeps its age."""
        for gap, opened_ns in self.gaps.items():
            if gap[0] <= sequence <= gap[1]:
                del self.gaps[gap]
                for rest in ((gap[0], sequence - 1), (sequence + 1, gap[1])):
                    if rest[0] <= rest[1]:
                        self.gaps[rest] = opened_ns
                return

    def awaits(self, epoch: int, sequence: int, *, now_ns: int) -> bool:
        """Whether a record shortly before this one may still arrive, because it was overtaken."""
        return epoch == self.epoch and any(
            last < sequence <= first + NEAR_RECORDS and now_ns - opened_ns < REORDER_NS
            for (first, last), opened_ns in self.gaps.items()
        )

    def last_missing(self) -> int:
        """Return the highest missing sequence, 0 if none is missing."""
        return max((last for _, last in self.gaps), default=0)

    def overdue(self, *, now_ns: int) -> bool:
        """Whether a gap is older than short reordering explains."""
        return any(now_ns - opened_ns >= REORDER_NS for opened_ns in self.gaps.values())


@dataclass(slots=True)
class LagMeter:
    """How much longer a record took than the quickest one of its epoch; needs no common clock.

    Attributes:
        epoch: Boot epoch that the reference belongs to.
        quickest_ns: Smallest (hub monotonic - device monotonic) seen, leaking upwards slowly so
            that two drifting crystals do not look like delay.
        at_ns: Hub monotonic time of the last measurement.
    """

    epoch: int = -1
    quickest_ns: int = 0
    at_ns: int = 0

    def lag_ns(self, epoch: int, device_monotonic_ns: int, *, now_ns: int) -> int:
        """Measure one record, in nanoseconds; at least 0. An older epoch is held back for ever."""
        if epoch < self.epoch:
            return OLDER_EPOCH_LAG_NS
        delay_ns = now_ns - device_monotonic_ns
        if epoch != self.epoch:
            self.epoch, self.quickest_ns, self.at_ns = epoch, delay_ns, now_ns
            return 0
        leaked_ns = (now_ns - self.at_ns) * LAG_LEAK_PER_S // 1_000_000_000
        self.quickest_ns = min(delay_ns, self.quickest_ns + leaked_ns)
        self.at_ns = now_ns
        return delay_ns - self.quickest_ns


def send_late(why: str = "older than the last accepted record") -> Conflict:
    """Return the error of a live lane for a record that is history."""
    return Conflict(why, hint="send it on /late")
