"""Is unsigned data of the present? By the time that it says itself, which proves nothing alone.

A signed batch carries the monotonic clock of its device; a source without an origin key has only
wall time to give. So two things must agree: its time is that of now by the hub's own clock, which
finds a sender that drains what it kept, and it took no longer than usual, which finds what a
network held back. A source whose clock is wrong is in the record only.

Source: REQ-OBS-013, REQ-OBS-014.
"""

from dataclasses import dataclass, field
from typing import Final

from asepsis.core.model.lanes import Account
from asepsis.hub.exchange.window import LAG_NS_MAX, Clocks, LagMeter, send_late

CLOCK_NS_MAX: Final = 10_000_000_000
"""What says a time further from the hub's is not known to be of the present."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """When something was made, in its source's own words.

    Attributes:
        account: Whose epochs these are.
        producer: Who sent it.
        device: Whose clock it is by.
        epoch: Of the producer's numbers.
        made_ns: When it was made, nanoseconds since 1970.
    """

    account: Account
    producer: str
    device: str
    epoch: int
    made_ns: int


@dataclass(slots=True)
class ClaimedTimes:
    """Measures claims by the hub's clocks.

    Attributes:
        clocks: Wall and monotonic time.
    """

    clocks: Clocks
    _meters: dict[tuple[Account, str, str], LagMeter] = field(
        default_factory=dict[tuple[Account, str, str], LagMeter]
    )

    def is_current(self, claim: Claim) -> bool:
        """Whether something was made just now, and took no longer than usual."""
        prompt = self.is_prompt(claim)
        return prompt and abs(self.clocks.wall() - claim.made_ns) <= CLOCK_NS_MAX

    def is_prompt(self, claim: Claim) -> bool:
        """Whether something took no longer than usual, whatever the time is at its source.

        A clock that was set backwards makes everything look late. It is believed again where it
        agrees with the hub's.
        """
        key = (claim.account, claim.producer, claim.device)
        meter = self._meters.setdefault(key, LagMeter())
        now_ns, wall_ns = self.clocks.monotonic(), self.clocks.wall()
        if meter.lag_ns(claim.epoch, claim.made_ns, now_ns=now_ns) <= LAG_NS_MAX:
            return True
        if claim.epoch < meter.epoch or abs(wall_ns - claim.made_ns) > LAG_NS_MAX:
            return False
        self._meters[key] = LagMeter(claim.epoch, now_ns - wall_ns, now_ns)
        return True

    def require_current(self, claim: Claim) -> None:
        """Refuse on a live lane what is history.

        Raises:
            Conflict: Held back on its way or at its source, or by a clock that is wrong.
        """
        if not self.is_current(claim):
            raise send_late("held back, or its clock is not that of the hub")

    def forget(self, name: str) -> None:
        """Drop what is remembered of a revoked identity."""
        for key in [key for key in self._meters if name in key[1:]]:
            del self._meters[key]
