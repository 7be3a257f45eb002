"""Whether this gateway of a pair is the one that takes messages. Pure but for the clock handed in.

Of three, hub and both gateways, two must agree. The hub gives the lease and renews it. While the
hub cannot be reached the other gateway's promise not to take over renews it just as well: if
neither can be had, this gateway cannot know that it is the only one, and stops before anybody else
can begin. Every end is counted from before the question was sent, by a clock that only goes
forward, and lies `MARGIN_NS` before the end that the other side counts.

Source: REQ-PAIR-002, REQ-PAIR-003; ADR 0044.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

PROMISE_NS: Final = 5_000_000_000
"""For so long a standby that was asked does not take over."""
MARGIN_NS: Final = 1_000_000_000
"""To stop in, and for clocks that run apart: 1 s in 5 s covers any quartz and a slow kernel."""
FOREVER_NS: Final = (1 << 62) - 1


class Part(StrEnum):
    """What a member does."""

    STANDBY = "standby"
    ACTIVE = "active"


@dataclass(slots=True)
class Member:
    """One of the two; in one thread.

    Attributes:
        token: Number of its lease; 0 if it has none.
        end_ns: When it must have stopped; 0 if it does not take messages.
        by_people: Whether people promoted it; then only the hub or the other gateway ends that.
    """

    token: int = 0
    end_ns: int = 0
    by_people: bool = False
    _promised_ns: int = field(default=0, init=False)

    def part(self, now_ns: int) -> Part:
        """Return what it does now."""
        return Part.ACTIVE if now_ns < self.end_ns else Part.STANDBY

    def may_ask(self, now_ns: int) -> bool:
        """Whether it may ask the hub for the lease: not while it promised to leave it alone."""
        return now_ns >= self._promised_ns

    def granted(self, token: int, lease_ms: int, *, sent_ns: int, now_ns: int) -> None:
        """The hub gave or renewed the lease.

        Args:
            token: Its number.
            lease_ms: Its length, milliseconds.
            sent_ns: When the question was sent.
            now_ns: Now.
        """
        if self.part(now_ns) is Part.STANDBY and not self.may_ask(now_ns):
            return  # It promised meanwhile; what the hub gave ends unused.
        if self.by_people:
            self.by_people, self.end_ns = False, 0
        self.token = token
        self._until(sent_ns + lease_ms * 1_000_000)

    def refused(self) -> None:
        """The hub says that the other one holds a lease."""
        self.token, self.end_ns, self.by_people = 0, 0, False

    def promised(self, *, sent_ns: int, now_ns: int) -> None:
        """The other one promised not to take over."""
        if self.part(now_ns) is Part.ACTIVE:
            self._until(sent_ns + PROMISE_NS)

    def promise(self, now_ns: int) -> bool:
        """The other one asks for the promise; return whether it has it."""
        if self.part(now_ns) is Part.ACTIVE:
            return False
        self._promised_ns = now_ns + PROMISE_NS
        return True

    def other_active(self) -> None:
        """The other one takes messages: people were wrong about it."""
        if self.by_people:
            self.refused()

    def promote(self) -> None:
        """People say that the other one is gone and that the hub cannot be asked."""
        self.by_people, self.token, self.end_ns = True, 0, FOREVER_NS

    def _until(self, other_ns: int) -> None:
        if not self.by_people:
            self.end_ns = max(self.end_ns, other_ns - MARGIN_NS)
